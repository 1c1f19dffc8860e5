"""Where operations read: their sampling grids over the image, as it is and transformed."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import seaborn as sns
from jaxtyping import Float
from matplotlib.axes import Axes

from invariance_probe.results.maps import ON_ANY_GROUND
from invariance_probe.results.style import Figure, figure_style

_LINES = 9
"""Lines of a grid that are drawn along each axis: more would hide the image."""
_PARTS = 12
"""Boxes that are drawn."""
_SMALL = {"axes.titlesize": 10, "axes.labelsize": 10}
_SIDE = 2.2
"""Of a picture, in inches."""


@dataclass(frozen=True, kw_only=True)
class Readings:
    """Where one operation reads in some views of an image.

    Attributes:
        title: What the operation is called.
        positions: For each view where each output position of each part reads, in index coordinates
            of the picture, x and y last; None where it did not happen.
    """

    title: str
    positions: Sequence[Float[np.ndarray, "_ _ _ 2"] | None]


def plot(
    rows: Sequence[Readings],
    pictures: Sequence[Float[np.ndarray, "_ _ _"]],
    titles: Sequence[str],
) -> Figure:
    """Draw sampling grids: a row an operation, a column a view of the image.

    The dot is where the first output position reads: the upper left of what is returned.

    Args:
        rows: The operations.
        pictures: The views, values in [0, 1].
        titles: Of the views.

    Returns:
        The figure.
    """
    with figure_style(), mpl.rc_context(ON_ANY_GROUND | _SMALL):
        size = (_SIDE * len(pictures) + 0.4, _SIDE * max(1, len(rows)) + 0.4)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(max(1, len(rows)), len(pictures), squeeze=False)
        for down, across in np.ndindex(axes.shape):
            ax: Axes = axes.item((down, across))
            picture = pictures[across]
            ax.imshow(
                picture.squeeze(-1) if picture.shape[-1] == 1 else picture[..., :3],
                cmap="gray",
                vmin=0,
                vmax=1,
            )
            ax.set(xticks=[], yticks=[])
            if down == 0:
                ax.set_title(titles[across])
            if down < len(rows):
                _draw(ax, rows[down].positions[across])
                if across == 0:
                    ax.set_ylabel(rows[down].title)
            # a grid may reach beyond the image, but the picture stays what is looked at
            height, width = picture.shape[:2]
            pad = 0.22  # what is turned by 45 degrees reaches so far
            ax.set_xlim(-0.5 - pad * width, width * (1 + pad) - 0.5)
            ax.set_ylim(height * (1 + pad) - 0.5, -0.5 - pad * height)
            sns.despine(ax=ax, left=True, bottom=True)
    return figure


def _draw(ax: Axes, positions: Float[np.ndarray, "_ _ _ 2"] | None) -> None:
    """Draw grids, or of several the outlines."""
    if positions is None:
        ax.text(0.5, 0.5, "absent", transform=ax.transAxes, ha="center", va="center")
        return
    parts, height, width, _ = positions.shape
    colours = sns.color_palette("colorblind", min(parts, _PARTS))
    for part, colour in zip(positions, colours, strict=False):
        most = _LINES if parts == 1 else 2
        rows, columns = _evenly(height, most), _evenly(width, most)
        lines = [part[row] for row in rows] + [part[:, column] for column in columns]
        for line in lines:
            # light around dark is seen on any picture
            ax.plot(*line.T, color="white", linewidth=2.2, alpha=0.6)
            ax.plot(*line.T, color=colour, linewidth=1.0)
        ax.plot(*part[0, 0], "o", color=colour, markeredgecolor="white", markersize=5)


def _evenly(count: int, most: int) -> list[int]:
    """At most so many of some lines, at equal distances but for the last."""
    step = max(1, -(-(count - 1) // (most - 1)))
    return sorted({*range(0, count, step), count - 1})
