"""P12. Pooling over the orbit buys alignment and pays with relative orientation.

Statement. Let the bank be closed under a finite group as in P8. The maximum (or the mean) over each
orbit of channels, M, satisfies (M T_h f)(h x) = (M f)(x) for every h of the group: a warp alone
aligns it. The price: let f consist of parts farther apart than the receptive field reaches. Turning
one part about its own centre turns the pooled map around that centre and changes nothing
elsewhere. At the centre, and in everything that does not depend on position (the collection of all
pooled feature vectors, its maximum, mean or histogram), the two images have the same features,
although they differ in the relative orientation of their parts. The features before pooling tell
them apart.

Proof. By P8, the numbers (G T_h f)(h x, c), c in an orbit, are the numbers (G f)(x, h^-1 c), which
are the same numbers in another order, since c -> h^-1 c maps the orbit onto itself. Maximum and
mean do not depend on order. For the price, let f = p + q with p and q farther apart than 2 R, G 0
constant, and let f' = p + T q, where T turns q about its centre by an element of the group. A unit
sees p, or q, or neither. Where it sees p or nothing, M f' = M f. Around q, M f = M q, and by the
first part, with the origin at the centre of q, M T q = T M q. So M f' is M f with its values near
q moved about: the collection of values is the same, and so is the value at the fixed point. QED

As position still tells where each value is, two pooled maps are not equal pixel by pixel; what is
lost is lost to any reader that does not compare positions within the reach of one part.
"""

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from torch import Tensor

from proofs.claim import COMPANION, Claim, Control, Formal, Setting, Source
from proofs.draws.gaussians import gaussian_sums, images, polynomials
from proofs.draws.lattice import kernel_tensors, pixel_images
from proofs.worlds import plane_maps
from proofs.worlds.gaussian_networks import Image, Layer, Network, image_moved, probes
from proofs.worlds.gaussians import GaussianSum
from proofs.worlds.lattice import QUARTER_TURNS, Conv, LatticeNetwork, Relu, Symmetry, relative_gap

SIDE = 9
PART = 5
"""Width of one part."""

APART = 3
"""Empty pixels around each part: the receptive field is 3 x 3, so no unit sees two."""


@dataclass(frozen=True)
class ContinuumCase:
    """A filter whose rotations are the bank, an image, and an element of the group."""

    filter: GaussianSum
    image: Image
    order: int
    power: int
    polynomial: tuple[float, ...]


@dataclass(frozen=True)
class LatticeCase:
    """Kernels whose quarter turns are the bank, an image, and a number of turns."""

    kernel: Tensor
    image: Tensor
    turns: int


@dataclass(frozen=True)
class PartsCase:
    """Kernels, and two parts of an image, the second of which turns."""

    kernel: Tensor
    still: Tensor
    turning: Tensor
    turns: int


@st.composite
def continuum_cases(draw: DrawFn) -> ContinuumCase:
    """Banks closed under a cyclic group."""
    order = draw(st.sampled_from([4, 2, 3, 6]), "order")
    return ContinuumCase(
        draw(gaussian_sums(), "filter"),
        draw(images(), "image"),
        order,
        draw(st.integers(1, order - 1), "power"),
        draw(polynomials(), "polynomial"),
    )


kernels = st.integers(1, 2).flatmap(lambda n: kernel_tensors(n, 1, 3))
lattice_cases = st.builds(
    LatticeCase, kernel=kernels, image=pixel_images(SIDE), turns=st.integers(1, 3)
)
parts_cases = st.builds(
    PartsCase,
    kernel=kernels,
    still=pixel_images(PART),
    turning=pixel_images(PART),
    turns=st.integers(1, 3),
)


def orbit_of_kernels(kernel: Tensor, turns: tuple[Symmetry, ...]) -> Tensor:
    """The bank, orbit after orbit: each of the n kernels in every turn."""
    return torch.stack([g(k) for k in kernel for g in turns])


def pooled(maps: Tensor, order: int) -> Tensor:
    """The maximum over each orbit of channels.

    Args:
        maps: (batch, n * order, height, width).
        order: channels in an orbit.

    Returns:
        (batch, n, height, width).
    """
    batch, channels, height, width = maps.shape
    return maps.reshape(batch, channels // order, order, height, width).amax(dim=2)


def extractor(kernel: Tensor, turns: tuple[Symmetry, ...] = QUARTER_TURNS) -> LatticeNetwork:
    """The layer before pooling: convolution with every turn of the kernels, and ReLU."""
    return LatticeNetwork((Conv(orbit_of_kernels(kernel, turns), padding=1), Relu()))


def pooled_over_orbit(values: np.ndarray, mean: bool) -> np.ndarray:
    """The maximum or the mean over channels.

    Args:
        values: points x channels.
        mean: which.

    Returns:
        One value for each point.
    """
    return np.asarray(values.mean(axis=1) if mean else values.max(axis=1))


def continuum_residual(case: ContinuumCase, *, part_of_orbit: int = 1) -> float:
    """(M T_h f)(h x) against (M f)(x), for the maximum and the mean.

    Args:
        case: drawn case.
        part_of_orbit: pool over every n-th channel only.

    Returns:
        Relative gap.
    """
    group = plane_maps.cyclic_group(case.order)
    network = Network((Layer(tuple((case.filter.moved(g),) for g in group), case.polynomial),))
    h, x = group[case.power], probes()
    moved, warped = image_moved(case.image, h), plane_maps.move(h, x)
    scale = max(network.magnitude(case.image, x), network.magnitude(moved, warped))
    before, after = network(case.image, x), network(moved, warped)
    gaps = [
        np.abs(
            pooled_over_orbit(after[:, ::part_of_orbit], mean)
            - pooled_over_orbit(before[:, ::part_of_orbit], mean)
        ).max()
        for mean in (False, True)
    ]
    return float(max(gaps) / scale)


def first_channel_residual(case: ContinuumCase) -> float:
    """The same for one channel of the orbit."""
    return continuum_residual(case, part_of_orbit=case.order)


def lattice_residual(case: LatticeCase) -> float:
    """(M T_h f)(h x) against (M f)(x), pixel by pixel."""
    turn, network = QUARTER_TURNS[case.turns], extractor(case.kernel)
    after = turn.inverse()(pooled(network(turn(case.image)), 4))
    return relative_gap(after, pooled(network(case.image), 4))


def half_orbit_residual(case: LatticeCase) -> float:
    """The same for a quarter turn with half of the orbit."""
    turn, network = QUARTER_TURNS[1], extractor(case.kernel, QUARTER_TURNS[:2])
    after = turn.inverse()(pooled(network(turn(case.image)), 2))
    return relative_gap(after, pooled(network(case.image), 2))


def scenes(case: PartsCase) -> tuple[Tensor, Tensor]:
    """Two images with the same parts, the second of them turned in one.

    Returns:
        Two (1, 1, height, width) images.
    """
    pad = (APART,) * 4
    still = torch.nn.functional.pad(case.still, pad)
    both = (case.turning, QUARTER_TURNS[case.turns](case.turning))
    first, second = (
        torch.cat([still, torch.nn.functional.pad(part, pad)], dim=-1) for part in both
    )
    return first, second


def collection(maps: Tensor) -> Tensor:
    """The feature vectors of a map, sorted, so that position no longer counts.

    Args:
        maps: (1, channels, height, width).

    Returns:
        (pixels, channels), in lexicographic order.
    """
    rows = maps[0].flatten(1).T.numpy()
    return torch.from_numpy(rows[np.lexsort(rows.T)])


def orientation_residual(case: PartsCase) -> float:
    """The collections of pooled vectors must be the same, and so the value at the part's centre."""
    network = extractor(case.kernel)
    first, second = (pooled(network(image), 4) for image in scenes(case))
    row, column = first.shape[-2] // 2, first.shape[-1] * 3 // 4
    at_centre = relative_gap(first[..., row, column], second[..., row, column])
    return max(relative_gap(collection(first), collection(second)), at_centre)


def unpooled_residual(case: PartsCase) -> float:
    """The same before pooling, up to turning all channels together.

    Returns:
        Relative gap for the best common turn of the channels.
    """
    network = extractor(case.kernel)
    first, second = (network(image) for image in scenes(case))
    orbits = second.reshape(1, -1, 4, *second.shape[-2:])
    turned = [orbits.roll(k, 2).flatten(1, 2) for k in range(4)]
    return min(relative_gap(collection(first), collection(maps)) for maps in turned)


CLAIM = Claim(
    id="P12",
    title="pooling over the orbit",
    statement="The maximum or mean over an orbit of channels is aligned by a warp alone; images "
    "that differ in the relative orientation of their parts get the same collection of features.",
    formula="(M T_h f)(h x) = (M f)(x),  {(M (p + T q))(x)} = {(M (p + q))(x)}",
    assumptions=(
        "the bank is closed under the group (P8)",
        "for the price: parts farther apart than the receptive field, readers blind to position",
    ),
    sources=(Source(COMPANION, "rotation invariant features"),),
    proof=__doc__,
    formal=Formal(
        theorem="p12_pooling_over_the_orbit.P12_pooling_over_the_orbit",
        assumptions=(
            "the bank is closed under the group (P8), which permutes the orbit",
            "for the price: the pooled extractor covariant and semi-local with radius R >= 0, h "
            "keeps distances, parts farther apart than 2 R",
        ),
    ),
    settings=(
        Setting(
            name="continuum",
            cases=continuum_cases(),
            residual=continuum_residual,
            tolerance=1e-12,
            why="closed forms: rounding of the exponents",
            control=Control(
                statement="one channel of the orbit is enough",
                residual=first_channel_residual,
            ),
        ),
        Setting(
            name="lattice",
            cases=lattice_cases,
            residual=lattice_residual,
            tolerance=0.0,
            why="integers, so sums and maxima are exact",
            control=Control(
                statement="half of the orbit is enough",
                residual=half_orbit_residual,
            ),
        ),
        Setting(
            name="lattice, price",
            cases=parts_cases,
            residual=orientation_residual,
            tolerance=0.0,
            why="integers, so sums and maxima are exact",
            control=Control(
                statement="the features before pooling lose the relative orientation as well",
                residual=unpooled_residual,
            ),
        ),
    ),
)
