"""What is done to the input."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from invariance_probe.errors import InvalidInputError
from invariance_probe.plane.rendering import filled_fraction
from invariance_probe.plane.transforms import (
    Affine,
    Reflection,
    Rotation,
    Scaling,
    Shear,
    Transform,
    Translation,
    sweep,
)

angles = st.floats(-360, 360)
factors = st.floats(0.3, 3)
small = st.floats(-0.6, 0.6)
any_transform = st.one_of(
    st.builds(Rotation, angles),
    st.builds(Scaling, factors),
    st.builds(Shear, small, small),
    st.builds(Translation, st.floats(-9, 9), st.floats(-9, 9)),
    st.builds(Reflection, angles),
)


def _smooth(side: int = 61) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    x, y = (columns - side // 2).double(), (rows - side // 2).double()
    return torch.exp(-((x - 6) ** 2 + (y + 4) ** 2) / 90)[None, None] + 0.3 * torch.exp(
        -((x + 9) ** 2 / 60 + (y - 7) ** 2 / 30)
    )


@given(t=any_transform)
def test_inverse_undoes_the_matrix(t: Transform) -> None:
    """A transform and its inverse compose to the identity."""
    product = (t @ t.inverse()).matrix
    torch.testing.assert_close(product, torch.eye(3, dtype=torch.float64), atol=1e-9, rtol=0)


@given(t=any_transform, u=any_transform)
def test_composition_does_the_right_one_first(t: Transform, u: Transform) -> None:
    """T @ u moves content as u does, and then as t does."""
    point = torch.tensor([3.0, -2.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close((t @ u).matrix @ point, t.matrix @ (u.matrix @ point))


def test_rotation_is_counter_clockwise_as_displayed() -> None:
    """Content at the right edge goes to the top under a quarter turn."""
    image = torch.zeros(1, 1, 5, 5)
    image[0, 0, 2, 4] = 1
    assert Rotation(90)(image)[0, 0, 0, 2] == 1


@pytest.mark.parametrize("side", [6, 7])
def test_quarter_turns_and_flips_move_pixels(side: int) -> None:
    """Quarter turns are torch.rot90, reflections are flips, to the last bit."""
    image = torch.randn(2, 3, side, side)
    for quarters in range(-4, 5):
        turned = Rotation(90 * quarters)(image)
        assert torch.equal(turned, torch.rot90(image, quarters, (2, 3)))
    assert torch.equal(Reflection(0)(image), image.flip(2))
    assert torch.equal(Reflection(90)(image), image.flip(3))
    assert torch.equal(Reflection(-45)(image), image.transpose(2, 3))
    four = Rotation(90) @ Rotation(90) @ Rotation(90) @ Rotation(90)
    assert torch.equal(four(image), image)


def test_whole_pixel_shifts_move_pixels_and_fill() -> None:
    """A shift by whole pixels copies values and fills what it uncovers."""
    image = torch.randn(1, 2, 6, 8)
    moved = Translation(3, -1)(image, fill=(7.0, 8.0))
    assert torch.equal(moved[:, :, :5, 3:], image[:, :, 1:, :5])
    assert bool((moved[0, 0, :, :3] == 7).all() & (moved[0, 1, 5] == 8).all())


@given(t=any_transform)
def test_there_and_back_returns_smooth_content(t: Transform) -> None:
    """On a smooth image, transforming there and back leaves the middle as it was."""
    if float(torch.linalg.svdvals(t.matrix[:2, :2]).min()) < 0.8:
        return  # shrinking blurs, by design
    image = _smooth()
    middle = slice(26, 35)
    back = t.inverse()(t(image))
    inside = filled_fraction(t.matrix, (61, 61)) < 0.3
    largest = float(torch.linalg.svdvals(t.matrix[:2, :2]).max())
    if inside and largest < 1.25:
        torch.testing.assert_close(
            back[..., middle, middle], image[..., middle, middle], atol=0.01, rtol=0
        )


def test_scaling_moves_content_outwards() -> None:
    """Scaling by two doubles the distance of content from the centre."""
    image = _smooth()
    larger = Scaling(2)(image)
    torch.testing.assert_close(larger[..., 30, 50], image[..., 30, 40], atol=1e-3, rtol=0)
    assert Scaling(2).matrix[0, 0] == 2


def test_sweep_holds_both_ends() -> None:
    """A sweep lists equal steps with both ends, and the right family."""
    got = [t.parameter for t in sweep("rotation", -90, 90, 15)]
    assert got == list(range(-90, 91, 15))
    scales = [t.parameter for t in sweep("scaling", 0.5, 2, 0.3)]
    assert scales == [0.5, 0.8, 1.1, 1.4, 1.7, 2.0]
    assert {t.kind for t in sweep("shear", 0, 1, 0.5)} == {"shear"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sweep("twist", 0, 1, 1), "unknown transform 'twist'; choose from rotation"),
        (lambda: sweep("rotation", 9, 1, 1), "sweep rotation=9:1:1 is empty"),
        (lambda: sweep("rotation", 0, 1, -1), "STEP > 0"),
        (lambda: sweep("scaling", 0, 1, 0.5), "factor=0.*must be positive"),
        (lambda: Scaling(-1).matrix, "must be positive"),
        (lambda: Rotation(math.nan).matrix, r"Rotation\(degrees=nan\).*finite"),
        (lambda: Shear(2, 0.5).matrix, "singular"),
        (lambda: Affine([[1, 0], [0, 0]]).matrix, "singular"),
        (lambda: Affine([[1, 0, 0]]).matrix, r"shape \(1, 3\)"),
        (lambda: Affine([[1, 0, 0], [0, 1, 0], [1, 0, 1]]).matrix, "last row"),
        (lambda: Rotation(5)(torch.zeros(1, 1, 8, 8), crop=9), "is too small for a crop of 9 x 9"),
    ],
)
def test_impossible_transforms_are_refused(make: object, message: str) -> None:
    """Each refusal names the value and the way out."""
    with pytest.raises(InvalidInputError, match=message):
        make()  # type: ignore[operator]  # a lambda
