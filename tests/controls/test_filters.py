"""Controls by the symmetry of their filters give the answers their docstrings state."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from invariance_probe import controls
from invariance_probe.network import features
from tests.controls.measuring import ALL, QUARTER_TURNS, oracle_warped, relative_gap
from tests.tolerances import ROUNDED

Build = Callable[[], nn.Sequential]
TURNING: list[Build] = [
    controls.pointwise_network,
    controls.isotropic_network,
    controls.blur_network,
    controls.four_fold_network,
]


@pytest.mark.parametrize("build", ALL)
def test_strides_and_offsets_are_measured(build: Build) -> None:
    """The engine finds every map of every control on the input, at even sizes too."""
    listing = features.list_layers(build(), torch.rand(1, 3, 48, 48))
    assert listing["spatial"].all()
    assert listing["measured"].all()
    if build not in {controls.strided_network, controls.antialiased_network}:
        assert (listing["stride"] == 1).all()
        # without padding a map of n cells lies in the middle of the image
        assert (listing["offset"] == (48 - listing["height"]) / 2).all()


@pytest.mark.parametrize("size", [34, 35])
@pytest.mark.parametrize("build", TURNING)
def test_quarter_turns_are_exact(build: Build, size: int, crops: Tensor) -> None:
    """Maps of a turned image are the turned maps, at odd and even sizes."""
    images = crops[:2, :, :size, :size]
    for _, reference, warped in oracle_warped(build(), images, QUARTER_TURNS):
        assert relative_gap(warped, reference) <= ROUNDED


@pytest.mark.parametrize("build", [controls.isotropic_network, controls.four_fold_network])
def test_training_keeps_the_symmetry(build: Build, crops: Tensor) -> None:
    """After steps of gradient descent the quarter turns are still exact."""
    network = build()
    before = network[0].weight.detach().clone()
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-2)
    for _ in range(3):
        optimiser.zero_grad()
        network(crops[:1]).square().mean().backward()
        optimiser.step()
    assert not torch.equal(before, network[0].weight)
    for _, reference, warped in oracle_warped(network, crops[:2], QUARTER_TURNS):
        assert relative_gap(warped, reference) <= ROUNDED
