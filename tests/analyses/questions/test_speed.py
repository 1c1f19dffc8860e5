"""Times and residuals of searches, side by side."""

import numpy as np
import pandas as pd
import pytest
import torch

from analyses.questions import speed


def planted() -> pd.DataFrame:
    """Two pairs, ours and two others, one of which leaves the family to be better."""
    methods = {speed.OURS: (0.01, 0.2, True), "slow": (0.1, 0.3, True), "wild": (0.02, 0.1, False)}
    rows = [
        {"layer": "a", "degrees": 30.0, "image": image, "method": method, "repeat": 0}
        | {"seconds": seconds, "fvu": fvu, "in_family": inside}
        for method, (seconds, fvu, inside) in methods.items()
        for image in ("x", "y")
    ]
    whole = [
        {"layer": "six layers", "method": method, "repeat": 0, "seconds": seconds}
        for method, seconds in (("probe", 6.0), ("forward passes", 3.0))
    ]
    return pd.DataFrame([*rows, *whole])


def test_the_bar_is_the_best_within_the_family() -> None:
    """What leaves the family sets no bar; times are compared repeat by repeat."""
    table = speed.summary(planted()).set_index("method")
    assert table.loc[speed.OURS, "no_worse_than_best"] == 1
    assert table.loc["slow", "times_slower"] == pytest.approx(10)
    assert table.loc["probe / forward passes", "times_slower"] == pytest.approx(2)
    assert table.loc["wild", "in_family"] == 0
    assert np.isnan(table.loc["slow", "no_worse_than_best"])
    assert len(speed.plot(planted()).axes) == 1


def test_the_family_is_bounded_on_both_sides() -> None:
    """Stretched three times, or shrunk to a third, is outside; twice is inside."""
    oracle = torch.eye(2, 3, dtype=torch.float64).repeat(3, 1, 1)
    theta = oracle * torch.tensor([2.0, 3.0, 1 / 3]).view(3, 1, 1)
    assert speed._in_family(theta, oracle) == [True, False, False]
