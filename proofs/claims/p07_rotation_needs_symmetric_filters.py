"""P7. A rotation or reflection is met exactly by the filters that are symmetric under it.

Statement. Let h be a rotation or reflection. A filter meets l(h y) = l(y) (P5 with the origin at
the common centre) if and only if it is symmetric under the whole group that h generates. For a
rotation by 360 p / q degrees, p / q in lowest terms, that is q-fold symmetry (4-fold for 90
degrees); for an angle that is no rational part of a full turn, isotropy; for a reflection, mirror
symmetry.

Proof. det h is 1 or -1, so the criterion is l(h y) = l(y). Iterating it, l(h^n y) = l(y) for all
integers n: symmetry under the generated group; the converse is the case n = 1. A rotation by 360 p
/ q degrees generates the q rotations by multiples of 360 / q, because p has an inverse modulo q.
If the angle is an irrational part of a turn, the multiples n t are dense among all angles: among
the first N + 1 two differ by less than 360 / N degrees, and their difference steps through all
angles with that stride. Turning an integrable l by a small angle changes it little in L1 (true for
continuous functions of compact support, which are dense), so l turned by any angle equals l almost
everywhere: l is isotropic. A reflection generates itself and the identity. QED

Numbers for it. Let U l = l(h .), of order q, and P l = (l + U l + ... + U^(q-1) l) / q, the
symmetric part. As U keeps the norm, |l - U^k l| <= k |l - U l|, so |l - P l| <= (q - 1) / 2 |l - U
l|; and l - U l = (1 - U)(l - P l), so |l - U l| <= 2 |l - P l|. The defect and the asymmetric part
vanish together. The check tests the zero on symmetric filters and both bounds on generic ones.
"""

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from torch import Tensor

from proofs.claim import COMPANION, ICPR, Claim, Control, Formal, Setting, Source
from proofs.draws.gaussians import gaussian_sums
from proofs.draws.lattice import kernel_tensors, pixel_images, symmetries
from proofs.worlds import defects, plane_maps
from proofs.worlds.gaussians import GaussianSum, total, warped_back
from proofs.worlds.lattice import (
    QUARTER_TURNS,
    SYMMETRIES,
    Conv,
    Symmetry,
    relative_gap,
    symmetrised,
)
from proofs.worlds.plane_maps import Matrix

SIDE = 9
ANGLES = {90: 4, 180: 2, 120: 3, 60: 6, 72: 5, 144: 5, 45: 8}
"""Degrees of a turn, and the order of the group it generates."""

GENERIC_ANGLES = (np.degrees(1.0), np.degrees(np.sqrt(2)), 360 / np.sqrt(3))
"""Irrational parts of a full turn."""


@dataclass(frozen=True)
class ContinuumCase:
    """A filter, a map of finite order, and whether the filter is to be made symmetric.

    Args:
        filter: as drawn.
        h: rotation or reflection.
        order: of the group it generates.
    """

    filter: GaussianSum
    h: Matrix
    order: int


@dataclass(frozen=True)
class GenericCase:
    """A filter and a rotation by an irrational part of a turn.

    Args:
        filter: isotropic or not.
        h: rotation.
        isotropic: whether the filter is.
    """

    filter: GaussianSum
    h: Matrix
    isotropic: bool


@dataclass(frozen=True)
class LatticeCase:
    """A kernel, an image and a symmetry of the grid."""

    kernel: Tensor
    image: Tensor
    h: Symmetry


def finite_maps() -> st.SearchStrategy[tuple[Matrix, int]]:
    """Rotations and reflections with the order of the group they generate."""
    turns = st.sampled_from(sorted(ANGLES, key=lambda a: (a != 90, a))).map(
        lambda degrees: (plane_maps.rotation(degrees), ANGLES[degrees])
    )
    return turns | st.sampled_from([0, 45, 30]).map(lambda a: (plane_maps.reflection(a), 2))


continuum_cases = st.builds(
    lambda filter_, turn: ContinuumCase(filter_, *turn), gaussian_sums(), finite_maps()
)
lattice_cases = st.builds(
    LatticeCase, kernel=kernel_tensors(1, 1, 3), image=pixel_images(SIDE), h=symmetries()
)


@st.composite
def generic_cases(draw: DrawFn) -> GenericCase:
    """Isotropic filters, and filters of many-fold but finite symmetry."""
    h = plane_maps.rotation(draw(st.sampled_from(GENERIC_ANGLES), "degrees"))
    if draw(st.booleans(), "isotropic"):
        return GenericCase(draw(gaussian_sums(isotropic=True), "filter"), h, True)
    fold = draw(st.sampled_from([4, 2, 3, 1]), "fold")
    centre = np.array([1.5, 0.0])
    one = draw(gaussian_sums(1, isotropic=True), "blob").shifted(centre)
    return GenericCase(total([one.moved(g) for g in plane_maps.cyclic_group(fold)]), h, False)


def symmetric_part(filter_: GaussianSum, h: Matrix, order: int) -> GaussianSum:
    """The mean of a filter over the group that h generates.

    Args:
        filter_: l.
        h: map of that order.
        order: of the group.

    Returns:
        P l.
    """
    orbit = [filter_]
    for _ in range(order - 1):
        orbit.append(warped_back(orbit[-1], h))
    return 1 / order * total(orbit)


def symmetric_kernel(kernel: Tensor, h: Symmetry) -> Tensor:
    """The sum of a kernel over the group that a symmetry of the grid generates."""
    orbit = [kernel]
    while not torch.equal(seen := h(orbit[-1]), kernel):
        orbit.append(seen)
    return torch.stack(orbit).sum(0)


def bounds(filter_: GaussianSum, h: Matrix, order: int) -> tuple[float, float, float]:
    """The asymmetric part against the defect, both relative to the filter.

    Args:
        filter_: l.
        h: map of that order.
        order: of the group.

    Returns:
        |l - U l|, and what it must lie between: 2 / (q - 1) |l - P l| and 2 |l - P l|.
    """
    asymmetric = filter_ - symmetric_part(filter_, h, order)
    size = asymmetric.merged().norm() / filter_.norm()
    return defects.defect(filter_, h), 2 / (order - 1) * size, 2 * size


def continuum_residual(case: ContinuumCase) -> float:
    """The symmetric part meets the criterion; the whole filter misses it within both bounds.

    Returns:
        The larger of the symmetric part's defect and the amount by which a bound is broken.
    """
    symmetric = symmetric_part(case.filter, case.h, case.order)
    met = defects.pointwise_defect(symmetric, case.h) if len(symmetric.amplitudes) else 0.0
    missed, low, high = bounds(case.filter, case.h, case.order)
    if missed < 1e-6 and high < 1e-6:  # symmetric as drawn: both norms are the root of rounding
        return met
    return max(met, low - missed, missed - high)


def generic_residual(case: GenericCase) -> float:
    """Isotropic filters meet the criterion; others miss it by what many steps force.

    Returns:
        The defect of an isotropic filter; for others the shortfall against the bound of
        `defects.orbit_bound`, and 1 if that bound vanishes.
    """
    if case.isotropic:
        return defects.pointwise_defect(case.filter, case.h)
    bound = defects.orbit_bound(case.filter, case.h)
    return 1.0 if bound < 1e-3 else max(0.0, bound - defects.defect(case.filter, case.h))


def lattice_residual(case: LatticeCase) -> float:
    """A kernel made symmetric under h aligns; the drawn one aligns only if it is symmetric.

    Returns:
        Relative misalignment of the symmetric kernel; 1 if the drawn kernel's misalignment of one
        white pixel vanishes without symmetry, or does not with it.
    """
    conv = Conv(symmetric_kernel(case.kernel, case.h), padding=1)
    met = relative_gap(case.h.inverse()(conv(case.h(case.image))), conv(case.image))
    drawn = Conv(case.kernel, padding=1)
    pixel = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    pixel[..., 2, 2] = 1
    aligned = torch.equal(case.h.inverse()(drawn(case.h(pixel))), drawn(pixel))
    symmetric = torch.equal(case.h(case.kernel), case.kernel)
    return max(met, float(aligned != symmetric))


def generic_filter_residual(case: ContinuumCase) -> float:
    """What would vanish if any filter met the criterion.

    Returns:
        Relative defect of the drawn filter.
    """
    return defects.pointwise_defect(case.filter, case.h)


def fourfold_residual(case: GenericCase) -> float:
    """What would vanish if 4-fold symmetry were enough for a generic angle.

    Returns:
        Relative defect of the filter made 4-fold.
    """
    filter_ = total([case.filter.moved(g) for g in plane_maps.cyclic_group(4)])
    return defects.pointwise_defect(filter_, case.h)


def half_turn_residual(case: LatticeCase) -> float:
    """What would vanish if symmetry under half a turn were enough for a quarter turn."""
    conv = Conv(symmetrised(case.kernel, QUARTER_TURNS[::2]), padding=1)
    turn = SYMMETRIES[1]
    return relative_gap(turn.inverse()(conv(turn(case.image))), conv(case.image))


CLAIM = Claim(
    id="P7",
    title="rotation needs symmetric filters",
    statement="For a rotation or reflection, the filters that meet P5 are those symmetric under "
    "the group that h generates: 4-fold for 90 degrees, isotropic for a generic angle.",
    formula="2 / (q - 1) |l - P l| <= |l - U l| <= 2 |l - P l|,  P l the mean over the group",
    assumptions=("one linear layer", "origin at the filters' common centre", "l integrable"),
    sources=(Source(ICPR), Source(COMPANION, "rotations and reflections")),
    proof=__doc__,
    formal=Formal(
        theorem="p07_rotation_needs_symmetric_filters.P7_generated_group",
        assumptions=(
            "origin at the filters' common centre, abs(det h) = 1",
            "for the bounds: U linear, of finite order, keeps the norm",
        ),
        missing="That a generic angle's multiples are dense, so that the filter is isotropic.",
    ),
    settings=(
        Setting(
            name="continuum",
            cases=continuum_cases,
            residual=continuum_residual,
            tolerance=1e-10,
            why="closed forms; the bounds are compared as norms, roots of sums that cancel",
            control=Control(
                statement="a generic filter meets the criterion",
                residual=generic_filter_residual,
            ),
        ),
        Setting(
            name="continuum, generic angle",
            cases=generic_cases(),
            residual=generic_residual,
            tolerance=1e-10,
            why="closed forms; the bounds are compared as norms, roots of sums that cancel",
            control=Control(
                statement="4-fold symmetry is enough for every angle",
                residual=fourfold_residual,
            ),
        ),
        Setting(
            name="lattice",
            cases=lattice_cases,
            residual=lattice_residual,
            tolerance=0.0,
            why="integers, so sums are exact",
            control=Control(
                statement="symmetry under half a turn is enough for a quarter turn",
                residual=half_turn_residual,
            ),
        ),
    ),
)
