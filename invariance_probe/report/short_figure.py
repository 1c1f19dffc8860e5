"""The figure that a page shows first: what the best warp leaves, between its anchors."""

import math

from matplotlib.figure import Figure

from invariance_probe.report.rules import Residuals
from invariance_probe.results.methods import Method
from invariance_probe.results.style import apart, figure_style
from invariance_probe.results.style import svg as written

_LABELS = {
    Method.UNRELATED: "unrelated images",
    Method.AFFINE: "best affine warp",
    Method.ANY_WARP: "proven bound",
    Method.FLOOR: "perfect layer",
}


def svg(found: dict[tuple[object, ...], Residuals]) -> bytes:
    """Draw it.

    Args:
        found: What is left by family and layer.

    Returns:
        The contents of an SVG file: a panel a family, one under the other, a place a layer.
    """
    families = list(dict.fromkeys(str(family) for family, _ in found))
    with figure_style():
        figure = Figure(figsize=(6.2, 2.3 * len(families) + 0.9), layout="constrained")
        panels = figure.subplots(len(families), 1, sharex=True, squeeze=False)[:, 0]
        for axes, family in zip(panels, families, strict=True):
            here = {str(name): one for (f, name), one in found.items() if f == family}
            named: list[tuple[Method, float]] = []
            for method in _LABELS:
                left = [one.of(method) for one in here.values()]
                places = [n for n, each in enumerate(left) if not math.isnan(each.mean)]
                if not places:
                    continue
                mean = [left[n].mean for n in places]
                ends = [(n, left[n]) for n in places if not math.isnan(left[n].low)]
                axes.vlines(
                    [n for n, _ in ends],
                    [each.low for _, each in ends],
                    [each.high for _, each in ends],
                    color=method.colour,
                    linewidth=4,
                    alpha=0.35,
                )
                marker = "_" if method is Method.ANY_WARP else "o"
                size = 13 if method is Method.ANY_WARP else 6
                axes.plot(
                    places,
                    mean,
                    marker,
                    markersize=size,
                    markeredgewidth=2 if marker == "_" else 0,
                    color=method.colour,
                )
                named.append((method, mean[-1]))
            for (method, _), y in zip(named, apart([y for _, y in named], 0.2), strict=True):
                place = (len(here) - 0.75, y)
                axes.annotate(_LABELS[method], place, fontsize=11, va="center", color=".15")
            axes.set_xlim(-0.4, len(here) + 0.7)
            axes.set_ylim(0, 2.4)
            axes.set_title(family, loc="left", fontsize=12)
            axes.spines[["top", "right"]].set_visible(False)
            axes.set_xticks(range(len(here)), map(_end, here), rotation=25, ha="right", fontsize=10)
        figure.supylabel("fraction of variance unexplained", fontsize=11)
        return written(figure, "short")


def _end(name: str) -> str:
    """What tells layers apart, as long as a tick has room for."""
    return name if len(name) <= _LONGEST else f"…{name[-_LONGEST:]}"


_LONGEST = 20
"""Letters of a layer's name below a figure."""
