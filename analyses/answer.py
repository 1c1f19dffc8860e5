"""The answer to a question, in a folder: measured once, gone on with, never mixed."""

import dataclasses
import json
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import seaborn as sns

from analyses import questions
from analyses.training_plan import Missing, TrainingPlan
from invariance_probe.engines import Engine, EngineName
from invariance_probe.errors import InvalidInputError
from invariance_probe.files import difference, write_file, write_json
from invariance_probe.machine import provenance
from invariance_probe.results.style import figure_style, save

CONFIG, FRAME, SUMMARY = "config.json", "results.parquet", "summary.csv"
DONE = "provenance"
"""Entry of `CONFIG` that says that the table is whole."""


class Answer(NamedTuple):
    """What a run gave.

    Attributes:
        summary: The condensed table.
        measured: Whether the table was measured now, and not found.
    """

    summary: pd.DataFrame
    measured: bool


def answer(
    name: str,
    preset: str,
    folder: Path,
    missing: Missing = "train",
    engine: Engine | EngineName = "here",
) -> Answer:
    """Answer a question in a folder, or go on with it.

    The configuration is written first and the provenance last, each file whole or not at all. A
    folder with a whole table is drawn anew from it. After a kill the same call goes on: what an
    analysis keeps itself (its trainings) is found again, the rest is measured again.

    Args:
        name: One of `questions.NAMES`.
        preset: One that the analysis has.
        folder: One that does not exist, is empty, or holds this very configuration.
        missing: What becomes of trainings that are not there, where the question rests on some.
        engine: Who trains them.

    Returns:
        The summary.

    Raises:
        InvalidInputError: If there is no such question or preset, or the folder holds other things.
    """
    analysis = questions.load(name)
    if preset not in analysis.PRESETS:
        raise InvalidInputError(
            f"{name} has no preset {preset!r}; choose from {', '.join(analysis.PRESETS)}"
        )
    config = analysis.PRESETS[preset]
    words = f"python -m analyses run {name} --preset {preset}"
    if missing != "train" and isinstance(config, TrainingPlan):
        config = dataclasses.replace(config, missing=missing)
        words += f" --missing {missing}"
    # no number depends on who works, so that a folder is gone on with by whoever is at hand
    asked = {name: v for name, v in dataclasses.asdict(config).items() if name != "engine"}
    about = {"command": words, "analysis": name, "config": _plain(asked)}
    if isinstance(config, TrainingPlan):
        config = dataclasses.replace(config, engine=engine)
    stored = _stored(folder, about)
    # of the two the table is written first
    whole = stored is not None and DONE in stored and (folder / FRAME).is_file()
    frame: pd.DataFrame
    if whole:
        frame = pd.read_parquet(folder / FRAME)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / CONFIG, about)
        began = time.monotonic()
        frame = analysis.measure(config)
        write_file(folder / FRAME, lambda path: frame.to_parquet(path, index=False))
        write_json(folder / CONFIG, {**about, DONE: provenance(time.monotonic() - began)})
    summary: pd.DataFrame = analysis.summary(frame)
    write_file(
        folder / SUMMARY, lambda path: summary.to_csv(path, index=False, float_format="%.4g")
    )
    with tempfile.TemporaryDirectory(dir=folder, prefix=".drawing-") as drawn, figure_style():
        figure = analysis.plot(frame)
        sns.despine(figure)
        save(figure, Path(drawn) / name)
        for path in sorted(Path(drawn).iterdir()):
            path.replace(folder / path.name)
    return Answer(summary, measured=not whole)


def read_about(folder: Path) -> dict[str, Any] | None:
    """Read what a folder says of itself.

    Args:
        folder: Any folder.

    Returns:
        The content of `CONFIG`; None if there is none.

    Raises:
        InvalidInputError: If it cannot be read.
    """
    path = folder / CONFIG
    if not path.is_file():
        return None
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInputError(
            f"{str(path)!r} cannot be read ({type(error).__name__}); remove the folder, or give "
            "another"
        ) from error
    return about if isinstance(about, dict) else {}


def answered(about: dict[str, Any]) -> str:
    """Say which question a folder answers.

    Args:
        about: What `read_about` returned.

    Returns:
        The name; empty if it answers none.
    """
    words = str(about.get("command", "")).split()
    words = [word for word in words if word != "run"]
    return str(about.get("analysis") or (words[3] if len(words) > 3 else ""))


def _stored(folder: Path, about: dict[str, Any]) -> dict[str, Any] | None:
    """What a folder holds of the same run, refusing anything else."""
    way_out = "give another --out, or remove it first"
    if folder.exists() and not folder.is_dir():
        raise InvalidInputError(f"output {str(folder)!r} is a file; {way_out}")
    stored = read_about(folder) if folder.is_dir() else None
    if stored is None:
        if folder.is_dir() and any(folder.iterdir()):
            raise InvalidInputError(f"output folder {str(folder)!r} holds other files; {way_out}")
        return None
    if answered(stored) != about["analysis"]:
        what = answered(stored) or "something else"
        raise InvalidInputError(f"output folder {str(folder)!r} contains {what}; {way_out}")
    if differing := difference(stored.get("config") or {}, about["config"]):
        raise InvalidInputError(
            f"output folder {str(folder)!r} contains another configuration ({differing}); {way_out}"
        )
    return stored


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration as it reads after a round through JSON."""
    plain: dict[str, Any] = json.loads(json.dumps(config, default=str))
    return plain
