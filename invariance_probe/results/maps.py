"""The maps themselves: before and after the transform, warped back, and what differs."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from invariance_probe.results.strips import Strip
from invariance_probe.results.style import Figure
from invariance_probe.results.tables import ProbeTables

STAGES = ("reference", "moved", "oracle-warped", "best-warped", "difference")
"""Columns of the picture of the maps; the last is best-warped minus reference, over the region."""


def plot_maps(tables: ProbeTables) -> Figure:
    """Draw the maps of one image: a row for each layer, the two strongest channels side by side.

    Args:
        tables: A run's tables, with strips.

    Returns:
        The figure.
    """
    numbers = sorted({strip.transform for strip in tables.strips})
    layers = list(tables.layers["name"])
    blocks = max(len(strip.channels) for strip in tables.strips)
    columns = blocks * len(STAGES)
    rows = len(layers) + 1
    figure = Figure(
        figsize=(1.35 * columns + 1.6, (1.42 * rows + 0.5) * len(numbers)), layout="constrained"
    )
    parts = figure.subfigures(len(numbers), 1, squeeze=False)[:, 0]
    for part, number in zip(parts, numbers, strict=True):
        strips = {strip.layer: strip for strip in tables.strips if strip.transform == number}
        move = tables.config["moves"][number]
        value = "" if math.isnan(move["parameter"]) else f" {move['parameter']:g}"
        part.suptitle(f"{move['kind']}{value}", fontsize=13)
        axes = part.subplots(rows, columns, squeeze=False)
        for one in axes.flat:
            one.set_axis_off()
        any_strip = next(iter(strips.values()))
        for column, title in enumerate(("image", "transformed")):
            show(axes[0, column], picture(any_strip.images[column]))
            axes[0, column].set_title(title, fontsize=10)
        for row, layer in enumerate(layers, start=1):
            if layer in strips:
                _draw_strip(axes[row], strips[layer], titles=row == 1)
    return figure


def _draw_strip(axes: np.ndarray, strip: Strip, *, titles: bool) -> None:
    """Draw one layer's maps; what was not compared is greyed out."""
    for block, channel in enumerate(strip.channels):
        stages = strip.maps[:, block]
        low, high = np.percentile(stages[0], [1, 99])
        difference = np.where(strip.region, stages[3] - stages[0], np.nan)
        span = max(float(high - low), 1e-12)
        for column, title in enumerate(STAGES):
            one = axes[block * len(STAGES) + column]
            if column < len(stages):
                show(one, stages[column], cmap="viridis", vmin=low, vmax=high)
            else:
                show(one, difference, cmap="RdBu_r", vmin=-span, vmax=span)
            if titles:
                one.set_title(title, fontsize=10)
            if column == 0:
                label = f"channel {channel}" if block else f"{strip.layer}\nchannel {channel}"
                one.text(
                    -0.06,
                    0.5,
                    label,
                    transform=one.transAxes,
                    rotation=90,
                    ha="right",
                    va="center",
                    fontsize=9,
                )


def show(axes: Axes, image: Float[np.ndarray, "..."], **options: Any) -> None:
    """Draw a picture or a map without ticks or frame.

    Args:
        axes: Where.
        image: Colours, or numbers.
        **options: Of `matplotlib.axes.Axes.imshow`.
    """
    axes.set_axis_on()
    axes.imshow(image, interpolation="nearest", **options)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_facecolor("#dddddd")
    for spine in axes.spines.values():
        spine.set_visible(False)


def picture(
    pixels: Float[np.ndarray, "channel height width"],
) -> Float[np.ndarray, "height width 3"]:
    """Make any image showable.

    Args:
        pixels: Its values.

    Returns:
        The first one or three channels, stretched if they lie outside [0, 1].
    """
    shown = pixels[:3] if len(pixels) >= 3 else np.repeat(pixels[:1], 3, axis=0)
    low, high = float(shown.min()), float(shown.max())
    if low < -0.2 or high > 1.2:
        shown = (shown - low) / max(high - low, 1e-12)
    clipped: np.ndarray = np.clip(shown, 0, 1)
    return clipped.transpose(1, 2, 0)
