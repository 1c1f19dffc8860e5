"""The part of a page that a probe's run folder makes."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from invariance_probe.errors import InvalidInputError
from invariance_probe.files import read_json, reading
from invariance_probe.report import blocks, rules
from invariance_probe.report.blocks import Cell, Drawing, Grid, Section
from invariance_probe.report.short import short
from invariance_probe.results.methods import METHODS, Method, Warp
from invariance_probe.results.notes import notes
from invariance_probe.results.reading import read_config, read_csv
from invariance_probe.results.recovery import PUT_BACK, RECOVERED
from invariance_probe.results.store import MOST_ROWS
from invariance_probe.results.tables import TABLE, ProbeTables
from invariance_probe.statistics import interval_words

KIND = "probe"
CONFIG, SUMMARY, FIGURES = "config.json", "summary.csv", "figures"

_ENDS = ("low", "high")
_SUMMARY = ("layer", "transform", "method", "metric", "mean", *_ENDS)
_SHARE_NUMBERS = ("lost", "lost_low", "lost_high", "share", *_ENDS)
_SHARES = ("layer", "transform", "method", "metric", *_SHARE_NUMBERS, "reason")
_CAPTIONS = {
    "depth": "Residual by depth, averaged over the transforms of a family.",
    "parts": "What the exact inverse warp leaves, and what of it each remedy removes.",
    "partition": "What becomes of the maps' variance: unchanged, moved, mixed or lost.",
    "channels": "Which channel took whose place.",
    "maps": "Maps of some images: as they are, transformed, and warped back.",
    "recovery": "What the network says once maps are put back, by depth.",
    "predictions": "What the network says of one image: upright, transformed, and put back.",
}
_TITLES = {
    "fvu": "mean fraction of variance unexplained",
    "agreement": "share of images with the upright image's answer",
    "kl": "mean divergence from the upright image's answer, in nats",
    "output_rel_l2": "mean distance from the upright image's output, over its length",
}
"""Metrics that are listed."""
_RESIDUALS = (
    "Residuals are fractions of variance unexplained: 0 is perfect alignment, 1 is no better than "
    "the channel means."
)
_RECOVERIES = (
    "Maps were warped back, put back into the network, and the rest of it run: compared with what "
    "it says of the upright image; input: the image was warped back."
)
_BEARS = {"rotation": ("P5", "P7", "P8"), "scaling": ("P6", "P10", "P11"), "shear": ("P6",)}
_BEARS |= {"translation": ("P1", "P14"), "reflection": ("P5", "P7", "P8")}


def is_probe(folder: Path) -> bool:
    """Tell a probe's run folder.

    Args:
        folder: Any folder.

    Returns:
        Whether it holds a probe's configuration and summary.
    """
    if not (folder / SUMMARY).is_file() or not (folder / CONFIG).is_file():
        return False
    # what is damaged is refused by name, and not passed over
    return {"moves", "methods", "model"} <= set(read_json(folder / CONFIG))


def identity(folder: Path) -> str:
    """Tell two probes apart.

    Args:
        folder: What `is_probe` says yes to.

    Returns:
        Its configuration and provenance, as written.
    """
    return (folder / CONFIG).read_text(encoding="utf-8", errors="replace")


def section(folder: Path, number: int = 1) -> Section:
    """Report a probe.

    Args:
        folder: What `ProbeResult.save` wrote; the summary and the figures are enough.
        number: Of the probe on its page.

    Returns:
        Its part of the page.

    Raises:
        InvalidInputError: If the folder cannot be read, or holds no row.
    """
    from invariance_probe.report import explorer  # takes colours from matplotlib, slow to import

    about = read_config(folder / CONFIG)
    summary = read_csv(folder / SUMMARY, _SUMMARY, ("mean", *_ENDS))
    if not len(summary):
        raise InvalidInputError(
            f"run folder {str(folder)!r} compares nothing, as its transforms all leave images as "
            "they are; leave it out, or probe with others"
        )
    shares = folder / RECOVERED
    with reading(folder / SUMMARY):
        families = list(dict.fromkeys(summary["transform"]))
        images, model = len(about["images"]), str(about["model"])
        put_back = not (summary["metric"] == "fvu").any()
        # the summary alone is enough; with the table ratios have intervals of their own
        whole = not put_back and (folder / TABLE).is_file()
    tables = ProbeTables.load(folder) if whole else None
    with reading(folder / SUMMARY):
        remarks = () if put_back else rules.remarks(summary, tables)
        said = notes(about, summary)
        grids = tuple(
            _grid(rows, str(family), str(metric), images)
            for (family, metric), rows in summary.groupby(["transform", "metric"], sort=False)
            if metric in _TITLES
        )
        figures = _figures(folder, summary, families)
        first = () if put_back or not families else (_short(folder, summary, tables, images),)
    with reading(shares):
        if put_back and shares.exists():
            remarks = rules.advice(read_csv(shares, _SHARES, _SHARE_NUMBERS))
    claims = dict.fromkeys(claim for family in families for claim in _BEARS.get(family, ()))
    if Method.ANY_WARP in about["methods"]:
        claims["P9"] = None
    return Section(
        id=f"probe-{number}",
        title=f"{model}: {', '.join(families)}",
        kind=f"{'maps put back' if put_back else 'probe'}, {images} image{'s' * (images != 1)}",
        lead=(
            f"{_RECOVERIES if put_back else _RESIDUALS} Means over {images} images; "
            f"{interval_words(images)}.",
            *said,
        ),
        meaning=tuple(remark.text for remark in remarks),
        figures=figures,
        grids=grids,
        about=blocks.about(about.get("provenance", {})) | {"seed": str(about.get("seed", ""))},
        bears_on=tuple(sorted(claims, key=lambda claim: int(claim[1:]))),
        shorts=first,
        explorer=explorer.data(tables) if tables is not None and _fits(tables) else {},
    )


def _fits(tables: ProbeTables) -> bool:
    """Whether a page may hold a run's numbers."""
    return tables.rows.count <= MOST_ROWS


def _short(
    folder: Path, summary: pd.DataFrame, tables: ProbeTables | None, images: int
) -> blocks.Short:
    """What is said first, with what maps put back cost where that was measured."""
    inside = folder / PUT_BACK
    if not is_probe(inside):
        return short(summary, tables, None, (), images)
    lost = read_csv(inside / SUMMARY, _SUMMARY, ("mean", *_ENDS))
    moves = read_config(inside / CONFIG)["moves"]
    with reading(inside / SUMMARY):
        return short(summary, tables, lost, moves, images)


def _grid(rows: pd.DataFrame, family: str, metric: str, images: int) -> Grid:
    """Layers down, methods across."""
    known = {(str(row.layer), str(row.method)): row for row in rows.itertuples()}
    order = [method for method in METHODS if (rows["method"] == str(method)).any()]
    order.sort(key=lambda method: method.mixing is not None)  # the anchors before the mixings
    layers = list(dict.fromkeys(rows["layer"].astype(str)))
    cells = [
        (Cell(name, ""), *(_cell(known.get((name, str(method)))) for method in order))
        for name in layers
    ]
    title = f"{family}: {_TITLES[metric]}, {images} images"
    notes = []
    if metric == "fvu" and Method.ANY_WARP in order:
        notes.append("The bound on any warp holds for bilinear reading, the border repeated.")
    if any(method.warp is Warp.AFFINE and method.mixing for method in order):
        notes.append(
            "After the best affine warp channels are mixed as that warp stands, which was best "
            "without a mixing: the oracle warp with a mixing may leave less."
        )
    columns = ("layer", *(method.label for method in order))
    return Grid(title=title, columns=columns, rows=tuple(cells), note=" ".join(notes))


def _cell(row: Any) -> Cell:
    """A mean over its interval."""
    if row is None or math.isnan(row.mean):
        return Cell("–", "")
    estimate = rules.Estimate(row.mean, row.low, row.high)
    return Cell(str(estimate).replace(" [", "\n["), repr(float(row.mean)))


def _figures(folder: Path, summary: pd.DataFrame, families: Sequence[str]) -> tuple[Drawing, ...]:
    """Those that lie in the folder, in the order in which they explain each other."""
    out = []
    first = summary[summary["metric"] == summary["metric"].iloc[0]]
    for kind in (
        *families,
        "depth",
        "partition",
        "parts",
        "maps",
        "channels",
        "predictions",
        "recovery",
    ):
        stems = (folder / FIGURES / kind, folder / kind)
        files = [stem.with_suffix(end) for stem in stems for end in (".svg", ".png")]
        svg, png = (
            next((f for f in files if f.suffix == e and f.is_file()), None)
            for e in (".svg", ".png")
        )
        if svg is None and png is None:
            continue
        caption = _CAPTIONS.get(kind, f"Residual by {kind} of the input, for each layer.")
        shown = [kind] if kind in families else list(families)
        out.append(
            Drawing(
                alt=f"{caption} " + " ".join(_words(first, family) for family in shown),
                caption=caption,
                svg=svg.read_bytes() if svg else b"",
                png=png.read_bytes() if png else b"",
                photographic=kind in {"maps", "predictions"},
            )
        )
    return tuple(out)


def _words(summary: pd.DataFrame, family: str) -> str:
    """Numbers of a family for those who cannot see the figure."""
    rows = summary[summary["transform"] == family]
    layers = list(dict.fromkeys(rows["layer"]))
    said = []
    for method in (Method.ORACLE, Method.AFFINE, Method.FLOOR):
        mean = rows[rows["method"] == method].set_index("layer")["mean"]
        if len(mean):
            said.append(f"{method} {mean[layers[0]]:.2f} to {mean[layers[-1]]:.2f}")
    return f"{family}, from {layers[0]} to {layers[-1]}: {', '.join(said)}."
