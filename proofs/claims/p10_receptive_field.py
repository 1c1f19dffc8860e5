"""P10. Under magnification, the receptive field sees less of the original.

Statement. Let G be semi-local with radius R, and let it see beyond R / s, s > 0: two images that
agree within R / s of some x get different features there. The unit at s x in the maps of T_s f sees
only the window of radius R / s about x of the original. There are an x and images with G f_1(x) !=
G f_2(x) and G T_s f_1(s x) = G T_s f_2(s x). So no map of the channels, linear or not, applied at
each point after the warp, turns G T_s f(s x) into G f(x): information is missing, not only
permuted.

Proof. By semi-locality (G T_s f)(s x, .) depends on T_s f within R of s x. There (T_s f)(y) = f(y
/ s), and |y - s x| <= R means |y / s - x| <= R / s. That is the window. G sees beyond it: there are
f_1 and f_2 that agree within R / s of x with G f_1(x) != G f_2(x). By the first part G T_s f_1(s x)
= G T_s f_2(s x). A function m with m(G T_s f(s x)) = G f(x) for all f would take two values at one
argument. QED

A G of exact radius R > 0, such that no smaller one will do, sees beyond R / s for every s > 1. But
not every semi-local G has a least radius, and none is needed. Nor is covariance: with it, what
holds at one x holds at all.

A warp s x + b with another shift is covered by shifting the filters of G by c = b / (1 - s), as in
P11; R is then their radius about c. Only for a pure shift of the image does some c make it 0.

For 0 < s < 1 the unit sees more than it should, and G cannot see beyond R / s > R: nothing follows;
but the same network then fails in the other direction, for 1 / s.

Check. Networks of stencils with a leaky ReLU have an exact radius. The pair is built: f_2 is f_1
and a bump at the outermost tap that G feels, which reaches exactly as far in as the window allows.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from proofs.claim import COMPANION, ICPR, Claim, Control, Formal, Setting, Source
from proofs.draws.gaussians import gaussian_sums, vectors
from proofs.draws.stencils import stencil_networks
from proofs.worlds.gaussians import GaussianSum
from proofs.worlds.plane_maps import Vector
from proofs.worlds.stencils import Bump, Scene, StencilNetwork, felt, felt_taps, told_apart


@dataclass(frozen=True)
class Case:
    """A network, an image, a magnification and a position."""

    network: StencilNetwork
    ground: GaussianSum
    s: float
    x: Vector


def cases(factors: tuple[float, ...]) -> st.SearchStrategy[Case]:
    """Networks that filter space, with images, scalings and positions.

    Args:
        factors: scalings to choose from.

    Returns:
        Strategy of cases.
    """
    return st.builds(
        Case,
        network=stencil_networks(),
        ground=gaussian_sums(),
        s=st.sampled_from(factors),
        x=vectors(1),
    )


def window_radius(radius: float, s: float) -> float:
    """R / s: how much of the original the unit at s x sees in the magnified image."""
    return radius / s


def pair(case: Case) -> tuple[Scene, Scene] | None:
    """Two images that differ only outside the window, and that G tells apart.

    Returns:
        f_1 and f_2, or None if there is no room between the window and the outermost tap.
    """
    tap = felt_taps(case.network)[-1]
    radius = float(np.linalg.norm(tap))
    reach = radius - window_radius(radius, case.s)
    if reach <= 0:
        return None
    return told_apart(case.network, case.ground, case.x, case.x - tap, reach)


def residual(case: Case) -> float:
    """What G sees of the difference after magnification.

    Returns:
        |G T_s f_1(s x) - G T_s f_2(s x)| over |G f_1(x) - G f_2(x)|; 1 if there is no pair.
    """
    images = pair(case)
    if images is None:
        return 1.0
    first, second = images
    before = felt(case.network, first, second, case.x)
    after = felt(case.network, first.scaled(case.s), second.scaled(case.s), case.s * case.x)
    return after / before


def inside_residual(case: Case) -> float:
    """The same for a bump inside the window.

    Returns:
        What G sees of it after magnification, relative to the bump.
    """
    tap = felt_taps(case.network)[-1]
    first = Scene(case.ground)
    second = Scene(case.ground, Bump(case.x - tap / case.s, 0.1))
    return felt(case.network, first.scaled(case.s), second.scaled(case.s), case.s * case.x)


CLAIM = Claim(
    id="P10",
    title="receptive field",
    statement="Magnified by s, a unit sees a window of radius R / s of the original. If G sees "
    "beyond it, two images that differ outside it only get the same features, though not before.",
    formula="G f_1(x) != G f_2(x)  and  G T_s f_1(s x) = G T_s f_2(s x)",
    assumptions=(
        "G semi-local with radius R",
        "G sees beyond R / abs(s); it does if s > 1 and R > 0 is exact",
        "the images are closed under the scaling",
    ),
    sources=(Source(ICPR), Source(COMPANION, "receptive fields under scaling")),
    proof=__doc__,
    formal=Formal(theorem="p10_receptive_field.P10_receptive_field"),
    settings=(
        Setting(
            name="continuum",
            cases=cases((2, 1.5, 3, 1.25, 4)),
            residual=residual,
            tolerance=1e-12,
            why="the bump is exactly 0 in the window; positions round in the last place",
            control=Control(
                statement="a difference inside the window is invisible as well",
                residual=inside_residual,
            ),
        ),
    ),
)
