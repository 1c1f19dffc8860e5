"""How often do the 95 % intervals hold the mean that they are about?"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import seaborn as sns
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe.data.datasets import open_dataset
from invariance_probe.results.methods import EXPLAINING_METHODS
from invariance_probe.results.store import InMemory
from invariance_probe.statistics import mean_interval, statistic_interval, t_interval

METHODS = ("identity", "oracle", "floor", "unrelated")
"""Methods of the probes that are run whole: those without a search."""
LAYER, CROP, MARGIN = "3", 28, 6
"""Layer probed; side of what the network sees, and what is added around it for the rotations."""
TURNS = (30.0, -60.0)
"""Two rotations: repeated measures of each image."""
RESOLUTION = 1e-3
"""Share of a residual that is taken for none: a part that one image of a hundred has a trace of is
0 in most samples, and so are both ends of its interval."""
ASKED = {"normal": (0.93, 0.97), "seeds, normal": (0.93, 0.97), "lognormal": (0.90, 1.0)}
"""Coverage that is asked for from five images on."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to draw how often.

    Attributes:
        images: Sizes of the samples.
        draws: Samples of values with a known mean.
        probes: Whole probes of each size.
        explained: Samples of the residuals that are decomposed.
        population: Digits that the samples of images are drawn from.
        explained_population: Digits whose residuals are decomposed.
        seed: Root of all draws.
    """

    images: tuple[int, ...] = (3, 5, 10, 20, 50)
    draws: int = 8000
    probes: int = 600
    explained: int = 300
    population: int = 5000
    explained_population: int = 400
    seed: int = 0


PRESETS = {
    "quick": Config(),
    "tiny": Config(
        images=(3, 5), draws=500, probes=2, explained=2, population=40, explained_population=8
    ),
}


class Tally:
    """Counts where intervals lie.

    Args:
        values: What the intervals are about.
        images: Size of the samples.
    """

    def __init__(self, values: str, images: int) -> None:
        self.values, self.images = values, images
        self._ends: list[np.ndarray] = []

    def add(self, truth: float, low: float | np.ndarray, high: float | np.ndarray) -> None:
        """Take intervals in.

        Args:
            truth: What they should hold.
            low: Their lower ends.
            high: Their upper ends.
        """
        ends = np.broadcast_arrays(np.asarray(low), np.asarray(high))
        self._ends.append(np.stack(ends).reshape(2, -1) - truth)

    def row(self, resolution: float = 0.0) -> dict[str, object]:
        """Sum up.

        Args:
            resolution: What an end may be off by and still hold the mean.

        Returns:
            A row of the table.
        """
        low, high = np.concatenate(self._ends, axis=1)
        return {
            "values": self.values,
            "images": self.images,
            "intervals": len(low),
            "too_low": float((high < -resolution).mean()),
            "too_high": float((low > resolution).mean()),
            "covered": float(((low <= resolution) & (high >= -resolution)).mean()),
            "width": float(np.median(high - low)),
        }


def measure(config: Config) -> pd.DataFrame:
    """Draw samples whose mean is known, and count the intervals that hold it.

    Args:
        config: What to draw how often.

    Returns:
        One row per kind of ``values`` and number of ``images``: how many ``intervals``; the shares
        that lie ``too_low`` and ``too_high`` and that have ``covered`` the mean; their median
        ``width``.
    """
    rows = [*_drawn(config), *_probed(config), *_explained(config)]
    return pd.DataFrame(rows)


def _drawn(config: Config) -> Iterator[dict[str, object]]:
    """Values of known distributions."""
    mean = math.exp(0.5**2 / 2)
    for images in config.images:
        rng = np.random.default_rng([config.seed, images])
        normal = rng.standard_normal((config.draws, images))
        kinds = {
            "normal": (normal, 0.0),
            "lognormal": (np.exp(0.5 * normal), mean),
            "exponential": (rng.exponential(size=normal.shape), 1.0),
        }
        for name, (values, truth) in kinds.items():
            tally = Tally(name, images)
            _, low, high = mean_interval(values)
            tally.add(truth, low, high)
            yield tally.row()
        for correlation in (-0.2, 0.2):
            tally = Tally(f"pairs correlated by {correlation:g}", images)
            weight = (1 - math.sqrt(1 - 4 * correlation**2)) / (2 * correlation)
            noise = rng.standard_normal((config.draws, images))
            partner = np.broadcast_to(np.roll(np.arange(images), 1), noise.shape)
            _, low, high = mean_interval(noise + weight * np.roll(noise, 1, axis=1), partner)
            tally.add(0.0, low, high)
            yield tally.row()
        seeds, share = Tally("seeds, normal", images), Tally("share of two means", images)
        for _ in range(max(1, config.draws // 8)):
            _, *ends = t_interval(rng.standard_normal(images))
            seeds.add(0.0, *ends)
            # what a mixing removes of a residual, both lognormal and alike by 0.7
            one, other = rng.standard_normal((2, images))
            both = np.exp(0.5 * np.stack([one, 0.7 * one + math.sqrt(0.51) * other]))
            _, *pair = statistic_interval(both * [[1.0], [0.5]], _share, config.seed)
            share.add(0.5, *pair)
        yield seeds.row()
        yield share.row()


def _share(means: Float[np.ndarray, "2 draw"]) -> Float[np.ndarray, "1 draw"]:
    share: np.ndarray = 1 - means[1:] / means[:1]
    return share


def digits(count: int) -> Float[Tensor, "image 1 height width"]:
    """Take digits from the data set that comes with a package, on a canvas that can be turned.

    Args:
        count: How many.

    Returns:
        Images with values from 0 to 1.
    """
    opened = open_dataset("mnist-5k")
    splits = (opened.train, opened.validation, opened.test)
    images = torch.cat([split.images for split in splits])[:count]
    return nn.functional.pad(images.float() / 255, (MARGIN,) * 4)


def network() -> nn.Module:
    """Build a small network as it is drawn.

    Returns:
        Two layers; `LAYER` is the last activation.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 8, 5), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU()
        )


def _probe(images: Tensor, methods: tuple[str, ...], seed: int) -> ip.ProbeResult:
    return ip.probe(
        network(),
        images,
        layers=LAYER,
        transforms=[ip.Rotation(degrees) for degrees in TURNS],
        methods=methods,
        crop=CROP,
        device="cpu",
        seed=seed,
    )


def _means(result: ip.ProbeResult) -> pd.DataFrame:
    summary = result.summary()
    return summary[summary["metric"] == "fvu"].set_index("method")[["mean", "low", "high"]]


def _probed(config: Config) -> Iterator[dict[str, object]]:
    """Residuals of whole probes, against the means over all digits."""
    images = digits(config.population)
    truth = _means(_probe(images, METHODS, 0))["mean"]
    for count in config.images:
        tallies = {method: Tally(f"probe: {method}", count) for method in METHODS}
        rng = np.random.default_rng([config.seed, count])
        for seed in range(config.probes):
            drawn = torch.from_numpy(rng.choice(len(images), count, replace=False))
            for method, row in _means(_probe(images[drawn], METHODS, seed)).iterrows():
                tallies[str(method)].add(truth[method], row["low"], row["high"])
        yield from (tally.row() for tally in tallies.values())


def _explained(config: Config) -> Iterator[dict[str, object]]:
    """Parts of residuals, against those of all digits; all were measured in one probe."""
    whole = _probe(digits(config.explained_population), EXPLAINING_METHODS, 0)
    key = ["part"]
    truth = whole.decomposition().set_index(key)["share"]
    names = np.array(whole.config["images"])
    # half of the population at most: more of it is no sample of a larger one
    sizes = [count for count in config.images if count <= len(names) // 2]
    for count in sizes:
        tallies = {part: Tally(f"part: {part}", count) for part in truth.index}
        rng = np.random.default_rng([config.seed, count])
        for _ in range(config.explained):
            drawn = rng.choice(names, count, replace=False)
            table = whole.table[whole.table["image"].isin(drawn)]
            table = table.assign(image=table["image"].astype(str))
            parts = replace(whole, rows=InMemory(table)).decomposition().set_index(key)
            for part, row in parts.iterrows():
                tallies[part].add(truth[part], row["share_low"], row["share_high"])
        yield from (tally.row(RESOLUTION) for tally in tallies.values())


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Lay the coverage out by number of images, and judge it.

    Args:
        frame: What `measure` returned.

    Returns:
        One row per kind of ``values``: the share ``covered`` for each number of images,
        ``standard_error`` of such a share, and ``as_asked``, whether all from five images on lie
        where `ASKED` says, give or take two standard errors (None where nothing is asked).
    """
    wide = frame.pivot_table(index="values", columns="images", values="covered", sort=False)
    wide.columns = [f"n_{images}" for images in wide.columns]
    least = frame.groupby("values", sort=False)["intervals"].min()
    wide["standard_error"] = np.sqrt(0.95 * 0.05 / least)
    wide["as_asked"] = [_as_asked(frame, str(name)) for name in wide.index]
    return wide.reset_index()


def _as_asked(frame: pd.DataFrame, values: str) -> bool | None:
    if values not in ASKED:
        return None
    rows = frame[(frame["values"] == values) & (frame["images"] >= 5)]
    slack = 2 * np.sqrt(0.95 * 0.05 / rows["intervals"])
    low, high = ASKED[values]
    return bool(((rows["covered"] >= low - slack) & (rows["covered"] <= high + slack)).all())


def plot(frame: pd.DataFrame) -> Figure:
    """Draw the coverage against the number of images, a panel a kind of values.

    Args:
        frame: What `measure` returned.

    Returns:
        The figure.
    """
    panels = {"": "known distributions", "probe": "whole probes", "part": "parts of a residual"}
    figure = Figure(figsize=(15.5, 5.4), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True)
    sizes = sorted(frame["images"].unique())
    for one, (kind, title) in zip(axes, panels.items(), strict=True):
        names = [n for n in dict.fromkeys(frame["values"]) if n.rpartition(": ")[0] == kind]
        colours = sns.color_palette("colorblind", len(names))
        one.axhspan(0.93, 0.97, color="0.9", zorder=0)
        one.axhline(0.95, color="#767676", linewidth=0.8)
        for name, colour, marker in zip(names, colours, "osD^vP<", strict=False):
            rows = frame[frame["values"] == name]
            one.plot(
                rows["images"],
                rows["covered"],
                color=colour,
                marker=marker,
                markersize=5,
                label=name.partition(": ")[2] or name,
            )
        one.set_xscale("log")
        one.set_xticks(sizes, [str(size) for size in sizes])
        one.minorticks_off()
        one.set_xlabel("images")
        one.set_title(title, fontsize=12)
        one.legend(fontsize=9, loc="lower right")
    axes[0].set_ylabel("share of 95 % intervals\nthat hold the mean")
    axes[0].set_ylim(min(0.8, float(frame["covered"].min()) - 0.01), 1.005)
    figure.suptitle("Grey: 0.93 to 0.97. Digits, a random network, two rotations", fontsize=12)
    return figure
