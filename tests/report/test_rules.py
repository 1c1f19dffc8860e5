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


def recovered(lost: tuple[float, float, float], **shares: tuple[float, float]) -> pd.DataFrame:
    """One layer under rotation: a loss in nats with its ends, and ends of shares by method."""
    rows = [
        {
            "layer": "b1",
            "transform": "rotation",
            "method": name.replace("_", "+"),
            "metric": "kl",
            **dict(zip(("lost", "lost_low", "lost_high"), lost, strict=True)),
            "share": (low + high) / 2,
            "low": low,
            "high": high,
            "reason": "",
        }
        for name, (low, high) in shares.items()
    ]
    return pd.DataFrame(rows)


LOSS = (0.8, 0.5, 1.1)
CHANCE = {"unrelated": (-3.0, -1.0)}
FAR, NEAR, UNSURE = (-0.5, 0.2), (0.92, 1.0), (0.5, 0.95)


@pytest.mark.parametrize(
    ("lost", "shares", "rule", "words"),
    [
        ((0.02, -0.01, 0.05), {"oracle": FAR, **CHANCE}, "nothing lost", "0.02 [-0.01, 0.05]"),
        ((0.02, 0.01, 0.06), {"oracle": FAR, **CHANCE}, "transform the input", "-0.15"),
        (LOSS, {"oracle": NEAR, **CHANCE}, "warp", "oracle brings back 0.96 [0.92, 1.00]"),
        (LOSS, {"oracle": FAR, "affine": NEAR, **CHANCE}, "warp", "affine brings back 0.96"),
        (LOSS, {"oracle": UNSURE, **CHANCE}, "undecided", "the intervals hold 0.9"),
        # a share of one half, be it ever so sure, is no remedy
        (LOSS, {"oracle": (0.5, 0.6), **CHANCE}, "transform the input", "0.55 [0.50, 0.60]"),
        (
            LOSS,
            {"oracle": FAR, **CHANCE},
            "transform the input",
            "Permutations of the channels were not measured.",
        ),
        (
            LOSS,
            {"oracle": FAR, "oracle_permutation": FAR, "floor": UNSURE, **CHANCE},
            "transform the input",
            "a perfect layer on this grid keeps 0.72 [0.50, 0.95]",
        ),
        (LOSS, {"oracle": FAR, "oracle_permutation": NEAR, **CHANCE}, "permutation", "0.96"),
        (LOSS, {"oracle": UNSURE, "oracle_permutation": FAR, **CHANCE}, "undecided", "hold"),
        # a mixing by a matrix is no remedy that a spatial transformer has
        (LOSS, {"oracle": FAR, "oracle_linear": NEAR, **CHANCE}, "transform the input", "-0.15"),
        (LOSS, {"oracle": NEAR, "unrelated": (0.8, 0.95)}, "undecided", "unrelated image's map"),
        (LOSS, {"oracle": NEAR}, "undecided", "no unrelated image"),
        (LOSS, CHANCE, "undecided", "no warp"),
        ((0.8, math.nan, math.nan), {"oracle": (math.nan,) * 2}, "undecided", "too few images"),
    ],
)
def test_advice_rests_on_intervals_and_on_what_was_measured(
    lost: tuple[float, float, float], shares: dict[str, tuple[float, float]], rule: str, words: str
) -> None:
    """Each rule takes the end of an interval that speaks against it, and names what is missing."""
    (remark,) = rules.advice(recovered(lost, **shares))
    assert (remark.rule, remark.layers) == (rule, ("b1",))
    assert words in remark.text
    assert "rotation" in remark.text


def test_a_loss_that_is_not_told_from_nothing_decides_nothing() -> None:
    """The reason why there is no share is given, unless the loss is negligible for sure."""
    frame = recovered((0.2, -0.1, 0.5), oracle=NEAR, **CHANCE).assign(reason="not told from 0")
    (remark,) = rules.advice(frame)
    assert remark.rule == "undecided"
    assert "not told from 0" in remark.text


def test_no_advice_rests_on_agreement_alone() -> None:
    """Without a graded metric there is none."""
    assert rules.advice(recovered(LOSS, oracle=NEAR).assign(metric="agreement")) == []
