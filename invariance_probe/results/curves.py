"""Residuals as curves: against the transform's parameter, and by depth."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from invariance_probe.alignment.mixing import Kind
from invariance_probe.errors import InvalidInputError
from invariance_probe.results.methods import METHODS, Method
from invariance_probe.results.style import AXIS_LABELS, RESIDUAL, Figure, caption, label_ends
from invariance_probe.results.tables import ProbeTables


def _ceiling(frame: pd.DataFrame) -> float:
    """Where the axis ends: above all but the ribbon of chance, which would press the rest flat."""
    ends = frame["high"].where(frame["method"].astype(str) != Method.UNRELATED)
    values = np.concatenate([frame["mean"].to_numpy(float), ends.to_numpy(float)])
    known = values[np.isfinite(values)]
    return 1.05 * max(1.0, float(known.max())) if len(known) else 1.0


def _title(tables: ProbeTables, frame: pd.DataFrame) -> str:
    """The caption, and how far the ribbon of chance goes where it is cut off."""
    chance = frame[frame["method"].astype(str) == Method.UNRELATED]["high"].max()
    cut = f"; that of chance reaches {chance:.1f}" if chance > _ceiling(frame) else ""
    return caption(tables) + cut


def plot_parameter(tables: ProbeTables, kind: str) -> Figure:
    """Draw the residual against the parameter: oracle and best affine warp, a panel a layer.

    Args:
        tables: A run's tables.
        kind: A family of its transforms.

    Returns:
        The figure.
    """
    frame = tables.summary(["layer", "transform", "parameter", "method", "metric"])
    frame = frame[(frame["metric"] == "fvu") & (frame["transform"] == kind)]
    x = "parameter"
    if frame[x].isna().any():
        # where one number cannot name a member, all are shown in the order in which they were given
        x = "transform_number"
    layers = list(tables.layers["name"])
    drawn = (Method.UNRELATED, Method.ORACLE, Method.AFFINE, Method.FLOOR)
    shown = [m for m in drawn if (frame["method"] == m).any()]
    if not set(shown) - {Method.UNRELATED, Method.FLOOR}:
        shown.append(Method(frame["method"].iloc[0]))
    figure, panels = _panels(layers, sharex=True)
    for axes, layer in zip(panels, layers, strict=True):
        for method in shown:
            rows = frame[(frame["layer"] == layer) & (frame["method"] == method)].sort_values(x)
            _ribbon(axes, rows[x], rows, method)
        axes.set_title(layer, fontsize=11)
        _parameter_axis(axes, kind, frame[x])
    panels[0].set_ylim(0, _ceiling(frame[frame["method"].isin(shown)]))
    figure.supylabel(RESIDUAL, fontsize=12)
    for axes in panels[-_ACROSS:]:
        axes.set_xlabel(AXIS_LABELS.get(kind if x == "parameter" else "affine", kind), fontsize=10)
    _key(figure, shown)
    figure.suptitle(_title(tables, frame[frame["method"].isin(shown)]), fontsize=11)
    sns.despine(figure)
    return figure


_ACROSS = 3
"""Panels beside each other."""


def _panels(titles: Sequence[str], *, sharex: bool) -> tuple[Figure, list[Axes]]:
    """A figure of small multiples, as wide as a page."""
    across = min(_ACROSS, len(titles))
    down = math.ceil(len(titles) / across)
    size = (2.9 * across + 0.8, 2.5 * down + 1.6)
    figure = Figure(figsize=size, layout="constrained")
    panels = list(figure.subplots(down, across, sharex=sharex, sharey=True, squeeze=False).flat)
    for axes in panels[len(titles) :]:
        axes.set_axis_off()
    # the lowest panel of a column has the numbers
    for axes in panels[: len(titles)][-across:]:
        axes.tick_params(labelbottom=True)
    return figure, panels[: len(titles)]


def _ribbon(axes: Axes, x: pd.Series, rows: pd.DataFrame, method: Method) -> None:
    """Means as a line, their intervals as a ribbon."""
    colour = method.colour
    axes.fill_between(x, rows["low"], rows["high"], color=colour, alpha=0.18, linewidth=0)
    axes.plot(x, rows["mean"], **_line(method), linewidth=1.8)


def _line(method: Method) -> dict[str, Any]:
    """How the line of a method looks, and what it is called."""
    style = {"color": method.colour, "linestyle": method.line, "label": method.label}
    return {**style, "marker": "o", "markersize": 4}


def _key(figure: Figure, methods: Sequence[Method]) -> None:
    """Name the lines once, below the panels, in the order in which they lie."""
    handles = [Line2D([], [], **_line(method)) for method in methods]
    figure.legend(handles=handles, loc="outside lower center", frameon=False, ncols=4, fontsize=10)


def _parameter_axis(axes: Axes, kind: str, values: pd.Series) -> None:
    """Ticks where a reader looks for them."""
    low, high = float(values.min()), float(values.max())
    if kind in {"rotation", "reflection"}:
        step = next((s for s in (15, 30, 45, 90) if (high - low) / s <= 8), 180)
        axes.set_xticks(np.arange(math.ceil(low / step) * step, high + 1e-9, step))
    elif kind == "scaling" and low < high:
        axes.set_xscale("log", base=2)
        ticks = [t for t in (0.25, 0.5, 0.7, 1, 1.4, 2, 2.8, 4) if low * 0.99 <= t <= high * 1.01]
        axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axes.minorticks_off()


def plot_depth(tables: ProbeTables) -> Figure:
    """Draw the residual by layer, one line a method, one panel a family.

    Args:
        tables: A run's tables.

    Returns:
        The figure.

    Raises:
        InvalidInputError: If no transform changes anything.
    """
    frame = tables.summary()
    frame = frame[frame["metric"] == "fvu"]
    families = [str(kind) for kind in dict.fromkeys(frame["transform"])]
    if not families:
        raise InvalidInputError("every transform of this run is the identity; nothing to draw")
    layers = list(tables.layers["name"])
    methods = [m for m in METHODS if (frame["method"] == m).any()]
    # ten curves are two times five: warps alone, and what mixings leave after them
    anchors = [m for m in (Method.FLOOR,) if m in methods]
    rows = {"warps": [m for m in methods if not m.mixing]}
    # what a gain leaves is a step towards the partition of the variance, which has its figure
    if mixed := [m for m in methods if m.mixing not in {None, Kind.GAIN}]:
        rows["warps with the channels permuted or mixed"] = [*mixed, *anchors]
    figure = Figure(
        figsize=(4.9 * len(families) + 0.8, 3.6 * len(rows) + 0.8), layout="constrained"
    )
    panels = figure.subplots(len(rows), len(families), sharex=True, sharey=True, squeeze=False)
    panels[0, 0].set_ylim(0, _ceiling(frame))
    # room for the names of the lines
    panels[0, 0].set_xlim(-0.3, len(layers) - 1 + 0.55 * len(layers))
    for line, (title, some) in zip(panels, rows.items(), strict=True):
        for axes, family in zip(line, families, strict=True):
            _draw_depth(axes, frame[frame["transform"] == family], layers, some)
            axes.set_title(f"{family}: {title}", fontsize=11, loc="left")
            axes.set_xticks(range(len(layers)), layers, rotation=35, ha="right")
    figure.supylabel(RESIDUAL, fontsize=12)
    figure.supxlabel("layer, from shallow to deep", fontsize=12)
    figure.suptitle(_title(tables, frame), fontsize=11)
    sns.despine(figure)
    # where labels go is known once the panels have their size
    figure.draw_without_rendering()
    for line, some in zip(panels, rows.values(), strict=True):
        for axes, family in zip(line, families, strict=True):
            last = frame[(frame["transform"] == family) & (frame["layer"] == layers[-1])]
            mean = last.set_index("method")["mean"]
            end = len(layers) - 1
            label_ends(axes, [(end, float(mean.get(m, math.nan)), m.label, ".15") for m in some])
    return figure


def _draw_depth(
    axes: Axes, frame: pd.DataFrame, layers: Sequence[str], methods: Sequence[Method]
) -> None:
    """One panel: a line a method over the layers."""
    place = {layer: number for number, layer in enumerate(layers)}
    for method in methods:
        rows = frame[frame["method"] == method]
        _ribbon(axes, rows["layer"].map(place).astype(float), rows, method)
