"""Why a residual is there, drawn: its parts and the variance's as stacks, channels as a matrix."""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from invariance_probe.alignment import mixing
from invariance_probe.results import decomposition, partition
from invariance_probe.results.methods import Warp
from invariance_probe.results.style import RESIDUAL, Figure, caption
from invariance_probe.results.tables import ProbeTables

PART_COLOURS = {
    "floor": Warp.FLOOR.colour,
    "left": "#D55E00",
    "mixing": Warp.UNRELATED.colour,
    "permutation": "#F0E442",
    "other warp": Warp.JOINT.colour,
}
PART_LABELS = {
    "floor": "left by a perfect layer, too",
    "left": "left by all of these",
    "mixing": "removed by mixing channels",
    "permutation": "removed by permuting channels",
    "other warp": "repaired by another warp",
}
FATE_COLOURS = {
    "unchanged": Warp.AFFINE.colour,
    "warp": Warp.ORACLE.colour,
    "mixing": Warp.UNRELATED.colour,
    "grid": Warp.FLOOR.colour,
    "lost": "#B8B8B8",
}
FATE_LABELS = {
    "unchanged": "unchanged",
    "warp": "in the same channel,\nmoved with the image",
    "mixing": "in other channels",
    "grid": "lost by a perfect layer, too",
    "lost": "not found again",
}
_LABELLED = 0.11
"""Smallest part of the axis' height that a share is written into."""


def plot_parts(tables: ProbeTables) -> Figure:
    """Draw the parts of what the oracle warp leaves: a bar a layer, a panel a family.

    Args:
        tables: Those of a probe with the methods of `decomposition.decomposition`.

    Returns:
        The figure.
    """
    frame = decomposition.decomposition(tables)
    # what is written into a bar are shares
    frame = frame.drop(columns=["low", "high"])
    frame = frame.rename(columns={"share_low": "low", "share_high": "high"})
    proven = frame[frame["status"] == "certified"].set_index(["transform", "layer"])["mean"]
    found = frame[frame["status"] == "found"]
    figure = _stacks(tables, found, "mean", PART_COLOURS)
    for axes in figure.axes:
        for place, layer in enumerate(tables.layers["name"]):
            height = float(proven[axes.get_title(), layer])
            # beside the bar, not across it, where the shares are written
            for side in (-1, 1):
                ends = [place + side * 0.41, place + side * 0.5]
                axes.plot(
                    ends, [height, height], color="black", linewidth=3.5, solid_capstyle="butt"
                )
    figure.axes[0].set_ylabel(f"{RESIDUAL}\nunder the oracle warp")
    handles: list[Patch | Line2D] = [
        *_key(PART_COLOURS, PART_LABELS),
        Line2D([], [], color="black", linewidth=3, label="certified: no spatial\nwarp leaves less"),
    ]
    figure.legend(handles=handles, loc="outside right center", frameon=False)
    return figure


def plot_partition(tables: ProbeTables) -> Figure:
    """Draw what becomes of the variance: a bar a layer, a panel a family.

    Args:
        tables: Those of a probe with the methods of `partition.partition`.

    Returns:
        The figure.
    """
    figure = _stacks(tables, partition.partition(tables), "share", FATE_COLOURS)
    figure.axes[0].set_ylabel("share of the maps' variance")
    handles = _key(FATE_COLOURS, FATE_LABELS)
    figure.legend(handles=handles, loc="outside right center", frameon=False)
    return figure


def _key(colours: Mapping[str, str], labels: Mapping[str, str]) -> list[Patch]:
    """Names of parts, in the order in which they lie."""
    return [Patch(color=colours[part], label=labels[part]) for part in list(colours)[::-1]]


def _stacks(
    tables: ProbeTables, frame: pd.DataFrame, height: str, colours: Mapping[str, str]
) -> Figure:
    """A bar a layer, a panel a family; parts lie on each other in the order of the colours."""
    families = [str(kind) for kind in dict.fromkeys(frame["transform"])]
    layers = list(tables.layers["name"])
    width = max(5.0, 1.25 * len(layers))
    figure = Figure(figsize=(width * len(families) + 3.4, 5.4), layout="constrained")
    panels = figure.subplots(1, len(families), sharey=True, squeeze=False)[0]
    highest = float(frame.groupby(["layer", "transform"], observed=True)[height].sum().max())
    top = 1.05 * highest if highest > 0 else 1.0
    for axes, family in zip(panels, families, strict=True):
        axes.set_ylim(0, top)
        for place, layer in enumerate(layers):
            rows = frame[(frame["transform"] == family) & (frame["layer"] == layer)]
            _stack(axes, place, rows.set_index("part").loc[list(colours)], height, colours)
        axes.set_xticks(range(len(layers)), layers, rotation=35, ha="right")
        axes.set_title(family)
        axes.set_xlabel("layer, from shallow to deep")
    figure.suptitle(caption(tables, "in brackets"), fontsize=11)
    sns.despine(figure)
    return figure


def _stack(
    axes: Axes, place: int, rows: pd.DataFrame, height: str, colours: Mapping[str, str]
) -> None:
    """One bar: its parts with their shares."""
    top, bottom = axes.get_ylim()[1], 0.0
    if not np.isfinite(rows[height]).all():
        axes.text(place, 0.02 * top, "no value", rotation=90, ha="center", fontsize=9)
        return
    for part, row in rows.iterrows():
        tall = float(row[height])
        axes.bar(place, tall, 0.82, bottom, color=colours[part], edgecolor="white", zorder=1)
        if tall > _LABELLED * top:
            text = f"{100 * row['share']:.0f} %"
            if math.isfinite(row["low"]):
                text += f"\n({100 * row['low']:.0f}–{100 * row['high']:.0f})"
            box = {"boxstyle": "round,pad=0.2", "color": "white", "alpha": 0.75}
            middle = bottom + tall / 2
            axes.text(place, middle, text, ha="center", va="center", fontsize=9, bbox=box)
        bottom += tall


def plot_channels(tables: ProbeTables) -> Figure:
    """Draw which channel took whose place under one transform: a panel a layer and warp.

    The transform is the quarter turn if the run has one, otherwise the strongest rotation or, at
    last, the last transform. Channels are sorted by cycle: a channel that stayed lies on the
    diagonal, in grey; a cycle is framed.

    Args:
        tables: Those of a probe with a ``+permutation`` method.

    Returns:
        The figure.
    """
    number = _most_telling(tables)
    chosen = tables.channels[tables.channels["transform_number"] == number]
    layers = [name for name in tables.layers["name"] if (chosen["layer"] == name).any()]
    warps = list(dict.fromkeys(chosen["warp"]))
    figure = Figure(figsize=(2.7 * len(layers) + 1.4, 3.0 * len(warps) + 0.8), layout="constrained")
    panels = figure.subplots(len(warps), len(layers), squeeze=False)
    moves = decomposition.moves_of(tables, chosen).set_index(["layer", "transform_number", "warp"])
    scale = Normalize(0, 1)
    for line, warp in zip(panels, warps, strict=True):
        for axes, layer in zip(line, layers, strict=True):
            rows = chosen[(chosen["layer"] == layer) & (chosen["warp"] == warp)]
            summary = moves.loc[(layer, number, warp)]
            _draw_matrix(axes, rows, scale)
            axes.set_title(
                f"{layer}, {warp}\n{100 * summary['moved']:.0f} % moved\n"
                f"gain {summary['gain']:+.2f}, p = {summary['p_value']:.3f}",
                fontsize=10,
            )
            axes.set_xlabel("channel", fontsize=9)
        line[0].set_ylabel("taken from channel", fontsize=9)
    colours = ScalarMappable(scale, "viridis_r")
    figure.colorbar(
        colours,
        ax=panels.ravel().tolist(),
        shrink=0.7,
        label="channels that moved: folds that agree",
    )
    move = tables.config["moves"][number]
    figure.suptitle(
        f"channels' places after {move['kind']} {move['parameter']:g}, sorted by cycle; "
        "gain: fvu removed on images outside the fit",
        fontsize=11,
    )
    return figure


def _most_telling(tables: ProbeTables) -> int:
    numbers = sorted(set(tables.channels["transform_number"]))
    turns = {
        number: abs(tables.config["moves"][number]["parameter"])
        for number in numbers
        if tables.config["moves"][number]["kind"] == "rotation"
    }
    quarter = [number for number in turns if turns[number] == 90]
    if quarter:
        return int(quarter[-1])
    return int(max(turns, key=lambda number: turns[number])) if turns else int(numbers[-1])


def _draw_matrix(axes: Axes, rows: pd.DataFrame, scale: Normalize) -> None:
    """A dot for each channel at (its place, where it came from), in the order of the cycles."""
    rows = rows.sort_values("channel")
    source, agreement = rows["source"].to_numpy(), rows["agreement"].to_numpy()
    found = mixing.cycles(source)
    order = np.concatenate(found)
    rank = np.empty(len(order), dtype=int)
    rank[order] = np.arange(len(order))
    size = max(3.0, min(30.0, 1600 / len(order)))
    moved = source[order] != order
    places = np.arange(len(order))
    axes.scatter(places[~moved], places[~moved], s=size, c="#c8c8c8", linewidths=0)
    axes.scatter(
        places[moved],
        rank[source[order]][moved],
        s=size,
        c=agreement[order][moved],
        norm=scale,
        cmap="viridis_r",
        linewidths=0,
    )
    start = 0
    for cycle in found:
        if len(cycle) > 1:
            corner, side = (start - 0.5, start - 0.5), len(cycle)
            axes.add_patch(Rectangle(corner, side, side, fill=False, color="#767676", lw=0.8))
        start += len(cycle)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.set_yticks([])
