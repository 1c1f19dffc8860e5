"""What the command line says: results and layers as tables on the terminal, or as JSON."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from invariance_probe.results import decomposition
from invariance_probe.results.methods import METHODS
from invariance_probe.results.notes import notes
from invariance_probe.results.result import ProbeResult
from invariance_probe.results.tables import ProbeTables
from invariance_probe.statistics import interval_words

_HEADINGS = {
    "other warp": "rewarp",
    "permutation": "permute",
    "mixing": "mix",
    decomposition.CERTIFIED: "proven",
}


def report(result: ProbeResult, out: Path | None, *, as_json: bool) -> None:
    """Print what a probe found.

    Args:
        result: What it found.
        out: Where it was written.
        as_json: Whether to print one line of JSON instead of tables.
    """
    summary = result.summary()
    if as_json:
        said = {"out": str(out), "summary": json.loads(summary.to_json(orient="records"))}
        if result.explained:
            parts = result.decomposition()
            said["decomposition"] = json.loads(parts.to_json(orient="records"))
        if result.partitioned:
            said["partition"] = json.loads(result.partition().to_json(orient="records"))
        print(json.dumps(said))
        return
    console = Console()
    fvu = summary[summary["metric"] == "fvu"]
    for family in dict.fromkeys(fvu["transform"]):
        console.print(_summary_table(result, fvu[fvu["transform"] == family], str(family)))
    console.print(
        f"Means over images; {interval_words(len(result.config['images']))}. "
        "0: perfectly aligned; 1: no better than "
        "the channel means; floor: what a perfect layer would leave; unrelated: chance."
    )
    if result.explained and len(result.config["images"]) < 2:
        console.print("Not explained: a mixing of channels needs two images or more.")
    elif result.explained:
        parts = result.decomposition()
        for family in dict.fromkeys(parts["transform"]):
            console.print(_parts_table(result, parts[parts["transform"] == family], str(family)))
        console.print(
            "Each part: variance and, under it, its share of the oracle's residual with a 95 % "
            "interval. Mixings are scored on images outside their fit. The last column is proven: "
            "no spatial warp leaves less."
        )
    for note in notes(result.config, summary):
        console.print(note, style="yellow", markup=False, highlight=False)
    console.print(f"Run folder: {out}", soft_wrap=True, highlight=False)


def _by_layer(title: str, width: int) -> Table:
    """A table whose first column names layers, in at least so many characters."""
    layout: dict[str, Any] = {"box": box.SIMPLE, "pad_edge": False, "padding": (0, 1, 0, 0)}
    table = Table(title=title, title_justify="left", **layout)
    table.add_column("layer", overflow="fold", min_width=width)
    return table


def report_recovery(result: ProbeResult) -> None:
    """Say in a sentence how often the network's answer comes back once maps are warped back.

    Args:
        result: Of `recover` under one transform, with the methods identity, input and oracle.
    """
    (move,), images = result.config["moves"], len(result.config["images"])
    summary = result.summary()
    same = summary[summary["metric"] == "agreement"].set_index(["method", "layer"])["mean"]
    counts = (same * images).round().astype(int)
    layers = list(result.layers["name"])
    listed = ", ".join(f"{counts['oracle', layer]} at {layer}" for layer in layers)
    Console().print(
        f"After a {move['kind']} by {move['parameter']:g} the answer is the upright image's for "
        f"{counts['input', layers[0]]} of {images} images if the image is warped back; if the map "
        f"is, for {listed}; if nothing is, for {counts['identity'].min()} to "
        f"{counts['identity'].max()}.",
        highlight=False,
    )


def _summary_table(tables: ProbeTables, rows: pd.DataFrame, family: str) -> Table:
    """Layers down, methods across; a mean and under it its interval."""
    moves = [m["parameter"] for m in tables.config["moves"] if m["kind"] == family]
    # one number cannot name every affine map or shift
    ends = [] if any(map(math.isnan, moves)) else [f"{end:g}" for end in (min(moves), max(moves))]
    span = f"{family} {' to '.join(dict.fromkeys(ends))}".strip()
    images = int(rows["n_images"].max())
    table = _by_layer(f"{span}: fraction of variance unexplained, {images} images", 11)
    methods = [m for m in METHODS if m.mixing is None and (rows["method"] == m).any()]
    for method in methods:
        table.add_column(method, justify="right", no_wrap=True)
    for layer in tables.layers.itertuples():
        cells = []
        for method in methods:
            row = rows[(rows["layer"] == layer.name) & (rows["method"] == method)].iloc[0]
            low, high = row["low"], row["high"]
            mean = "–" if math.isnan(row["mean"]) else f"{row['mean']:.3f}"
            cells.append(mean + ("" if math.isnan(low) else f"\n{low:.2f}–{high:.2f}"))
        size = f"{layer.channels}x{layer.height}x{layer.width}"
        table.add_row(f"{layer.name}\n[dim]{size}[/dim]", *cells)
    return table


def _parts_table(tables: ProbeTables, rows: pd.DataFrame, family: str) -> Table:
    """Layers down; the parts of the residual across, from the top of the stack to its bottom."""
    table = _by_layer(f"{family}: why the oracle warp leaves what it leaves", 10)
    for part in ("oracle", *decomposition.PARTS[::-1], decomposition.CERTIFIED):
        table.add_column(_HEADINGS.get(part, part), justify="right", no_wrap=True)
    for layer in tables.layers["name"]:
        one = rows[rows["layer"] == layer].set_index("part")
        cells = [f"{one.loc[list(decomposition.PARTS), 'mean'].sum():.3f}"]
        for part in (*decomposition.PARTS[::-1], decomposition.CERTIFIED):
            row = one.loc[part]
            share = f"{100 * row['share']:.0f} %"
            if not math.isnan(row["share_low"]):
                share += f"\n({100 * row['share_low']:.0f}–{100 * row['share_high']:.0f})"
            cells.append(f"{row['mean']:.3f}\n{share}")
        table.add_row(layer, *cells)
    return table


def print_layers(frame: pd.DataFrame, title: str) -> None:
    """Print a listing of layers.

    Args:
        frame: What `features.listing` gives.
        title: What stands above it.
    """
    table = Table(title=title, title_justify="left")
    table.add_column("name", overflow="fold")
    table.add_column("type", overflow="fold")
    for name in ("channels", "map", "stride", "offset"):
        table.add_column(name, justify="right", no_wrap=True)
    if not frame["spatial"].all():
        table.add_column("why there is no map", overflow="fold")
    for row in frame.itertuples():
        if row.spatial:
            star = "" if row.measured else "*"
            size = f"{row.height} x {row.width}"
            cells = [str(row.channels), size, f"{row.stride:g}{star}", f"{row.offset:g}{star}"]
        else:
            cells = ["", "", "", "", row.reason]
        table.add_row(row.name, row.type, *cells)
    console = Console()
    console.print(table)
    if not frame[frame["spatial"]]["measured"].all():
        console.print("* not measured: the map is assumed to cover the input evenly")
