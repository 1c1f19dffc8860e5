"""Coverage is counted, and the judge can say no."""

import numpy as np
import pytest

from analyses.questions import coverage


def test_coverage_is_counted_and_the_judge_can_say_so() -> None:
    """Few draws are as asked; intervals that are half as wide are not; each kind has its rows."""
    config = coverage.PRESETS["tiny"]
    frame = coverage.measure(config)
    assert (frame["covered"] + frame["too_low"] + frame["too_high"]).to_numpy() == pytest.approx(1)
    table = coverage.summary(frame).set_index("values")
    asked = table.loc[list(coverage.ASKED), "as_asked"]
    assert asked.tolist() == [True, True, True]
    assert {f"probe: {method}" for method in coverage.METHODS} <= set(table.index)
    assert "part: permutation" in table.index
    assert len(coverage.plot(frame).axes) == 3
    narrow = frame.assign(covered=frame["covered"].where(frame["images"] < 5, 0.7))
    again = coverage.summary(narrow).set_index("values").loc[list(coverage.ASKED), "as_asked"]
    assert again.tolist() == [False, False, False]


def test_a_tally_counts_on_either_side() -> None:
    """Intervals below and above what they are about are told apart; their ends belong to them."""
    tally = coverage.Tally("any", 5)
    tally.add(1.0, np.array([0.0, 1.0, 1.5, 0.2]), np.array([0.5, 2.0, 2.0, 1.0]))
    row = tally.row()
    assert [row["too_low"], row["too_high"], row["covered"]] == [0.25, 0.25, 0.5]
    assert row["width"] == pytest.approx(0.65)
