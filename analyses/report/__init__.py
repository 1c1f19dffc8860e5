"""The whole report: what the engine's report says, with answers, findings and claims."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from analyses import questions
from analyses.answer import answered, read_about
from analyses.report import answers, claims, findings
from invariance_probe import report
from invariance_probe.report import Page, ResultFolder
from invariance_probe.report import trainings as trained

__all__ = ["SIGNS", "page"]

SIGNS = {
    answers.KIND: answers.is_answer,
    claims.KIND: claims.is_verdicts,
    **report.SIGNS,
}
"""How folders that can be reported are told apart."""


def page(found: Sequence[ResultFolder]) -> Page:
    """Put everything on one page.

    Args:
        found: What `invariance_probe.report.find` found with `SIGNS`.

    Returns:
        The page: findings, probes, trainings, answers in the order of the questions, claims; a
        folder that cannot be read is refused with an `InvalidInputError`.
    """
    made = report.page(found)
    folders = sorted(
        (one.path for one in found if one.kind == answers.KIND),
        key=lambda path: questions.NAMES.index(answered(read_about(path) or {})),
    )
    answering = [answers.section(path, number) for number, path in enumerate(folders, 1)]
    runs = [one.path for one in found if one.kind == trained.KIND]
    tables = [trained.frame(runs)] if runs else []
    tables += answers.trainings(folders)
    judged = findings.section(findings.gathered(tables) if tables else pd.DataFrame())
    measured = [*made.sections, *answering]
    verdicts: list[Path] = [one.path for one in found if one.kind == claims.KIND]
    checked = claims.section(verdicts, measured)
    return replace(made, sections=(judged, *measured, checked))
