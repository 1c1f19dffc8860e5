"""Trainings by steps."""

from types import ModuleType

import pandas as pd
import pytest

from analyses.questions import iterations
from tests.analyses.trainings import assert_answered


def test_the_tiny_preset_is_answered_and_drawn(frames: dict[ModuleType, pd.DataFrame]) -> None:
    """The trainings give a table, and a figure that says what it rests on."""
    assert_answered(iterations, frames[iterations])


def test_steps_are_compared_with_one_step(frames: dict[ModuleType, pd.DataFrame]) -> None:
    """The difference of two steps is to one step of the same network, not to another network."""
    frame = frames[iterations]
    table = iterations.summary(frame).set_index("variant")
    means = frame.groupby("variant")["error"].mean()
    assert table["steps"].to_dict() == {"c0": 1, "c0x2": 2}
    assert table.loc["c0x2", "difference"] == pytest.approx(means["c0x2"] - means["c0"])
