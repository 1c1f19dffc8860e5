"""Does a linear mixing of channels ever do harm to images outside its fit?"""

from dataclasses import dataclass

import pandas as pd
import seaborn as sns
import torch
from matplotlib.figure import Figure
from torch import nn

import invariance_probe as ip
from analyses.legends import shared_legend

METHODS = ("oracle", "oracle+linear")
SLACK, MOST = 0.05, 2.0
"""What the mean over a run's images may exceed the better of no mixing and the channel means by,
and what no single image may exceed."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """How many random networks to try.

    Attributes:
        networks: Which of `NETWORKS`.
        seeds: Networks of each kind; a seed draws its images, too.
        images: Images of a run.
        degrees: Rotation of the input.
    """

    networks: tuple[str, ...] = ("shallow, pooled", "two layers", "three layers")
    seeds: int = 200
    images: int = 10
    degrees: float = 90


PRESETS = {"quick": Config(), "tiny": Config(networks=("shallow, pooled",), seeds=3)}


def _shallow() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 64, 7), nn.ReLU(), nn.AvgPool2d(4))


def _two() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 32, 5, stride=2), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU())


def _three() -> nn.Module:
    strided = [nn.Conv2d(3, 64, 5, stride=2), nn.ReLU(), nn.Conv2d(64, 64, 3, stride=2), nn.ReLU()]
    return nn.Sequential(*strided, nn.Conv2d(64, 128, 3), nn.ReLU())


NETWORKS = {"shallow, pooled": _shallow, "two layers": _two, "three layers": _three}
"""Networks as they are drawn; of the last an image gives 25 positions to fit 128 channels to."""


def measure(config: Config) -> pd.DataFrame:
    """Probe random networks, each with smooth random images of its own.

    Args:
        config: How many.

    Returns:
        One row per ``network``, ``seed``, ``image`` and ``method``: ``value``, the fvu.
    """
    parts = []
    for network in config.networks:
        for seed in range(config.seeds):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                drawn = NETWORKS[network]()
                coarse = torch.rand(config.images, 3, 8, 8)
            found = ip.probe(
                drawn,
                nn.functional.interpolate(coarse, 41, mode="bicubic"),
                layers="(model)",
                transforms=[ip.Rotation(config.degrees)],
                methods=METHODS,
                device="cpu",
            ).frame()
            found = found.loc[found["metric"] == "fvu", ["image", "method", "value"]]
            parts.append(found.assign(network=network, seed=seed))
    frame = pd.concat(parts, ignore_index=True)
    return frame.astype({"image": str, "method": str})


def by_run(frame: pd.DataFrame) -> pd.DataFrame:
    """Set what a mixing leaves of a run against what it may leave.

    Args:
        frame: What `measure` returned.

    Returns:
        One row per ``network`` and ``seed``: the means ``oracle`` and ``oracle+linear``, their
        ``worst`` image under the mixing, ``excess`` over the better of no mixing and the means.
    """
    keys = ["network", "seed"]
    runs = frame.pivot_table(index=keys, columns="method", values="value", sort=False)
    mixed = frame[frame["method"] == "oracle+linear"]
    runs["worst"] = mixed.groupby(keys, sort=False)["value"].max()
    runs["excess"] = runs["oracle+linear"] - runs["oracle"].clip(upper=1)
    return runs.reset_index()


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Count the runs in which mixing did harm.

    Args:
        frame: What `measure` returned.

    Returns:
        One row per ``network``: ``runs``; mean ``oracle`` and ``oracle+linear``; greatest
        ``excess`` and ``worst`` image of all runs; ``harmed``, runs whose mean exceeds the better
        of no mixing and 1 by more than `SLACK`, or that have an image above `MOST`.
    """
    runs = by_run(frame)
    runs["harmed"] = (runs["excess"] > SLACK) | (runs["worst"] > MOST)
    grouped = runs.groupby("network", sort=False)
    table = grouped.agg({
        "seed": "count",
        "oracle": "mean",
        "oracle+linear": "mean",
        "excess": "max",
        "worst": "max",
        "harmed": "sum",
    })
    return table.reset_index().rename(columns={"seed": "runs"})


def plot(frame: pd.DataFrame) -> Figure:
    """Draw each run's mean and worst image against what no mixing leaves.

    Args:
        frame: What `measure` returned.

    Returns:
        The figure.
    """
    runs = by_run(frame)
    names = list(dict.fromkeys(runs["network"]))
    colours = sns.color_palette("colorblind")
    figure = Figure(figsize=(3.6 * len(names) + 3.4, 4.4), layout="constrained")
    panels = figure.subplots(1, len(names), sharex=True, sharey=True, squeeze=False)[0]
    end = 1.05 * float(runs["oracle"].max())
    for axes, name in zip(panels, names, strict=True):
        one = runs[runs["network"] == name]
        ends = sorted({0.0, 1.0, max(end, 1.0)})
        axes.plot(ends, [min(x, 1) + SLACK for x in ends], color="black", label="mean: at most")
        axes.axhline(MOST, color="black", linestyle=":", label="image: at most")
        for column, marker, colour, label in (
            ("worst", "^", colours[1], "worst image"),
            ("oracle+linear", "o", colours[0], "mean of a run"),
        ):
            axes.scatter(one["oracle"], one[column], s=14, marker=marker, color=colour, label=label)
        axes.set_title(f"{name}, {len(one)} runs", fontsize=12)
        axes.set_xlabel("fvu without mixing (mean)")
    panels[0].set_ylabel("fvu after a linear mixing,\nimages outside its fit")
    panels[0].set_ylim(0, max(1.05 * MOST, 1.05 * float(runs["worst"].max())))
    shared_legend(figure, panels[0], "outside right center")
    figure.suptitle(
        f"Random ReLU networks, {frame['image'].nunique()} images a run, oracle warp",
        fontsize=12,
    )
    return figure
