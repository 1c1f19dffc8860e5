"""P9. What no warp can beat, whether or not it depends on the image.

Statement. A spatial warp only rearranges feature vectors. With bilinear sampling, if (G f)(x, .)
lies at distance d from the convex hull of the four corners of every cell of G T_h f (with zero
padding: of that map surrounded by zeros), then the residual at x is at least d, whatever the warp
is. There are images with d > 0: a single oriented edge, for a bank that lacks its rotated copy or
has it in another channel.

Proof. Bilinear sampling at a point of a cell with fractional coordinates u, v gives the corners
the weights (1 - u)(1 - v), u (1 - v), (1 - u) v and u v. They are not negative and add up to 1, so
the sampled vector lies in the convex hull of the corners. Beyond the map the sample is 0, and next
to its outermost pixels a mixture with zeros: the cells of the map with a ring of zeros around it
cover these. So the sample at x lies in one of finitely many hulls, and its distance to (G f)(x, .)
is at least the smallest distance to any hull. Nothing was assumed about where x is sent, so the
bound holds for warps that depend on the image, tear it, or fold it.

Existence. Let the bank be the horizontal derivative in channel 1 and the vertical one in channel 2,
f a vertical edge, h a quarter turn. Then (G f)(x, .) = (e, 0) on the edge, with e != 0. T_h f is a
horizontal edge: every feature vector of it has the form (0, t) (away from the edge's ends), and so
has every mixture. The distance from (e, 0) is at least e. If the bank has only the first channel,
the vectors offered are 0 and the distance is e as well. QED

The bound is the engine's own (`invariance_probe.certificates.any_warp`), of the map with a ring of
zeros around it. Thousands of warps, affine, smooth and torn, and an exhaustive search over sampling
positions, all read by torch with zero padding, try to beat it.
"""

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from jaxtyping import Float64
from torch import Tensor
from torch.nn import functional

from invariance_probe.certificates.any_warp import any_warp_bound
from proofs.claim import COMPANION, ICPR, Claim, Control, Formal, Kind, Setting, Source
from proofs.draws.lattice import kernel_tensors, pixel_images, symmetries
from proofs.worlds.lattice import QUARTER_TURNS, Conv, LatticeNetwork, Relu, Symmetry, symmetrised

SIDE = 7
WARPS = 24
"""Warps drawn for each case, beside the exhaustive search."""

STEPS_PER_PIXEL = 6
"""Sampling positions tried for each pixel and direction by the exhaustive search."""

NOTICEABLE = 0.1
"""An edge counts as a witness if no warp restores it to within this fraction of its features."""


@dataclass(frozen=True)
class Case:
    """A bank, an image, a symmetry of the grid, and the seed of the warps that try.

    Args:
        kernel: (channels, 1, 3, 3).
        relu: whether a ReLU follows.
        image: (1, 1, side, side).
        h: symmetry of the grid.
        seed: of the warps; they are many, so they are not drawn one by one.
    """

    kernel: Tensor
    relu: bool
    image: Tensor
    h: Symmetry
    seed: int


@dataclass(frozen=True)
class EdgeCase:
    """A bank and an oriented edge that makes a quarter turn.

    Args:
        kernel: (channels, 1, 3, 3).
        rotated_copies: whether the bank also has the four turns of each kernel, in other channels.
        column: where the edge runs.
        contrast: height of the step.
    """

    kernel: Tensor
    rotated_copies: bool
    column: int
    contrast: int


@st.composite
def cases(draw: DrawFn) -> Case:
    """Banks, images and symmetries."""
    channels = draw(st.integers(1, 3), "channels")
    return Case(
        draw(kernel_tensors(channels, 1, 3), "kernel"),
        draw(st.booleans(), "ReLU"),
        draw(pixel_images(SIDE, pixels=16), "image"),
        draw(symmetries(), "h"),
        draw(st.integers(0, 9), "seed of the warps"),
    )


edge_cases = st.builds(
    EdgeCase,
    kernel=st.integers(1, 2).flatmap(lambda n: kernel_tensors(n, 1, 3)),
    rotated_copies=st.booleans(),
    column=st.integers(2, SIDE - 3),
    contrast=st.sampled_from([1, 2, -1]),
)


def ringed(maps: Tensor) -> Tensor:
    """A map with zeros around it: clamped to this border, reading is as zero padding has it."""
    return functional.pad(maps, (1, 1, 1, 1))


def bounds(reference: Tensor, offered: Tensor) -> Float64[Tensor, "height width"]:
    """What no bilinear warp of the offered map can beat at each position of the reference."""
    everywhere = torch.ones(1, *reference.shape[1:], dtype=torch.bool)
    return any_warp_bound(reference[None], ringed(offered)[None], everywhere).distance[0].sqrt()


def network(case: Case) -> LatticeNetwork:
    """The extractor of a case."""
    return LatticeNetwork((Conv(case.kernel, padding=1), *([Relu()] if case.relu else [])))


def sampling_grids(seed: int) -> Tensor:
    """Affine, smooth and torn warps.

    Args:
        seed: of the generator.

    Returns:
        (warps, side, side, 2) positions in normalised coordinates.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    third = WARPS // 3
    identity = torch.eye(2, 3, dtype=torch.float64)
    affine = functional.affine_grid(
        identity + 0.6 * normal(third, 2, 3), [third, 1, SIDE, SIDE], align_corners=False
    )
    still = functional.affine_grid(identity[None], [1, 1, SIDE, SIDE], align_corners=False)
    coarse = functional.interpolate(
        normal(third, 2, 3, 3), size=(SIDE, SIDE), mode="bilinear", align_corners=False
    )
    smooth = still + 0.4 * coarse.permute(0, 2, 3, 1)
    torn = 2.4 * torch.rand(third, SIDE, SIDE, 2, generator=generator, dtype=torch.float64) - 1.2
    return torch.cat([affine, smooth, torn])


def residuals_reached(case: Case) -> tuple[Tensor, Tensor, float]:
    """How close warps come, position by position.

    Returns:
        Residuals of every warp, (warps, H, W); of the best sampling position of an exhaustive
        search, (H, W); and the largest feature norm.
    """
    extract = network(case)
    reference, offered = extract(case.image)[0], extract(case.h(case.image))
    grids = sampling_grids(case.seed)
    sampled = functional.grid_sample(
        offered.expand(len(grids), -1, -1, -1), grids, padding_mode="zeros", align_corners=False
    )
    reached = (sampled - reference).norm(dim=1)
    steps = torch.linspace(-1 - 1 / SIDE, 1 + 1 / SIDE, (SIDE + 1) * STEPS_PER_PIXEL + 1)
    y, x = torch.meshgrid(steps.double(), steps.double(), indexing="ij")
    everywhere = functional.grid_sample(
        offered, torch.stack([x, y], -1)[None], padding_mode="zeros", align_corners=False
    )[0].flatten(1)
    distances = torch.cdist(reference.flatten(1).T, everywhere.T)
    best = distances.min(dim=1).values.reshape(SIDE, SIDE)
    return reached, best, max(float(reference.norm(dim=0).max()), 1.0)


def residual(case: Case) -> float:
    """By how much any warp beats the bound.

    Returns:
        The largest excess over positions and warps, relative to the largest feature vector.
    """
    extract = network(case)
    bound = bounds(extract(case.image)[0], extract(case.h(case.image))[0])
    reached, best, scale = residuals_reached(case)
    return max(0.0, float((bound - reached).max()), float((bound - best).max())) / scale


def nearest_vector_residual(case: Case) -> float:
    """By how much a warp beats the distance to the nearest single feature vector.

    Returns:
        The largest excess, relative to the largest feature vector.
    """
    extract = network(case)
    reference, offered = extract(case.image)[0].flatten(1).T, extract(case.h(case.image))[0]
    nearest = torch.cdist(reference, offered.flatten(1).T).min(dim=1).values.reshape(SIDE, SIDE)
    reached, best, scale = residuals_reached(case)
    return max(0.0, float((nearest - reached).max()), float((nearest - best).max())) / scale


def edge(case: EdgeCase) -> Tensor:
    """A step from 0 to the contrast.

    Returns:
        (1, 1, side, side) image, dark left of the column.
    """
    image = torch.zeros(1, 1, SIDE, SIDE, dtype=torch.float64)
    image[..., case.column :] = case.contrast
    return image


def edge_bank(case: EdgeCase) -> Conv:
    """The bank of a case, every kernel of sum 0 so that flat regions are silent."""
    kernel = case.kernel - case.kernel.mean(dim=(-2, -1), keepdim=True)
    if case.rotated_copies:
        kernel = torch.cat([turn(kernel) for turn in QUARTER_TURNS])
    return Conv(kernel, padding=1)


def unrestored(bank: Conv, image: Tensor) -> float:
    """How far the best conceivable warp leaves the middle of the edge from what it was.

    Args:
        bank: one layer.
        image: the edge.

    Returns:
        Largest bound on the middle row, relative to the largest feature vector; 0 if silent.
    """
    reference, offered = bank(image)[0], bank(QUARTER_TURNS[1](image))[0]
    scale = float(reference.norm(dim=0).max())
    middle = bounds(reference[:, SIDE // 2 : SIDE // 2 + 1], offered)
    return float(middle[0, 1:-1].max()) / scale if scale > 1e-9 else 0.0


def edge_residual(case: EdgeCase) -> float:
    """How far the edge is from being a witness.

    Returns:
        0 if no warp restores it to within `NOTICEABLE`; else what is missing.
    """
    return max(0.0, NOTICEABLE - unrestored(edge_bank(case), edge(case)))


def symmetric_edge_residual(case: EdgeCase) -> float:
    """The same for a bank of 4-fold symmetric kernels."""
    bank = Conv(symmetrised(edge_bank(case).kernel, QUARTER_TURNS), padding=1)
    return max(0.0, NOTICEABLE - unrestored(bank, edge(case)))


CLAIM = Claim(
    id="P9",
    title="any-warp obstruction",
    statement="No bilinear warp, image-dependent or not, comes closer to a feature vector than the "
    "nearest convex hull of four neighbouring ones; a single oriented edge shows that this is far.",
    formula="|(W G T_h f)(x) - (G f)(x)| >= min over cells of dist((G f)(x), conv(corners))",
    assumptions=("bilinear sampling, zeros outside", "h a symmetry of the grid, to be exact"),
    sources=(Source(ICPR), Source(COMPANION, "channel permutation under rotation")),
    proof=__doc__,
    formal=Formal(theorem="p09_any_warp_obstruction.P9_bilinear"),
    settings=(
        Setting(
            name="lattice",
            cases=cases(),
            residual=residual,
            tolerance=1e-7,
            why="cdist: the distance is the root of a rounded square, 1e-8 where it is 0",
            control=Control(
                statement="no warp comes closer than the nearest single feature vector",
                residual=nearest_vector_residual,
            ),
            share=0.5,
        ),
        Setting(
            name="lattice, one edge",
            kind=Kind.THERE_EXISTS,
            cases=edge_cases,
            residual=edge_residual,
            tolerance=0.0,
            why="the bound itself, with a threshold far above rounding",
            control=Control(
                statement="there is such an edge for a bank of 4-fold symmetric kernels",
                residual=symmetric_edge_residual,
                refuted_above=0.0,
            ),
        ),
    ),
)
