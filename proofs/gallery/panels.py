"""Rows of small images with a sentence above them: the form of most pictures."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from proofs.worlds.plane_maps import Points

EXTENT = 4.0
"""Half width of the part of the plane that is drawn."""

SIDE = 121
"""Samples across it."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One small image.

    Args:
        values: (height, width).
        title: what it shows.
        limit: value drawn in full colour; None for the largest.
        extent: half width in units of the plane; None for pixels.
    """

    values: np.ndarray
    title: str
    limit: float | None = None
    extent: float | None = EXTENT


def grid() -> Points:
    """The positions at which the plane is drawn, row by row from the top.

    Returns:
        SIDE^2 x 2.
    """
    side = np.linspace(-EXTENT, EXTENT, SIDE)
    return np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)


def of_plane(
    function: Callable[[Points], np.ndarray], title: str, limit: float | None = None
) -> Panel:
    """A panel of a function on the plane.

    Args:
        function: values at points.
        title: what it shows.
        limit: value drawn in full colour.

    Returns:
        The panel.
    """
    return Panel(values=function(grid()).reshape(SIDE, SIDE), title=title, limit=limit)


def of_pixels(maps: Tensor, title: str, limit: float | None = None, channel: int = 0) -> Panel:
    """A panel of one channel on the lattice.

    Args:
        maps: (1, channels, height, width).
        title: what it shows.
        limit: value drawn in full colour.
        channel: which.

    Returns:
        The panel.
    """
    return Panel(values=maps[0, channel].numpy(), title=title, limit=limit, extent=None)


def figure(sentence: str, rows: Sequence[Sequence[Panel]]) -> tuple[Figure, list[list[Axes]]]:
    """Lay out panels; blue is below 0, white is 0, red above.

    Args:
        sentence: what to see, above everything.
        rows: of panels, of equal length.

    Returns:
        The figure and its axes, row by row.
    """
    tall = rows[0][0].values.shape[0] / rows[0][0].values.shape[1]
    width, height = 2.5 * len(rows[0]), (2.5 * tall + 0.35) * len(rows)
    lines = textwrap.wrap(sentence, int(width * 11.5))
    drawn = Figure(figsize=(width, height + 0.25 * len(lines)), layout="constrained")
    drawn.suptitle("\n".join(lines), fontsize=11, x=0.01, ha="left")
    axes = drawn.subplots(len(rows), len(rows[0]), squeeze=False)
    for row, places in zip(rows, axes, strict=True):
        for panel, axis in zip(row, places, strict=True):
            show(panel, axis)
    return drawn, [list(places) for places in axes]


def show(panel: Panel, axis: Axes) -> None:
    """Draw one panel.

    Args:
        panel: what.
        axis: where.
    """
    limit = panel.limit or max(float(np.abs(panel.values).max()), 1e-12)
    e = panel.extent
    axis.imshow(
        panel.values,
        cmap="RdBu_r",
        vmin=-limit,
        vmax=limit,
        extent=None if e is None else (-e, e, e, -e),
        interpolation="nearest",
    )
    axis.set_title("\n".join(textwrap.wrap(panel.title, 34)), fontsize=8)
    axis.set_xticks([])
    axis.set_yticks([])
