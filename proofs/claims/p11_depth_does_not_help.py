"""P11. No depth makes a network that filters space alignable under scaling.

Statement. Let G be translation covariant and semi-local, of any depth, and not constant, on images
that are closed under shifts and scalings and can be glued (P3). Let a warp that does not depend on
the image align it under s I with s != 0 and abs(s) != 1. Then there is one fixed c such that
(G f)(x, .) depends on f only in an arbitrarily small neighbourhood of x - c. A network that filters
space, that is reads more than one place, is not alignable under scaling. (c cannot be left out: the
pure shift G f = D_c f is alignable, by s x + (1 - s) c, and reads the image at x - c.)

Proof. If abs(s) < 1, the same warp inverted aligns G under (1 / s) I, because every image is T_s of
another; so let abs(s) > 1. As G is not constant, it separates points (P3), so the
warp is s x + b. Put c = b / (1 - s) and H = D_(-c) G, that is (H f)(x) = (G f)(x + c). H is
translation covariant and semi-local, with some radius R. Since s c + b = c,

    (H T_s f)(s x) = (G T_s f)(s x + c) = (G T_s f)(s (x + c) + b) = (G f)(x + c) = (H f)(x)

for all f. With T_s f, T_s^2 f, ... in place of f,

    (H f)(x) = (H T_s f)(s x) = (H T_s^2 f)(s^2 x) = ... = (H T_s^n f)(s^n x).

By P10, applied to H and s^n, the right side depends on f only within R / abs(s)^n of x, for every
n. Given any neighbourhood of x, some n makes the window smaller; and (G f)(x) = (H f)(x - c). Depth
entered nowhere but in R. If G reads more than one place, then whatever c is, there are images that
agree near x - c and differ in G f(x): a contradiction. QED

A neighbourhood is not yet the point. On all images (G f)(x) = lim f(x + 2^-n), or 0 where there is
no limit, is covariant, semi-local and aligned by 2 x, and f(x) alone does not decide it. Let images
be continuous, and G in the sup norm, as convolutions, ReLU and pooling are. Where f and g agree at
x - c, f can be bent into g on a small neighbourhood, and changed as little as one likes. The bent
image has the features of g at x, as it is g near x - c, and by continuity nearly those of f. So
(G f)(x) = (G g)(x): such a G is pointwise.

Check. A network that reads at least two places is drawn, and a c, which may be one of them. The tap
that G feels closest to c, but not at c, is at a distance r. n is chosen with R / s^n < r / 2, and
f_1, f_2 differ by a bump at that tap that reaches in to the window. They must look the same after n
scalings, and not before, so no warp s x + (1 - s) c aligns G. The same weights with all taps moved
to the centre must align exactly.
"""

import math
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from proofs.claim import COMPANION, MULTI_LAYER, Claim, Control, Formal, Setting, Source
from proofs.draws.gaussians import gaussian_sums, vectors
from proofs.draws.stencils import stencil_networks
from proofs.worlds.gaussian_networks import probes
from proofs.worlds.gaussians import GaussianSum
from proofs.worlds.plane_maps import Vector
from proofs.worlds.stencils import Scene, StencilNetwork, felt, felt_taps, told_apart

NEXT_TO_NOTHING = 1e-9
"""Taps this close to c are at c, but for rounding."""


@dataclass(frozen=True)
class Case:
    """A deep network, an image, a scaling, a position, and the centre of a candidate warp.

    Args:
        network: reads the image at two places or more.
        ground: the image.
        s: scaling, abs(s) > 1.
        x: position in the original.
        c: the warp is s x + (1 - s) c.
    """

    network: StencilNetwork
    ground: GaussianSum
    s: float
    x: Vector
    c: Vector


@st.composite
def cases(draw: DrawFn) -> Case:
    """Deep networks with candidate warps, some of them centred on a tap."""
    network = draw(stencil_networks(depth=4), "network")
    taps = [np.zeros(2), *felt_taps(network)]
    return Case(
        network,
        draw(gaussian_sums(), "image"),
        draw(st.sampled_from([2, 1.5, 3, -2]), "s"),
        draw(vectors(1), "x"),
        draw(st.sampled_from(taps) | vectors(1), "c"),
    )


def window_radius(radius: float, s: float, n: int) -> float:
    """R / abs(s)^n: how much of the original the unit at s^n x sees after n scalings."""
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

    Returns:
        f_1, f_2 and n, or None if G feels no tap away from c.
    """
    taps = felt_taps(case.network) - case.c
    distances = np.linalg.norm(taps, axis=1)
    radius = float(distances.max())
    for nearest in np.argsort(distances, kind="stable"):
        distance = float(distances[nearest])
        if distance < NEXT_TO_NOTHING:
            continue
        n = scalings_needed(radius, distance, case.s)
        reach = distance - window_radius(radius, case.s, n)
        if reach <= 0:
            continue
        centre = case.x - case.c - taps[nearest]
        images = told_apart(case.network, case.ground, case.x, centre, reach)
        if images is not None:
            return *images, n
    return None


def aligned_gap(network: StencilNetwork, ground: GaussianSum, s: float) -> float:
    """How far the warp s x is from aligning a network.

    Args:
        network: the extractor.
        ground: the image.
        s: scaling.

    Returns:
        Largest misalignment relative to what the features could reach if nothing cancelled.
    """
    image, x = Scene(ground), probes(1.0)
    reference, warped = network(image, x), network(image.scaled(s), s * x)
    scale = network.absolute()(Scene(ground.absolute()), x).max()
    return float(np.abs(reference - warped).max() / scale)


def residual(case: Case) -> float:
    """The contradiction must be there; and without spatial filtering, alignment.

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
    unit = factor * (case.x - case.c) + case.c
    after = felt(case.network, first.scaled(factor), second.scaled(factor), unit)
    return max(pointwise, after / before)


def one_layer_left_residual(case: Case) -> float:
    """What would vanish if one layer that filters space did no harm.

    Returns:
        Misalignment with the first layer as drawn and all others pointwise.
    """
    rest = case.network.pointwise().layers[1:]
    return aligned_gap(StencilNetwork((case.network.layers[0], *rest)), case.ground, case.s)


CLAIM = Claim(
    id="P11",
    title="depth does not help",
    statement="If a warp aligns a network under a scaling, its features depend on an arbitrarily "
    "small neighbourhood of one point only; a network that filters space is not alignable.",
    formula="(G f)(x) = (G T_s^n f)(s^n (x - c) + c) reads f within R / abs(s)^n of x - c",
    assumptions=(
        "G D_d = D_d G",
        "G semi-local",
        "G not constant",
        "the warp does not depend on the image",
        "s other than 0, abs(s) other than 1",
        "the images are closed under shifts, the scaling and gluing",
    ),
    sources=(Source(COMPANION, MULTI_LAYER),),
    proof=__doc__,
    formal=Formal(theorem="p11_depth_does_not_help.P11_depth_does_not_help"),
    settings=(
        Setting(
            name="continuum",
            cases=cases(),
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
