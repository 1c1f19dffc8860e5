"""Does a conclusion hang on the engine's own choices: sampler, margin, fill, antialias, images?"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
import seaborn as sns
import torch
from matplotlib.figure import Figure
from scipy.stats import kendalltau

import invariance_probe as ip
from analyses.efficientnet import photographs, probe
from analyses.efficientnet_pairs import turns_and_scalings
from analyses.legends import shared_legend
from invariance_probe.results.methods import EXPLAINING_METHODS

USUAL = "as usual"
"""Name of the run that the others are compared with."""
CROP = 224
CANVAS = 318
"""Side of the photographs, in pixels: enough for any rotation of the crop."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to vary.

    Attributes:
        layers: Layers of EfficientNet-Lite0, from shallow to deep.
        degrees: Rotations of the input.
        factors: Scalings of the input.
        images: Number of photographs (10 at most); an even number.
        seed: Root of all random choices.
    """

    layers: tuple[str, ...] = ("_blocks.3", "_blocks.4", "_blocks.7", "_blocks.10", "_blocks.15")
    degrees: tuple[float, ...] = (45, 90)
    factors: tuple[float, ...] = (0.7, 1.5)
    images: int = 10
    seed: int = 0


PRESETS = {
    "quick": Config(),
    "tiny": Config(layers=("_blocks.10", "_blocks.15"), degrees=(90,), factors=(0.7,), images=4),
}


def measure(config: Config) -> pd.DataFrame:
    """Decompose the residual under each choice, one thing varied at a time.

    Args:
        config: What to vary.

    Returns:
        One row per ``choice``, ``layer``, ``transform`` and ``part`` of the decomposition, with the
        columns of `decomposition.decomposition`; ``part`` is also ``oracle`` and ``affine``, the
        residuals themselves.
    """
    frames = []
    for choice, images, options in _choices(config):
        result = probe(
            images,
            layers=config.layers,
            transforms=turns_and_scalings(config.degrees, config.factors),
            methods=EXPLAINING_METHODS,
            crop=CROP,
            seed=config.seed,
            **options,
        )
        parts = result.decomposition().astype({"part": str})
        summary = result.summary()
        wanted = (summary["metric"] == "fvu") & summary["method"].isin(["oracle", "affine"])
        whole = summary[wanted].rename(columns={"method": "part"}).astype({"part": str})
        both = pd.concat([parts, whole.drop(columns="metric")], ignore_index=True)
        frames.append(both.assign(choice=choice))
    return pd.concat(frames, ignore_index=True)


def _choices(config: Config) -> Iterator[tuple[str, torch.Tensor, dict[str, Any]]]:
    """Name, images and options of each run; the first is the usual one."""
    images, _ = photographs(config.images, CANVAS)
    edge = (CANVAS - CROP) // 2
    half = len(images) // 2
    yield USUAL, images, {}
    yield "bicubic sampler", images, {"search": ip.SearchOptions(mode="bicubic")}
    yield "margin 0 cells", images, {"margin": 0.0}
    yield "margin 2 cells", images, {"margin": 2.0}
    # what a rotation shows beyond the crop is then the mean colour
    yield "filled, no canvas", images[..., edge:-edge, edge:-edge], {}
    yield "no antialias", images, {"antialias": False}
    yield "first half of the images", images[:half], {}
    yield "second half of the images", images[half:], {}


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Compare each choice's conclusions with the usual ones.

    Args:
        frame: What `measure` returned.

    Returns:
        One row a choice and family: ``order``, Kendall's rank correlation of the layers' affine
        residuals with the usual ones (1: the same order); ``affine``, largest change of such a
        residual; for each part the largest change of its share of the oracle's residual.
    """
    values = frame.assign(number=frame["mean"].where(frame["share"].isna(), frame["share"]))
    wide = values.pivot_table(
        index=["choice", "transform", "layer"],
        columns="part",
        values="number",
        observed=True,
        sort=False,
    )
    usual = wide.loc[USUAL]
    rows = []
    for (choice, family), one in wide.groupby(level=["choice", "transform"], sort=False):
        here = one.droplevel(["choice", "transform"])
        reference = usual.loc[family].loc[here.index]
        changes = (here - reference).abs().max()
        order = kendalltau(here["affine"], reference["affine"]).statistic
        rows.append(
            {"choice": choice, "transform": family, "order": order, "affine": changes["affine"]}
            | {part: changes.get(part) for part in _SHARES}
        )
    return pd.DataFrame(rows)


_SHARES = ("other warp", "permutation", "mixing", "left", "floor", "beyond any warp")


def plot(frame: pd.DataFrame) -> Figure:
    """Draw the affine residual and the share of channel shift by layer, one line a choice.

    Args:
        frame: What `measure` returned.

    Returns:
        The figure.
    """
    shift = frame[frame["part"].isin(["permutation", "mixing"])]
    keys = ["choice", "transform", "layer"]
    shift = shift.groupby(keys, observed=True, sort=False)["share"].sum().reset_index()
    affine = frame[frame["part"] == "affine"][[*keys, "mean"]]
    families = list(dict.fromkeys(frame["transform"]))
    figure = Figure(figsize=(5.2 * len(families) + 3.2, 8), layout="constrained")
    panels = figure.subplots(2, len(families), sharey="row", squeeze=False)
    choices = list(dict.fromkeys(frame["choice"]))
    colours = dict(zip(choices, ["black", *sns.color_palette("colorblind")], strict=False))
    for column, family in enumerate(families):
        for row, (data, value) in enumerate(((affine, "mean"), (shift, "share"))):
            axes = panels[row, column]
            here = data[data["transform"] == family]
            sns.lineplot(
                here[here["choice"] != choices[0]],
                x="layer",
                y=value,
                hue="choice",
                style="choice",
                palette=colours,
                markers=True,
                dashes=False,
                ax=axes,
                legend=row + column == 0,
            )
            # on top, and dashed, so that neither hides the other
            usual = here[here["choice"] == choices[0]]
            style = {"color": "black", "linewidth": 2.2, "linestyle": (0, (3, 2)), "marker": "o"}
            axes.plot(usual["layer"], usual[value], label=choices[0], zorder=5, **style)
            axes.set_ylim(bottom=0)
            axes.set_xlabel("layer, from shallow to deep" if row else "")
        panels[0, column].set_title(str(family))
    panels[0, 0].set_ylabel("fraction of variance unexplained\nunder the best affine warp")
    panels[1, 0].set_ylabel("share of the oracle's residual removed\nby permuting or mixing")
    panels[0, 0].get_legend().remove()
    shared_legend(figure, panels[0, 0], "outside right center")
    figure.suptitle("EfficientNet-Lite0: the same question, one choice varied at a time")
    return figure
