"""The rules say what the numbers say."""

import math

import pandas as pd
import pytest

from invariance_probe.report import rules


def summary(**methods: float) -> pd.DataFrame:
    """One layer under rotation, a planted mean each method."""
    rows = [
        {
            "layer": "b1",
            "transform": "rotation",
            "method": name.replace("_", "+").replace("any+warp", "any-warp"),
            "metric": "fvu",
            "mean": mean,
            "low": mean - 0.01,
            "high": mean + 0.01,
        }
        for name, mean in methods.items()
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        ({"affine": 0.15, "floor": 0.10, "oracle": 0.2}, ["can live"]),
        ({"affine": 0.151, "floor": 0.10, "oracle": 0.2}, ["input"]),
        ({"affine": 0.15, "floor": 0.101, "oracle": 0.2}, ["grid"]),
        ({"affine": 0.152, "floor": 0.101, "oracle": 0.2}, ["input"]),
        ({"affine": 0.0, "floor": 0.0, "oracle": 0.0}, ["can live"]),
        ({"affine": 0.8, "floor": 0.1, "oracle": 0.9, "any_warp": 0.4}, ["no warp"]),
        ({"affine": 0.8, "floor": 0.1, "oracle": 0.9, "any_warp": 0.39}, ["input"]),
        ({"affine": 0.8, "floor": 0.1, "oracle": 0.9, "oracle_linear": 0.44}, ["mixing"]),
        ({"affine": 0.8, "floor": 0.1, "oracle": 0.9, "oracle_linear": 0.46}, ["input"]),
        ({"affine": 0.8, "floor": 0.1, "oracle": 0.9, "oracle_permutation": 0.1}, ["mixing"]),
        (
            {"affine": 0.8, "floor": 0.1, "oracle": 0.9, "any_warp": 0.6, "oracle_linear": 0.1},
            ["no warp", "mixing"],
        ),
        ({"affine": 0.8, "floor": 0.1, "oracle": 0.9, "any_warp": math.nan}, ["input"]),
        ({"affine": math.nan, "floor": 0.1, "oracle": 0.9}, ["unknown"]),
        ({"oracle": 0.9}, ["unknown"]),
    ],
)
def test_each_rule_fires_on_its_side_of_its_threshold(
    methods: dict[str, float], said: list[str]
) -> None:
    """A planted layer gets just the remarks that its numbers call for."""
    found = rules.remarks(summary(**methods))
    assert [remark.rule for remark in found] == said
    assert all(remark.layers == ("b1",) and "rotation" in remark.text for remark in found)


def test_sentences_hold_their_numbers() -> None:
    """Mean, interval, share and the simplest mixing that is enough stand in the sentence."""
    methods = {"affine": 0.8, "floor": 0.1, "oracle": 0.9, "any_warp": 0.6}
    mixed = {"oracle_permutation": 0.45, "oracle_linear": 0.09}
    proven, mixing = rules.remarks(summary(**methods, **mixed))
    assert "0.60 [0.59, 0.61] of 0.80 [0.79, 0.81], 75.0 %" in proven.text
    assert "a permutation of the channels removes 50.0 % of 0.90" in mixing.text
    (rest,) = rules.remarks(summary(affine=0.8, floor=0.1, oracle=0.9))
    assert "0.80 [0.79, 0.81], 8.0 times the floor" in rest.text
    (smooth,) = rules.remarks(summary(affine=0.8, flow=0.75, floor=0.1, oracle=0.9))
    assert "8.0 times the floor, the best smooth warp 0.75 [0.74, 0.76]" in smooth.text


def test_layers_that_meet_one_rule_share_a_sentence() -> None:
    """Two layers, one rule, one sentence; another family gets its own."""
    one = summary(affine=0.8, floor=0.1, oracle=0.9)
    two = one.assign(layer="b2")
    other = one.assign(transform="scaling")
    found = rules.remarks(pd.concat([one, two, other]))
    assert [(r.family, r.layers) for r in found] == [
        ("rotation", ("b1", "b2")),
        ("scaling", ("b1",)),
    ]
