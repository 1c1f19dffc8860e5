"""Shifts by whole strides are exact; between them, blurring before subsampling is what helps."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe import controls
from tests.controls.measuring import SUBSAMPLING, oracle_warped, relative_gap
from tests.tolerances import ROUNDED


@pytest.mark.parametrize("size", [64, 65])
@pytest.mark.parametrize("build", SUBSAMPLING)
def test_shifts_by_whole_strides_move_cells_onto_cells(
    build: Callable[[], nn.Module], size: int, canvases: Tensor
) -> None:
    """At stride 4, maps of images shifted by 4 and -8 pixels are the same maps, shifted."""
    moves = [ip.Translation(4), ip.Translation(0, -8)]
    for move, reference, warped in oracle_warped(build(), canvases, moves, crop=size):
        inside = (..., slice(3, -3), slice(3, -3))  # what was moved out of sight is not known
        assert relative_gap(warped[inside], reference[inside]) <= ROUNDED, move


def test_both_networks_share_their_weights(canvases: Tensor) -> None:
    """The same seed gives the same filters, and without the blur the same maps."""
    plain, unblurred = controls.strided_network(), controls.antialiased_network(taps=1)
    for i, j in ((0, 0), (2, 3)):
        assert torch.equal(plain[i].weight, unblurred[j].weight)
        assert torch.equal(plain[i].bias, unblurred[j].bias)
    with torch.no_grad():
        first, second = plain[:2](canvases), unblurred[:3](canvases)
    assert relative_gap(first, second) < ROUNDED


@pytest.mark.parametrize(("stride", "taps"), [(2, 3), (3, 4), (1, 5)])
def test_blur_pool_is_its_definition(stride: int, taps: int) -> None:
    """Binomial rows and columns, summed by hand, at every s-th cell; constants stay."""
    maps = torch.rand(2, 3, 13, 11, generator=torch.Generator().manual_seed(0))
    got = controls.BlurPool2d(stride=stride, taps=taps)(maps)
    line = {3: [1, 2, 1], 4: [1, 3, 3, 1], 5: [1, 4, 6, 4, 1]}[taps]
    total = sum(
        a * b * maps[..., y : 14 - taps + y, x : 12 - taps + x]
        for y, a in enumerate(line)
        for x, b in enumerate(line)
    )
    expected = total[..., ::stride, ::stride] / sum(line) ** 2
    assert relative_gap(got, expected) < ROUNDED
    assert relative_gap(controls.BlurPool2d()(torch.ones_like(maps)), torch.ones(1)) < ROUNDED
