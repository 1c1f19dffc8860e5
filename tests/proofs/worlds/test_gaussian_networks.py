"""Networks of Gaussians are what their definition says."""

import time

import numpy as np
from hypothesis import given

from proofs.draws.gaussians import images, linear_maps, networks
from proofs.worlds import plane_maps
from proofs.worlds.gaussian_networks import Layer, Network, image_moved
from proofs.worlds.gaussians import gaussian, total

X = np.array([[0.3, -0.2], [1.0, 0.7], [-1.4, 0.1]])


@given(network=networks(), image=images(), h=linear_maps())
def test_network_is_its_definition(network: Network, image: tuple, h: np.ndarray) -> None:
    """The maps of the last layer, expanded, have the values that evaluation gives."""
    values = np.column_stack([m(X) for m in network.maps(image)])
    scale = network.magnitude(image, X)
    assert np.abs(values - network(image, X)).max() <= 1e-12 * scale
    assert network.magnitude(image_moved(image, h), plane_maps.move(h, X)) >= 0


def test_two_layers_of_four_channels_at_ten_thousand_points() -> None:
    """A two-layer network of 4 channels is evaluated at 10 000 points in well under a second."""
    bank = [gaussian(1.0, (0.3 * k, 0.1), 0.5) + gaussian(-0.5, (0, 0.2 * k)) for k in range(4)]
    network = Network((
        Layer(tuple((f,) for f in bank), (1.0, 0.5)),
        Layer(tuple(tuple(f.moved(plane_maps.rotation(17 * c)) for f in bank) for c in range(4))),
    ))
    image = (total([gaussian(1.0, (k, -k), 0.5 + k) for k in range(3)]),)
    points = np.random.default_rng(0).normal(size=(10_000, 2))
    start = time.process_time()  # whatever else the machine does
    features = network(image, points)
    assert time.process_time() - start < 1.0
    assert features.shape == (10_000, 4)
