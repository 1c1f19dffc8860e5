"""One style for every figure: its context, labels, captions, files."""

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import matplotlib.figure
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

from invariance_probe.results.tables import ProbeTables
from invariance_probe.statistics import FEWEST, interval_words

AXIS_LABELS = {
    "rotation": "rotation of the input (degrees)",
    "scaling": "scaling of the input (factor)",
    "shear": "horizontal shear of the input",
    "translation": "shift of the input (pixels)",
    "reflection": "axis of the reflection (degrees)",
    "affine": "transform (number)",
}
RESIDUAL = "fraction of variance unexplained"


class Figure(mpl.figure.Figure):
    """A figure that a notebook shows, also where pyplot was never imported."""

    def _repr_png_(self) -> bytes:
        """What notebooks ask for."""
        stream = io.BytesIO()
        self.savefig(stream, format="png", dpi=100, bbox_inches="tight")
        return stream.getvalue()


@contextmanager
def figure_style() -> Iterator[None]:
    """Draw in the style of this project, and leave matplotlib's settings as they were.

    Yields:
        Nothing.
    """
    with mpl.rc_context(), sns.axes_style("ticks"), sns.plotting_context("notebook"):
        yield


def caption(tables: ProbeTables, intervals: str = "ribbons") -> str:
    """Say what a figure shows.

    Args:
        tables: A run's tables.
        intervals: How its intervals are drawn.

    Returns:
        Model, number of images, what the intervals are.
    """
    images = len(tables.config["images"])
    where = f"{intervals}: " if images >= FEWEST else ""
    said = f"{images} image{'s' if images > 1 else ''}; {where}{interval_words(images)}"
    return f"{tables.config['model']}, {said}"


def apart(places: Sequence[float], gap: float) -> list[float]:
    """Move labels as little as needed, so that none lies over another.

    Args:
        places: Where they belong, along one axis.
        gap: Distance that they need.

    Returns:
        Where they go, in the order given.
    """
    order = sorted(range(len(places)), key=lambda i: places[i])
    out = [float(place) for place in places]
    for _ in range(len(places) ** 2):
        for low, high in pairwise(order):
            if (short := gap - (out[high] - out[low])) > 1e-9:
                out[low] -= short / 2
                out[high] += short / 2
    return out


def label_ends(axes: Axes, ends: Sequence[tuple[float, float, str, Any]]) -> None:
    """Write the names of lines beside their last points, none over another.

    Args:
        axes: Whose limits are final.
        ends: Place, value, words and colour of each; ends without a value are passed over.
    """
    there = [end for end in ends if math.isfinite(end[1])]
    low, high = axes.get_ylim()
    gap = _LABEL_GAP * (high - low)
    places = apart([min(max(end[1], low), high) for end in there], gap)
    lift = max(0.0, low + gap / 3 - min(places, default=high))
    places = [place + lift for place in places]
    for (x, y, words, colour), place in zip(there, places, strict=True):
        axes.annotate(
            words,
            (x, y),
            xytext=(8, (place - y) / (high - low) * axes.bbox.height * 72 / axes.figure.dpi),
            textcoords="offset points",
            fontsize=9,
            va="center",
            color=colour,
            annotation_clip=False,
        )


_LABEL_GAP = 0.07
"""Height of a label, as a share of that of the axes."""


def svg(figure: mpl.figure.Figure, name: str, box: Bbox | Literal["tight"] = "tight") -> bytes:
    """Write a figure as vectors; the same figure under the same name gives the same bytes.

    Args:
        figure: What to write.
        name: Of the figure; identifiers within it depend on it.
        box: What part of it, in inches; all that is drawn by default.

    Returns:
        The contents of an SVG file.
    """
    stream = io.BytesIO()
    # matplotlib's own identifiers are random, and it notes the date
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(stream, format="svg", bbox_inches=box, metadata={"Date": None})
    return stream.getvalue()


def save(figure: mpl.figure.Figure, stem: Path) -> None:
    """Write a figure as PNG and SVG.

    Args:
        figure: What to write.
        stem: Path without suffix.
    """
    box = _laid_out(figure)
    # of large pictures the usual effort takes a third of the time, for a tenth of the bytes
    quick = {"compress_level": 1}
    figure.savefig(stem.with_suffix(".png"), dpi=150, bbox_inches=box, pil_kwargs=quick)
    stem.with_suffix(".svg").write_bytes(svg(figure, stem.name, box))


def _laid_out(figure: mpl.figure.Figure) -> Bbox:
    """Put everything in its place for good, which costs as much as drawing; what it takes up."""
    # axes have their size whatever picture they hold
    pictures = [picture for axes in figure.axes for picture in axes.images if picture.get_visible()]
    for picture in pictures:
        picture.set_visible(False)
    figure.draw_without_rendering()
    for picture in pictures:
        picture.set_visible(True)
    figure.set_layout_engine("none")
    return figure.get_tightbbox().padded(mpl.rcParams["savefig.pad_inches"])
