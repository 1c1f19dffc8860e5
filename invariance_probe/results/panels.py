"""One panel of a run's curves, on axes of a reader's own figure."""

import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from invariance_probe.errors import InvalidInputError
from invariance_probe.results import figures
from invariance_probe.results.glance import best_warp, headline_metric
from invariance_probe.results.methods import METHODS, Method
from invariance_probe.results.style import AXIS_LABELS, RESIDUAL
from invariance_probe.results.tables import ProbeTables


def draw(tables: ProbeTables, kind: str, axes: Axes) -> Figure:
    """Draw one panel on axes that are there already, with a legend that can be removed.

    Args:
        tables: A run's tables.
        kind: A family of the run, for one line a layer under `glance.best_warp` over the band of
            ``floor``; or ``"depth"``, for one line a method, of a run with one family.
        axes: Where to draw.

    Returns:
        The figure that the axes belong to.

    Raises:
        InvalidInputError: If the run cannot be drawn like this on one panel.
    """
    summary = tables.summary(["layer", "transform", "parameter", "method", "metric"])
    families = [str(family) for family in dict.fromkeys(summary["transform"])]
    single = [*families, *(["depth"] if len(families) == 1 else [])]
    if kind not in single or kind not in figures.kinds(tables):
        raise InvalidInputError(
            f"figure {kind!r} takes more than the panel ax; without ax= it brings its own figure "
            f"(on one panel this run has {', '.join(single)})"
        )
    if kind == "depth":
        _by_depth(tables, axes)
    else:
        _by_parameter(tables, summary[summary["transform"] == kind], kind, axes)
    axes.set_ylabel(RESIDUAL)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize="small")
    figure = axes.get_figure(root=True)
    assert figure is not None
    return figure


def _by_parameter(tables: ProbeTables, summary: pd.DataFrame, kind: str, axes: Axes) -> None:
    """One line a layer, from light to dark as the network deepens."""
    rows = summary[summary["metric"] == headline_metric(tables)]
    x = "transform_number" if rows["parameter"].isna().any() else "parameter"
    layers, method = list(tables.layers["name"]), best_warp(tables)
    floor = rows[rows["method"] == Method.FLOOR].groupby(x, observed=True)["mean"]
    if len(floor):
        band = floor.agg(["min", "max"])
        axes.fill_between(
            band.index,
            band["min"],
            band["max"],
            color=Method.FLOOR.colour,
            alpha=0.25,
            lw=0,
            label=Method.FLOOR.label,
        )
    for number, layer in enumerate(layers):
        line = rows[(rows["layer"] == layer) & (rows["method"] == method)].sort_values(x)
        colour = colormaps["viridis_r"](0.15 + 0.85 * (number + 1) / len(layers))
        axes.fill_between(line[x], line["low"], line["high"], color=colour, alpha=0.18, lw=0)
        axes.plot(line[x], line["mean"], "o-", markersize=3, color=colour, label=layer)
    axes.set_xlabel(AXIS_LABELS.get(kind if x == "parameter" else "affine", kind))
    axes.set_title(method.label)


def _by_depth(tables: ProbeTables, axes: Axes) -> None:
    """One line a method, layers from shallow to deep."""
    summary = tables.summary()
    rows = summary[summary["metric"] == headline_metric(tables)]
    layers = list(tables.layers["name"])
    for method in METHODS:
        line = rows[rows["method"] == method].set_index("layer").reindex(layers)
        if line["mean"].notna().any():
            places = range(len(layers))
            axes.fill_between(
                places, line["low"], line["high"], color=method.colour, alpha=0.18, lw=0
            )
            axes.plot(
                places,
                line["mean"],
                marker="o",
                markersize=3,
                color=method.colour,
                linestyle=method.line,
                label=method.label,
            )
    axes.set_xticks(range(len(layers)), layers, rotation=35, ha="right")
    axes.set_xlabel("layer, from shallow to deep")
