"""Images through a transform: what is read, blurred, cropped and filled."""

import math

import pytest
import torch
from torch import Tensor

from invariance_probe.errors import InvalidInputError
from invariance_probe.plane import rendering, transforms
from invariance_probe.plane.rendering import filled_fraction, render


def test_shrinking_removes_what_would_alias() -> None:
    """Stripes finer than the new pixels become grey instead of coarser stripes."""
    stripes = (torch.arange(64) % 2).double().expand(1, 1, 64, 64).contiguous()
    shrunk = transforms.Scaling(0.4)(stripes, crop=16)
    aliased = stripes[..., ::3]
    assert shrunk.std() < 0.1 * aliased.std()
    assert abs(float(shrunk.mean()) - 0.5) < 0.01


def test_crop_comes_from_the_centre_of_a_larger_canvas() -> None:
    """With a canvas large enough, nothing of the crop is made up."""
    canvas = torch.randn(1, 1, 46, 46)
    assert torch.equal(transforms.Rotation(0)(canvas, crop=32), canvas[..., 7:39, 7:39])
    assert filled_fraction(transforms.Rotation(45).matrix, (46, 46), 32) == 0
    assert filled_fraction(transforms.Rotation(45).matrix, (32, 32), 32) > 0.1
    assert math.isclose(filled_fraction(transforms.Scaling(0.5).matrix, (40, 40), 40), 0.75)


def test_many_transforms_are_each_alone() -> None:
    """Rendered in one go, each image is the one that its transform alone makes of the original."""
    torch.manual_seed(0)
    images = torch.rand(2, 3, 24, 20)
    moves = [
        transforms.Rotation(20),
        transforms.Scaling(0.6),
        transforms.Rotation(90),
        transforms.Shear(0.2),
    ]
    together = render(images, [move.matrix for move in moves], crop=16, fill=(0.1, 0.2, 0.3))
    for move, image in zip(moves, together, strict=True):
        assert image.shape == (2, 3, 16, 16)
        alone = move(images, crop=16, fill=(0.1, 0.2, 0.3))
        torch.testing.assert_close(image, alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("side", "factor"), [(65, 1 / 2), (64, 1 / 2), (63, 1 / 3), (66, 1 / 3)])
def test_stripes_that_shrink_onto_the_lattice_become_grey(side: int, factor: float) -> None:
    """Sizes of 1 / 2 and 1 / 3, at which whole pixels are skipped, are antialiased like others."""
    stripes = (torch.arange(side) % 2).float().expand(1, 1, side, side).contiguous()
    (shrunk,) = render(stripes, [transforms.Scaling(factor).matrix], crop=15)
    assert float(shrunk.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(shrunk.std()) < 1e-3
    (plain,) = render(stripes, [transforms.Scaling(factor).matrix], crop=15, antialias=False)
    assert set(plain.unique().tolist()) <= {0.0, 1.0}


def test_antialiasing_can_be_left_out() -> None:
    """Without it, stripes finer than the new pixels are not grey."""
    stripes = (torch.arange(64) % 2).double().expand(1, 1, 64, 64).contiguous()
    matrix = [transforms.Scaling(0.4).matrix]
    plain = next(render(stripes, matrix, crop=16, antialias=False))
    smooth = next(render(stripes, matrix, crop=16))
    assert plain.std() > 10 * smooth.std()


def test_what_is_not_on_the_canvas_is_filled() -> None:
    """The filled share is that of the positions which took the fill value, and no others."""
    torch.manual_seed(1)
    images = torch.rand(1, 2, 20, 20)
    for move in (transforms.Rotation(45), transforms.Translation(3.5, -2), transforms.Scaling(0.7)):
        moved = move(images, fill=(7.0, 9.0))
        filled = moved[0] > 2  # the spline overshoots values in [0, 1] by far less
        assert torch.equal(filled[0], moved[0, 0] == 7)
        assert torch.equal(filled[1], moved[0, 1] == 9)
        assert torch.equal(filled[0], filled[1])
        share = filled_fraction(move.matrix, (20, 20))
        assert 0 < share < 1
        assert float(filled[0].double().mean()) == pytest.approx(share, abs=1e-12)


def _spread(image: Tensor) -> float:
    """Standard deviation of what is bright, along x, in pixels."""
    weight = image[0, 0].sum(0) / image.sum()
    at = torch.arange(len(weight)).double()
    mean = (weight * at).sum()
    return float((weight * (at - mean) ** 2).sum().sqrt())


def test_shrunk_images_are_as_sharp_as_images_are() -> None:
    """A blob blurred as images are taken to be is, shrunk, blurred as much on its new grid."""
    at = torch.arange(80.0).double() - 39.5
    sigma = 6.0
    row = torch.exp(-(at**2) / (2 * sigma**2))
    image = (row[:, None] * row)[None, None]
    shrunk = transforms.Scaling(0.5)(image)
    nominal = rendering.NOMINAL_BLUR
    # in new pixels: half as wide, and the old grid's blur is made up to that of the new one
    wanted = math.sqrt((sigma / 2) ** 2 - (nominal / 2) ** 2 + nominal**2)
    assert _spread(shrunk) == pytest.approx(wanted, rel=1e-3)


def test_blur_goes_along_the_axes_that_shrink() -> None:
    """What shrinks gets the missing variance, along its axis alone; what does not, no blur."""
    for still in (torch.eye(2), torch.diag(torch.tensor([0.5, 1.0]))):
        assert rendering.shrinking_blur(still.double()) is None
    pull_back = torch.diag(torch.tensor([3.0, 0.5])).double()
    blur = rendering.shrinking_blur(pull_back)
    assert blur is not None
    wanted = torch.diag(torch.tensor([0.25 * (9 - 1), 0.0])).double()
    torch.testing.assert_close(blur, wanted, atol=1e-12, rtol=0)
    turn = transforms.Rotation(30).matrix[:2, :2]
    turned = rendering.shrinking_blur(turn @ pull_back)
    assert turned is not None
    torch.testing.assert_close(turned, turn @ wanted @ turn.T, atol=1e-12, rtol=0)


@pytest.mark.parametrize("crop", [0, -3, 9, (8, 11), (9, 4)])
def test_crops_that_an_image_does_not_hold_are_refused(crop: int | tuple[int, int]) -> None:
    """A crop of no pixels or of more than there are is named with both sizes."""
    with pytest.raises(InvalidInputError, match="8 x 10 pixels is too small for a crop of"):
        rendering.crop_size(crop, 8, 10)
    assert rendering.crop_size(None, 8, 10) == (8, 10)
    assert rendering.crop_size(8, 8, 10) == (8, 8)
    assert rendering.crop_size((3, 10), 8, 10) == (3, 10)
