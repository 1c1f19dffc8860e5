"""Maps of few channels: what is drawn, what is found, and what is told of it."""

import pandas as pd
import pytest

from analyses.questions import few_channels


def test_drawn_pairs_are_searched_and_compared() -> None:
    """Shapes and contents vary as promised; planted warps are found, and seeds repeat the table."""
    config = few_channels.Config(planted=5, unrelated=2, starts=20, seed=3)
    frame = few_channels.measure(config)
    assert frame["part"].tolist() == ["planted"] * 5 + ["unrelated"] * 2
    assert set(frame["kind"]) <= set(few_channels.KINDS)
    sides = frame[["height", "width"]]
    assert sides.min(axis=None) >= 6
    assert sides.max(axis=None) <= 56
    assert (sides.max(axis=1) <= few_channels.LONGEST_RATIO * sides.min(axis=1) + 1).all()
    assert (frame["ratio"] == frame["found"] / frame["truth"]).all()
    # of so few and such weak random starts none is deeper
    assert (frame["ratio"] <= few_channels.WITHIN).all()
    pd.testing.assert_frame_equal(frame, few_channels.measure(config))
    assert few_channels.plot(frame).axes


def test_a_search_that_misses_is_told() -> None:
    """Shares count what lies above the truth, and what lies below it."""
    ratios = [1.0, 1.02, 0.9, 3.0]
    frame = pd.DataFrame({
        "part": ["planted", "planted", "unrelated", "unrelated"],
        "kind": ["noise", "noise", "digits", "digits"],
        "ratio": ratios,
    })
    table = few_channels.summary(frame).set_index(["part", "kind"])
    assert table.loc[("planted", "all"), "within"] == pytest.approx(0.5)
    assert table.loc[("planted", "all"), "within 5 %"] == pytest.approx(1)
    assert table.loc[("unrelated", "all"), "better"] == pytest.approx(0.5)
    assert table.loc[("unrelated", "digits"), "worst"] == pytest.approx(3)
