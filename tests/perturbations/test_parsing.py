"""Perturbations are read as they are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import invariance_probe as ip
from invariance_probe.perturbations import kinds
from invariance_probe.perturbations.parsing import parse_perturbation


def test_perturbations_are_read_from_text() -> None:
    """Names with and without a value give the perturbation they name."""
    assert parse_perturbation("none") == kinds.NoPerturbation()
    assert parse_perturbation("rotation=45.5") == kinds.RandomRotation(limit=45.5)
    assert parse_perturbation(" translation ").pieces == 6
    assert parse_perturbation("translation=clean") == kinds.RandomTranslation(pieces=0)
    assert parse_perturbation("scaling=-0.5:1") == kinds.RandomScaling(low=-0.5, high=1)
    assert parse_perturbation("scaling=clean").pieces == 0
    assert parse_perturbation("shear=0.3,on:40") == kinds.RandomShear(limit=0.3, least_canvas=40)
    shifted = kinds.RandomTranslation(reach=6, pieces=0, least_canvas=60)
    assert parse_perturbation("translation=6,clean,on:60") == shifted
    assert parse_perturbation("none=on:60").canvas(28) == 60
    assert parse_perturbation("none=clutter,on:60").pieces == 6
    turned = kinds.RandomRotation(limit=30, pieces=6, least_canvas=40)
    assert parse_perturbation("rotation=30,clutter,on:40") == turned
    for text in ("none", "rotation", "translation", "scaling"):
        assert parse_perturbation(text).name == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rotate", "'rotate' cannot be read; give none, rotation"),
        ("", "'' cannot be read"),
        ("none=3", "'none=3' cannot be read"),
        ("rotation=", "'rotation=' cannot be read"),
        ("rotation=ninety", "'rotation=ninety' cannot be read"),
        ("rotation=0", r"must lie in \(0, 180\]"),
        ("rotation=nan", r"must lie in \(0, 180\]"),
        ("rotation=270", r"'rotation=270': the limit"),
        ("translation=5.5", "'translation=5.5' cannot be read"),
        ("translation=0", "'translation=0': the largest shift must lie in 1 to 64"),
        ("shear=0", r"'shear=0': the limit must lie in \(0, 2\]"),
        ("rotation=30,clean", "cannot be read"),
        ("translation=6,clutter", "cannot be read"),
        ("rotation=clutter,30", "cannot be read"),
        ("rotation=30,on:many", "cannot be read"),
        ("scaling=2", "'scaling=2' cannot be read"),
        ("scaling=2:-1", "-4 <= LOW < HIGH <= 4"),
        ("scaling=nan:1", "-4 <= LOW < HIGH <= 4"),
    ],
)
def test_what_is_no_perturbation_is_refused(text: str, message: str) -> None:
    """Unknown names and impossible values are refused with what may be given."""
    with pytest.raises(ip.InvalidInputError, match=message):
        parse_perturbation(text)


@given(
    limit=st.floats(0.1, 180),
    bounds=st.lists(st.floats(-4, 4), min_size=2, max_size=2, unique=True).map(sorted),
    pieces=st.sampled_from([0, 6]),
    least=st.sampled_from([0, 40, 61]),
)
def test_what_is_written_is_read_back(
    limit: float, bounds: list[float], pieces: int, least: int
) -> None:
    """The text of a perturbation is read as that very perturbation, to the last digit."""
    for perturbation in (
        kinds.NoPerturbation(),
        kinds.RandomRotation(limit=limit),
        kinds.RandomRotation(limit=limit, pieces=pieces, least_canvas=least),
        kinds.RandomShear(pieces=pieces),
        kinds.NoPerturbation(pieces=pieces, least_canvas=least),
        kinds.RandomTranslation(pieces=pieces),
        kinds.RandomScaling(pieces=pieces),
        kinds.RandomScaling(low=bounds[0], high=bounds[1], pieces=pieces),
        kinds.NoPerturbation(least_canvas=least),
        kinds.RandomRotation(limit=limit, least_canvas=least),
        kinds.RandomTranslation(reach=5, pieces=pieces, least_canvas=least),
        kinds.RandomScaling(pieces=pieces, least_canvas=least),
        kinds.RandomShear(limit=limit / 100, least_canvas=least),
    ):
        assert parse_perturbation(str(perturbation)) == perturbation
