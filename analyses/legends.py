"""One legend for all panels of a figure."""

from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

Place = Literal["outside lower center", "outside right center"]


def shared_legend(
    figure: Figure, axes: Axes, place: Place = "outside lower center", **options: Any
) -> None:
    """Put the legend of one panel outside, for all of them.

    Args:
        figure: Of the panels.
        axes: The panel whose labels count.
        place: Beside the panels.
        **options: Of `matplotlib.figure.Figure.legend`.
    """
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc=place, frameon=False, **options)
