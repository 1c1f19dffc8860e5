"""Verdicts as a table in the terminal, and as JSON and Markdown files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from invariance_probe.files import write_text
from proofs.checking import Verdict, word
from proofs.claim import Claim, Kind
from proofs.formal.log import MachineCheck
from proofs.formal.theorems import MAIN

COLUMNS = (
    "claim",
    "setting",
    "cases",
    "worst residual",
    "tolerance",
    "smallest witness",
    "negative control",
    "verdict",
    "machine-checked",
)

LONGEST_WITNESS = 160
"""Characters of a witness shown in a table; the JSON file holds all of it."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that is said of the claims.

    Args:
        verdicts: one a setting.
        claims: the claims by id.
        checks: what a machine says, of each claim and of the main theorem.
        observations: what was reported without being judged, by claim.
        settings: how the run was called, and on what.
    """

    verdicts: Sequence[Verdict]
    claims: Mapping[str, Claim]
    checks: Mapping[str, MachineCheck]
    observations: Mapping[str, Mapping[str, float]]
    settings: Mapping[str, object]


def row(verdict: Verdict, checked: str) -> tuple[str, ...]:
    """One line of the table.

    Args:
        verdict: the judgement.
        checked: whether the claim is machine-checked, in a word.

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
        checked,
    )


def table(verdicts: Sequence[Verdict], checks: Mapping[str, MachineCheck]) -> Table:
    """The verdicts for the terminal.

    Args:
        verdicts: one a setting.
        checks: what a machine says of each claim.

    Returns:
        A table for `rich`.
    """
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in COLUMNS:
        shown.add_column(name, overflow="fold", no_wrap=name in {"cases", "tolerance", "verdict"})
    for verdict in verdicts:
        *cells, judged, checked = map(Text, row(verdict, checks[verdict.claim].word))
        judged.stylize("green" if verdict.holds else "bold red")
        shown.add_row(*cells, judged, checked)
    return shown


def as_json(report: Report) -> str:
    """The verdicts with everything that was measured.

    Args:
        report: what to say.

    Returns:
        JSON text.
    """
    found = [
        {
            "id": claim.id,
            "title": claim.title,
            "statement": claim.statement,
            "formula": claim.formula,
            "assumptions": claim.assumptions,
            "sources": [str(source) for source in claim.sources],
            "machine_checked": asdict(report.checks[claim.id]),
            "verdicts": [
                {**asdict(v), "witness": v.witness, "holds": v.holds, "words": word(v)}
                for v in report.verdicts
                if v.claim == claim.id
            ],
            "observations": report.observations.get(claim.id, {}),
        }
        for claim in report.claims.values()
    ]
    content = {"run": report.settings, "main_theorem": asdict(report.checks[MAIN]), "claims": found}
    return json.dumps(content, indent=2, default=_plain) + "\n"


def as_markdown(report: Report) -> str:
    """The verdicts as a page to read.

    Args:
        report: what to say.

    Returns:
        Markdown text.
    """
    lines = ["# Verdicts", "", ", ".join(f"{k}: {v}" for k, v in report.settings.items()), ""]
    lines += ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for verdict in report.verdicts:
        cells = row(verdict, report.checks[verdict.claim].word)
        lines.append("| " + " | ".join(map(_cell, cells)) + " |")
    lines += ["", f"Main theorem, machine-checked: {report.checks[MAIN]}."]
    for claim in report.claims.values():
        lines += ["", f"## {claim.id} {claim.title}", "", claim.statement, ""]
        lines += [
            f"    {claim.formula}",
            "",
            f"Kind: {', '.join(k.value for k in claim.kinds)}. Assumptions: "
            + "; ".join(claim.assumptions)
            + ".",
        ]
        lines += ["", "Source: " + "; ".join(map(str, claim.sources)) + "."]
        lines += ["", f"Machine-checked: {str(report.checks[claim.id]).rstrip('.')}."]
        if claim.id in report.observations:
            lines += ["", "Reported, not judged:", ""]
            lines += [f"- {k}: {v:.4f}" for k, v in report.observations[claim.id].items()]
    return "\n".join(lines) + "\n"


def write(out: Path, report: Report) -> tuple[Path, Path]:
    """Write both files.

    Args:
        out: folder; made if it is not there.
        report: what to say.

    Returns:
        The JSON and the Markdown file.

    Raises:
        OSError: the folder cannot be written.
    """  # noqa: DOC502 - raised by pathlib
    out.mkdir(parents=True, exist_ok=True)
    files = out / "verdicts.json", out / "verdicts.md"
    write_text(files[0], as_json(report))
    write_text(files[1], as_markdown(report))
    return files


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"{value!r} has no JSON form.")
