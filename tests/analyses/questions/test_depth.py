"""Trainings by depth."""

import math
from types import ModuleType

import pandas as pd
import pytest

from analyses.questions import depth
from tests.analyses.trainings import assert_answered, planted_runs


def test_the_tiny_preset_is_answered_and_drawn(frames: dict[ModuleType, pd.DataFrame]) -> None:
    """The trainings give a table, and a figure that says what it rests on."""
    assert_answered(depth, frames[depth])


def test_diverged_runs_are_counted_on_the_figure_of_depth() -> None:
    """A run that diverged is neither drawn nor passed over."""
    frame = planted_runs({"cnn": [0.2, 0.3], "dl1": [0.1, 0.2], "dl2": [math.nan, 0.4]})
    figure = depth.plot(frame)
    assert "diverged: 1 of DL2" in figure.axes[0].get_title()
    table = depth.summary(frame).set_index("variant")
    assert table.loc["dl2", "error"] == pytest.approx(0.4)
    assert table["diverged"].tolist() == [0, 0, 1]
