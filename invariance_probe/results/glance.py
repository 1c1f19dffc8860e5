"""A run at a glance: what a terminal and a notebook show of it."""

import base64
import html
import io

import pandas as pd

from invariance_probe.results.methods import METHODS, Method
from invariance_probe.results.tables import ProbeTables
from invariance_probe.statistics import interval_words

SCREEN = (16, 80)
"""Rows of the table, and columns, that a terminal shows whatever its size."""
_NOT_MOVED = "no transform changes anything: result.frame() has the rows"


def headline(tables: ProbeTables) -> str:
    """Say what a run measured.

    Args:
        tables: A run's tables.

    Returns:
        Model, numbers of images, layers and transforms, and what the values are.
    """
    config = tables.config
    counts = {
        "image": len(config["images"]),
        "layer": len(tables.layers),
        "transform": len(config["moves"]),
    }
    sizes = ", ".join(f"{n} {name}{'s' if n != 1 else ''}" for name, n in counts.items())
    words = interval_words(counts["image"])
    return f"{config['model']}, {sizes}; {headline_metric(tables)}, means over images; {words}"


def headline_metric(tables: ProbeTables) -> str:
    """Name the metric that is looked at first.

    Args:
        tables: A run's tables.

    Returns:
        ``fvu``, or of a run that put maps back its first metric.
    """
    return "fvu" if "fvu" in tables.metrics else tables.metrics[0]


def best_warp(tables: ProbeTables) -> Method:
    """Name the method that a reader asks for first.

    Args:
        tables: A run's tables.

    Returns:
        The best affine warp where it was searched, else the oracle, else the first method.
    """
    likely = (Method.AFFINE, Method.ORACLE, *tables.methods)
    return next(method for method in likely if method in tables.methods)


def table(tables: ProbeTables) -> pd.DataFrame:
    """Lay the headline metric out as text: transforms and layers down, methods across.

    Args:
        tables: A run's tables.

    Returns:
        Means to three digits, an interval beside that of `best_warp`; methods that mix channels
        are left out where others were measured. Empty if no transform changes anything.
    """
    summary = tables.summary(["transform", "layer", "method", "metric"])
    rows = summary[summary["metric"] == headline_metric(tables)]
    there = [method for method in METHODS if (rows["method"] == method).any()]
    shown = [method for method in there if method.mixing is None] or there
    cells = rows["mean"].map(lambda mean: "–" if pd.isna(mean) else f"{mean:.3f}")
    ends = rows["low"].map("({:.2f}–".format) + rows["high"].map("{:.2f})".format)
    sure = (rows["method"] == best_warp(tables)) & rows["low"].notna()
    cells = cells.where(~sure, cells + " " + ends)
    texts = rows[["transform", "layer", "method"]].astype(str).assign(cell=cells)
    wide = texts.pivot_table(
        index=["transform", "layer"], columns="method", values="cell", aggfunc="first", sort=False
    )
    out: pd.DataFrame = wide.reindex(columns=[str(method) for method in shown])
    return out.rename_axis(columns=None).reset_index()


def text(tables: ProbeTables) -> str:
    """Describe a run on one screen of a terminal.

    Args:
        tables: A run's tables.

    Returns:
        The headline, the table (its ends, if it is long) and the way on; at most 80 columns but
        for many methods.
    """
    frame, (height, width) = table(tables), SCREEN
    about = _wrapped(f"ProbeResult of {_shortened(headline(tables), 2 * width)}", width)
    if frame.empty:
        return f"{about}\n{_NOT_MOVED}"
    short = frame.assign(layer=frame["layer"].map(lambda name: _shortened(name, 24)))
    listed = short.to_string(index=False, max_rows=height, min_rows=height, line_width=None)
    rows = "\n".join(line.rstrip()[: 2 * width] for line in listed.splitlines())
    return f"{about}\n{rows}\nMore: .summary(), .per_image(), .worst(), .plot('depth')"


def page(tables: ProbeTables, figure_kind: str | None) -> str:
    """Describe a run in a notebook.

    Args:
        tables: A run's tables.
        figure_kind: The figure below the table, one of `figures.kinds`; none by default.

    Returns:
        HTML that names of layers and models cannot break out of.
    """
    frame = table(tables)
    about = f"<p><b>ProbeResult</b> of {html.escape(headline(tables))}</p>"
    if frame.empty:
        return f"{about}<p>{html.escape(_NOT_MOVED)}</p>"
    listed: str = frame.to_html(index=False, max_rows=40, border=0, escape=True)
    return about + listed + ("" if figure_kind is None else _picture(tables, figure_kind))


def _picture(tables: ProbeTables, kind: str) -> str:
    """A small figure, as part of the page."""
    from invariance_probe.results import figures  # slow to import, and most pages are not shown

    stream = io.BytesIO()
    figures.plot(tables, kind).savefig(stream, format="png", dpi=60, bbox_inches="tight")
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    return f'<img alt="{html.escape(kind)}" src="data:image/png;base64,{data}">'


def _shortened(name: str, most: int) -> str:
    """A name's beginning and end, of which the end tells layers apart; a terminal obeys no name."""
    name = "".join(letter if letter.isprintable() else "?" for letter in name)
    return name if len(name) <= most else f"{name[:6]}…{name[7 - most :]}"


def _wrapped(line: str, width: int) -> str:
    """Names may be of any length; what is beyond two lines is cut."""
    whole = line if len(line) <= 2 * width else line[: 2 * width - 1] + "…"
    cut = whole.rfind(" ", 0, width) if len(whole) > width else -1
    return whole if cut < 0 else f"{whole[:cut]}\n{whole[cut + 1 :]}"
