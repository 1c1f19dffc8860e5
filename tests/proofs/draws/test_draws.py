"""What is drawn is valid, varied, and shrinks to something readable."""

import numpy as np
import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from proofs.checking import show
from proofs.draws import gaussians as continuum
from proofs.draws.lattice import cnns, kernel_tensors, pixel_images, shifts, symmetries
from proofs.draws.stencils import stencil_networks
from proofs.worlds import plane_maps
from proofs.worlds.stencils import felt_taps

STRATEGIES: dict[str, tuple[SearchStrategy, int]] = {
    "gaussian sums": (continuum.gaussian_sums(), 15),
    "networks": (continuum.networks(), 15),
    "images": (continuum.images(2), 15),
    "linear maps": (continuum.linear_maps(), 10),
    "hyperbolic maps": (continuum.hyperbolic_maps(), 5),
    "kernels": (continuum.kernels(2, 1, 3), 15),
    "pixel images": (pixel_images(9), 15),
    "CNNs": (cnns(strides=(1, 2)), 15),
    "stencil networks": (stencil_networks(), 15),
    "shifts": (shifts(), 10),
    "symmetries": (symmetries(), 4),
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_varied(name: str) -> None:
    """Among 40 draws many are different."""
    strategy, fewest = STRATEGIES[name]
    seen = set()

    @settings(max_examples=40, database=None, derandomize=True, deadline=None)
    @given(strategy)
    def draw(value) -> None:
        seen.add(show(value))

    draw()
    assert len(seen) >= fewest


@pytest.mark.parametrize(
    ("strategy", "simplest"),
    [
        (continuum.gaussian_sums(), "+1 N([0, 0]; 1, 0, 1)"),
        (continuum.networks(), "[+1 N([0, 0]; 1, 0, 1)]"),
        (continuum.linear_maps(), "[[0 1] [-1 0]]"),
        (continuum.scalings(), "[[2 0] [0 2]]"),
        (pixel_images(5), "1x1x5x5 {[0, 0, 0, 0]: 1}"),
        (symmetries(), "turns 1, flip False"),
        (kernel_tensors(1, 1, 3), "[[[[0 0 0] [0 0 0] [0 0 1]]]]"),
    ],
)
def test_shrinks_to_something_readable(strategy: SearchStrategy, simplest: str) -> None:
    """The smallest value of each strategy is one that a person can work with."""
    smallest = find(strategy, lambda _: True, settings=settings(database=None, derandomize=True))
    assert show(smallest) == simplest


def test_a_kernel_shrinks_to_its_one_entry_that_matters() -> None:
    """Kernels are values: a search for a property ends at the smallest kernel that has it."""
    kernel = find(
        continuum.kernels(1, 1, 3),
        lambda k: k[0, 0, 0, 2] > 1,
        settings=settings(database=None, derandomize=True, suppress_health_check=list(HealthCheck)),
    )
    assert kernel[0, 0].tolist() == [[0, 0, 2], [0, 0, 0], [0, 0, 0]]


@given(h=continuum.linear_maps())
def test_linear_maps_are_invertible(h: np.ndarray) -> None:
    """Every linear map has an inverse, and none is far from orthogonal."""
    assert np.allclose(plane_maps.inverse(h) @ h, np.eye(2), atol=1e-12)
    assert np.linalg.cond(h) <= 8


@given(h=continuum.hyperbolic_maps())
def test_hyperbolic_maps_keep_areas(h: np.ndarray) -> None:
    """Determinant 1, eigenvalues off the unit circle."""
    assert plane_maps.determinant(h) == pytest.approx(1)
    assert max(abs(np.linalg.eigvals(h))) > 1.4


@given(network=stencil_networks())
def test_stencil_networks_filter_space(network) -> None:
    """At least two places are felt, and the outermost comes last."""
    radii = np.linalg.norm(felt_taps(network), axis=1)
    assert len(radii) > 1
    assert (np.diff(radii) >= -1e-12).all()


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        (continuum.kernels(1, 1, 0), "size = 0"),
        (continuum.kernels(1, 1, 11), "size = 11"),
        (continuum.kernels(0, 1, 3), "channels"),
        (continuum.gaussian_sums(0), "terms = 0"),
        (continuum.networks(depth=0), "depth = 0"),
        (pixel_images(0), "side = 0"),
        (pixel_images(99), "side = 99"),
        (pixel_images(5, channels=0), "channels = 0"),
        (cnns(depth=0), "depth = 0"),
        (stencil_networks(depth=0), "depth = 0"),
    ],
)
def test_impossible_sizes(strategy: SearchStrategy, message: str) -> None:
    """A strategy asked for what cannot be says so, with the value."""
    with pytest.raises(ValueError, match=message):
        find(strategy, lambda _: True, settings=settings(database=None))


@pytest.mark.parametrize(
    "build",
    [
        lambda: continuum.quarters(1, 0),
        lambda: continuum.quarters(0, float("inf")),
        lambda: continuum.nonzero_quarters(float("nan")),
        lambda: continuum.images(0),
    ],
)
def test_impossible_ranges(build) -> None:
    """Empty and infinite ranges are refused when the strategy is built."""
    with pytest.raises(ValueError, match=r"not a range|must be finite|at least one"):
        build()


@given(value=st.sampled_from([1.23456, "text", (1, 2.5)]))
def test_show(value) -> None:
    """Numbers are shown with four digits."""
    assert show(value) in {"1.235", "text", "[1 2.5]"}
