"""The part of a page that an analysis's folder makes, and the trainings that its table holds."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analyses import questions
from analyses.answer import FRAME, SUMMARY, answered, read_about
from invariance_probe.errors import InvalidInputError
from invariance_probe.report import blocks
from invariance_probe.report.blocks import Drawing, Grid, Section

KIND = "answer of an analysis"

BEARS_ON = {
    "residual_by_layer": ("P5", "P6", "P7", "P9", "P11"),
    "atlas": ("P5", "P7", "P11"),
    "channel_shift": ("P7", "P8", "P14"),
    "trained_against_random": ("P5", "P7"),
    "placement": ("P1", "P2", "P15"),
    "depth": ("P11", "P15"),
    "iterations": ("P16",),
    "price": ("P2", "P9", "P15"),
    "recover": ("P2", "P3", "P11", "P12"),
    "related_methods": ("P1", "P2", "P7", "P8", "P12", "P15"),
    "law": ("P5", "P13"),
    "certificates": ("P9",),
    "controls": ("P1", "P7", "P8", "P12", "P14"),
    "floor": ("P1", "P14"),
    "learning_curve": ("P8", "P10"),
    "mixings": ("P8",),
    "sensitivity": ("P14",),
    "search_quality": ("P3",),
    "few_channels": ("P3",),
}
"""Claims that a question's figure bears on."""

_TRAINED = {"data", "perturbation", "variant", "seed", "error", "outcome"}
_OTHER_STEPS = {"kind", "depth", "steps"}
"""Columns of an analysis that say something else than a training's."""


def is_answer(folder: Path) -> bool:
    """Tell the folder of an analysis.

    Args:
        folder: Any folder.

    Returns:
        Whether it holds the configuration of an analysis and a summary of its table.
    """
    try:
        about = read_about(folder)
    except InvalidInputError:
        return False
    return about is not None and answered(about) in questions.NAMES and (folder / SUMMARY).is_file()


def section(folder: Path, number: int = 1) -> Section:
    """Report an answer.

    Args:
        folder: What ``python -m analyses run`` wrote; summary, figure and configuration are enough.
        number: Of the answer on its page.

    Returns:
        Its part of the page.

    Raises:
        InvalidInputError: If the folder cannot be read.
    """
    try:
        about = read_about(folder) or {}
        name = answered(about)
        table = pd.read_csv(folder / SUMMARY)
    except (OSError, ValueError) as error:
        raise InvalidInputError(
            f"folder {str(folder)!r} contains no answer that can be read ({type(error).__name__}); "
            "run the analysis again, or leave it out"
        ) from error
    question = questions.title(name)
    made = blocks.about(about.get("provenance") or {}, str(about.get("command", "")))
    config = about.get("config") or {}
    return Section(
        id=f"answer-{number}",
        title=_title(folder, name),
        kind="analysis",
        lead=(question, *([f"Made by {made['command']}."] if "command" in made else [])),
        figures=_figures(folder, name, question, table),
        # of several answers to a question each table is told apart
        grids=(Grid.of(table, f"{_title(folder, name)}: summary"),),
        about=made | {"configuration": json.dumps(config)},
        bears_on=BEARS_ON.get(name, ()),
    )


def _title(folder: Path, name: str) -> str:
    """The question, or the folder's name where that says more: answers of several presets."""
    said = folder.resolve().name
    return (said if said.startswith(f"{name}_") else name).replace("_", " ").capitalize()


def _figures(folder: Path, name: str, question: str, table: pd.DataFrame) -> tuple[Drawing, ...]:
    files = {end: folder / f"{name}{end}" for end in (".svg", ".png")}
    content = {end: path.read_bytes() if path.is_file() else b"" for end, path in files.items()}
    if not any(content.values()):
        return ()
    alt = f"Figure that answers: {question} {_words(table)}"
    return (Drawing(alt=alt, caption=question, svg=content[".svg"], png=content[".png"]),)


def _words(table: pd.DataFrame) -> str:
    """The table's size and the ranges of its numbers, for those who cannot see the figure."""
    numbers = table.select_dtypes("number").dropna(axis="columns", how="all")
    ranges = [
        f"{column.replace('_', ' ')} {numbers[column].min():.3g} to {numbers[column].max():.3g}"
        for column in list(numbers)[:8]
    ]
    return f"Its summary has {len(table)} rows: {', '.join(ranges)}; all are in the table below."


def trainings(folders: Sequence[Path]) -> list[pd.DataFrame]:
    """Collect the trainings that tables of analyses hold.

    Args:
        folders: Of analyses.

    Returns:
        Tables with a row a training; none from folders whose table is no such table or not there.
    """
    out = []
    for folder in folders:
        if not (folder / FRAME).is_file():
            continue
        table: pd.DataFrame = pd.read_parquet(folder / FRAME)
        if not set(table.columns) >= _TRAINED:
            continue
        # a table may hold poses of single images below its runs
        table = table[table["outcome"].notna()]
        if set(table.columns) >= _OTHER_STEPS:
            table = table.drop(columns=list(_OTHER_STEPS))
        about: dict[str, Any] = read_about(folder) or {}
        preset = (about.get("config") or {}).get("preset", "")
        out.append(table if "preset" in table else table.assign(preset=preset))
    return out
