"""Shifts by whole strides are exact; between them, blurring before subsampling is what helps."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe import controls
from tests.controls.measuring import EXACT, relative_gap, residuals
from tests.tolerances import ROUNDED

BUILDS = [controls.strided_network, controls.antialiased_network]


@pytest.mark.parametrize("dtype", EXACT)
@pytest.mark.parametrize("size", [64, 65])
@pytest.mark.parametrize("build", BUILDS)
def test_shifts_by_whole_strides_are_exact(
    build: Callable[[], nn.Module], size: int, dtype: str, canvases: Tensor
) -> None:
    """At stride 4, shifts by 4 and -8 pixels are aligned exactly by the oracle warp."""
    moves = [ip.Translation(4), ip.Translation(0, -8), ip.Translation(-4, 12)]
    got = residuals(build(), canvases, moves, crop=size, dtype=dtype, methods=("oracle",))
    assert got["oracle"].max() <= EXACT[dtype]


@pytest.mark.parametrize("size", [64, 65])
def test_blurring_mends_the_shifts_in_between(size: int, canvases: Tensor) -> None:
    """At shifts of 1 to 3 pixels plain striding leaves much, with blur at most the floor."""
    moves = [ip.Translation(1), ip.Translation(2, 1), ip.Translation(0, 3)]
    plain, smooth = (residuals(build(), canvases, moves, crop=size) for build in BUILDS)
    assert (plain["affine"] > 1.5 * plain["floor"]).all()
    assert (smooth["affine"] <= smooth["floor"]).all()
    assert (smooth["affine"] < 0.15 * plain["affine"]).all()
    assert plain["affine"].min() > 0.2


def test_a_blur_of_one_tap_mends_nothing(canvases: Tensor) -> None:
    """Subsampling without the blur is as bad as a strided convolution, map for map."""
    moves = [ip.Translation(1), ip.Translation(0, 3)]
    options = {"crop": 64, "methods": ("oracle", "floor")}
    unblurred = residuals(controls.antialiased_network(taps=1), canvases, moves, **options)
    plain = residuals(controls.strided_network(), canvases, moves, **options)
    assert (unblurred["oracle"] > 1.5 * unblurred["floor"]).all()
    assert (unblurred["oracle"] / plain["oracle"] - 1).abs().max() < 0.1


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
