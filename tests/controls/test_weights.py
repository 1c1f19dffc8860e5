"""Weights of the controls come from their seed, and impossible sizes are refused."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe import controls
from tests.controls.measuring import ALL, relative_gap


@pytest.mark.parametrize("build", ALL)
def test_weights_come_from_the_seed_alone(build: Callable[..., nn.Module]) -> None:
    """The same seed gives the same weights, another one others; global randomness is not used."""
    torch.manual_seed(5)
    first = build()
    after = torch.rand(1)
    torch.manual_seed(6)
    again = build()
    torch.manual_seed(5)
    assert torch.equal(torch.rand(1), after)
    states = [network.state_dict() for network in (first, again)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    if build is not controls.blur_network:
        other = build(seed=1).state_dict()
        assert any(not torch.equal(states[0][key], other[key]) for key in other)


def test_first_layers_look_at_no_mean_brightness(crops: Tensor) -> None:
    """Brighter images give the same maps, but for pointwise networks and blur."""
    for build in ALL:
        network = build()
        with torch.no_grad():
            gap = relative_gap(network(crops[:2]), network(crops[:2] + 0.5))
        assert (gap < 1e-4) == (build not in {controls.pointwise_network, controls.blur_network})


@pytest.mark.parametrize(
    ("build", "change", "message"),
    [
        (controls.pointwise_network, {"depth": 0}, "depth=0: give a positive"),
        (controls.isotropic_network, {"kernel_size": -3}, "kernel_size=-3: give a positive"),
        (controls.four_fold_network, {"stride": 0}, "stride=0: give a positive"),
        (controls.random_network, {"width": 0}, "width=0: give a positive"),
        (controls.blur_network, {"sigma": 0.0}, "sigma=0: give a positive"),
        (controls.blur_network, {"sigma": math.nan}, "sigma=nan: give a positive"),
        (controls.strided_network, {"channels": 0}, "channels=0: give a positive"),
        (controls.antialiased_network, {"taps": 0}, "taps=0: give a positive"),
        (controls.c4_network, {"fields": 0}, "fields=0: give a positive"),
        (controls.d4_pooled_network, {"kind": "sum"}, "kind='sum': choose max or mean"),
    ],
)
def test_impossible_sizes_are_refused(
    build: Callable[..., nn.Module], change: dict[str, object], message: str
) -> None:
    """Each refusal is one line that names the argument and what it may be."""
    with pytest.raises(ip.InvalidInputError, match=message) as caught:
        build(**change)
    assert "\n" not in str(caught.value)
