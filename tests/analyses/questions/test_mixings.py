"""Mixings that do no harm, and a judge that can say so."""

import pytest

from analyses.questions import mixings


def test_mixings_do_no_harm_and_the_judge_can_say_so() -> None:
    """Three random networks are unharmed; one image at 3, or a mean above the oracle's, is harm."""
    frame = mixings.measure(mixings.PRESETS["tiny"])
    assert len(frame) == 3 * 10 * 2
    assert mixings.summary(frame)["harmed"].tolist() == [0]
    assert mixings.plot(frame).axes
    mixed = frame["method"] == "oracle+linear"
    one = frame.copy()
    one.loc[one[mixed].index[0], "value"] = 3.0
    assert mixings.summary(one)["harmed"].tolist() == [1]
    worse = frame.copy()
    first = mixed & (worse["seed"] == 0)
    oracle = worse[~mixed & (worse["seed"] == 0)]["value"].mean()
    worse.loc[first, "value"] = min(oracle, 1) + 0.06
    table = mixings.summary(worse)
    assert table["harmed"].tolist() == [1]
    assert table["excess"].item() == pytest.approx(0.06)
