"""Figures from frames: residual against the parameter, residual by depth, the maps themselves."""

import difflib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from invariance_probe.errors import InvalidInputError
from invariance_probe.records import Strip
from invariance_probe.results import ProbeResult

METHOD_COLOURS = {
    "identity": "#767676",
    "oracle": "#E69F00",
    "affine": "#0072B2",
    "floor": "#009E73",
    "unrelated": "#CC79A7",
}
"""One colour a method in every figure: Okabe and Ito's palette, safe for colour-blind readers."""
METHOD_LABELS = {
    "identity": "no warp",
    "oracle": "oracle warp",
    "affine": "best affine warp",
    "floor": "interpolation floor",
    "unrelated": "unrelated images (chance)",
}
AXIS_LABELS = {
    "rotation": "rotation of the input (degrees)",
    "scaling": "scaling of the input (factor)",
    "shear": "horizontal shear of the input",
    "translation": "shift of the input (pixels)",
    "reflection": "axis of the reflection (degrees)",
    "affine": "transform (number)",
}
RESIDUAL = "fraction of variance unexplained"


def kinds(result: ProbeResult) -> list[str]:
    """List the figures that a result can be drawn as.

    Args:
        result: A probe's result.

    Returns:
        Families of transforms, ``"depth"`` and, where maps were kept, ``"maps"``.
    """
    families = [str(kind) for kind in result.table["transform"].cat.categories]
    return [*families, "depth", *(["maps"] if result.strips else [])]


def plot(result: ProbeResult, kind: str) -> Figure:
    """Draw one figure.

    Args:
        result: A probe's result.
        kind: One of `kinds`.

    Returns:
        The figure, to be saved or shown.

    Raises:
        InvalidInputError: If the result cannot be drawn like this.
    """
    known = kinds(result)
    if kind not in known:
        close = difflib.get_close_matches(kind, known, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise InvalidInputError(f"unknown figure {kind!r}; {hint}this run has {', '.join(known)}")
    with mpl.rc_context(), sns.axes_style("ticks"), sns.plotting_context("notebook"):
        if kind == "depth":
            return _plot_depth(result)
        if kind == "maps":
            return _plot_maps(result)
        return _plot_parameter(result, kind)


def save(figure: Figure, stem: Path) -> None:
    """Write a figure as PNG and SVG.

    Args:
        figure: What to write.
        stem: Path without suffix.
    """
    # without date and random identifiers the same figure gives the same file
    with mpl.rc_context({"svg.hashsalt": stem.name}):
        figure.savefig(stem.with_suffix(".png"), dpi=150, bbox_inches="tight")
        figure.savefig(stem.with_suffix(".svg"), bbox_inches="tight", metadata={"Date": None})


def _layer_colours(layers: Sequence[str]) -> dict[str, tuple[float, float, float]]:
    """From light (shallow) to dark (deep)."""
    return dict(zip(layers, sns.color_palette("flare", len(layers)), strict=True))


def _caption(result: ProbeResult) -> str:
    images = len(result.config["images"])
    intervals = "; ribbons: 95 % bootstrap over images" if images > 1 else ""
    return f"{result.config['model']}, {images} image{'s' if images > 1 else ''}{intervals}"


def _ceiling(frame: pd.DataFrame) -> float:
    top = np.nanmax(frame[["mean", "high"]].to_numpy(dtype=float))
    return 1.05 * max(1.0, float(top)) if math.isfinite(top) else 1.0


def _plot_parameter(result: ProbeResult, kind: str) -> Figure:
    """Residual against the parameter: oracle and best affine warp, one line a layer."""
    frame = result.summary(["layer", "transform", "parameter", "method", "metric"])
    frame = frame[(frame["metric"] == "fvu") & (frame["transform"] == kind)]
    x = "parameter"
    if frame[x].isna().all():
        # members without one number are shown in the order in which they were given
        frame = result.summary(["layer", "transform", "transform_number", "method", "metric"])
        frame = frame[(frame["metric"] == "fvu") & (frame["transform"] == kind)]
        x = "transform_number"
    layers = list(result.layers["name"])
    colours = _layer_colours(layers)
    shown = [m for m in ("oracle", "affine") if (frame["method"] == m).any()] or [
        str(frame["method"].iloc[0])
    ]
    figure = Figure(figsize=(5.2 * len(shown) + 2.6, 4.6), layout="constrained")
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    bands = {method: _band(frame, method, x) for method in ("floor", "unrelated")}
    for axes, method in zip(panels, shown, strict=True):
        for name, band in bands.items():
            if not band.empty:
                axes.fill_between(
                    band.index,
                    band["min"],
                    band["max"],
                    color=METHOD_COLOURS[name],
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
        axes.set_title(METHOD_LABELS[method])
        axes.set_xlabel(AXIS_LABELS.get(kind, kind))
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
        Patch(color=METHOD_COLOURS[name], alpha=0.3, label=METHOD_LABELS[name])
        for name, band in bands.items()
        if not band.empty
    ]
    figure.legend(handles=handles, loc="outside right center", frameon=False)
    figure.suptitle(_caption(result), fontsize=11)
    sns.despine(figure)
    return figure


def _band(frame: pd.DataFrame, method: str, x: str) -> pd.DataFrame:
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


def _plot_depth(result: ProbeResult) -> Figure:
    """Residual by layer, one line a method, one panel a family."""
    frame = result.summary()
    frame = frame[frame["metric"] == "fvu"]
    families = [str(kind) for kind in dict.fromkeys(frame["transform"])]
    if not families:
        raise InvalidInputError("every transform of this run is the identity; nothing to draw")
    layers = list(result.layers["name"])
    place = {layer: i for i, layer in enumerate(layers)}
    figure = Figure(figsize=(4.8 * len(families) + 2.8, 4.8), layout="constrained")
    panels = figure.subplots(1, len(families), sharey=True, squeeze=False)[0]
    methods = [m for m in METHOD_COLOURS if (frame["method"] == m).any()]
    for axes, family in zip(panels, families, strict=True):
        for method in methods:
            rows = frame[(frame["transform"] == family) & (frame["method"] == method)]
            x = rows["layer"].map(place).astype(float)
            axes.fill_between(
                x, rows["low"], rows["high"], color=METHOD_COLOURS[method], alpha=0.2, linewidth=0
            )
            axes.plot(
                x,
                rows["mean"],
                marker="o",
                markersize=5,
                linewidth=1.8,
                color=METHOD_COLOURS[method],
                label=METHOD_LABELS[method],
            )
        axes.set_xticks(range(len(layers)), layers, rotation=35, ha="right")
        axes.set_title(family)
        axes.set_xlabel("layer, from shallow to deep")
    panels[0].set_ylabel(RESIDUAL)
    panels[0].set_ylim(0, _ceiling(frame))
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False)
    figure.suptitle(_caption(result), fontsize=11)
    sns.despine(figure)
    return figure


STAGES = ("reference", "moved", "oracle-warped", "best-warped", "difference")
"""Columns of the picture of the maps; the last is best-warped minus reference, over the region."""


def _plot_maps(result: ProbeResult) -> Figure:
    """Maps of one image: a row for each layer, the two strongest channels side by side."""
    numbers = sorted({strip.transform for strip in result.strips})
    layers = list(result.layers["name"])
    blocks = max(len(strip.channels) for strip in result.strips)
    columns = blocks * len(STAGES)
    rows = len(layers) + 1
    figure = Figure(
        figsize=(1.35 * columns + 1.6, (1.42 * rows + 0.5) * len(numbers)), layout="constrained"
    )
    parts = figure.subfigures(len(numbers), 1, squeeze=False)[:, 0]
    for part, number in zip(parts, numbers, strict=True):
        strips = {strip.layer: strip for strip in result.strips if strip.transform == number}
        move = result.config["moves"][number]
        value = "" if math.isnan(move["parameter"]) else f" {move['parameter']:g}"
        part.suptitle(f"{move['kind']}{value}", fontsize=13)
        axes = part.subplots(rows, columns, squeeze=False)
        for one in axes.flat:
            one.set_axis_off()
        any_strip = next(iter(strips.values()))
        for column, title in enumerate(("image", "transformed")):
            _show(axes[0, column], _picture(any_strip.images[column]))
            axes[0, column].set_title(title, fontsize=10)
        for row, layer in enumerate(layers, start=1):
            if layer in strips:
                _draw_strip(axes[row], strips[layer], titles=row == 1)
    return figure


def _draw_strip(axes: np.ndarray, strip: Strip, *, titles: bool) -> None:
    """Draw one layer's maps; what was not compared is greyed out."""
    for block, channel in enumerate(strip.channels):
        stages = strip.maps[:, block]
        low, high = np.percentile(stages[0], [1, 99])
        difference = np.where(strip.region, stages[3] - stages[0], np.nan)
        span = max(float(high - low), 1e-12)
        for column, title in enumerate(STAGES):
            one = axes[block * len(STAGES) + column]
            if column < len(stages):
                _show(one, stages[column], cmap="viridis", vmin=low, vmax=high)
            else:
                _show(one, difference, cmap="RdBu_r", vmin=-span, vmax=span)
            if titles:
                one.set_title(title, fontsize=10)
            if column == 0:
                label = f"channel {channel}" if block else f"{strip.layer}\nchannel {channel}"
                one.text(
                    -0.06,
                    0.5,
                    label,
                    transform=one.transAxes,
                    rotation=90,
                    ha="right",
                    va="center",
                    fontsize=9,
                )


def _show(axes: Axes, image: Float[np.ndarray, "..."], **options: Any) -> None:
    axes.set_axis_on()
    axes.imshow(image, interpolation="nearest", **options)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_facecolor("#dddddd")
    for spine in axes.spines.values():
        spine.set_visible(False)


def _picture(
    pixels: Float[np.ndarray, "channel height width"],
) -> Float[np.ndarray, "height width 3"]:
    """Make any image showable: the first one or three channels, stretched if outside [0, 1]."""
    shown = pixels[:3] if len(pixels) >= 3 else np.repeat(pixels[:1], 3, axis=0)
    low, high = float(shown.min()), float(shown.max())
    if low < -0.2 or high > 1.2:
        shown = (shown - low) / max(high - low, 1e-12)
    clipped: np.ndarray = np.clip(shown, 0, 1)
    return clipped.transpose(1, 2, 0)
