"""What the claims draw their cases from.

Values are drawn as small multiples of a quarter, not as seeds, so that a counterexample shrinks to
numbers a person can follow with pencil and paper. Strategies are cached: building one costs more
than drawing from it.
"""

from functools import cache

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from jaxtyping import Float64

from proofs.worlds import plane_maps
from proofs.worlds.gaussian_networks import Image, Layer, Network
from proofs.worlds.gaussians import GaussianSum, gaussian, total
from proofs.worlds.plane_maps import Matrix, Vector

LARGEST_KERNEL = 9
"""Kernels above this width would make a case unreadable."""

VARIANCES = (1.0, 0.5, 2.0, 0.25, 1.5)

Kernel = Float64[np.ndarray, "out in k k"]


@cache
def quarters(low: float = -2, high: float = 2) -> SearchStrategy[float]:
    """Multiples of a quarter; 0 is the simplest.

    Args:
        low: smallest value.
        high: largest value.

    Returns:
        Strategy of floats.

    Raises:
        ValueError: the range is empty or not finite.
    """
    if not (np.isfinite(low) and np.isfinite(high)) or low > high:
        raise ValueError(f"[{low}, {high}] is not a range of finite numbers.")
    return st.integers(round(4 * low), round(4 * high)).map(lambda n: n / 4)


@cache
def nonzero_quarters(bound: float = 2) -> SearchStrategy[float]:
    """Multiples of a quarter other than 0; 1 is the simplest.

    Args:
        bound: largest absolute value, at least 1.

    Returns:
        Strategy of floats.

    Raises:
        ValueError: the bound is below 1 or not finite.
    """
    if not np.isfinite(bound) or bound < 1:
        raise ValueError(f"bound = {bound}: it must be finite and at least 1.")
    steps = [n / 4 for n in range(1, round(4 * bound) + 1)]
    ordered = sorted(steps, key=lambda v: (v != 1, v))
    return st.sampled_from([sign * v for v in ordered for sign in (1, -1)])


@cache
def vectors(bound: float = 2) -> SearchStrategy[Vector]:
    """Shifts and positions.

    Args:
        bound: largest absolute coordinate.

    Returns:
        Strategy of vectors of two numbers.
    """
    steps = st.integers(round(-4 * bound), round(4 * bound))
    return st.tuples(steps, steps).map(lambda n: np.array(n) / 4)


@cache
def covariances() -> SearchStrategy[Matrix]:
    """Symmetric positive definite matrices of variances 1/4 to 2; the identity is the simplest.

    Returns:
        Strategy of 2 x 2 matrices.
    """
    # one choice among all of them costs a third of three choices
    return st.sampled_from([
        np.array([[a, r * np.sqrt(a * b)], [r * np.sqrt(a * b), b]])
        for r in (0.0, 0.5, -0.5, 0.25, -0.25)
        for b in VARIANCES
        for a in VARIANCES
    ])


@cache
@st.composite
def gaussian_sums(draw: DrawFn, terms: int = 2, *, isotropic: bool = False) -> GaussianSum:
    """Nonzero signed sums of Gaussians.

    Args:
        draw: given by Hypothesis.
        terms: largest number of terms.
        isotropic: only Gaussians that look the same in every direction, centred at the origin.

    Returns:
        The sum.

    Raises:
        ValueError: fewer than one term is asked for.
    """
    if terms < 1:
        raise ValueError(f"terms = {terms}: a nonzero function has at least one term.")
    parts = []
    for _ in range(draw(st.integers(1, terms), "terms")):
        amplitude = draw(nonzero_quarters(), "amplitude")
        if isotropic:
            variance = draw(st.sampled_from(VARIANCES), "variance")
            parts.append(gaussian(amplitude, (0, 0), variance))
        else:
            mean = draw(vectors(), "mean")
            parts.append(gaussian(amplitude, mean.tolist(), draw(covariances(), "covariance")))
    result = total(parts)
    assume(len(result.amplitudes) > 0)
    return result


@cache
def images(channels: int = 1, terms: int = 2) -> SearchStrategy[Image]:
    """Images whose channels are sums of Gaussians.

    Args:
        channels: K.
        terms: largest number of terms in a channel.

    Returns:
        Strategy of K-channel images.

    Raises:
        ValueError: no channel is asked for.
    """
    if channels < 1:
        raise ValueError(f"channels = {channels}: an image has at least one.")
    return st.tuples(*[gaussian_sums(terms)] * channels)


@cache
def polynomials() -> SearchStrategy[tuple[float, ...]]:
    """Pointwise nonlinearities: the identity first, then quadratics.

    Returns:
        Strategy of coefficient tuples without the constant term.
    """
    return st.sampled_from([(1.0,), (1.0, 0.5), (0.5, -0.25), (0.0, 1.0)])


@cache
@st.composite
def banks(
    draw: DrawFn, inputs: int = 1, outputs: int = 2, *, terms: int = 2, isotropic: bool = False
) -> tuple[tuple[GaussianSum, ...], ...]:
    """Filter banks of one layer.

    Args:
        draw: given by Hypothesis.
        inputs: channels that come in.
        outputs: largest number of channels that go out.
        terms: largest number of Gaussians in a filter.
        isotropic: only isotropic filters centred at the origin.

    Returns:
        filters[c][k].
    """
    sums = gaussian_sums(terms, isotropic=isotropic)
    count = draw(st.integers(1, outputs), "channels")
    return tuple(tuple(draw(sums, f"filter {c}, {k}") for k in range(inputs)) for c in range(count))


@cache
@st.composite
def networks(draw: DrawFn, inputs: int = 1, depth: int = 2, *, isotropic: bool = False) -> Network:
    """Small networks on the whole plane.

    Args:
        draw: given by Hypothesis.
        inputs: channels of the image.
        depth: largest number of layers.
        isotropic: only isotropic filters centred at the origin.

    Returns:
        The network.

    Raises:
        ValueError: no layer is asked for.
    """
    if depth < 1:
        raise ValueError(f"depth = {depth}: a network has at least one layer.")
    layers = []
    for number in range(draw(st.integers(1, depth), "layers")):
        terms = 2 if number == 0 else 1
        bank = draw(banks(inputs, 2, terms=terms, isotropic=isotropic), f"bank {number}")
        layers.append(Layer(bank, draw(polynomials(), f"polynomial {number}")))
        inputs = len(bank)
    return Network(tuple(layers))


@cache
def scalings() -> SearchStrategy[Matrix]:
    """Uniform scalings by factors other than 1 and -1; doubling is the simplest.

    Returns:
        Strategy of matrices.
    """
    return st.sampled_from([2, 0.5, 1.5, 3, 0.75, -2, 1.25, -0.5]).map(plane_maps.scaling)


@cache
def shears() -> SearchStrategy[Matrix]:
    """Shears other than the identity.

    Returns:
        Strategy of matrices.
    """
    return nonzero_quarters().map(plane_maps.shear)


@cache
def rotations(
    degrees: tuple[float, ...] = (90, 45, 30, 180, 120, 17, -60, 72),
) -> SearchStrategy[Matrix]:
    """Rotations by given angles, a quarter turn first.

    Args:
        degrees: the angles.

    Returns:
        Strategy of matrices.
    """
    return st.sampled_from(degrees).map(plane_maps.rotation)


@cache
def reflections() -> SearchStrategy[Matrix]:
    """Reflections in lines through the origin.

    Returns:
        Strategy of matrices.
    """
    return st.sampled_from([0, 90, 45, 30, -20]).map(plane_maps.reflection)


@cache
def hyperbolic_maps() -> SearchStrategy[Matrix]:
    """Maps that preserve area, but stretch one direction and shrink another.

    Returns:
        Strategy of matrices.
    """
    return st.tuples(st.sampled_from([2, 1.5, -2]), shears() | st.just(np.eye(2))).map(
        lambda drawn: drawn[1] @ np.diag([drawn[0], 1 / drawn[0]]) @ plane_maps.inverse(drawn[1])
    )


@cache
def linear_maps() -> SearchStrategy[Matrix]:
    """Invertible linear maps of every kind: those named in the papers, and general ones.

    Returns:
        Strategy of matrices that change lengths by a factor of 5 at most.
    """
    entries = st.lists(quarters(), min_size=4, max_size=4)
    general = entries.map(lambda e: np.array(e).reshape(2, 2)).filter(
        lambda h: abs(plane_maps.determinant(h)) >= 0.25 and np.linalg.cond(h) <= 5
    )
    return rotations() | scalings() | shears() | reflections() | general


@cache
@st.composite
def kernels(draw: DrawFn, outputs: int, inputs: int, size: int) -> Kernel:
    """Convolution kernels with small integer entries, each filter nonzero.

    Args:
        draw: given by Hypothesis.
        outputs: channels that go out.
        inputs: channels that come in.
        size: width and height.

    Returns:
        outputs x inputs x size x size array.

    Raises:
        ValueError: a size below 1 or above `LARGEST_KERNEL`, or no channel.
    """
    if not 1 <= size <= LARGEST_KERNEL:
        raise ValueError(f"size = {size}: kernels are 1 to {LARGEST_KERNEL} pixels wide.")
    if outputs < 1 or inputs < 1:
        raise ValueError(f"{outputs} x {inputs} channels: at least one of each is needed.")
    n = inputs * size * size
    entries = st.lists(st.integers(-2, 2), min_size=n, max_size=n).filter(any)
    rows = [draw(entries, f"filter {c}") for c in range(outputs)]
    return np.array(rows, dtype=np.float64).reshape(outputs, inputs, size, size)
