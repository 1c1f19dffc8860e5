"""One self-contained HTML page from run folders: of probes and of trainings.

`analyses` adds answers, claims and findings to it; this room knows only what the engine writes.
"""

from collections.abc import Sequence
from pathlib import Path

from invariance_probe.report import probes, trainings
from invariance_probe.report.blocks import Drawing, Grid, Page, Section
from invariance_probe.report.folders import ResultFolder, find
from invariance_probe.report.html import write
from invariance_probe.results.recovery import PUT_BACK

__all__ = [
    "SIGNS",
    "Drawing",
    "Grid",
    "Page",
    "ResultFolder",
    "Section",
    "find",
    "page",
    "write",
]

SIGNS = {probes.KIND: probes.is_probe, trainings.KIND: trainings.is_training}
"""How folders that this room can report are told apart."""


def page(found: Sequence[ResultFolder], title: str = "Can a spatial warp undo it?") -> Page:
    """Put what the engine wrote on one page.

    Args:
        found: What `find` found; kinds other than those of `SIGNS` are passed over.
        title: Of the page.

    Returns:
        The page; folders that cannot be read are refused with an `InvalidInputError`.
    """
    # a run and the condensed copy of it that a repository holds are one: the fuller counts
    fullest: dict[str, Path] = {}
    for one in sorted(found, key=lambda each: not (each.path / probes.FIGURES).is_dir()):
        if one.kind == probes.KIND:
            inside = one.path / PUT_BACK
            for path in (one.path, inside) if probes.is_probe(inside) else (one.path,):
                fullest.setdefault(probes.identity(path), path)
    sections = [probes.section(path, number) for number, path in enumerate(fullest.values(), 1)]
    runs: list[Path] = [one.path for one in found if one.kind == trainings.KIND]
    if runs:
        sections += trainings.sections(trainings.frame(runs))
    return Page(title=title, sections=tuple(sections))
