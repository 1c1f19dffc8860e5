"""Pairs of maps at a glance: what a terminal and a notebook show of an alignment."""

import html
import math
from collections.abc import Mapping, Sequence

import pandas as pd
from jaxtyping import Bool, Float, Int
from torch import Tensor

from invariance_probe.alignment.outcomes import Outcome

SCREEN = 12
"""Pairs that are listed; of more, the first and the last."""
_COLOURS = ("#767676", "#E69F00", "#0072B2", "#882255")
"""Of the warps in the order of tables: none, oracle, affine, flow, as in all figures."""


def title(kind: str, region: Bool[Tensor, "pair height width"]) -> str:
    """Say what pairs were aligned.

    Args:
        kind: What the alignment is called.
        region: Where the maps were compared.

    Returns:
        Kind, count and size.
    """
    pairs, height, width = region.shape
    return f"{kind} of {pairs} pair{'s' if pairs != 1 else ''} of {height} x {width} cells"


def table(
    left: Mapping[str, Float[Tensor, " pair"]],
    outcome: Sequence[Outcome],
    n_iter: Int[Tensor, " pair"],
) -> pd.DataFrame:
    """Lay out what warps leave.

    Args:
        left: Fraction of variance unexplained, by warp.
        outcome: How each search ended.
        n_iter: Its evaluations.

    Returns:
        A row a pair.
    """
    values = {name: fvu.detach().cpu().numpy() for name, fvu in left.items()}
    ends = {"outcome": [one.value for one in outcome], "n_iter": n_iter.cpu().numpy()}
    return pd.DataFrame(values | ends).rename_axis("pair")


def text(about: str, frame: pd.DataFrame) -> str:
    """Describe pairs on one screen of a terminal.

    Args:
        about: What they are.
        frame: See `table`.

    Returns:
        The title over the table.
    """
    listed = frame.reset_index().to_string(
        index=False, float_format="{:.4f}".format, max_rows=SCREEN, min_rows=SCREEN
    )
    return f"{about}; fraction of variance unexplained by warp:\n{listed}"


def page(about: str, frame: pd.DataFrame) -> str:
    """Describe pairs in a notebook.

    Args:
        about: What they are.
        frame: See `table`.

    Returns:
        HTML: the title, a strip with a dot a pair and warp, and the table.
    """
    listed = frame.to_html(float_format="{:.4f}".format, max_rows=SCREEN, border=0)
    return f"<p><b>{html.escape(about)}</b></p>{_strip(frame)}{listed}"


def _strip(frame: pd.DataFrame) -> str:
    """A line a warp from 0 to the largest residual, a dot a pair: drawn by hand, as it is small."""
    warps = [str(name) for name in frame.columns[:-2]]
    most = max(1.0, float(frame[warps].max(axis=None, skipna=True))) if len(frame) else 1.0
    rows = []
    for number, (name, colour) in enumerate(zip(warps, _COLOURS, strict=False)):
        y = 16 + 22 * number
        rows.append(
            f'<text x="0" y="{y + 4}">{name}</text>'
            f'<path d="M70 {y}H390" stroke="currentColor" stroke-opacity="0.3"/>'
        )
        rows += [
            f'<circle cx="{70 + 320 * value / most:.1f}" cy="{y}" r="4" fill="{colour}" '
            'fill-opacity="0.7"/>'
            for value in frame[name]
            if math.isfinite(value)
        ]
    y = 14 + 22 * len(warps)
    ends = f'<text x="70" y="{y}">0</text><text x="390" y="{y}" text-anchor="end">{most:.2f}</text>'
    said = "Fraction of variance unexplained by warp, a dot a pair; the table has the numbers."
    return (
        f'<svg role="img" aria-label="{said}" viewBox="0 0 400 {y + 6}" width="400" '
        f'font-size="12" fill="currentColor" font-family="sans-serif">{"".join(rows)}{ends}</svg>'
    )
