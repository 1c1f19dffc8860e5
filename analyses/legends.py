"""One legend for all panels of a figure."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure


def shared_legend(figure: Figure, axes: Axes, side: str = "lower center", **options: Any) -> None:
    """Put the legend of one panel outside, for all of them.

    Args:
        figure: Of the panels.
        axes: The panel whose labels count.
        side: Of the figure.
        **options: Of `matplotlib.figure.Figure.legend`.
    """
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc=f"outside {side}", frameon=False, **options)
