"""What trainings look like on a page."""

import math

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from invariance_probe.results import style

_INK = "#0072B2"


def svg(rows: pd.DataFrame, table: pd.DataFrame, name: str) -> bytes:
    """Draw error by variant, a panel for each perturbation.

    Args:
        rows: Trainings of one data set.
        table: Their means and intervals, as of `runs.table`.
        name: Of the figure.

    Returns:
        The contents of an SVG file.
    """
    tasks = list(dict.fromkeys(rows["perturbation"]))
    with style.figure_style():
        figure = Figure(figsize=(3.6 * len(tasks) + 1, 3.6), layout="constrained")
        panels = figure.subplots(1, len(tasks), squeeze=False)[0]
        for axes, task in zip(panels, tasks, strict=True):
            _panel(axes, rows[rows["perturbation"] == task], table[table["perturbation"] == task])
            axes.set_title(task)
        panels[0].set_ylabel("error (%)")
        sns.despine(figure)
    return style.svg(figure, name)


def _panel(axes: Axes, rows: pd.DataFrame, table: pd.DataFrame) -> None:
    variants = sorted(dict.fromkeys(rows["variant"]), key=lambda name: (name != "cnn", name))
    means = table.set_index("variant")
    for place, variant in enumerate(variants):
        errors = 100 * rows[rows["variant"] == variant]["error"]
        axes.scatter([place - 0.15] * len(errors), errors, s=16, color="#767676", alpha=0.7)
        mean, low, high = (
            100 * means.loc[variant, n] for n in ("error", "error_low", "error_high")
        )
        ends = [[mean - low], [high - mean]] if math.isfinite(low) else None
        axes.errorbar(place + 0.12, mean, yerr=ends, fmt="o", color=_INK, capsize=3)
    axes.set_xticks(range(len(variants)), variants)
    axes.set_xlim(-0.6, len(variants) - 0.4)
    axes.set_ylim(bottom=0)
