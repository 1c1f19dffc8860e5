"""What reassigned and mixed channels remove, and a judge that can say no."""

import numpy as np
import pandas as pd

from analyses.questions import channel_shift
from tests.analyses.questions.measured import assert_answered, measured


def test_the_tiny_preset_is_answered_and_drawn() -> None:
    """Table and figure are whole, but for moves of channels that were not permuted."""
    assert_answered(channel_shift, blank=tuple(channel_shift.MOVES))


def test_the_quarter_turn_of_the_control_stands_out() -> None:
    """The permutation of a C4 network is exact at 90 degrees alone, and is found by all folds."""
    table = channel_shift.summary(measured(channel_shift))
    permuted = table[table["kind"] == "permutation"].set_index("network")
    control = permuted.loc[channel_shift.CONTROL]
    assert (control["verdict"] == "stands out").all()
    np.testing.assert_allclose(control["share"], 1, atol=1e-5)
    assert (control["agreement"] == 1).all()
    assert (control["moved"] == 1).all()
    assert (control["share_unrelated"] < 0.2).all()
    assert (permuted.loc[[channel_shift.ON_GRID], "share"] < 0.5).all()


def test_a_quarter_turn_like_its_neighbours_does_not_stand_out() -> None:
    """With the values at 90 degrees put at its neighbours too, nothing stands out."""
    frame = measured(channel_shift)
    quarter = frame[frame["parameter"] == 90]
    flat = pd.concat([quarter.assign(parameter=float(angle)) for angle in (75, 90, 105)])
    table = channel_shift.summary(flat)
    assert set(table["verdict"]) <= {"undecided", "removes nothing"}
    np.testing.assert_allclose(table["difference"], 0, atol=1e-9)


def test_a_verdict_needs_both_intervals() -> None:
    """Standing out is to remove something, more than nearby, and not for want of interpolation."""
    assert channel_shift.verdict(0.1, (0.1, 0.1), (0.2, 0.2)) == "stands out"
    assert channel_shift.verdict(-0.1, (0.1, 0.1), (0.2, 0.2)) == "removes nothing"
    assert channel_shift.verdict(0.1, (0.1, -0.1), (0.2, 0.2)) == "undecided"
    assert channel_shift.verdict(0.1, (-0.2, -0.2), (-0.1, -0.1)) == "falls behind"
    assert channel_shift.verdict(0.1, (-0.2, -0.2), (-0.1, 0.1)) == "undecided"
