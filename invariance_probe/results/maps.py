"""The maps themselves: before and after the transform, warped back, and what differs."""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from invariance_probe.results.strips import STAGES, Strip, shown_transforms
from invariance_probe.results.style import Figure
from invariance_probe.results.tables import ProbeTables

DIFFERENCE = "difference"
"""Last column of the picture of the maps: best-warped minus reference, over the region."""
_BLOCKS = 2
"""Channels of an image that are drawn side by side."""
_CELL = 0.95
"""Inches across a map."""


def plot_maps(tables: ProbeTables) -> Figure:
    """Draw maps under one transform of each family: a row a layer and image, channels beside it.

    Args:
        tables: A run's tables, with strips.

    Returns:
        The figure. All maps of a channel have one scale, from the 1st to the 99th percentile of the
        reference; differences are in units of its width.
    """
    numbers = shown_transforms(tables.config["moves"])
    layers = list(tables.layers["name"])
    images = sorted({strip.image for strip in tables.strips})
    kept = {(strip.transform, strip.layer, strip.image): strip for strip in tables.strips}
    blocks = min(_BLOCKS, max(len(strip.channels) for strip in tables.strips))
    across = 2 + blocks * (len(tables.strips[0].maps) + 1 + _GAP)
    rows = [(layer, image) for layer in layers for image in images]
    size = (_CELL * across + 0.8, (_CELL * len(rows) + 1.6) * len(numbers))
    with mpl.rc_context(ON_ANY_GROUND):
        figure = Figure(figsize=size, layout="constrained")
        # one panel holds all pictures: a panel each would take ten times as long
        panels = figure.subplots(len(numbers), 1, squeeze=False)[:, 0]
        for axes, number in zip(panels, numbers, strict=True):
            move = tables.config["moves"][number]
            value = "" if math.isnan(move["parameter"]) else f" {move['parameter']:g}"
            axes.set_title(f"{move['kind']}{value}", fontsize=13, pad=18)
            for row, (layer, image) in enumerate(rows):
                if (number, layer, image) in kept:
                    _draw_strip(axes, row, kept[number, layer, image], blocks)
            axes.set(xlim=(-0.3, across), ylim=(len(rows), 0), aspect="equal")
            axes.set_axis_off()
            for colours, scale, words in (
                ("viridis", Normalize(0, 1), "activation; 0, 1: percentiles 1, 99 of reference"),
                ("RdBu_r", Normalize(-1, 1), "difference, in the same unit"),
            ):
                colour = ScalarMappable(scale, colours)
                figure.colorbar(
                    colour, ax=axes, location="bottom", shrink=0.4, aspect=40, label=words, pad=0.01
                )
    return figure


_GAP = 0.25
"""Room for the name of a channel, in cells."""
ON_ANY_GROUND: dict[Any, Any] = dict.fromkeys(
    ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "xtick.labelcolor"),
    "#767676",
) | {"figure.facecolor": "none"}
"""A picture of pictures is shown as pixels: its words have to be read on white and on black."""


def _draw_strip(axes: Axes, row: int, strip: Strip, blocks: int) -> None:
    """Draw an image and the maps of one layer; what was not compared is greyed out."""
    pixels = (255 * np.stack([picture(each) for each in strip.images])).round().astype(np.uint8)
    opaque = np.full((*pixels.shape[:3], 1), 255, np.uint8)
    shown = [
        (float(column), title, np.concatenate([pixels[column], opaque[column]], axis=2))
        for column, title in enumerate(("image", "transformed"))
    ]
    _beside(axes, -0.03, row, strip.layer)
    for block, channel in enumerate(strip.channels[:blocks]):
        scaled, difference = in_units(strip, block)
        start = 2 + _GAP + block * (len(scaled) + 1 + _GAP)
        _beside(axes, start - 0.03, row, f"channel {channel}")
        titles = (*STAGES[: len(scaled)], DIFFERENCE)
        colours = [*_VIRIDIS(scaled, bytes=True), _DIFFERING((difference + 1) / 2, bytes=True)]
        shown += [(start + n, titles[n], one) for n, one in enumerate(colours)]
    # a picture of its own for each map would be scaled and laid over the others one by one
    line = _in_line([(left, one) for left, _, one in shown])
    extent = (0, line.shape[1] / _PITCH, row + _FILLED, row)
    axes.imshow(line, extent=extent, interpolation="nearest")
    for left, title, _ in shown if row == 0 else ():
        axes.text(left + _FILLED / 2, -0.06, title, ha="center", va="bottom", fontsize=8)


_VIRIDIS = colormaps["viridis"]
_DIFFERING = colormaps["RdBu_r"].with_extremes(bad=(0.5, 0.5, 0.5, 0.3))
_FILLED = 0.93
"""Share of a cell that its picture takes."""
_SIDE = round(150 * _CELL * _FILLED)
"""Pixels across a picture in its line: as many as it has in a file of 150 dots an inch."""
_PITCH = round(_SIDE / _FILLED)


def _in_line(
    pictures: Sequence[tuple[float, UInt8[np.ndarray, "_ _ 4"]]],
) -> UInt8[np.ndarray, "side across 4"]:
    """Lay pictures beside each other, each from its place in cells on; between them is nothing."""
    across = round(max(left for left, _ in pictures) * _PITCH) + _SIDE
    line = np.zeros((_SIDE, across, 4), np.uint8)
    at = np.arange(_SIDE)
    for left, one in pictures:
        rows, columns = (at * size // _SIDE for size in one.shape[:2])
        start = round(left * _PITCH)
        line[:, start : start + _SIDE] = one[rows[:, None], columns]
    return line


def in_units(
    strip: Strip, block: int
) -> tuple[Float[np.ndarray, "stage height width"], Float[np.ndarray, "height width"]]:
    """Bring the maps of a channel to one scale.

    Args:
        strip: Maps of a layer.
        block: Place of the channel among those that were kept.

    Returns:
        Every stage, 0 and 1 being percentiles 1 and 99 of the reference, and best-warped minus
        reference in the same unit, NaN where maps were not compared.
    """
    stages = strip.maps[:, block].astype(np.float64)
    low, high = np.percentile(stages[0], [1, 99])
    scaled = (stages - low) / max(float(high - low), 1e-12)
    return scaled, np.where(strip.region, scaled[3] - scaled[0], np.nan)


def _beside(axes: Axes, right: float, row: int, words: str) -> None:
    """Write upright beside a picture."""
    axes.text(right, row + _FILLED / 2, words, rotation=90, ha="right", va="center", fontsize=8)


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
