"""Figures and pages that the tests of reports share."""

import io

import numpy as np
from matplotlib.figure import Figure

from invariance_probe.report import Drawing


def drawing(name: str = "a line", points: int = 3) -> Drawing:
    """A figure as matplotlib writes it."""
    figure = Figure(figsize=(3, 2))
    values = np.random.default_rng(0).normal(size=(points, 2))
    figure.subplots().plot(*values.T, ".")
    svg, png = io.BytesIO(), io.BytesIO()
    figure.savefig(svg, format="svg")
    figure.savefig(png, format="png")
    return Drawing(alt=f'<{name}> "rising"', caption=name, svg=svg.getvalue(), png=png.getvalue())
