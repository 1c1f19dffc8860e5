"""P8. Where the filter bank is closed under a group, a warp leaves the channels permuted.

Statement. Let a finite group of linear maps act on the channels of a layer so that
l_(g c)(y) = l_c(g^-1 y). Then for every h in the group

    (G T_h f)(h x, c) = (G f)(x, h^-1 c).

Warping back by h leaves channel c where h^-1 c should be. The warp and that permutation together
align exactly; the warp alone does so only if l_c = l_(h^-1 c) for all c. (For an infinite group
with maps that change areas, such as scalings, the bank must be closed in the form
l_(g c)(y) = l_c(g^-1 y) / abs(det g). A finite group has determinants 1 and -1 only.)

Proof. By the substitution in P5, (G T_h f)(h x, c) = int f(x - z) abs(det h) l_c(h z) dz. By
closure with g = h^-1, l_c(h z) = l_(h^-1 c)(z), and abs(det h) = 1. The integral is (f * l_(h^-1
c))(x). A pointwise nonlinearity is the same for all channels and keeps the equation. The warp
alone aligns if f * l_(h^-1 c) = f * l_c for all f, which by the last step of P5 means l_(h^-1 c) =
l_c. QED

Check. The bank is the orbit of one or two drawn filters under a cyclic group, also one conjugated
by a linear map, so that it consists of skewed rotations. The claimed permutation must align; and a
permutation *recovered* from the feature values alone, the assignment of channels of least cost,
must align as well, and be the claimed one where it is unique.
"""

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from jaxtyping import Float64
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from proofs.claim import COMPANION, ICPR, Claim, Control, Formal, Setting, Source
from proofs.draws.gaussians import gaussian_sums, images, polynomials
from proofs.draws.lattice import kernel_tensors, pixel_images
from proofs.worlds import plane_maps
from proofs.worlds.gaussian_networks import Image, Layer, Network, image_moved, probes
from proofs.worlds.gaussians import GaussianSum
from proofs.worlds.lattice import QUARTER_TURNS, Conv, LatticeNetwork, Pool, Relu
from proofs.worlds.plane_maps import Matrix

SIDE = 9
DISTINCT = 1e-6
"""Channels whose features differ by more than this fraction are told apart."""

Features = Float64[np.ndarray, "values channels"]


@dataclass(frozen=True)
class ContinuumCase:
    """Filters whose orbits are the bank, an image, and an element of the group.

    Args:
        generators: one filter for each orbit.
        image: one channel.
        order: of the cyclic group.
        power: h is the generator to this power.
        frame: conjugates the group; the identity for rotations.
        polynomial: pointwise nonlinearity.
    """

    generators: tuple[GaussianSum, ...]
    image: Image
    order: int
    power: int
    frame: Matrix
    polynomial: tuple[float, ...]

    @property
    def group(self) -> list[Matrix]:
        """The maps, the identity first."""
        back = plane_maps.inverse(self.frame)
        return [self.frame @ g @ back for g in plane_maps.cyclic_group(self.order)]


@dataclass(frozen=True)
class LatticeCase:
    """Kernels whose four turns are the bank, an image, and a number of quarter turns."""

    kernel: Tensor
    image: Tensor
    turns: int
    pooling: bool


@st.composite
def continuum_cases(draw: DrawFn) -> ContinuumCase:
    """Banks closed under a cyclic group."""
    order = draw(st.sampled_from([4, 2, 3, 6]), "order")
    generators = st.lists(gaussian_sums(), min_size=1, max_size=2).map(tuple)
    frames = [np.eye(2), plane_maps.shear(0.5), np.diag([1.5, 1.0]), plane_maps.shear(-1)]
    return ContinuumCase(
        draw(generators, "generators"),
        draw(images(), "image"),
        order,
        draw(st.integers(1, order - 1), "power"),
        draw(st.sampled_from(frames), "frame"),
        draw(polynomials(), "polynomial"),
    )


lattice_cases = st.builds(
    LatticeCase,
    kernel=st.integers(1, 2).flatmap(lambda n: kernel_tensors(n, 1, 3)),
    image=pixel_images(SIDE),
    turns=st.integers(1, 3),
    pooling=st.booleans(),
)


def channel_shown(element: int, power: int, order: int) -> int:
    """Which channel of an orbit the warped map shows where channel `element` should be.

    Args:
        element: channel c, as a power of the generator.
        power: h, as a power of the generator.
        order: of the group.

    Returns:
        h^-1 c.
    """
    return (element - power) % order


def permutation(orbits: int, power: int, order: int) -> list[int]:
    """The permutation of all channels, orbit by orbit.

    Args:
        orbits: how many.
        power: h, as a power of the generator.
        order: of the group.

    Returns:
        For each channel the one that it shows.
    """
    return [
        orbit * order + channel_shown(element, power, order)
        for orbit in range(orbits)
        for element in range(order)
    ]


def continuum_features(case: ContinuumCase) -> tuple[Features, Features]:
    """The reference features, and those of the moved image warped back.

    Returns:
        Two arrays, points x channels, in units of the largest value possible.
    """
    bank = tuple((l_.moved(g),) for l_ in case.generators for g in case.group)
    network = Network((Layer(bank, case.polynomial),))
    h = case.group[case.power]
    x = probes()
    moved, warped = image_moved(case.image, h), plane_maps.move(h, x)
    scale = max(network.magnitude(case.image, x), network.magnitude(moved, warped))
    return network(case.image, x) / scale, network(moved, warped) / scale


def lattice_features(case: LatticeCase) -> tuple[Features, Features]:
    """The same on the lattice.

    Returns:
        Two arrays, pixels x channels, in units of the largest value.
    """
    bank = [g(kernel) for kernel in case.kernel for g in QUARTER_TURNS]
    conv = Conv(torch.stack(bank), padding=1)
    network = LatticeNetwork((conv, Relu(), *([Pool("max", 3, 1, 1)] if case.pooling else [])))
    turn = QUARTER_TURNS[case.turns]
    maps = [network(case.image), turn.inverse()(network(turn(case.image)))]
    reference, warped = (m[0].flatten(1).numpy().T for m in maps)
    scale = max(np.abs(reference).max(), 1.0)
    return reference / scale, warped / scale


def permuted_residual(reference: Features, warped: Features, shown: list[int]) -> float:
    """The claimed permutation must align, and so must the one recovered from the values.

    Args:
        reference: features of f, n x C.
        warped: features of T_h f warped back, n x C.
        shown: for each channel the one that it should show.

    Returns:
        The larger misalignment; 1 if the recovered permutation is another one although all
        channels can be told apart.
    """
    claimed = float(np.abs(warped - reference[:, shown]).max())
    cost = np.abs(warped[:, :, None] - reference[:, None, :]).max(axis=0)
    found = linear_sum_assignment(cost)[1]
    between = np.abs(reference[:, :, None] - reference[:, None, :]).max(axis=0)
    distinct = (between + np.eye(len(between))).min() > DISTINCT
    differs = float(distinct and found.tolist() != shown)
    return max(claimed, float(cost[np.arange(len(found)), found].max()), differs)


def continuum_residual(case: ContinuumCase) -> float:
    """Warp and permutation against the reference."""
    shown = permutation(len(case.generators), case.power, case.order)
    return permuted_residual(*continuum_features(case), shown)


def lattice_residual(case: LatticeCase) -> float:
    """Warp and permutation against the reference."""
    shown = permutation(len(case.kernel), case.turns, 4)
    return permuted_residual(*lattice_features(case), shown)


def warp_alone_continuum(case: ContinuumCase) -> float:
    """What would vanish if the warp alone aligned."""
    reference, warped = continuum_features(case)
    return float(np.abs(warped - reference).max())


def warp_alone_lattice(case: LatticeCase) -> float:
    """What would vanish if the warp alone aligned."""
    reference, warped = lattice_features(case)
    return float(np.abs(warped - reference).max())


CLAIM = Claim(
    id="P8",
    title="channel shift",
    statement="If the filter bank is closed under a group, warping back leaves the channels "
    "permuted; the warp and that permutation align exactly, the warp alone does not.",
    formula="(G T_h f)(h x, c) = (G f)(x, h^-1 c)",
    assumptions=(
        "l_(g c)(y) = l_c(g^-1 y) for a finite group",
        "one nonlinearity for all channels",
    ),
    sources=(Source(ICPR), Source(COMPANION, "rotations and reflections")),
    proof=__doc__,
    formal=Formal(theorem="p08_channel_shift.P8_channel_shift"),
    settings=(
        Setting(
            name="continuum",
            cases=continuum_cases(),
            residual=continuum_residual,
            tolerance=1e-12,
            why="closed forms: rounding of the exponents",
            control=Control(
                statement="the warp alone aligns, without the permutation",
                residual=warp_alone_continuum,
            ),
        ),
        Setting(
            name="lattice",
            cases=lattice_cases,
            residual=lattice_residual,
            tolerance=1e-12,
            why="integers, so sums and maxima are exact",
            control=Control(
                statement="the warp alone aligns, without the permutation",
                residual=warp_alone_lattice,
            ),
        ),
    ),
)
