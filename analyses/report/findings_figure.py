"""A finding as a picture: each contrast with its interval, beside what would count as none."""

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from analyses.report.paired import CONFIRMED, CONTRADICTED, Verdict
from invariance_probe.results.style import figure_style
from invariance_probe.results.style import svg as written

_COLOURS = {CONFIRMED: "#009E73", CONTRADICTED: "#D55E00"}


def svg(verdicts: Sequence[Verdict], name: str) -> bytes:
    """Draw the primary contrasts of a finding.

    Args:
        verdicts: One a task.
        name: Of the figure.

    Returns:
        The contents of an SVG file: a panel a task, one under the other, as units differ.
    """
    with figure_style():
        figure = Figure(figsize=(6.2, 0.85 * len(verdicts) + 0.5), layout="constrained")
        panels = figure.subplots(len(verdicts), 1, squeeze=False)[:, 0]
        for axes, verdict in zip(panels, verdicts, strict=True):
            contrast = verdict.contrast
            low, high = contrast.interval()
            colour = _COLOURS.get(verdict.word, "#767676")
            axes.axvspan(-contrast.margin, contrast.margin, color="#767676", alpha=0.15, lw=0)
            axes.axvline(0, color=".15", linewidth=1)
            if not math.isnan(low):
                axes.plot([low, high], [0, 0], color=colour, linewidth=4, alpha=0.5)
            axes.plot([contrast.estimate], [0], "o", color=colour, markersize=8)
            plain = contrast.said.sentence if contrast.said else ""
            words = plain if plain.startswith("under") else contrast.words
            task = words.partition(",")[0]
            unit = f" in{contrast.unit}" if contrast.unit else ""
            axes.set_title(f"{task}{unit}: {verdict.word}", loc="left", fontsize=10)
            axes.set_yticks([])
            axes.spines[["left", "top", "right"]].set_visible(False)
            axes.tick_params(labelsize=9)
        return written(figure, name)
