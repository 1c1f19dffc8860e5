"""Each method's known answer, on networks that have learnt nothing."""

import copy
from itertools import product

import pytest
import torch

from analyses.related.by_pose import Region
from analyses.related.learning import Built
from analyses.related.methods import METHODS, RECIPES, Motions, Moves
from tests.analyses.related.planted import EXACT, at, digits, measured, method, untrained
from tests.tolerances import ROUNDED

TURNED = [
    each.name
    for each in METHODS
    if isinstance(RECIPES[each.recipe], Built)
    and Motions.QUARTERS in each.motions
    # a generator is fitted for seconds, and has a test of its own
    and not each.name.startswith("steerer")
]


def test_every_network_is_asked_by_some_method_and_every_motion_by_one_that_aligns() -> None:
    """Nothing is trained in vain, and each group of motions has a control on either side."""
    assert {each.recipe for each in METHODS} == set(RECIPES)
    assert {each.moves for each in METHODS} == set(Moves)
    names = [each.name for each in METHODS]
    assert len(set(names)) == len(names) >= 12
    for motions in Motions:
        asked = [each for each in METHODS if motions in each.motions]
        assert any(motions in each.aligned for each in asked)
        assert motions is Motions.SHIFTS or any(motions not in each.aligned for each in asked)
    for each in METHODS:
        assert set(each.aligned) <= set(each.motions), each.name


@pytest.mark.parametrize("name", TURNED)
def test_quarter_turns_are_exact_where_the_theory_says_so(name: str) -> None:
    """Without any learning, by the true pose, and in no other case."""
    left = at(name, Motions.QUARTERS, "left_true")
    exact = Motions.QUARTERS in method(name).aligned
    assert (left <= EXACT) if exact else (left > 0.01)
    assert at(name, Motions.QUARTERS, "floor_input") <= EXACT


@pytest.mark.parametrize(
    "name",
    [
        "RiRoIAlign, C4 network",
        "rotated RoIAlign, pooled C4 network",
        "TI-pooling over quarter turns",
        "canonicalizer, quarter turns",
        "canonicalizer, any angle",
        "a matrix each turn, C4 network",
    ],
)
def test_exact_without_being_told_a_pose_too(name: str) -> None:
    """Group pooling and canonicalizers need no true pose; a roll and a matrix are given it."""
    assert at(name, Motions.QUARTERS) <= EXACT
    assert at(name, Motions.QUARTERS, "chance") > 0.05


def test_moving_the_input_is_the_control_itself() -> None:
    """A rotated box of the image, and a bird's-eye warp of it, leave what interpolation leaves."""
    for name in ("rotated RoIAlign of the image", "bird's-eye warp before the encoder"):
        rows = measured(name)
        for motions, line in rows.iterrows():
            assert line["left"] <= 1.05 * line["floor_input"] + EXACT, (name, motions)


def test_offsets_of_0_move_no_taps() -> None:
    """A deformable layer before training is a convolution: a plain network's maps."""
    deformable, plain = (untrained(recipe) for recipe in ("deformable", "plain, turned"))
    assert isinstance(deformable, Region)
    weights = [w for name, w in deformable.trunk.named_parameters() if "offset" not in name]
    assert isinstance(plain, Region)
    twin = copy.deepcopy(plain)
    for own, given in zip(twin.trunk.parameters(), weights, strict=True):
        own.data = given.data
    moved = Motions.BETWEEN.poses[0].move(digits())
    with torch.no_grad():
        assert torch.allclose(deformable.encode(moved), twin.encode(moved), atol=ROUNDED)
        offsets = [w for name, w in deformable.named_parameters() if name.endswith("offset.bias")]
        for offset, value in product(offsets, (0.5, 0.0)):
            offset.fill_(value)
            same = torch.allclose(deformable.encode(moved), twin.encode(moved), atol=ROUNDED)
            assert same == (value == 0)
        assert len(offsets) == 3


def test_shifts_by_a_stride_are_undone_at_a_map() -> None:
    """Map and box move together (P1), whatever the filters; not moving leaves much."""
    for name in ("rotated RoIAlign, plain CNN", "bird's-eye warp behind the encoder"):
        assert at(name, Motions.SHIFTS) < 0.02
        assert at(name, Motions.SHIFTS) < 0.05 * at("plain CNN", Motions.SHIFTS)


def test_the_roll_is_what_a_c4_network_lacks() -> None:
    """The same box of the same map leaves much without it."""
    assert at("rotated RoIAlign, C4 network", Motions.QUARTERS) > 0.1


def test_columns_that_mean_nothing_are_blank() -> None:
    """No pose is found by what looks for none, and what moves no map has no floor of a map."""
    assert measured("rotated RoIAlign, plain CNN")["slope"].isna().all()
    assert measured("canonicalizer, any angle")["slope"].notna().all()
    assert measured("canonicalizer, any angle")["floor_map"].isna().all()
    assert measured("rotated RoIAlign, plain CNN")["floor_map"].notna().all()
