"""P1. Convolutional networks commute with shifts.

Statement. Convolution, pointwise nonlinearity and stride-1 pooling, and their compositions, commute
with every shift: G D_d = D_d G.

Proof. Let D_d f(x) = f(x - d).

Convolution. ((D_d f) * l)(x) is the integral of f(x - y - d) l(y) over y, which is (f * l) read at
x - d.

Pointwise nonlinearity. A function s applied to the value at each point does not know where the
point is: s((D_d f)(x)) = s(f(x - d)) = (s f)(x - d). Batch normalisation in eval mode and a bias
are of this kind.

Pooling at stride 1. The maximum (or mean) of D_d f over the window x + B is that of f over
x - d + B, which is the pooled map of f read at x - d.

Composition. If G D_d = D_d G and H D_d = D_d H, then H G D_d = H D_d G = D_d H G. By induction the
claim holds for a stack of any number of such layers. On the lattice the same lines hold with
sums for integrals and whole-pixel d, provided that the border does not break them: the plane there
is a torus (circular padding). Zero padding is the negative control. QED
"""

from dataclasses import dataclass

from hypothesis import strategies as st
from torch import Tensor

from proofs.claim import COMPANION, ICPR, Claim, Control, Formal, Setting, Source
from proofs.draws.gaussians import images, networks, vectors
from proofs.draws.lattice import cnns, pixel_images, shifts
from proofs.worlds.gaussian_networks import Image, Network, feature_gap, image_shifted, probes
from proofs.worlds.gaussians import gaussian
from proofs.worlds.lattice import LatticeNetwork, relative_gap, shifted
from proofs.worlds.plane_maps import Points, Vector

SIDE = 9


@dataclass(frozen=True)
class ContinuumCase:
    """A network, an image and a shift on the plane."""

    network: Network
    image: Image
    d: Vector


@dataclass(frozen=True)
class LatticeCase:
    """A CNN, an image and a whole-pixel shift."""

    network: LatticeNetwork
    image: Tensor
    right: int
    down: int


continuum_cases = st.builds(
    ContinuumCase,
    network=networks(),
    image=images(),
    d=vectors().filter(lambda d: bool(d.any())),
)


def lattice_cases(*, circular: bool) -> st.SearchStrategy[LatticeCase]:
    """CNNs with sparse images and shifts.

    Args:
        circular: whether the plane is a torus; otherwise zeros are padded.

    Returns:
        Strategy of cases.
    """
    return st.builds(
        lambda network, image, d: LatticeCase(network, image, *d),
        cnns(border="circular" if circular else "zero"),
        pixel_images(SIDE),
        shifts(),
    )


def position_in_unshifted(x: Points, d: Vector) -> Points:
    """Where the features of f show what those of D_d f show at x: x - d."""
    there: Points = x - d
    return there


def map_shift(right: int, down: int) -> tuple[int, int]:
    """How far the maps move when the image moves by whole pixels: as far."""
    return right, down


def continuum_residual(case: ContinuumCase) -> float:
    """G D_d f against D_d G f."""
    x = probes()
    there = position_in_unshifted(x, case.d)
    return feature_gap(case.network, image_shifted(case.image, case.d), x, case.image, there)


def lattice_residual(case: LatticeCase) -> float:
    """G D_d f against D_d G f, pixel by pixel."""
    moved = case.network(shifted(case.image, case.right, case.down))
    return relative_gap(moved, shifted(case.network(case.image), *map_shift(case.right, case.down)))


def windowed_residual(case: ContinuumCase) -> float:
    """The same for an image seen through a window that stays where it is."""
    window = gaussian(covariance=4.0)
    x = probes()
    seen = tuple(f.multiplied(window) for f in image_shifted(case.image, case.d))
    unshifted = tuple(f.multiplied(window) for f in case.image)
    return feature_gap(case.network, seen, x, unshifted, position_in_unshifted(x, case.d))


CLAIM = Claim(
    id="P1",
    title="translation covariance",
    statement="Convolution, pointwise nonlinearity and stride-1 pooling, and their compositions, "
    "commute with shifts.",
    formula="G D_d = D_d G",
    assumptions=("stride 1", "no border: the plane, or circular padding"),
    sources=(Source(ICPR), Source(COMPANION, "translation covariant feature extractors")),
    proof=__doc__,
    formal=Formal(theorem="p01_translation_covariance.P1_translation_covariance"),
    settings=(
        Setting(
            name="continuum",
            cases=continuum_cases,
            residual=continuum_residual,
            tolerance=1e-12,
            why="closed forms: rounding of the exponents, some 100 units in the last place",
            control=Control(
                statement="covariant even if a fixed window multiplies the image first",
                residual=windowed_residual,
            ),
        ),
        Setting(
            name="lattice",
            cases=lattice_cases(circular=True),
            residual=lattice_residual,
            tolerance=1e-12,
            why="integers are exact; means and normalisation round in the last place",
            control=Control(
                statement="covariant even if the border is padded with zeros",
                residual=lattice_residual,
                cases=lattice_cases(circular=False),
            ),
        ),
    ),
)
