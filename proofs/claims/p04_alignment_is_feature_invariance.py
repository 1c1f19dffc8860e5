"""P4. To be alignable is to commute with the transformation: every channel is itself invariant.

Statement. Let G be translation covariant and separate points, on images closed under shifts and
under h (P3). A warp that does not depend on the image aligns G under h if and only if, up to one
fixed shift b, G T_h = D_b T_h G.

Proof. If G T_h f = D_b T_h G f for all f, put phi(x) = h x + b: (G T_h f)(h x + b) =
(T_h G f)(h x) = (G f)(x), so phi aligns G. Conversely, if some phi aligns G, then by P3
phi(x) = h x + b, so (G T_h f)(h x + b) = (G f)(x) for all x. With y = h x + b, that is
x = h^-1 (y - b): (G T_h f)(y) = (G f)(h^-1 (y - b)) = (D_b T_h G f)(y). QED

T_h acts on the map of each channel separately: what the claim asks is that channel c of T_h f is
the moved channel c of f, with nothing mixed in. A warp that is chosen for each image is a different
matter: it may align a G that does not commute with T_h. Take one channel, l a normalised Gaussian,
and h = 2 I. The map of T_h f, read at h x, is f * k with k of half the width; l is k convolved with
a third normalised Gaussian, so every value of f * l is a weighted mean of values of f * k, and by
continuity f * k takes that value somewhere. What remains of the claim for such warps is P9.

Check. The aligned maps are values at moved points; the commutator is formed from functions, G T_h f
and D_b T_h G f as sums of Gaussians. Both must give the same number for every extractor and, for
extractors of isotropic filters about a common centre c, moved by a rotation or reflection, that
number must be 0 with b = c - h c for one layer, (depth) times that for more.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from proofs.claim import COMPANION, Claim, Control, Formal, Setting, Source
from proofs.draws.gaussians import images, linear_maps, networks, reflections, rotations, vectors
from proofs.worlds import plane_maps
from proofs.worlds.gaussian_networks import Image, Layer, Network, image_moved, probes
from proofs.worlds.plane_maps import Matrix, Vector


@dataclass(frozen=True)
class Case:
    """A network, an image, a linear map and the shift of the warp.

    Args:
        network: the feature extractor.
        image: one channel.
        h: linear map.
        b: shift of the warp.
        covariant: whether the network is built to commute with T_h up to b.
    """

    network: Network
    image: Image
    h: Matrix
    b: Vector
    covariant: bool


@st.composite
def cases(draw: DrawFn) -> Case:
    """Extractors that commute with h, and extractors that need not."""
    image = draw(images(), "image")
    if draw(st.booleans(), "covariant"):
        centred = draw(networks(isotropic=True), "network")
        centre = draw(vectors(1), "centre of every filter")
        h = draw(rotations() | reflections(), "h")
        shift = len(centred.layers) * (centre - h @ centre)
        return Case(recentred(centred, centre), image, h, shift, True)
    return Case(draw(networks()), image, draw(linear_maps()), draw(vectors(1)), False)


def recentred(network: Network, centre: Vector) -> Network:
    """The same network with every filter, centred at the origin, shifted to a new centre."""
    return Network(
        tuple(
            Layer(
                tuple(tuple(f.shifted(centre) for f in row) for row in layer.filters),
                layer.polynomial,
            )
            for layer in network.layers
        )
    )


def moved_maps(maps: Image, h: Matrix, b: Vector) -> Image:
    """D_b T_h of the feature maps."""
    return tuple(m.moved(h).shifted(b) for m in maps)


def deviations(case: Case) -> tuple[float, float]:
    """How far the extractor is from aligned, and from commuting.

    Returns:
        max |(G T_h f)(h x + b) - (G f)(x)| over the values, and max |G T_h f - D_b T_h G f| over
        the functions at h x + b, both relative to what the features could reach.
    """
    x = probes()
    warped = plane_maps.move(case.h, x) + case.b
    moved = image_moved(case.image, case.h)
    scale = max(case.network.magnitude(case.image, x), case.network.magnitude(moved, warped))
    aligned = np.abs(case.network(moved, warped) - case.network(case.image, x)).max()
    commuted = moved_maps(case.network.maps(case.image), case.h, case.b)
    features = case.network.maps(moved)
    commutator = max(
        float(np.abs(m(warped) - n(warped)).max()) for m, n in zip(features, commuted, strict=True)
    )
    return float(aligned) / scale, commutator / scale


def residual(case: Case) -> float:
    """Alignment and commutation must fail by the same amount, or both hold.

    Returns:
        Difference of the two deviations; for an extractor built to commute, their maximum.
    """
    aligned, commutator = deviations(case)
    return max(aligned, commutator) if case.covariant else abs(aligned - commutator)


def always_aligned_residual(case: Case) -> float:
    """What would vanish if the best warp aligned every extractor.

    Returns:
        Relative deviation from alignment.
    """
    return deviations(case)[0]


CLAIM = Claim(
    id="P4",
    title="alignment is feature invariance",
    statement="A warp that does not depend on the image aligns G exactly if G commutes with T_h up "
    "to a fixed shift: every channel is itself invariant.",
    formula="exists phi: (G T_h f)(phi(x)) = (G f)(x) for all f  <=>  exists b: G T_h = D_b T_h G",
    assumptions=(
        "G D_d = D_d G",
        "G separates points",
        "phi does not depend on the image",
        "the images are closed under shifts and h",
    ),
    sources=(Source(COMPANION),),
    proof=__doc__,
    formal=Formal(theorem="p04_alignment_is_feature_invariance.P4_alignment_is_feature_invariance"),
    settings=(
        Setting(
            name="continuum",
            cases=cases(),
            residual=residual,
            tolerance=1e-10,
            why="closed forms; expanding the last polynomial rounds more than evaluating it",
            control=Control(
                statement="the warp h x + b aligns every extractor",
                residual=always_aligned_residual,
            ),
        ),
    ),
)
