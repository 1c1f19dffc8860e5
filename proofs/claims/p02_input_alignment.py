"""P2. Undoing the transformation of the input suffices.

Statement. For any feature extractor G and any invertible h, transforming the input back by h^-1
restores the features: G T_h^-1 T_h f = G f.

Proof. (T_k T_h f)(x) = (T_h f)(k^-1 x) = f(h^-1 k^-1 x) = f((k h)^-1 x), so T_k T_h = T_(k h). With
k = h^-1 this is T_I, which changes nothing: T_h^-1 T_h f = f. Applying G to both sides gives the
claim; nothing about G was used, not even translation covariance. QED

The contrast with the other claims is that here the warp acts where the content has moved and
nothing else has happened to it.
"""

from dataclasses import dataclass

from hypothesis import strategies as st
from torch import Tensor

from proofs.claim import COMPANION, ICPR, Claim, Control, Formal, Setting, Source
from proofs.draws.gaussians import images, linear_maps, networks
from proofs.draws.lattice import cnns, pixel_images, symmetries
from proofs.worlds import plane_maps
from proofs.worlds.gaussian_networks import Image, Network, feature_gap, image_moved, probes
from proofs.worlds.lattice import LatticeNetwork, Symmetry, relative_gap
from proofs.worlds.plane_maps import Matrix

SIDE = 9


@dataclass(frozen=True)
class ContinuumCase:
    """A network, an image and a linear map."""

    network: Network
    image: Image
    h: Matrix


@dataclass(frozen=True)
class LatticeCase:
    """A CNN, an image and a symmetry of the grid."""

    network: LatticeNetwork
    image: Tensor
    h: Symmetry


continuum_cases = st.builds(ContinuumCase, network=networks(), image=images(), h=linear_maps())
lattice_cases = st.builds(
    LatticeCase,
    network=cnns(border="zero", strides=(1, 2)),
    image=pixel_images(SIDE),
    h=symmetries(),
)


def undoing(h: Matrix) -> Matrix:
    """The map that undoes h."""
    return plane_maps.inverse(h)


def undoing_symmetry(h: Symmetry) -> Symmetry:
    """The symmetry of the grid that undoes h."""
    return h.inverse()


def continuum_residual(case: ContinuumCase) -> float:
    """G T_h^-1 T_h f against G f."""
    restored = image_moved(image_moved(case.image, case.h), undoing(case.h))
    return feature_gap(case.network, restored, probes(), case.image, probes())


def lattice_residual(case: LatticeCase) -> float:
    """G T_h^-1 T_h f against G f, pixel by pixel."""
    restored = undoing_symmetry(case.h)(case.h(case.image))
    return relative_gap(case.network(restored), case.network(case.image))


def moved_twice_residual(case: ContinuumCase) -> float:
    """The same with h in place of its inverse."""
    twice = image_moved(image_moved(case.image, case.h), case.h)
    return feature_gap(case.network, twice, probes(), case.image, probes())


def turned_twice_residual(case: LatticeCase) -> float:
    """The same with h in place of its inverse."""
    return relative_gap(case.network(case.h(case.h(case.image))), case.network(case.image))


CLAIM = Claim(
    id="P2",
    title="input alignment suffices",
    statement="Transforming the input back restores the features, for any extractor and any "
    "invertible map.",
    formula="G T_h^-1 T_h f = G f",
    assumptions=("h invertible", "the image is known wherever the network looks"),
    sources=(Source(ICPR), Source(COMPANION, "introduction, image alignment")),
    proof=__doc__,
    formal=Formal(theorem="p02_input_alignment.P2_input_alignment_suffices"),
    settings=(
        Setting(
            name="continuum",
            cases=continuum_cases,
            residual=continuum_residual,
            tolerance=1e-10,
            why="closed forms; h^-1 h S h^T h^-T rounds with the condition number of h, at most 5",
            control=Control(
                statement="h in place of its inverse restores the features",
                residual=moved_twice_residual,
            ),
        ),
        Setting(
            name="lattice",
            cases=lattice_cases,
            residual=lattice_residual,
            tolerance=0.0,
            why="pixels are permuted and permuted back: the input is the same bit for bit",
            control=Control(
                statement="h in place of its inverse restores the features",
                residual=turned_twice_residual,
            ),
        ),
    ),
)
