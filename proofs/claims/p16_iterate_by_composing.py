"""P16. Iterate by composing the transformations, not by resampling what was resampled.

Statement. Aligning in steps h_1, h_2, ..., h_n may be done by composing, T_(h_n ... h_1) f, and
resampling the original once; without a grid that is the same as transforming n times. On a grid it
is not: each bilinear resampling multiplies every frequency w by a gain of modulus at most 1, and n
resamplings by the shift d leave

    abs(g(d, w))^n,  g(d, w) = (1 - a) + a exp(-i w) in each direction, a the fractional part of d,

of a wave's amplitude. In a direction where neither a nor w is 0 it falls with every step until
nothing is left (for a = 1/2 and w = pi, that is after the first), and tends to 0. Resampling once
by the composed shift n d leaves abs(g(n d, w)), which never falls below abs(g(1/2, w)), and is 1
where n d is whole. So if cos w is neither 1 nor -1, enough steps leave less than any one resampling
does. A few may leave more: at w = pi four steps by 1/8 leave (3/4)^4, one by 1/2 leaves nothing.

Proof. T_k T_h = T_(k h) (P2), by induction for n factors; note the order. For the grid, the
bilinear shift by d >= 0 in one direction is f[x] -> (1 - a) f[x - m] + a f[x - m - 1] with m =
floor(d). Applied to exp(i w x) it multiplies the wave by exp(-i w m) g(d, w), so waves are kept as
waves and n applications multiply by the n-th power. abs(g)^2 = 1 - 2 a (1 - a)(1 - cos w), which
is below 1 unless a = 0 or w = 0, and smallest at a = 1/2, where it is (1 + cos w) / 2, above 0
unless w = pi. A power of a number below 1 tends to 0. In two directions the gains multiply. QED

For general maps a resampling has no single gain, but each of its values is again a weighted mean of
four neighbours, and the same loss occurs wherever the sampling points fall between pixels.
"""

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from proofs.claim import ICPR, Claim, Control, Formal, Setting, Source
from proofs.draws.gaussians import images, linear_maps, networks
from proofs.worlds.gaussian_networks import Image, Network, feature_gap, image_moved, probes
from proofs.worlds.plane_maps import Matrix

SIDE = 16


@dataclass(frozen=True)
class ContinuumCase:
    """A network, an image and the steps of an iterative alignment."""

    network: Network
    image: Image
    steps: tuple[Matrix, ...]


@dataclass(frozen=True)
class GridCase:
    """A wave on a torus, and a shift repeated n times.

    Args:
        waves: whole periods across the image, right and down.
        eighths: the shift in eighths of a pixel, right and down.
        n: number of steps.
    """

    waves: tuple[int, int]
    eighths: tuple[int, int]
    n: int


continuum_cases = st.builds(
    ContinuumCase,
    network=networks(),
    image=images(),
    steps=st.lists(linear_maps(), min_size=2, max_size=3).map(tuple),
)
grid_cases = st.builds(
    GridCase,
    waves=st.tuples(st.integers(1, SIDE // 2), st.integers(0, SIDE // 2)),  # up to w = pi
    eighths=st.tuples(st.integers(0, 16), st.integers(0, 16)),
    n=st.integers(2, 6),
)


def composed(steps: tuple[Matrix, ...]) -> Matrix:
    """... h_2 h_1: one map for all steps, of which the first comes first."""
    product = np.eye(2)
    for h in steps:
        product = h @ product
    return product


def gain(shift: float, frequency: float) -> float:
    """What one bilinear shift leaves of a wave's amplitude, in one direction.

    Args:
        shift: in pixels.
        frequency: w, radians per pixel.

    Returns:
        abs(g), between 0 and 1.
    """
    a = shift - np.floor(shift)
    return float(abs((1 - a) + a * np.exp(-1j * frequency)))


def gain_of_steps(case: GridCase) -> float:
    """What n resamplings leave.

    Returns:
        The product over directions of abs(g(d, w))^n.
    """
    return float(
        np.prod([
            gain(e / 8, 2 * np.pi * k / SIDE) ** case.n
            for e, k in zip(case.eighths, case.waves, strict=True)
        ])
    )


def gain_of_composition(case: GridCase) -> float:
    """What one resampling by the composed shift leaves.

    Returns:
        The product over directions of abs(g(n d, w)).
    """
    return float(
        np.prod([
            gain(case.n * e / 8, 2 * np.pi * k / SIDE)
            for e, k in zip(case.eighths, case.waves, strict=True)
        ])
    )


def resampled(image: Tensor, right: float, down: float) -> Tensor:
    """A bilinear shift on a torus, by the sampler that spatial transformers use."""
    whole = (int(np.floor(down)), int(np.floor(right)))
    rolled = image.roll(whole, (-2, -1))
    padded = functional.pad(rolled, (1, 1, 1, 1), mode="circular")
    width = SIDE + 2
    theta = torch.eye(2, 3, dtype=torch.float64)
    theta[0, 2] = -2 * (right - whole[1]) / width
    theta[1, 2] = -2 * (down - whole[0]) / width
    grid = functional.affine_grid(theta[None], [1, 1, width, width], align_corners=False)
    return functional.grid_sample(padded, grid, align_corners=False)[..., 1:-1, 1:-1]


def amplitudes(case: GridCase) -> tuple[float, float]:
    """What is left of the wave after n resamplings, and after one by the composed shift.

    Returns:
        Two amplitudes, of a wave that had amplitude 1.
    """
    y, x = torch.meshgrid(*[torch.arange(SIDE, dtype=torch.float64)] * 2, indexing="ij")
    phase = 2 * torch.pi * (case.waves[0] * x + case.waves[1] * y) / SIDE
    wave = torch.cos(phase)[None, None]
    right, down = case.eighths[0] / 8, case.eighths[1] / 8
    stepped = wave
    for _ in range(case.n):
        stepped = resampled(stepped, right, down)
    once = resampled(wave, case.n * right, case.n * down)
    probe = torch.exp(-1j * phase)
    # the fastest wave is its own conjugate, and has twice the product with the probe
    left = [
        float((image * probe).mean().abs() / (wave * probe).mean().abs())
        for image in (stepped, once)
    ]
    return left[0], left[1]


def continuum_residual(case: ContinuumCase) -> float:
    """Features of the image transformed step by step, and of the composed transformation."""
    return _gap(case, composed(case.steps))


def _gap(case: ContinuumCase, h: Matrix) -> float:
    """What features of the image transformed step by step differ from those under one h."""
    stepped = case.image
    for step in case.steps:
        stepped = image_moved(stepped, step)
    return feature_gap(case.network, stepped, probes(), image_moved(case.image, h), probes())


def grid_residual(case: GridCase) -> float:
    """Measured amplitudes against the gains."""
    stepped, once = amplitudes(case)
    return max(abs(stepped - gain_of_steps(case)), abs(once - gain_of_composition(case)))


def reversed_residual(case: ContinuumCase) -> float:
    """The same for the product in the other order."""
    return _gap(case, composed(case.steps[::-1]))


def no_blur_residual(case: GridCase) -> float:
    """What would vanish if n resamplings blurred no more than one.

    Returns:
        By how much less amplitude is left.
    """
    stepped, once = amplitudes(case)
    return max(0.0, once - stepped)


CLAIM = Claim(
    id="P16",
    title="iterate by composing",
    statement="Iterative alignment composes the matrices and resamples the original once; "
    "resampling each result between pixels leaves ever less of a wave, in the end nothing. Of any "
    "but the fastest, enough steps leave less than one resampling does.",
    formula="T_(h_n) ... T_(h_1) f = T_(h_n ... h_1) f;  on a grid abs(g(d, w))^n against "
    "abs(g(n d, w))",
    assumptions=(
        "linear maps, in the order applied",
        "bilinear sampling on the grid",
    ),
    sources=(Source(ICPR, "STN architectures, iterative alignment"),),
    proof=__doc__,
    formal=Formal(
        theorem="p16_iterate_by_composing.P16_iterate_by_composing",
        assumptions=(
            "linear maps, in the order applied",
            "on the grid: one direction, a wave, shifts by the same bilinear fraction",
        ),
    ),
    settings=(
        Setting(
            name="continuum",
            cases=continuum_cases,
            residual=continuum_residual,
            tolerance=1e-10,
            why="closed forms; products of three maps of condition number 5 at most",
            control=Control(
                statement="the order of the factors does not matter",
                residual=reversed_residual,
            ),
        ),
        Setting(
            name="grid",
            cases=grid_cases,
            residual=grid_residual,
            tolerance=1e-12,
            why="sampling weights and sums over 256 pixels round in the last place",
            control=Control(
                statement="resampling n times blurs no more than resampling once",
                residual=no_blur_residual,
            ),
        ),
    ),
)
