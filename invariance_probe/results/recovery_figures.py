"""Maps put back, drawn: what the network says by layer, and of one image."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from invariance_probe.errors import InvalidInputError
from invariance_probe.results.maps import picture, show
from invariance_probe.results.methods import METHODS, Method
from invariance_probe.results.predictions import TOP, UPRIGHT
from invariance_probe.results.strips import Strip
from invariance_probe.results.style import Figure, caption
from invariance_probe.results.tables import ProbeTables

_LABELS = {
    "agreement": "same answer as upright",
    "kl": "divergence from the\nupright answer (nats)",
    "output_rel_l2": "distance from the upright\noutput, over its length",
    "output_cosine": "cosine with the\nupright output",
}
"""Metrics that are drawn."""
_ANCHORS = (Method.INPUT, Method.FLOOR, Method.UNRELATED)
"""Drawn as bands: the others are compared with them."""
_DODGE = 0.07
"""Distance of neighbouring error bars, in layers."""
_SHOWN_LAYERS = 3
_SAME, _OTHER = "#80CDB7", "#D0D0D0"


def plot_recovery(tables: ProbeTables) -> Figure:
    """Draw by layer what the network says once maps are put back.

    Args:
        tables: Those of a run of `recover`.

    Returns:
        The figure: a row a metric, a column a family; anchors are bands, other methods lines.

    Raises:
        InvalidInputError: If no transform changes anything.
    """
    frame = tables.summary()
    metrics = [metric for metric in _LABELS if (frame["metric"] == metric).any()]
    families = [str(kind) for kind in dict.fromkeys(frame["transform"])]
    if not families:
        raise InvalidInputError("every transform of this run is the identity; nothing to draw")
    size = (4.8 * len(families) + 3.0, 3.3 * len(metrics) + 1.2)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(metrics), len(families), sharex=True, sharey="row", squeeze=False)
    layers = list(tables.layers["name"])
    for line, metric in zip(panels, metrics, strict=True):
        for axes, family in zip(line, families, strict=True):
            here = frame[(frame["metric"] == metric) & (frame["transform"] == family)]
            _draw_methods(axes, here, layers)
        line[0].set_ylabel(_LABELS[metric])
        line[0].set_ylim(*((0, 1.05) if metric == "agreement" else (None, None)))
    for axes, family in zip(panels[0], families, strict=True):
        axes.set_title(family)
    for axes in panels[-1]:
        axes.set_xticks(range(len(layers)), layers, rotation=35, ha="right")
        axes.set_xlabel("layer, from shallow to deep")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False)
    figure.suptitle(caption(tables, "bars and bands"), fontsize=11)
    sns.despine(figure)
    return figure


def _draw_methods(axes: Axes, frame: pd.DataFrame, layers: Sequence[str]) -> None:
    """One panel."""
    place = {layer: number for number, layer in enumerate(layers)}
    methods = [method for method in METHODS if (frame["method"] == method).any()]
    lines = [method for method in methods if method not in _ANCHORS]
    for method in methods:
        rows = frame[frame["method"] == method]
        x = rows["layer"].map(place).to_numpy(dtype=float)
        mean, low, high = (rows[name].to_numpy(dtype=float) for name in ("mean", "low", "high"))
        style: dict[str, Any] = {"color": method.colour, "linestyle": method.line}
        if method in lines:
            x = x + _DODGE * (lines.index(method) - (len(lines) - 1) / 2)
            reach = np.abs(np.stack([low, high]) - mean)
            axes.errorbar(x, mean, reach, elinewidth=1, capsize=2, alpha=0.7, **style)
            style |= {"marker": "o", "markersize": 5, "linewidth": 1.8}
        else:
            axes.fill_between(x, low, high, color=method.colour, alpha=0.15, linewidth=0)
            style |= {"linewidth": 1.2}
        axes.plot(x, mean, label=method.label, **style)


def plot_predictions(tables: ProbeTables) -> Figure:
    """Draw an image, what the network says of it, and what it says once maps are put back.

    Args:
        tables: Those of a run of `recover` on a network of classes.

    Returns:
        The figure: a row a transform; the image upright, transformed, warped back, and maps of up
        to three layers warped back by the oracle, each above the likeliest classes.
    """
    numbers = sorted({strip.transform for strip in tables.strips})
    names = list(tables.layers["name"])
    spread = np.linspace(0, len(names) - 1, min(_SHOWN_LAYERS, len(names))).round().astype(int)
    layers = [names[place] for place in spread]
    columns = 3 + len(layers)
    figure = Figure(figsize=(2.3 * columns, 3.7 * len(numbers) + 0.5), layout="constrained")
    panels = figure.subplots(
        2 * len(numbers), columns, height_ratios=[2.2, 1] * len(numbers), squeeze=False
    )
    for number, above, below in zip(numbers, panels[::2], panels[1::2], strict=True):
        here = {strip.layer: strip for strip in tables.strips if strip.transform == number}
        _draw_row(tables, number, [here[layer] for layer in layers], above, below)
    image = tables.predictions["image"].iloc[0]
    figure.suptitle(
        f"{tables.config['model']}, image {image}: its likeliest classes, and after the map was "
        "warped back by the exact inverse; green: the upright image's",
        fontsize=11,
    )
    return figure


def _draw_row(
    tables: ProbeTables, number: int, strips: Sequence[Strip], above: Any, below: Any
) -> None:
    """One transform: pictures, and answers under them."""
    said = tables.predictions
    said = said[said["transform_number"] == number]
    move = tables.config["moves"][number]
    value = "" if math.isnan(move["parameter"]) else f" {move['parameter']:g}"
    upright, moved, back = strips[0].images
    shown: list[tuple[str, str, str, dict[str, Any]]] = [
        ("upright", "", UPRIGHT, {"image": picture(upright)}),
        (f"{move['kind']}{value}", "", Method.IDENTITY, {"image": picture(moved)}),
        ("image warped back", "", Method.INPUT, {"image": picture(back)}),
    ]
    for strip in strips:
        low, high = np.percentile(strip.maps[0, 0], [1, 99])
        options = {"image": strip.maps[2, 0], "cmap": "viridis", "vmin": low, "vmax": high}
        shown.append((f"map warped back\n{strip.layer}", strip.layer, Method.ORACLE, options))
    right = int(said[said["method"] == UPRIGHT].sort_values("rank")["class"].iloc[0])
    for axes, bars, (title, layer, method, options) in zip(above, below, shown, strict=True):
        show(axes, **options)
        axes.set_title(title, fontsize=10)
        _draw_answer(bars, said[(said["layer"] == layer) & (said["method"] == method)], right)


def _draw_answer(axes: Axes, answer: pd.DataFrame, right: int) -> None:
    """A bar a class, the likeliest on top."""
    answer = answer.sort_values("rank")
    colours = [_SAME if each == right else _OTHER for each in answer["class"]]
    places = [-float(place) for place in range(len(answer))]
    axes.barh(places, answer["probability"], color=colours, height=0.8)
    for place, row in zip(places, answer.itertuples(), strict=True):
        text = f"{row.name} {100 * row.probability:.0f} %"
        axes.text(0.02, place, text, va="center", ha="left", fontsize=9)
    axes.set_xlim(0, 1)
    axes.set_ylim(0.6 - TOP, 0.6)
    axes.set_axis_off()
