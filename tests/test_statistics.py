"""Correcting p-values for their number."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from invariance_probe.statistics import holm


def test_holm_is_the_papers_example() -> None:
    """Four p-values by hand: times 4, 3, 2, 1 in order, never falling, at most 1; NaN stays."""
    adjusted = holm(np.array([0.01, 0.04, np.nan, 0.03, 0.005]))
    np.testing.assert_allclose(adjusted, [0.03, 0.06, np.nan, 0.06, 0.02])
    np.testing.assert_array_equal(holm(np.array([0.9, 0.8])), [1, 1])
    assert len(holm(np.array([]))) == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_step_by_step(values: list[float]) -> None:
    """The adjusted value is at most alpha just where the step-down procedure rejects."""
    p_values, alpha = np.array(values), 0.05
    rejected = np.zeros(len(p_values), dtype=bool)
    for place, index in enumerate(np.argsort(p_values, kind="stable")):
        if (len(p_values) - place) * p_values[index] > alpha:
            break
        rejected[index] = True
    np.testing.assert_array_equal(holm(p_values) <= alpha, rejected)
