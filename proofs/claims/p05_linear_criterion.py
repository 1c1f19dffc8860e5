"""P5. Which filters one linear layer may have if a warp is to align it.

Statement. For one linear layer, (G f)(., c) = f * l_c with integrable l_c, the warp
phi(x) = h x + b aligns G under h if and only if, for every channel c and almost every y,

    abs(det h) l_c(h y + b) = l_c(y).

By P3 there is no other image-independent warp to try. The shift b is common to all channels. It
disappears if the origin is put at a point p with h p + b = p, a common centre of the filters: then
the criterion reads abs(det h) l_c(p + h y) = l_c(p + y), and with p = 0 it has the familiar form
abs(det h) l_c(h y) = l_c(y). A filter that is isotropic about a point other than the origin meets
the first form and not the last. Such a p exists for every nonzero filter that is integrable and of
compact support: substituting y -> h y + b leaves the measure abs(l_c(y)) dy as it is, so its
centroid is a fixed point of that map.

Proof. Substitute z = h^-1 (y - b) in the convolution, dy = abs(det h) dz:

    (G T_h f)(h x + b, c) = int f(x + h^-1 (b - y)) l_c(y) dy
                          = int f(x - z) abs(det h) l_c(h z + b) dz.

So warping back by phi turns the filter l_c into U l_c = abs(det h) l_c(h . + b), whatever f is. If
U l_c = l_c, this is (G f)(x, c). Conversely, let d = U l_c - l_c and take the image
f(y) = g(-y) for any bounded continuous g: the misalignment at x = 0 is int g d. If it vanishes for
every such g, then d = 0 almost everywhere. For square integrable filters g = d itself will do: the
misalignment at the origin is the integral of d^2. QED

On the lattice the same substitution, with h a symmetry of the grid, has sums for integrals. The
image of one white pixel shows the difference of the two kernels.
"""

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from torch import Tensor

from proofs.claim import COMPANION, ICPR, Claim, Control, Formal, Setting, Source
from proofs.draws.gaussians import (
    gaussian_sums,
    images,
    linear_maps,
    reflections,
    rotations,
    vectors,
)
from proofs.draws.lattice import kernel_tensors, pixel_images, symmetries
from proofs.worlds import gaussians, plane_maps
from proofs.worlds.gaussian_networks import Image, Layer, Network, image_moved, probes
from proofs.worlds.gaussians import GaussianSum, gaussian
from proofs.worlds.lattice import QUARTER_TURNS, Conv, Symmetry, relative_gap, symmetrised
from proofs.worlds.plane_maps import Matrix, Vector

SIDE = 9


@dataclass(frozen=True)
class ContinuumCase:
    """One filter, an image, and the warp h x + b.

    Args:
        filter: l.
        image: one channel.
        h: linear map.
        b: shift of the warp.
        meets: whether the filter is built to meet the criterion.
    """

    filter: GaussianSum
    image: Image
    h: Matrix
    b: Vector
    meets: bool


@dataclass(frozen=True)
class LatticeCase:
    """A kernel, an image and a symmetry of the grid."""

    kernel: Tensor
    image: Tensor
    h: Symmetry


@st.composite
def continuum_cases(draw: DrawFn) -> ContinuumCase:
    """Filters that meet the criterion, and filters that need not."""
    image = draw(images(), "image")
    if draw(st.booleans(), "meets the criterion"):
        centre = draw(vectors(1), "centre")
        h = draw(rotations() | reflections(), "h")
        filter_ = draw(gaussian_sums(isotropic=True), "filter").shifted(centre)
        return ContinuumCase(filter_, image, h, centre - h @ centre, True)
    h, b = draw(linear_maps(), "h"), draw(vectors(1), "b")
    return ContinuumCase(draw(gaussian_sums(), "filter"), image, h, b, False)


@st.composite
def off_by_one_cases(draw: DrawFn) -> ContinuumCase:
    """Isotropic filters with one small Gaussian too many, away from their centre."""
    isotropic = draw(gaussian_sums(isotropic=True), "isotropic filter")
    filter_ = isotropic + gaussian(0.25, (1.0, 0.0), 0.25)
    h = plane_maps.rotation(90)
    return ContinuumCase(filter_, draw(images(), "image"), h, np.zeros(2), True)


@st.composite
def lattice_cases(draw: DrawFn) -> LatticeCase:
    """Kernels with and without the symmetry."""
    kernel = draw(kernel_tensors(2, 1, 3), "kernel")
    if draw(st.booleans(), "symmetric"):
        kernel = symmetrised(kernel, QUARTER_TURNS)
    return LatticeCase(kernel, draw(pixel_images(SIDE), "image"), draw(symmetries(), "h"))


def seen_filter(filter_: GaussianSum, h: Matrix, b: Vector) -> GaussianSum:
    """U l = abs(det h) l(h . + b), the filter that the layer seems to have after the warp."""
    return gaussians.warped_back(filter_, h, b)


def seen_kernel(kernel: Tensor, h: Symmetry) -> Tensor:
    """The kernel moved by h^-1, which the layer seems to have after the warp."""
    return h.inverse()(kernel)


def layer(filter_: GaussianSum) -> Network:
    """One linear layer of one channel, f -> f * l."""
    return Network((Layer(((filter_,),)),))


def misalignment(filter_: GaussianSum, image: Image, h: Matrix, b: Vector) -> tuple[float, float]:
    """How far the warp h x + b is from aligning the layer.

    Args:
        filter_: l.
        image: one channel.
        h: linear map.
        b: shift of the warp.

    Returns:
        The largest misalignment over probed points, and the scale of rounding there.
    """
    x = probes()
    warped = plane_maps.move(h, x) + b
    moved = image_moved(image, h)
    network = layer(filter_)
    gap = np.abs(network(moved, warped) - network(image, x)).max()
    scale = max(network.magnitude(moved, warped), network.magnitude(image, x))
    return float(gap), scale


def continuum_residual(case: ContinuumCase) -> float:
    """The warp must act on the filter as claimed, in both directions of the claim.

    Returns:
        The largest of: the warped map against the map of U l; the misalignment, if the filter meets
        the criterion; and the misalignment of the image (U l - l)(-y) at the origin against the
        integral of (U l - l)^2.
    """
    seen = seen_filter(case.filter, case.h, case.b)
    x = probes()
    moved = image_moved(case.image, case.h)
    warped = layer(case.filter)(moved, plane_maps.move(case.h, x) + case.b)
    gap, scale = misalignment(case.filter, case.image, case.h, case.b)
    substitution = float(np.abs(warped - layer(seen)(case.image, x)).max()) / scale
    d = seen - case.filter
    matched = (d.moved(-np.eye(2)),)
    origin = np.zeros((1, 2))
    network = layer(case.filter)
    shown = network(image_moved(matched, case.h), case.b[None]) - network(matched, origin)
    norms = seen.absolute().inner(seen.absolute()) + case.filter.absolute().inner(
        case.filter.absolute()
    )
    necessity = abs(float(shown[0, 0]) - d.inner(d)) / norms
    return max(substitution, necessity, gap / scale if case.meets else 0.0)


def lattice_residual(case: LatticeCase) -> float:
    """The same on the grid, and one white pixel that shows the difference of the kernels.

    Returns:
        The larger of the two relative gaps.
    """
    conv, seen = Conv(case.kernel, padding=1), Conv(seen_kernel(case.kernel, case.h), padding=1)
    warped = case.h.inverse()(conv(case.h(case.image)))
    pixel = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    pixel[..., 2, 2] = 1
    shown = case.h.inverse()(conv(case.h(pixel))) - conv(pixel)
    difference = (seen_kernel(case.kernel, case.h) - case.kernel).rot90(2, (-2, -1))
    return max(
        relative_gap(warped, seen(case.image)),
        relative_gap(shown[0, :, 1:4, 1:4], difference[:, 0]),
    )


def aligned_residual(case: ContinuumCase) -> float:
    """What would vanish if the warp aligned the layer."""
    gap, scale = misalignment(case.filter, case.image, case.h, case.b)
    return gap / scale


def off_by_one_residual(case: LatticeCase) -> float:
    """What would vanish if a symmetric kernel with one entry changed were still alignable."""
    kernel = symmetrised(case.kernel, QUARTER_TURNS)
    kernel[..., 0, 0] += 1
    conv = Conv(kernel, padding=1)
    turn = QUARTER_TURNS[1]
    return relative_gap(turn.inverse()(conv(turn(case.image))), conv(case.image))


CLAIM = Claim(
    id="P5",
    title="linear criterion",
    statement="The warp h x + b aligns one linear layer exactly if each filter equals itself "
    "warped by it, times abs(det h).",
    formula="(f -> f * l_c) alignable by h x + b  <=>  abs(det h) l_c(h y + b) = l_c(y) for a.e. y",
    assumptions=("one linear layer", "integrable filters", "the warp does not depend on the image"),
    sources=(Source(ICPR), Source(COMPANION)),
    proof=__doc__,
    formal=Formal(
        theorem="p05_linear_criterion.P5_linear_criterion",
        assumptions=(
            "one linear layer",
            "continuous filters of bounded support, continuous images",
            "an integral with the substitution rule for h, differences and definiteness; proven "
            "for the line",
            "h and its inverse continuous, the inverse bounded",
        ),
        missing="Integrable filters and 'almost every' need Lebesgue's integral; on R^2 the "
        "substitution rule for all of GL(2) needs Fubini's theorem. Neither is in Coquelicot.",
    ),
    settings=(
        Setting(
            name="continuum",
            cases=continuum_cases(),
            residual=continuum_residual,
            tolerance=1e-12,
            why="closed forms: rounding of the exponents",
            control=Control(
                statement="an isotropic filter with one Gaussian too many is still alignable",
                residual=aligned_residual,
                cases=off_by_one_cases(),
            ),
        ),
        Setting(
            name="lattice",
            cases=lattice_cases(),
            residual=lattice_residual,
            tolerance=1e-12,
            why="integers, so sums are exact",
            control=Control(
                statement="a symmetric kernel with one entry off by one is still alignable",
                residual=off_by_one_residual,
            ),
        ),
    ),
)
