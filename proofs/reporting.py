"""Verdicts as a table in the terminal, and as JSON and Markdown files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from proofs.checking import Verdict, word
from proofs.claim import Claim, Kind

COLUMNS = (
    "claim",
    "setting",
    "cases",
    "worst residual",
    "tolerance",
    "smallest witness",
    "negative control",
    "verdict",
)

LONGEST_WITNESS = 160
"""Characters of a witness shown in a table; the JSON file holds all of it."""


def row(verdict: Verdict) -> tuple[str, ...]:
    """One line of the table.

    Args:
        verdict: the judgement.

    Returns:
        A cell for each of `COLUMNS`.
    """
    e, control = verdict.evidence, verdict.control_evidence
    worst = "none" if e.worst is None else f"{e.worst:.1e}"
    if verdict.kind is Kind.THERE_EXISTS:
        worst += f" (best; {e.met} meet it)"
        fell = f"none of {control.cases} cases meets it"
    else:
        fell = f"refuted by {control.cases - control.met} of {control.cases} cases"
    if len(witness := verdict.witness or "none") > LONGEST_WITNESS:
        witness = witness[: LONGEST_WITNESS - 3] + "..."
    return (
        f"{verdict.claim} {verdict.title}",
        verdict.setting,
        str(e.cases),
        worst,
        f"{verdict.tolerance:.0e}",
        witness,
        f"{verdict.control}: {fell}",
        "holds" if verdict.holds else verdict.outcome.name.lower().replace("_", " "),
    )


def table(verdicts: Sequence[Verdict]) -> Table:
    """The verdicts for the terminal.

    Args:
        verdicts: one a setting.

    Returns:
        A table for `rich`.
    """
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in COLUMNS:
        shown.add_column(name, overflow="fold", no_wrap=name in {"cases", "tolerance", "verdict"})
    for verdict in verdicts:
        *cells, last = map(Text, row(verdict))
        last.stylize("green" if verdict.holds else "bold red")
        shown.add_row(*cells, last)
    return shown


def as_json(
    verdicts: Sequence[Verdict],
    claims: Mapping[str, Claim],
    observations: Mapping[str, Mapping[str, float]],
    settings: Mapping[str, object],
) -> str:
    """The verdicts with everything that was measured.

    Args:
        verdicts: one a setting.
        claims: the claims by id.
        observations: what was reported without being judged, by claim.
        settings: how the run was called, and on what.

    Returns:
        JSON text.
    """
    found = []
    for claim in claims.values():
        found.append({
            "id": claim.id,
            "title": claim.title,
            "statement": claim.statement,
            "formula": claim.formula,
            "assumptions": claim.assumptions,
            "sources": [str(source) for source in claim.sources],
            "verdicts": [
                {**asdict(v), "witness": v.witness, "holds": v.holds, "words": word(v)}
                for v in verdicts
                if v.claim == claim.id
            ],
            "observations": observations.get(claim.id, {}),
        })
    return json.dumps({"run": settings, "claims": found}, indent=2, default=_plain) + "\n"


def as_markdown(
    verdicts: Sequence[Verdict],
    claims: Mapping[str, Claim],
    observations: Mapping[str, Mapping[str, float]],
    settings: Mapping[str, object],
) -> str:
    """The verdicts as a page to read.

    Args:
        verdicts: one a setting.
        claims: the claims by id.
        observations: what was reported without being judged, by claim.
        settings: how the run was called, and on what.

    Returns:
        Markdown text.
    """
    lines = ["# Verdicts", "", ", ".join(f"{k}: {v}" for k, v in settings.items()), ""]
    lines += ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(_cell(c) for c in row(v)) + " |" for v in verdicts]
    for claim in claims.values():
        lines += ["", f"## {claim.id} {claim.title}", "", claim.statement, ""]
        lines += [
            f"    {claim.formula}",
            "",
            f"Kind: {', '.join(k.value for k in claim.kinds)}. Assumptions: "
            + "; ".join(claim.assumptions)
            + ".",
        ]
        lines += ["", "Source: " + "; ".join(map(str, claim.sources)) + "."]
        if claim.id in observations:
            lines += ["", "Reported, not judged:", ""]
            lines += [f"- {k}: {v:.4f}" for k, v in observations[claim.id].items()]
    return "\n".join(lines) + "\n"


def write(
    out: Path,
    verdicts: Sequence[Verdict],
    claims: Mapping[str, Claim],
    observations: Mapping[str, Mapping[str, float]],
    settings: Mapping[str, object],
) -> tuple[Path, Path]:
    """Write both files.

    Args:
        out: folder; made if it is not there.
        verdicts: one a setting.
        claims: the claims by id.
        observations: what was reported without being judged, by claim.
        settings: how the run was called, and on what.

    Returns:
        The JSON and the Markdown file.

    Raises:
        OSError: the folder cannot be written.
    """  # noqa: DOC502 - raised by pathlib
    out.mkdir(parents=True, exist_ok=True)
    files = out / "verdicts.json", out / "verdicts.md"
    files[0].write_text(as_json(verdicts, claims, observations, settings))
    files[1].write_text(as_markdown(verdicts, claims, observations, settings))
    return files


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"{value!r} has no JSON form.")
