"""Deformable convolution: an ordinary one at offset 0, a shifted one at whole offsets."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

import invariance_probe as ip
from invariance_probe.operators import DeformableConv2d, deformable_conv2d
from tests.tolerances import ROUNDED, rounded

GEOMETRIES = [
    {"stride": 1, "padding": 0, "dilation": 1},
    {"stride": 2, "padding": 1, "dilation": 1},
    {"stride": 1, "padding": 2, "dilation": 2},
]
MAPS = torch.rand(2, 3, 10, 13, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_before_training_it_is_an_ordinary_convolution(
    geometry: dict[str, int], modulated: bool
) -> None:
    """With offsets of 0 it equals ``conv2d``; in version 2 half of it, for its masks are 1/2."""
    layer = DeformableConv2d(3, 4, 3, modulated=modulated, **geometry)
    wanted = F.conv2d(MAPS, layer.weight, **geometry)
    wanted = (0.5 if modulated else 1.0) * wanted + layer.bias[:, None, None]
    assert torch.allclose(layer(MAPS), wanted, atol=ROUNDED)


def test_whole_offsets_shift() -> None:
    """Constant offsets of whole cells read the same convolution further down and to the right."""
    layer = DeformableConv2d(3, 4, 3)
    assert layer.offset.bias is not None
    with torch.no_grad():
        layer.offset.bias.copy_(torch.tensor([2.0, -1.0]).repeat(9))
    moved = layer(MAPS)
    padded = F.pad(MAPS, (1, 0, 0, 2))  # what is read from outside is 0
    wanted = F.conv2d(padded, layer.weight, layer.bias)[:, :, 2:, : moved.shape[-1]]
    assert torch.allclose(moved, wanted, atol=ROUNDED)
    # down and to the right are not the same
    swapped = F.conv2d(F.pad(MAPS, (0, 2, 1, 0)), layer.weight, layer.bias)[:, :, :-1, 2:]
    assert not torch.allclose(moved, swapped, atol=0.01)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_any_offsets_are_torchvisions(geometry: dict[str, int]) -> None:
    """Random offsets and masks give what ``torchvision.ops.deform_conv2d`` gives."""
    ops = pytest.importorskip("torchvision.ops")
    weight, bias = torch.randn(4, 3, 3, 3), torch.randn(4)
    rows, columns = F.conv2d(MAPS, weight, **geometry).shape[-2:]
    offsets, mask = 2 * torch.randn(2, 18, rows, columns), torch.rand(2, 9, rows, columns)
    ours = deformable_conv2d(MAPS, offsets, weight, bias, mask=mask, **geometry)
    theirs = ops.deform_conv2d(MAPS, offsets, weight, bias, mask=mask, **geometry)
    assert torch.allclose(ours, theirs, atol=ROUNDED)


def test_any_offsets_are_the_definitions() -> None:
    """Tap by tap: the weight, times the mask, times the bilinear reading at the moved place."""
    maps, weight = MAPS[:1, :2, :5, :5].double(), torch.randn(1, 2, 2, 2, dtype=torch.float64)
    offsets, mask = torch.randn(1, 8, 4, 4).double(), torch.rand(1, 4, 4, 4).double()
    ours = deformable_conv2d(maps, offsets, weight, mask=mask)
    padded = F.pad(maps[0], (9, 9, 9, 9))
    for row in range(4):
        for column in range(4):
            total = 0.0
            for tap in range(4):
                y = row + tap // 2 + float(offsets[0, 2 * tap, row, column]) + 9
                x = column + tap % 2 + float(offsets[0, 2 * tap + 1, row, column]) + 9
                corner = padded[:, int(y) : int(y) + 2, int(x) : int(x) + 2]
                b, a = torch.tensor([1 - y % 1, y % 1]), torch.tensor([1 - x % 1, x % 1])
                value = torch.einsum("cyx,y,x->c", corner, b.double(), a.double())
                factor = mask[0, tap, row, column] * weight[0, :, tap // 2, tap % 2]
                total += float((factor * value).sum())
            assert abs(total - float(ours[0, 0, row, column])) < 100 * rounded(torch.float32)


def test_offsets_learn() -> None:
    """Gradients reach the convolution of the offsets, which starts at 0."""
    layer = DeformableConv2d(3, 4, 3, modulated=True)
    layer(MAPS).square().sum().backward()
    assert layer.mask is not None
    for predictor in (layer.offset, layer.mask):
        assert predictor.weight.grad is not None
        assert bool(predictor.weight.grad.abs().max() > 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DeformableConv2d(3, 4, 0), "kernel_size=0: give at least 1"),
        (
            lambda: deformable_conv2d(MAPS, torch.zeros(2, 9, 8, 11), torch.rand(1, 3, 3, 3)),
            r"offsets of shape \(2, 9, 8, 11\) were given; give \(2, 18, 8, 11\)",
        ),
    ],
)
def test_refusals(make: Callable[[], object], message: str) -> None:
    """What cannot be convolved is named, with its value."""
    with pytest.raises(ip.InvalidInputError, match=message):
        make()
