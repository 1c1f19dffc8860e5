"""The decomposition: parts are what plain arithmetic gives, chance makes no discoveries."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invariance_probe.errors import InvalidInputError
from invariance_probe.plane.transforms import Affine, Reflection, Rotation, Scaling
from invariance_probe.results.decomposition import (
    CERTIFIED,
    FALSE_DISCOVERIES,
    PARTS,
    channel_moves,
    decomposition,
    discoveries,
)
from invariance_probe.results.methods import EXPLAINING_METHODS, Method
from tests.results.planted import EXPLAINED, permuted, planted

WHOLE = ["mean", "share"]


def _parts(frame: pd.DataFrame, layer: str = "shallow") -> pd.DataFrame:
    return frame[frame["layer"] == layer].set_index("part")


def test_parts_are_the_steps_between_the_methods_means() -> None:
    """Planted means of 1, 0.9, 0.7, 0.4 and a floor of 0.1 give steps of 0.1, 0.2, 0.3 and 0.3."""
    parts = _parts(decomposition(planted(EXPLAINED)))
    expected = {"floor": 0.1, "left": 0.3, "mixing": 0.3, "permutation": 0.2, "other warp": 0.1}
    for name in PARTS:
        assert parts.loc[name, WHOLE].tolist() == pytest.approx([expected[name]] * 2)
        assert parts.loc[name, "status"] == "found"
    assert parts.loc[CERTIFIED, WHOLE].tolist() == pytest.approx([0.2, 0.2])
    assert parts.loc[CERTIFIED, "status"] == "certified"
    assert set(parts["n_images"]) == {3}
    deeper = _parts(decomposition(planted(EXPLAINED)), "deep")
    np.testing.assert_allclose(deeper["mean"], parts["mean"] / 2)
    np.testing.assert_allclose(deeper["share"], parts["share"])


residuals = st.lists(st.floats(0.01, 3), min_size=4, max_size=4)


@settings(max_examples=40)
@given(st.fixed_dictionaries(dict.fromkeys(EXPLAINING_METHODS, residuals)))
def test_parts_add_up_and_none_is_negative(left: dict[Method, list[float]]) -> None:
    """Whatever the methods leave, the stack's height is the oracle's mean, its shares make 1."""
    parts = _parts(decomposition(planted(left)))
    stack = parts.loc[list(PARTS)]
    oracle = np.mean(left[Method.ORACLE])
    # differences of means up to 3: rounding is some 1e-16 of these
    assert (stack["mean"] >= -1e-14).all()
    assert stack["mean"].sum() == pytest.approx(oracle)
    assert stack["share"].sum() == pytest.approx(1)
    assert (stack["low"] <= stack["mean"] + 1e-12).all()
    assert (stack["mean"] <= stack["high"] + 1e-12).all()
    means = {method: np.mean(values) for method, values in left.items()}
    floor = min(means[Method.FLOOR], oracle)
    alone = max(min(oracle, means[Method.AFFINE]), floor)
    assert stack.loc["other warp", "mean"] == pytest.approx(oracle - alone, abs=1e-12)
    assert stack.loc["floor", "mean"] == pytest.approx(floor)
    mixed = [means[m] for m in EXPLAINING_METHODS if m.warp in {"oracle", "affine"}]
    assert stack.loc["left", "mean"] == pytest.approx(max(min(mixed), floor) - floor, abs=1e-12)


def test_a_remedy_that_makes_it_worse_removes_nothing() -> None:
    """A mixing that leaves more than no mixing is no part, and hides none."""
    worse = EXPLAINED | {m: [5.0] * 3 for m in EXPLAINED if m.mixing}
    parts = _parts(decomposition(planted(worse)))
    assert parts.loc[["mixing", "permutation"], "mean"].tolist() == [0, 0]
    assert parts.loc["left", "mean"] == pytest.approx(0.9 - 0.1)


def test_joint_methods_count_and_unrelated_images_do_not() -> None:
    """Warp and mixing found in turns are a mixing; chance is no remedy, whatever it leaves."""
    chance = {Method.UNRELATED: [0.0] * 3, Method.UNRELATED_LINEAR: [0.0] * 3}
    joint = {Method.JOINT_LINEAR: [0.25] * 3}
    parts = _parts(decomposition(planted(EXPLAINED | joint | chance)))
    assert parts.loc["left", "mean"] == pytest.approx(0.25 - 0.1)


def test_a_smooth_warp_that_was_measured_is_another_warp() -> None:
    """What it removes beyond the affine one is taken off what mixings are credited with."""
    parts = _parts(decomposition(planted(EXPLAINED | {Method.FLOW: [0.8] * 3})))
    assert parts.loc["other warp", "mean"] == pytest.approx(0.2)
    assert parts.loc["permutation", "mean"] == pytest.approx(0.1)
    assert parts.loc["left", "mean"] == pytest.approx(0.3)


def test_groups_follow_the_columns_asked_for() -> None:
    """By transform number each transform has its parts, also the one that changes nothing."""
    moves = [Rotation(90), Rotation(0), Scaling(0.5)]
    by = decomposition(planted(EXPLAINED, moves=moves), ["layer", "transform_number"])
    assert len(by) == 2 * 3 * (len(PARTS) + 1)
    assert by[by["transform_number"] == 1]["share"].isna().all()
    assert len(decomposition(planted(EXPLAINED, moves=moves))) == 2 * 2 * (len(PARTS) + 1)


def test_a_run_without_the_methods_is_told_which_and_how() -> None:
    """The methods that are missing are named, with the ways to get them."""
    some = {m: v for m, v in EXPLAINED.items() if m is not Method.ANY_WARP}
    with pytest.raises(InvalidInputError, match=r"lacks the methods any-warp; .*--explain"):
        decomposition(planted(some))
    with pytest.raises(InvalidInputError, match="permuted no channels"):
        channel_moves(planted(some))
    with pytest.raises(InvalidInputError, match="nothing to explain"):
        decomposition(planted(EXPLAINED, moves=[Rotation(0)]))


def test_channel_moves_of_a_planted_cycle() -> None:
    """Four of five channels in a cycle: a quarter turn four times brings them back."""
    source = [1, 2, 3, 0, 4]
    result = planted(EXPLAINED, permutations=permuted(source, agreement=0.8, p_value=0.001))
    (_, row), *others = channel_moves(result).iterrows()
    assert not others
    assert row["channels"] == 5
    assert row["moved"] == pytest.approx(0.8)
    assert row["agreement"] == pytest.approx(0.8)
    assert row["longest_cycle"] == 4
    assert row["turns"] == 4
    assert row["returning"] == 1
    # lengths 2 and 4 divide 4, and each is expected to hold one of the four that moved
    assert row["returning_by_chance"] == pytest.approx(2 / 4)
    assert row["gain"] == pytest.approx(np.mean([0.2, 0.3, 0.1]))
    assert row["p_value"] == pytest.approx(2**-3)
    assert row["significant"] == 1


@pytest.mark.parametrize(
    ("move", "turns"),
    [
        (Rotation(90), 4),
        (Rotation(-45), 8),
        (Rotation(180), 2),
        (Rotation(7), 0),
        (Reflection(30), 2),
        (Scaling(0.5), 0),
        (Affine([[1, 0.1], [0, 1]]), 0),
    ],
)
def test_turns_are_those_that_bring_the_input_back(move: object, turns: int) -> None:
    """A rotation returns after 360 degrees, a reflection after two; others not, or not soon."""
    result = planted(EXPLAINED, moves=[move], permutations=permuted([1, 0, 2]))
    row = channel_moves(result).iloc[0]
    assert row["turns"] == turns
    assert math.isnan(row["returning"]) == (turns == 0)


def test_a_joint_permutation_is_compared_with_the_best_warp_alone() -> None:
    """There is no joint warp without a mixing: it gains on the affine one."""
    left = EXPLAINED | {Method.JOINT_PERMUTATION: [0.6, 0.7, 0.5]}
    result = planted(left, permutations=permuted([1, 0, 2], warp="joint"))
    assert channel_moves(result)["gain"].item() == pytest.approx(0.9 - 0.6)


def test_discoveries_are_those_of_benjamini_and_hochberg() -> None:
    """The worked example of their paper (1995, section 3.2): the four smallest are chosen."""
    paper = [
        *(0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344),
        *(0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0),
    ]
    shuffled = np.random.default_rng(0).permutation(len(paper))
    chosen = discoveries(np.array(paper)[shuffled])
    assert sorted(shuffled[chosen]) == [0, 1, 2, 3]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_discoveries_are_those_of_the_step_up_procedure(p_values: list[float]) -> None:
    """With k the largest rank whose p-value is at most k/n of the level, the k smallest."""
    ranked = sorted(p_values)
    allowed = [FALSE_DISCOVERIES * (k + 1) / len(ranked) for k in range(len(ranked))]
    # a value within rounding of its bound may fall to either side
    if any(math.isclose(p, most, rel_tol=1e-12) for p, most in zip(ranked, allowed, strict=True)):
        return
    passing = [k for k, p in enumerate(ranked) if p <= allowed[k]]
    most = ranked[passing[-1]] if passing else -1.0
    assert discoveries(np.array(p_values)).tolist() == [p <= most for p in p_values]
