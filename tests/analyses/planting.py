"""A question that is planted in the place of another, and what commands refuse."""

import types
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest
from matplotlib.figure import Figure

from analyses import command


@dataclass(frozen=True, kw_only=True)
class Config:
    """A planted analysis's."""

    level: float = 0.5
    folder: Path | None = None
    words: tuple[str, ...] = ("a", "b")


class Planted(types.ModuleType):
    """Why does a planted question count its measurements?"""

    PRESETS: ClassVar = {"quick": Config(), "tiny": Config(level=0.25)}

    def __init__(self) -> None:
        super().__init__("analyses.questions.speed", self.__class__.__doc__)
        self.measured = 0
        self.stop = ""

    def measure(self, config: Config) -> pd.DataFrame:
        self.measured += 1
        if self.stop == "measure":
            raise KeyboardInterrupt
        return pd.DataFrame({"x": [1.0, 2.0], "level": config.level})

    def summary(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame.groupby("level", as_index=False).mean()

    def plot(self, frame: pd.DataFrame) -> Figure:
        if self.stop == "plot":
            raise KeyboardInterrupt
        figure = Figure(figsize=(3, 2))
        figure.subplots().plot(frame["x"])
        return figure


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a refused command says, on one line."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        command.main(words)
    err = capsys.readouterr().err
    assert caught.value.code == 2
    assert err.count("\n") == 1
    return err
