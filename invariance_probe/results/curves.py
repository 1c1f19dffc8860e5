"""Residuals as curves: against the transform's parameter, and by depth."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from invariance_probe.errors import InvalidInputError
from invariance_probe.results.methods import METHODS, Method
from invariance_probe.results.style import AXIS_LABELS, RESIDUAL, Figure, caption
from invariance_probe.results.tables import ProbeTables


def _layer_colours(layers: Sequence[str]) -> dict[str, tuple[float, float, float]]:
    """From light (shallow) to dark (deep)."""
    return dict(zip(layers, sns.color_palette("flare", len(layers)), strict=True))


def _ceiling(frame: pd.DataFrame) -> float:
    top = np.nanmax(frame[["mean", "high"]].to_numpy(dtype=float))
    return 1.05 * max(1.0, float(top)) if math.isfinite(top) else 1.0


def plot_parameter(tables: ProbeTables, kind: str) -> Figure:
    """Draw the residual against the parameter: oracle and best affine warp, one line a layer.

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
    colours = _layer_colours(layers)
    shown = [m for m in (Method.ORACLE, Method.AFFINE) if (frame["method"] == m).any()] or [
        Method(frame["method"].iloc[0])
    ]
    figure = Figure(figsize=(5.2 * len(shown) + 2.6, 4.6), layout="constrained")
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    bands = {method: _band(frame, method, x) for method in (Method.FLOOR, Method.UNRELATED)}
    for axes, method in zip(panels, shown, strict=True):
        for compared, band in bands.items():
            if not band.empty:
                axes.fill_between(
                    band.index,
                    band["min"],
                    band["max"],
                    color=compared.colour,
                    alpha=0.22,
                    linewidth=0,
                )
        for layer in layers:
            rows = frame[(frame["layer"] == layer) & (frame["method"] == method)].sort_values(x)
            axes.fill_between(
                rows[x], rows["low"], rows["high"], color=colours[layer], alpha=0.18, linewidth=0
            )
            axes.plot(
                rows[x], rows["mean"], marker="o", markersize=4, linewidth=1.8, color=colours[layer]
            )
        axes.set_title(method.label)
        axes.set_xlabel(AXIS_LABELS.get(kind if x == "parameter" else "affine", kind))
        _parameter_axis(axes, kind, frame[x])
    panels[0].set_ylabel(RESIDUAL)
    drawn = frame[frame["method"].isin(shown)]
    bands_top = max((float(b["max"].max()) for b in bands.values() if not b.empty), default=0.0)
    panels[0].set_ylim(0, max(_ceiling(drawn), 1.05 * bands_top))
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=colours[layer], marker="o", markersize=4, label=layer)
        for layer in layers
    ]
    handles += [
        Patch(color=compared.colour, alpha=0.3, label=compared.label)
        for compared, band in bands.items()
        if not band.empty
    ]
    figure.legend(handles=handles, loc="outside right center", frameon=False)
    figure.suptitle(caption(tables), fontsize=11)
    sns.despine(figure)
    return figure


def _band(frame: pd.DataFrame, method: Method, x: str) -> pd.DataFrame:
    """Range over the layers of a method's mean, by parameter."""
    rows = frame[frame["method"] == method].dropna(subset=["mean"])
    return rows.groupby(x, observed=True)["mean"].agg(["min", "max"])


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
    place = {layer: i for i, layer in enumerate(layers)}
    figure = Figure(figsize=(4.8 * len(families) + 2.8, 4.8), layout="constrained")
    panels = figure.subplots(1, len(families), sharey=True, squeeze=False)[0]
    methods = [m for m in METHODS if (frame["method"] == m).any()]
    for axes, family in zip(panels, families, strict=True):
        for method in methods:
            rows = frame[(frame["transform"] == family) & (frame["method"] == method)]
            x = rows["layer"].map(place).astype(float)
            axes.fill_between(
                x, rows["low"], rows["high"], color=method.colour, alpha=0.2, linewidth=0
            )
            axes.plot(
                x,
                rows["mean"],
                marker="o",
                markersize=5,
                linewidth=1.8,
                color=method.colour,
                linestyle=method.line,
                label=method.label,
            )
        axes.set_xticks(range(len(layers)), layers, rotation=35, ha="right")
        axes.set_title(family)
        axes.set_xlabel("layer, from shallow to deep")
    panels[0].set_ylabel(RESIDUAL)
    panels[0].set_ylim(0, _ceiling(frame))
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False)
    figure.suptitle(caption(tables), fontsize=11)
    sns.despine(figure)
    return figure
