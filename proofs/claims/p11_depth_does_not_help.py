"""P11. No depth makes a network that filters space alignable under scaling.

Statement. Let G be translation covariant and semi-local, of any depth, and let a warp that does not
depend on the image align it under s I with abs(s) != 1. Then (G f)(x, .) depends on f only in an
arbitrarily small neighbourhood of x. A network that filters space at all is not alignable under
scaling.

Proof. If abs(s) < 1, the same warp inverted aligns G under (1 / s) I, because every image is T_s of
another; so let abs(s) > 1. A constant G filters nothing; any other separates points (P3), so the
warp is s x + b. Moving the origin to its fixed point b / (1 - s) makes it s x; translation
covariance lets us do so. Then (G f)(x) = (G T_s f)(s x) for all f, and with T_s f, T_s^2 f, ... in
place of f

    (G f)(x) = (G T_s f)(s x) = (G T_s^2 f)(s^2 x) = ... = (G T_s^n f)(s^n x).

By P10, applied to s^n, the right side depends on f only within R / abs(s)^n of x, for every n.
Given any neighbourhood of x, some n makes the window smaller. Depth entered nowhere but in R. If G
filters space, there are images that agree near x and differ in G f(x): a contradiction. QED

Check. The innermost tap off the centre that G feels is at a radius r. n is chosen with
R / s^n < r / 2, and f_1, f_2 differ by a bump at that tap that reaches in to the window. They must
look the same after n scalings, and not before, so no warp aligns G. The same weights with all taps
moved to the centre must align exactly.
"""

import math
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from proofs.claim import COMPANION, MULTI_LAYER, Claim, Control, Setting, Source
from proofs.gaussians import GaussianSum
from proofs.networks import probes
from proofs.plane import Vector
from proofs.stencil_strategies import stencil_networks
from proofs.stencils import Bump, Scene, StencilNetwork, felt
from proofs.strategies import gaussian_sums, vectors

NOTICEABLE = 1e-7
"""A change of the features by less than this is not counted as seen."""


@dataclass(frozen=True)
class Case:
    """A deep network, an image, a scaling and a position."""

    network: StencilNetwork
    ground: GaussianSum
    s: float
    x: Vector


cases = st.builds(
    Case,
    network=stencil_networks(depth=4),
    ground=gaussian_sums(),
    s=st.sampled_from([2, 1.5, 3, -2]),
    x=vectors(1),
)


def window_radius(radius: float, s: float, n: int) -> float:
    """How much of the original the unit at s^n x sees after n scalings.

    Args:
        radius: R.
        s: scaling, abs(s) > 1.
        n: how many.

    Returns:
        R / abs(s)^n.
    """
    return radius / abs(s) ** n


def scalings_needed(radius: float, tap: float, s: float) -> int:
    """How many scalings make the window half as wide as a tap is far.

    Args:
        radius: R.
        tap: distance of the tap from the centre, positive.
        s: scaling, abs(s) > 1.

    Returns:
        The least such n, at least 1.
    """
    return max(1, math.floor(math.log(2 * radius / tap, abs(s))) + 1)


def witness(case: Case) -> tuple[Scene, Scene, int] | None:
    """Two images that differ just outside the window after n scalings, and that G tells apart.

    Args:
        case: drawn case.

    Returns:
        f_1, f_2 and n, or None if G feels no tap off the centre.
    """
    taps = case.network.taps()
    radius = float(np.linalg.norm(taps[-1]))
    first = Scene(case.ground)
    for tap in taps:
        distance = float(np.linalg.norm(tap))
        if distance == 0:
            continue
        n = scalings_needed(radius, distance, case.s)
        reach = distance - window_radius(radius, case.s, n)
        second = Scene(case.ground, Bump(case.x - tap, reach))
        if reach > 0 and felt(case.network, first, second, case.x) > NOTICEABLE:
            return first, second, n
    return None


def aligned_gap(network: StencilNetwork, ground: GaussianSum, s: float) -> float:
    """How far the warp s x is from aligning a network.

    Args:
        network: the extractor.
        ground: the image.
        s: scaling.

    Returns:
        Largest misalignment relative to the largest feature; 0 if all vanish.
    """
    image, x = Scene(ground), probes(1.0)
    reference, warped = network(image, x), network(image.scaled(s), s * x)
    scale = max(np.abs(reference).max(), np.abs(warped).max())
    return float(np.abs(reference - warped).max() / scale) if scale else 0.0


def residual(case: Case) -> float:
    """The contradiction must be there; and without spatial filtering, alignment.

    Args:
        case: drawn case.

    Returns:
        The larger of what G sees of the bump after n scalings, relative to before, and the
        misalignment of the pointwise network; 1 if no pair of images was found.
    """
    pointwise = aligned_gap(case.network.pointwise(), case.ground, case.s)
    found = witness(case)
    if found is None:
        return 1.0
    first, second, n = found
    factor = case.s**n
    before = felt(case.network, first, second, case.x)
    after = felt(case.network, first.scaled(factor), second.scaled(factor), factor * case.x)
    return max(pointwise, after / before)


def one_layer_left_residual(case: Case) -> float:
    """What would vanish if one layer that filters space did no harm.

    Args:
        case: drawn case.

    Returns:
        Misalignment with the first layer as drawn and all others pointwise.
    """
    rest = case.network.pointwise().layers[1:]
    return aligned_gap(StencilNetwork((case.network.layers[0], *rest)), case.ground, case.s)


CLAIM = Claim(
    id="P11",
    title="depth does not help",
    statement="If a warp aligns a network under a scaling, its features depend on an arbitrarily "
    "small neighbourhood only; a network that filters space is not alignable, at any depth.",
    formula="(G f)(x) = (G T_s^n f)(s^n x) depends on f within R / abs(s)^n of x, for every n",
    assumptions=("G D_d = D_d G", "G semi-local", "the warp does not depend on the image"),
    sources=(Source(paper=COMPANION, section=MULTI_LAYER),),
    proof=__doc__,
    settings=(
        Setting(
            name="continuum",
            cases=cases,
            residual=residual,
            tolerance=1e-12,
            why="the bump is exactly 0 in the window; positions round in the last place",
            control=Control(
                statement="alignable with one layer of receptive field left",
                residual=one_layer_left_residual,
            ),
        ),
    ),
)
