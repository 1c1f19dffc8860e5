"""How much of a trained network's maps can a spatial warp re-align, at which depth?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analyses.efficientnet import blocks, fvu_rows, photographs, probe
from analyses.efficientnet_pairs import turns_and_scalings
from analyses.legends import shared_legend
from invariance_probe.results.methods import Method
from invariance_probe.results.style import RESIDUAL
from invariance_probe.statistics import by_image, mean_interval

CANVAS = 2
"""Side of the photographs, in crops: enough for any rotation of the crop and for halving it."""
METHODS = ("identity", "oracle", "affine", "flow", "any-warp", "floor", "unrelated")
KEPT = ["layer", "transform", "parameter", "image", "method", "value", "region_frac"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure.

    Attributes:
        layers: Layers of EfficientNet-Lite0, from shallow to deep.
        degrees: Rotations of the input, above -180 up to 180.
        factors: Scalings of the input.
        images: Number of photographs (10 at most).
        crop: Side of the square that the network sees, in pixels.
        seed: Root of all random choices.
    """

    layers: tuple[str, ...] = ("_conv_stem", *blocks(0, 2, 4, 7, 10, 13, 15))
    degrees: tuple[float, ...] = (-150, -120, -90, -60, -30, 0, 30, 60, 90, 120, 150, 180)
    factors: tuple[float, ...] = (0.5, 0.6, 0.7, 0.85, 1, 1.2, 1.4, 1.7, 2)
    images: int = 10
    crop: int = 224
    seed: int = 0


PRESETS = {
    "quick": Config(),
    "tiny": Config(
        layers=("_blocks.4", "_blocks.10"),
        degrees=(0, 90, 180),
        factors=(0.5, 1.4),
        images=3,
        crop=112,
    ),
}


def measure(config: Config) -> pd.DataFrame:
    """Probe EfficientNet-Lite0, with its weights for ImageNet, on photographs.

    Args:
        config: What to measure.

    Returns:
        One row per ``layer``, ``transform``, ``parameter``, ``image`` and ``method``: ``value``,
        the fvu, and ``region_frac``, the share of the map that was compared.
    """
    images, _ = photographs(config.images, CANVAS * config.crop)
    result = probe(
        images,
        layers=config.layers,
        transforms=turns_and_scalings(config.degrees, config.factors),
        methods=METHODS,
        crop=config.crop,
        seed=config.seed,
    )
    rows = fvu_rows(result, KEPT).reset_index(drop=True)
    return rows.astype({"region_frac": "float32"})


def _means(frame: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Means over photographs, with 95 % intervals."""
    wide = by_image(frame, keys)
    values = wide.to_numpy(dtype=float)
    mean, low, high = mean_interval(values)
    counts = np.isfinite(values).sum(1)
    return wide.index.to_frame(index=False).assign(mean=mean, low=low, high=high, n_images=counts)


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Average over photographs and the parameters of a family that change anything.

    Args:
        frame: What `measure` returned.

    Returns:
        One row per ``layer``, ``transform`` and ``method``: ``mean`` fvu, ``low`` and ``high`` (95
        % interval over photographs), ``n_images``.
    """
    still = np.where(frame["transform"] == "rotation", 0.0, 1.0)
    return _means(frame[frame["parameter"] != still], ["layer", "transform", "method"])


def plot(frame: pd.DataFrame) -> Figure:
    """Draw the residual against the parameter, a panel a layer, rotations above scalings.

    Args:
        frame: What `measure` returned.

    Returns:
        The figure.
    """
    means = _means(frame, ["layer", "transform", "parameter", "method"])
    # half a turn to the left is half a turn to the right
    half = means[(means["transform"] == "rotation") & (means["parameter"] == 180)]
    means = pd.concat([means, half.assign(parameter=-180.0)]).sort_values("parameter")
    layers = list(dict.fromkeys(frame["layer"]))
    top = 1.02 * float(means[["mean", "high"]].max(axis=None))
    columns = min(4, len(layers))
    high = -(-len(layers) // columns)
    figure = Figure(figsize=(3.3 * columns + 0.6, 2 * 2.9 * high + 1.4), layout="constrained")
    blocks = list(figure.subfigures(2, 1, hspace=0.03, squeeze=False)[:, 0])
    for block, family, label in zip(
        blocks,
        ("rotation", "scaling"),
        ("rotation of the input (degrees)", "scaling of the input (factor)"),
        strict=True,
    ):
        panels = block.subplots(high, columns, sharex=True, sharey=True, squeeze=False)
        for number, axes in enumerate(panels.flat):
            if number >= len(layers):
                axes.set_axis_off()
                continue
            here = (means["layer"] == layers[number]) & (means["transform"] == family)
            _draw(axes, means[here])
            axes.set_ylim(0, top)
            axes.set_title(layers[number], fontsize=12)
            _ticks(axes, family)
        block.supxlabel(label, fontsize=12)
        block.supylabel(RESIDUAL, fontsize=12)
    shared_legend(figure, blocks[0].axes[0], ncols=4)
    figure.suptitle(
        f"EfficientNet-Lite0, {frame['image'].nunique()} photographs; "
        "ribbons: 95 % intervals over photographs",
        fontsize=12,
    )
    return figure


def _draw(axes: Axes, means: pd.DataFrame) -> None:
    """One panel: a line a method."""
    for method in METHODS:
        rows = means[means["method"] == method]
        colour = Method(method).colour
        ends = rows["low"].astype(float), rows["high"].astype(float)
        axes.fill_between(rows["parameter"], *ends, color=colour, alpha=0.18, linewidth=0)
        axes.plot(
            rows["parameter"],
            rows["mean"],
            color=colour,
            marker="o",
            markersize=3,
            # affine and smooth warps leave nearly the same: the one is seen under the other
            linewidth=3.6 if method == Method.AFFINE else 1.4,
            label=Method(method).label,
        )


def _ticks(axes: Axes, family: str) -> None:
    if family == "rotation":
        axes.set_xticks([-180, -90, 0, 90, 180])
    else:
        axes.set_xscale("log", base=2)
        axes.set_xticks([0.5, 0.7, 1, 1.4, 2], ["0.5", "0.7", "1", "1.4", "2"])
        axes.minorticks_off()
