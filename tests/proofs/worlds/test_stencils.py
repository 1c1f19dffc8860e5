"""Stencil networks read where they say, and nowhere else."""

import numpy as np
from hypothesis import given

from proofs.draws.gaussians import gaussian_sums
from proofs.draws.stencils import stencil_networks
from proofs.worlds.gaussians import ZERO, GaussianSum
from proofs.worlds.stencils import (
    LEAK,
    Bump,
    Scene,
    Stencil,
    StencilNetwork,
    felt,
    felt_taps,
    told_apart,
)

X = np.array([[0.3, -0.2], [1.0, 0.7]])


@given(ground=gaussian_sums())
def test_a_network_of_two_layers_is_its_sum(ground: GaussianSum) -> None:
    """Two taps after two taps are four readings, with the leak between, written out."""
    offsets = np.array([[0.5, 0.0], [0.0, -1.0]])
    first, second = np.array([[[1.0, -2.0]]]), np.array([[[0.5, 1.0]]])
    network = StencilNetwork((Stencil(offsets, first), Stencil(offsets, second)))

    def leaky(values: np.ndarray) -> np.ndarray:
        return np.where(values > 0, values, LEAK * values)

    def inner(points: np.ndarray) -> np.ndarray:
        return leaky(ground(points - offsets[0]) - 2 * ground(points - offsets[1]))

    wanted = leaky(0.5 * inner(X - offsets[0]) + inner(X - offsets[1]))
    np.testing.assert_allclose(network(Scene(ground), X)[:, 0], wanted, atol=1e-13)


@given(network=stencil_networks())
def test_nothing_is_felt_beyond_the_taps(network: StencilNetwork) -> None:
    """A bump on a felt tap is seen, one farther out than all taps is not, at any strength."""
    origin, taps = np.zeros(2), network.taps()
    assert {tuple(tap) for tap in felt_taps(network)} <= {tuple(tap) for tap in taps}
    images = told_apart(network, ZERO, origin, -felt_taps(network)[-1], 0.1)
    assert images is not None
    assert felt(network, *images, origin) > 0
    far = np.linalg.norm(taps, axis=1).max() + 1.0
    beyond = Scene(ZERO, Bump(np.array([far, 0.0]), 0.9, height=1e6))
    assert felt(network, Scene(ZERO), beyond, origin) == 0


def test_a_scaled_scene_is_larger() -> None:
    """T_s f(s x) = f(x), and a bump is exactly 0 at its radius."""
    scene = Scene(ZERO, Bump(np.array([1.0, 0.5]), 0.75))
    np.testing.assert_allclose(scene.scaled(-2)(-2 * X), scene(X), rtol=1e-12)
    assert scene(np.array([[1.75, 0.5]])).item() == 0
