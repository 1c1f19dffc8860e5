"""Trained and random networks: how these are drawn, and how they are compared."""

import numpy as np
import pandas as pd
import torch
from torch import nn

from analyses.questions import trained_against_random
from tests.analyses.questions.measured import assert_answered


def test_the_tiny_preset_is_answered_and_drawn() -> None:
    """Table and figure are whole."""
    assert_answered(trained_against_random)


def small_network() -> nn.Module:
    """A network with a batch norm, in evaluation mode."""
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5)
    )
    return network.eval()


def test_shuffling_keeps_the_entries_and_loses_their_order() -> None:
    """Each parameter holds the same numbers elsewhere, and the network given is as it was."""
    network = small_network()
    before = [weights.clone() for weights in network.parameters()]
    changed = trained_against_random.shuffled(network, torch.Generator().manual_seed(1))
    for old, kept, new in zip(before, network.parameters(), changed.parameters(), strict=True):
        assert torch.equal(old, kept)
        assert torch.equal(old.flatten().sort().values, new.flatten().sort().values)
    assert not torch.equal(before[0], next(changed.parameters()))


def test_weights_drawn_anew_are_those_of_the_seed_and_the_global_generator_is_left_alone() -> None:
    """One seed gives one network, another seed another."""
    network = small_network()
    state = torch.get_rng_state()
    one, same, other = (trained_against_random.drawn_anew(network, seed) for seed in (1, 1, 2))
    assert torch.equal(state, torch.get_rng_state())
    weights = [next(each.parameters()) for each in (one, same, other, network)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[3])


def test_statistics_anew_normalise_on_the_images_given() -> None:
    """In evaluation mode each channel then has mean 0 and variance 1 on these images, at depth."""
    images = 3 * torch.randn(6, 3, 20, 20, generator=torch.Generator().manual_seed(0)) + 5
    network = small_network()
    changed = trained_against_random.recalibrated(network, images)
    assert not any(module.training for module in changed.modules())
    with torch.no_grad():
        maps, usual = changed(images), network(images)
    torch.testing.assert_close(maps.mean((0, 2, 3)), torch.zeros(5), atol=2e-3, rtol=0)
    torch.testing.assert_close(maps.var((0, 2, 3)), torch.ones(5), atol=1e-2, rtol=0)
    assert float(usual.mean((0, 2, 3)).abs().max()) > 0.1


def test_places_lie_between_floor_and_chance() -> None:
    """A residual at the floor is at 0, one at chance is at 1, and gaps are differences."""
    rows = [
        {
            "network": network,
            "draw": 0,
            "layer": "a",
            "transform": "rotation",
            "parameter": 90.0,
            "image": image,
            "method": method,
            "value": value,
        }
        for network, oracle in zip(
            trained_against_random.NETWORKS, (0.2, 0.4, 1.2, 2.2), strict=True
        )
        for image in ("x", "y", "z")
        for method, value in {
            "oracle": oracle,
            "affine": 0.2,
            "floor": 0.2,
            "unrelated": 2.2,
        }.items()
    ]
    table = trained_against_random.summary(pd.DataFrame(rows))
    oracle = table[table["warp"] == "oracle"]
    np.testing.assert_allclose(oracle["place"], [0, 0.1, 0.5, 1], atol=1e-12)
    np.testing.assert_allclose(oracle["trained_less_this"], [0.1, 0, -0.4, -0.9], atol=1e-12)
    np.testing.assert_allclose(table[table["warp"] == "affine"]["place"], 0, atol=1e-12)
