"""Log-polar coordinates: turns and scalings about the origin are shifts of rows and columns."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe.operators import LogPolar, PolarTransformer
from tests.tolerances import ROUNDED, rounded

POLAR = LogPolar(angles=24, radii=9, largest=16.0)


def ramp(matrix: Tensor, side: int = 41) -> Tensor:
    """An affine picture, moved: bilinear reading is exact for it, whatever the motion."""
    x = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    at = torch.stack([x.expand(side, side), x[:, None].expand(side, side)])
    back = matrix.inverse()
    at = torch.einsum("ij,jyx->iyx", back[:2, :2], at) + back[:2, 2, None, None]
    return (0.3 * at[0] - 0.7 * at[1] + 0.2)[None, None]


@pytest.mark.parametrize("degrees", [15, 90, -105, 180])
def test_turns_shift_rows(degrees: float) -> None:
    """Any turn by whole steps is a cyclic shift of the rows, and not one in the other sense."""
    upright = POLAR(ramp(ip.Rotation(0).matrix))
    turned = POLAR(ramp(ip.Rotation(degrees).matrix))
    rows, columns = POLAR.shift(degrees)
    assert columns == 0
    assert torch.allclose(turned, upright.roll(round(rows), 2), atol=rounded(torch.float64))
    if degrees != 180:
        assert not torch.allclose(turned, upright.roll(-round(rows), 2), atol=0.01)


@pytest.mark.parametrize("factor", [2**0.5, 4.0, 0.5])
def test_scalings_shift_columns(factor: float) -> None:
    """A scaling by whole steps shifts the columns, outwards where the content grows."""
    before = POLAR(ramp(ip.Rotation(0).matrix))
    after = POLAR(ramp(ip.Scaling(factor).matrix))
    rows, columns = POLAR.shift(factor=factor)
    assert rows == 0
    step = round(columns)
    assert abs(step - columns) < 1e-9  # an octave is two columns
    inner, outer = (before, after) if step > 0 else (after, before)
    assert torch.allclose(
        inner[..., : -abs(step)], outer[..., abs(step) :], atol=rounded(torch.float64)
    )


def test_about_any_origin() -> None:
    """A shifted picture read about the origin that was shifted with it is as before."""
    origins = torch.tensor([[3.0, -2.5]])
    moved = POLAR(ramp(ip.Translation(3.0, -2.5).matrix), origins)
    assert torch.allclose(moved, POLAR(ramp(ip.Rotation(0).matrix)), atol=rounded(torch.float64))


def test_wrapped_rows_make_convolutions_periodic(crops: Tensor) -> None:
    """With directions repeated at both ends, a convolution commutes with turns at every row."""
    images = crops[:2, :, :41, :41]
    conv = nn.Conv2d(3, 2, 3, padding=(0, 1))
    wrapped = LogPolar(angles=24, radii=9, largest=16.0, wrapped=1)
    assert torch.equal(wrapped(images)[:, :, 1:-1], POLAR(images))
    with torch.no_grad():
        upright, turned = conv(wrapped(images)), conv(wrapped(ip.Rotation(90)(images)))
    assert torch.allclose(turned, upright.roll(6, 2), atol=ROUNDED)
    plain = nn.Conv2d(3, 2, 3, padding=1)
    with torch.no_grad():
        upright, turned = plain(POLAR(images)), plain(POLAR(ip.Rotation(90)(images)))
    assert not torch.allclose(turned, upright.roll(6, 2), atol=0.01)


def test_the_transformer_follows_its_heatmap(crops: Tensor) -> None:
    """Shifts of an image that is its own heatmap change nothing; without heat it is centred."""
    images = torch.zeros(2, 1, 61, 61)
    images[:, :, 20:35, 24:39] = crops[:2, :1, :15, :15]
    transformer = PolarTransformer(nn.Identity(), POLAR)
    shifted = images.roll((5, -4), (2, 3))
    moved = transformer.origins(shifted) - transformer.origins(images)
    assert torch.allclose(moved, torch.tensor([-4.0, 5.0]).expand(2, 2), atol=ROUNDED)
    assert torch.allclose(transformer(shifted), transformer(images), atol=ROUNDED)
    assert not torch.allclose(POLAR(shifted), POLAR(images), atol=0.1)
    assert not transformer.origins(-images).any()


def test_a_coarser_heatmap_says_the_same() -> None:
    """Cells of a pooled heatmap count as many cells of the map as their stride."""
    images = torch.rand(2, 1, 24, 24)
    fine = PolarTransformer(nn.Identity(), POLAR)
    coarse = PolarTransformer(nn.AvgPool2d(2), POLAR, stride=2.0)
    blocks = nn.Upsample(scale_factor=2)(nn.AvgPool2d(2)(images))
    assert torch.allclose(fine.origins(blocks), coarse.origins(images), atol=ROUNDED)


def test_the_heatmap_learns(crops: Tensor) -> None:
    """Gradients reach the network that finds the origin."""
    transformer = PolarTransformer(nn.Conv2d(3, 1, 5), POLAR)
    transformer(crops[:2]).square().sum().backward()
    gradient = transformer.heatmap.weight.grad
    assert isinstance(gradient, Tensor)
    assert bool(gradient.abs().max() > 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LogPolar(angles=0, radii=3, largest=4), "angles=0: give at least 1"),
        (lambda: LogPolar(angles=8, radii=3, largest=0.5), "smallest=1, largest=0.5: give"),
        (lambda: LogPolar(angles=8, radii=3, largest=4, wrapped=9), "wrapped=9: .* at most 8"),
    ],
)
def test_refusals(make: Callable[[], object], message: str) -> None:
    """What cannot be read is named, with its value."""
    with pytest.raises(ip.InvalidInputError, match=message):
        make()
