"""``python -m analyses NAME``: answer one question; ``list`` names them."""

import dataclasses
import importlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
import tyro

from invariance_probe import figures, results
from invariance_probe.errors import InvalidInputError
from invariance_probe.provenance import provenance

NAMES = (
    "speed",
    "search_quality",
    "certificates",
    "controls",
    "sensitivity",
    "learning_curve",
    "training_speed",
    "kills",
)


def main(
    name: Annotated[
        str,
        tyro.conf.Positional,
        tyro.conf.arg(help=f"Which question: {', '.join(NAMES)}; `list` says what each asks."),
    ],
    preset: Annotated[
        Literal["quick", "tiny"], tyro.conf.arg(help="quick: minutes on 2 cores; tiny: seconds.")
    ] = "quick",
    out: Annotated[
        Path | None,
        tyro.conf.arg(help="Folder for table, figure and provenance; runs/NAME by default."),
    ] = None,
) -> None:
    """Answer a question with a table and a figure.

    Args:
        name: Which question.
        preset: How thoroughly.
        out: Where to write.

    Raises:
        InvalidInputError: If there is no such question.
    """
    if name == "list":
        for each in NAMES:
            first_line = (_module(each).__doc__ or "").partition("\n")[0]
            print(f"{each:18} {first_line}")
        return
    if name not in NAMES:
        raise InvalidInputError(f"there is no question {name!r}; choose from {', '.join(NAMES)}")
    folder = results.check_out(out or Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}")
    assert folder is not None
    analysis = _module(name)
    config = analysis.PRESETS[preset]
    began = time.monotonic()
    frame: pd.DataFrame = analysis.measure(config)
    table: pd.DataFrame = analysis.summary(frame)
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(folder / "results.parquet", index=False)
    table.to_csv(folder / "summary.csv", index=False, float_format="%.4g")
    figures.save(analysis.plot(frame), folder / name)
    about = {
        "command": f"python -m analyses {name} --preset {preset}",
        "config": dataclasses.asdict(config),
        "provenance": provenance(time.monotonic() - began),
    }
    (folder / "config.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    with pd.option_context("display.width", 200, "display.max_columns", 20):
        print(table.to_string(index=False, float_format=lambda v: f"{v:.4g}", na_rep=""))
    print(f"Folder: {folder}")


def _module(name: str) -> Any:
    return importlib.import_module(f"analyses.{name}")


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        arguments: Words after the command's name; those of the process by default.

    Raises:
        SystemExit: With status 2 on bad usage.
    """
    try:
        tyro.cli(main, prog="python -m analyses", args=arguments)
    except InvalidInputError as error:
        print(f"analyses: {error}", file=sys.stderr)
        raise SystemExit(2) from error


if __name__ == "__main__":
    run()
