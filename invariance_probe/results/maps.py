"""The maps themselves: before and after the transform, warped back, and what differs."""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from invariance_probe.results.strips import STAGES, Strip, shown_transforms
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
    blocks = min(_BLOCKS, max(len(strip.channels) for strip in tables.strips))
    shown = len(tables.strips[0].maps) + 1
    rows, columns = len(layers) * len(images), blocks * shown + 2
    size = (_CELL * columns + 1.6, (_CELL * rows + 1.0) * len(numbers))
    with mpl.rc_context(_ON_ANY_GROUND):
        return _draw(tables, numbers, layers, images, blocks, Figure(figsize=size))


_INK = "#767676"
_ON_ANY_GROUND: dict[Any, Any] = dict.fromkeys(
    ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "xtick.labelcolor"), _INK
) | {"figure.facecolor": "none"}
"""A picture of pictures is shown as pixels: its words have to be read on white and on black."""


def _draw(
    tables: ProbeTables,
    numbers: Sequence[int],
    layers: Sequence[str],
    images: Sequence[int],
    blocks: int,
    figure: Figure,
) -> Figure:
    """Fill the figure."""
    figure.set_layout_engine("constrained")
    kept = {(strip.transform, strip.layer, strip.image): strip for strip in tables.strips}
    shown = len(tables.strips[0].maps) + 1
    rows, columns = len(layers) * len(images), blocks * shown + 2
    parts = figure.subfigures(len(numbers), 1, squeeze=False)[:, 0]
    for part, number in zip(parts, numbers, strict=True):
        move = tables.config["moves"][number]
        value = "" if math.isnan(move["parameter"]) else f" {move['parameter']:g}"
        part.suptitle(f"{move['kind']}{value}", fontsize=13)
        axes = part.subplots(rows, columns, squeeze=False)
        for one in axes.flat:
            one.set_axis_off()
        for row, (layer, image) in enumerate((n, i) for n in layers for i in images):
            if (number, layer, image) in kept:
                _draw_strip(axes[row], kept[number, layer, image], blocks, titles=row == 0)
        for colours, scale, words in (
            (
                "viridis",
                Normalize(0, 1),
                "activation, 0 and 1: percentiles 1 and 99 of the reference",
            ),
            ("RdBu_r", Normalize(-1, 1), "difference, in the same unit"),
        ):
            mappable = ScalarMappable(scale, colours)
            part.colorbar(
                mappable, ax=axes, location="bottom", shrink=0.4, aspect=40, label=words, pad=0.01
            )
    return figure


def _draw_strip(axes: np.ndarray, strip: Strip, blocks: int, *, titles: bool) -> None:
    """Draw an image and the maps of one layer; what was not compared is greyed out."""
    for column, title in enumerate(("image", "transformed")):
        show(axes[column], picture(strip.images[column]))
        if titles:
            axes[column].set_title(title, fontsize=8)
    _beside(axes[0], strip.layer)
    for block, channel in enumerate(strip.channels[:blocks]):
        scaled, difference = in_units(strip, block)
        titles_shown = (*STAGES[: len(scaled)], DIFFERENCE)
        for place, title in enumerate(titles_shown):
            one = axes[2 + block * len(titles_shown) + place]
            if place < len(scaled):
                show(one, scaled[place], cmap="viridis", vmin=0, vmax=1)
            else:
                show(one, difference, cmap="RdBu_r", vmin=-1, vmax=1)
            if titles:
                one.set_title(title, fontsize=8)
            if place == 0:
                _beside(one, f"channel {channel}")


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


def _beside(axes: Axes, words: str) -> None:
    """Write upright beside a picture."""
    place: dict[str, Any] = {
        "transform": axes.transAxes,
        "rotation": 90,
        "ha": "right",
        "va": "center",
    }
    axes.text(-0.06, 0.5, words, fontsize=8, **place)


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
