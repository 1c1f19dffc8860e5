"""The rules say what the numbers say."""

import math
import re

import numpy as np
import pandas as pd
import pytest

from invariance_probe.report import rules
from invariance_probe.results.methods import Method
from tests.conftest import ROOT
from tests.results.planted import planted


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
        # between 1.5 times the floor and less, or more, lie the intervals of both
        ({"affine": 0.04, "floor": 0.06, "oracle": 0.2}, ["can live"]),
        ({"affine": 0.07, "floor": 0.06, "oracle": 0.2}, ["undecided"]),
        ({"affine": 0.12, "floor": 0.06, "oracle": 0.2}, ["input"]),
        ({"affine": 0.25, "floor": 0.20, "oracle": 0.3}, ["grid"]),
        ({"affine": 0.05, "floor": 0.10, "oracle": 0.3}, ["undecided"]),
        ({"affine": 0.30, "floor": 0.20, "oracle": 0.3}, ["undecided"]),
        ({"affine": 0.35, "floor": 0.20, "oracle": 0.4}, ["input"]),
        ({"affine": 0.0, "floor": 0.0, "oracle": 0.0}, ["can live"]),
        ({"affine": 0.8, "floor": 0.1, "oracle": 0.9, "any_warp": 0.42}, ["no warp"]),
        ({"affine": 0.8, "floor": 0.1, "oracle": 0.9, "any_warp": 0.41}, ["input"]),
        ({"affine": 0.8, "floor": 0.1, "oracle": 0.9, "oracle_linear": 0.43}, ["mixing"]),
        ({"affine": 0.8, "floor": 0.1, "oracle": 0.9, "oracle_linear": 0.44}, ["input"]),
        ({"affine": 0.8, "floor": 0.1, "oracle": 0.9, "oracle_permutation": 0.1}, ["permutation"]),
        (
            {"affine": 0.8, "floor": 0.1, "oracle": 0.9, "any_warp": 0.6, "oracle_linear": 0.1},
            ["no warp", "mixing"],
        ),
        ({"affine": 0.8, "floor": 0.1, "oracle": 0.9, "any_warp": math.nan}, ["input"]),
        ({"affine": math.nan, "floor": 0.1, "oracle": 0.9}, ["unknown"]),
        ({"oracle": 0.9}, ["unknown"]),
    ],
)
def test_each_rule_takes_the_end_of_the_interval_that_speaks_against_it(
    methods: dict[str, float], said: list[str]
) -> None:
    """A planted layer gets just the remarks that its numbers call for."""
    found = rules.remarks(summary(**methods))
    assert [remark.rule for remark in found] == said
    assert all(remark.layers == ("b1",) and "rotation" in remark.text for remark in found)


def test_without_intervals_nothing_is_decided() -> None:
    """Two images have means and no interval: the sentence says that they are too few."""
    frame = summary(affine=0.8, floor=0.1, oracle=0.9).assign(low=math.nan, high=math.nan)
    (remark,) = rules.remarks(frame)
    assert remark.rule == "undecided"
    assert "too few images" in remark.text


def test_sentences_hold_their_numbers() -> None:
    """Mean, interval, share and the simplest mixing that is enough stand in the sentence."""
    methods = {"affine": 0.8, "floor": 0.1, "oracle": 0.9, "any_warp": 0.6}
    mixed = {"oracle_permutation": 0.40, "oracle_linear": 0.09}
    proven, mixing = rules.remarks(summary(**methods, **mixed))
    assert "0.60 [0.59, 0.61] of 0.80 [0.79, 0.81], 75 % [73, 77]" in proven.text
    assert "a permutation of the channels removes 56 % [54, 57] of 0.90" in mixing.text
    (rest,) = rules.remarks(summary(affine=0.8, floor=0.1, oracle=0.9))
    assert "0.80 [0.79, 0.81], 8.00 [7.18, 9.00] times the floor" in rest.text
    (smooth,) = rules.remarks(summary(affine=0.8, flow=0.75, floor=0.1, oracle=0.9))
    assert "the best smooth warp 0.75 [0.74, 0.76]" in smooth.text


def test_only_what_was_measured_is_spoken_of() -> None:
    """Neither mixings nor bounds are mentioned as tried where they were not asked for."""
    (plain,) = rules.remarks(summary(affine=0.8, floor=0.1, oracle=0.9))
    assert "no warp that was found" in plain.text
    assert "Mixings of the channels were not measured." in plain.text
    assert "Whether any warp at all could is not known" in plain.text
    both = {"affine": 0.8, "floor": 0.1, "oracle": 0.9, "any_warp": 0.1, "oracle_linear": 0.8}
    (full,) = rules.remarks(summary(**both))
    assert "neither a warp nor a mixing of the channels that was found" in full.text
    assert "not" not in full.text.partition("(")[2]


def test_a_matrix_is_no_reason_for_a_group_equivariant_layer() -> None:
    """Where a linear mixing does it and a permutation does not, no such layer is recommended."""
    mixed = {"oracle_permutation": 0.76, "oracle_linear": 0.09}
    (remark,) = rules.remarks(summary(affine=0.8, floor=0.1, oracle=0.9, **mixed))
    assert remark.rule == "mixing"
    assert "more than a permutation, which is what a group-equivariant layer has" in remark.text
    assert "a permutation 16 % [13, 18]" in remark.text


def test_ratios_rest_on_images_where_they_are_known() -> None:
    """Images that are hard for both widen neither: 0.6 and 0.2 times what the oracle leaves."""
    hard = np.array([0.5, 1.0, 1.5, 2.0])
    left = {Method.ORACLE: hard, Method.AFFINE: 0.6 * hard, Method.FLOOR: 0.2 * hard}
    left[Method.ANY_WARP] = 0.54 * hard
    tables = planted({m: v.tolist() for m, v in left.items()}, layers=["b1"])
    (one,) = rules.by_transform(tables).values()
    np.testing.assert_allclose(one.ratio(Method.AFFINE, Method.FLOOR), 3.0)
    np.testing.assert_allclose(one.ratio(Method.ANY_WARP, Method.AFFINE), 0.9)
    assert rules.rules_met(one) == ["no warp"]
    apart = rules.remarks(tables.summary())
    assert [remark.rule for remark in apart] != ["no warp"]
    assert [remark.rule for remark in rules.remarks(tables.summary(), tables)] == ["no warp"]


def test_the_readme_and_the_rules_agree() -> None:
    """On the demo's numbers no group-equivariant layer is advised, as the README says why."""
    frame = pd.read_csv(ROOT / "analyses" / "results" / "demo" / "summary.csv")
    assert {remark.rule for remark in rules.remarks(frame)}.isdisjoint({"permutation", "can live"})
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    (said,) = re.findall(r"a group-equivariant layer would need, remove (\d+) % at block 2", text)
    by = frame[(frame["metric"] == "fvu") & (frame["transform"] == "rotation")]
    left = by.pivot(index="layer", columns="method", values="mean")
    # the README gives the share that permuting removes beyond the best warp
    warped = left[["oracle", "affine"]].min(axis=1)
    mixed = left[["oracle+permutation", "affine+permutation"]].min(axis=1)
    shares = 100 * (warped - mixed) / left["oracle"]
    assert round(shares["_blocks.2"]) == int(said) == round(shares.max())
    # "So transform the input" is said of a residual far above the floor, here as there
    assert "`affine` far above `floor`: none aligns them, so transform the input" in text


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
        ((0.02, 0.01, 0.06), {"oracle": FAR, **CHANCE}, "transform the input", "-15 %"),
        (LOSS, {"oracle": NEAR, **CHANCE}, "warp", "oracle brings back 96 % [92, 100]"),
        (LOSS, {"oracle": FAR, "affine": NEAR, **CHANCE}, "warp", "affine brings back 96 %"),
        (LOSS, {"oracle": UNSURE, **CHANCE}, "undecided", "the intervals hold 0.9"),
        # a share of one half, be it ever so sure, is no remedy
        (LOSS, {"oracle": (0.5, 0.6), **CHANCE}, "transform the input", "55 % [50, 60]"),
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
            "a perfect layer on this grid keeps 72 % [50, 95]",
        ),
        (LOSS, {"oracle": FAR, "oracle_permutation": NEAR, **CHANCE}, "permutation", "96 %"),
        (LOSS, {"oracle": UNSURE, "oracle_permutation": FAR, **CHANCE}, "undecided", "hold"),
        # a mixing by a matrix is no remedy that a spatial transformer has
        (LOSS, {"oracle": FAR, "oracle_linear": NEAR, **CHANCE}, "transform the input", "-15 %"),
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
