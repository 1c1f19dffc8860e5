"""Sums of Gaussians against quadrature, and networks of them against their definition."""

import inspect

import numpy as np
import pytest
from hypothesis import given

from proofs.draws.gaussians import gaussian_sums, linear_maps, vectors
from proofs.worlds import plane_maps
from proofs.worlds.gaussian_networks import Layer, Network
from proofs.worlds.gaussians import ZERO, GaussianSum, gaussian, total, warped_back

X = np.array([[0.3, -0.2], [1.0, 0.7], [-1.4, 0.1]])

SPACING = 0.1


SIDE = np.arange(-24, 24, SPACING)


GRID = np.stack(np.meshgrid(SIDE, SIDE), axis=-1).reshape(-1, 2)


def quadrature(values: np.ndarray) -> float:
    """The trapezoidal rule, which converges faster than any power for Gaussians."""
    return float(values.sum() * SPACING**2)


@given(f=gaussian_sums(), g=gaussian_sums())
def test_integral_inner_product_and_convolution(f: GaussianSum, g: GaussianSum) -> None:
    """Closed forms agree with the trapezoidal rule on a fine grid."""
    scale = f.absolute().integral() * g.absolute().integral()
    assert abs(f.integral() - quadrature(f(GRID))) <= 1e-10 * scale
    assert abs(f.inner(g) - quadrature(f(GRID) * g(GRID))) <= 1e-10 * scale
    for x in X:
        assert abs(f.convolved(g)(x[None])[0] - quadrature(f(x - GRID) * g(GRID))) <= 1e-10 * scale


@given(f=gaussian_sums(), h=linear_maps(), d=vectors())
def test_moving_and_shifting(f: GaussianSum, h: np.ndarray, d: np.ndarray) -> None:
    """T_h f(x) = f(h^-1 x) and D_d f(x) = f(x - d), at any point."""
    back = plane_maps.move(plane_maps.inverse(h), X)
    assert np.allclose(f.moved(h)(X), f(back), rtol=1e-11, atol=1e-13)
    assert np.allclose(f.shifted(d)(X), f(X - d), rtol=1e-11, atol=1e-13)
    seen = abs(plane_maps.determinant(h)) * f(plane_maps.move(h, X) + d)
    assert np.allclose(warped_back(f, h, d)(X), seen, rtol=1e-11, atol=1e-13)


@given(f=gaussian_sums(), g=gaussian_sums())
def test_products_and_polynomials(f: GaussianSum, g: GaussianSum) -> None:
    """Products and polynomials are those of the values."""
    assert np.allclose(f.multiplied(g)(X), f(X) * g(X), rtol=1e-10, atol=1e-13)
    cubic = 0.5 * f(X) - 2 * f(X) ** 2 + f(X) ** 3
    assert np.allclose(f.polynomial((0.5, -2, 1))(X), cubic, rtol=1e-10, atol=1e-12)


def test_equal_terms_are_merged() -> None:
    """Equal terms are added up, and what cancels is dropped."""
    f = gaussian(2.0) + gaussian(1.0) + gaussian(1.0, (1, 0))
    assert len(f.merged().amplitudes) == 2
    assert len((f - f).merged().amplitudes) == 0
    assert len(total([]).amplitudes) == 0
    assert repr(ZERO) == "0"
    # the square of n terms has n (n + 1) / 2 different ones, not n^2
    assert len(f.merged().multiplied(f.merged()).amplitudes) == 3


@pytest.mark.parametrize(
    ("covariance", "message"),
    [
        (np.array([[1.0, 2.0], [2.0, 1.0]]), "positive definite"),
        (np.array([[1.0, 0.5], [0.0, 1.0]]), "symmetric"),
        (np.diag([1.0, 0.0]), "positive definite"),
        (np.diag([1.0, np.nan]), "not finite"),
    ],
)
def test_bad_covariance(covariance: np.ndarray, message: str) -> None:
    """A covariance that is none is refused."""
    with pytest.raises(ValueError, match=message):
        gaussian(1.0, (0, 0), covariance)


def test_bad_input() -> None:
    """Coefficients that are not finite, shapes that disagree and singular maps are refused."""
    with pytest.raises(ValueError, match="amplitudes hold a value that is not finite"):
        gaussian(np.inf)
    plain = inspect.unwrap(GaussianSum.__init__)  # without the tests' own check of shapes
    with pytest.raises(ValueError, match="disagree"):
        plain(object.__new__(GaussianSum), np.ones(2), np.zeros((1, 2)), np.eye(2)[None])
    with pytest.raises(ValueError, match="singular"):
        gaussian().moved(np.array([[1.0, 2.0], [2.0, 4.0]]))
    with pytest.raises(ValueError, match="not finite"):
        gaussian().moved(np.array([[1.0, np.nan], [0.0, 1.0]]))
    moved = inspect.unwrap(GaussianSum.moved)
    with pytest.raises(ValueError, match="2 x 2"):
        moved(gaussian(), np.eye(3))
    network = Network((Layer(((gaussian(), gaussian()),)),))
    with pytest.raises(ValueError, match="takes 2 channels, but got 1"):
        network((gaussian(),), X)
