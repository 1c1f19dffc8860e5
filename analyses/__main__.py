"""``python -m analyses list``, ``run NAME --preset PRESET``, ``keep DIR`` and ``report DIR``."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import pandas as pd
import tyro

from analyses import questions, training_plan
from analyses.answer import answer
from invariance_probe.cli import reporting
from invariance_probe.commands import run_command
from invariance_probe.engines import EngineOptions
from invariance_probe.training import runs
from invariance_probe.training.runs import TrainResult

PresetName = Literal[
    "quick", "standard", "paper", "tiny", "two-cores", "two-cores-narrow", "two-cores-harder"
]


@dataclass(frozen=True, kw_only=True)
class ListCommand:
    """Say what each question asks."""

    def run(self) -> None:
        """Print a line for each."""
        width = max(map(len, questions.NAMES))
        for name in questions.NAMES:
            print(f"{name:{width}}  {questions.title(name)}")


@dataclass(frozen=True, kw_only=True)
class RunCommand:
    """Answer a question with a table and a figure; the same command goes on after a kill."""

    name: Annotated[
        str,
        tyro.conf.Positional,
        tyro.conf.arg(metavar="NAME", help="Which question; `list` says what each asks."),
    ]
    preset: Annotated[
        PresetName,
        tyro.conf.arg(
            help="paper: as published; standard: hours, better on a GPU; two-cores: what "
            "analyses/results/PLAN.md lists; quick: minutes on 2 cores; tiny: seconds. Not every "
            "question has all."
        ),
    ] = "quick"
    out: Annotated[
        Path | None,
        tyro.conf.arg(
            help="Folder for table, figure, configuration and provenance.",
            help_behavior_hint="(default: runs/NAME-PRESET)",
        ),
    ] = None
    missing: Annotated[
        training_plan.Missing,
        tyro.conf.arg(help="Trainings that are not there are trained, refused, or left out."),
    ] = "train"
    engine: Annotated[EngineOptions, tyro.conf.arg(name="")] = field(default_factory=EngineOptions)

    def run(self) -> None:
        """Measure or find, draw, print."""
        folder = self.out or Path("runs") / f"{self.name}-{self.preset}"
        found = answer(self.name, self.preset, folder, self.missing, self.engine.chosen)
        print(as_text(found.summary, shutil.get_terminal_size((120, 24)).columns))
        if not found.measured:
            print("The table was there already; summary and figure are drawn anew.")
        print(f"Folder: {folder}")


@dataclass(frozen=True, kw_only=True)
class KeepCommand:
    """Keep the numbers of finished trainings beside the answers, so that nobody repeats them."""

    folders: Annotated[
        tuple[Path, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="DIR [DIR ...]", help="Folders of run folders, named by preset."),
    ]

    def run(self) -> None:
        """Copy what questions ask of each run, and count."""
        for folder in self.folders:
            done = [path for path in sorted(folder.iterdir()) if runs.is_finished(path)]
            place = training_plan.KEPT / folder.name
            if folder.name in training_plan.MANY:
                training_plan.keep_numbers(
                    {path.name: TrainResult.load(path) for path in done}, place
                )
            else:
                for path in done:
                    training_plan.keep(TrainResult.load(path), place / path.name)
            print(f"{place}: {len(done)} runs")


@dataclass(frozen=True, kw_only=True)
class ReportCommand(reporting.ReportCommand):
    """Make one HTML page from answers, probes, trainings and verdicts of the proofs."""

    def pages(self) -> ModuleType:
        """Import what knows answers and verdicts too: its claims take seconds."""
        from analyses import report

        return report


def as_text(summary: pd.DataFrame, width: int) -> str:
    """Lay a summary out for a terminal.

    Args:
        summary: Columns ``x``, ``x_low`` and ``x_high`` are a number and its interval.
        width: Of the terminal, in characters.

    Returns:
        The table, ``x [x_low, x_high]`` in one column, broken into blocks that fit.
    """
    shown = pd.DataFrame(index=summary.index)
    for name in summary:
        stem, _, end = str(name).rpartition("_")
        if end in {"low", "high"} and stem in summary:
            continue
        shown[name] = summary[name].map(_short)
        if {f"{name}_low", f"{name}_high"} <= set(summary):
            ends = summary[[f"{name}_low", f"{name}_high"]]
            words = " [" + ends.iloc[:, 0].map(_short) + ", " + ends.iloc[:, 1].map(_short) + "]"
            shown[name] += words.where(ends.notna().all(axis=1), "")
    words_first = [name for name in shown if not pd.api.types.is_numeric_dtype(summary[name])]
    same = [name for name in words_first if len(shown) > 1 and shown[name].nunique() == 1]
    labels = [name for name in words_first if name not in same]
    text: str = ", ".join(f"{name} {shown[name].iloc[0]}" for name in same)
    table = shown.drop(columns=same)
    if labels and len(labels) < len(table.columns):
        # an index stands in front of every block
        table = table.set_index(labels)
        text += "\n" + table.to_string(sparsify=False, line_width=width)
    else:
        text += "\n" + table.to_string(index=False, line_width=width)
    return text.lstrip("\n")


def _short(value: Any) -> str:
    if pd.isna(value):
        return ""
    text: str = f"{value:.3g}" if isinstance(value, float) else str(value)
    return text


Command = (
    Annotated[ListCommand, tyro.conf.subcommand("list")]
    | Annotated[RunCommand, tyro.conf.subcommand("run")]
    | Annotated[KeepCommand, tyro.conf.subcommand("keep")]
    | Annotated[ReportCommand, tyro.conf.subcommand("report")]
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        arguments: Words after the command's name; those of the process by default.
    """
    run_command(
        Command,
        program="python -m analyses",
        description="One question a command: what does the theory say, does it hold in numbers, "
        "what does it cost?",
        arguments=arguments,
        interrupted="the same command goes on",
    )


if __name__ == "__main__":
    main()
