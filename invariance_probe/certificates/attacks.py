"""Warps of all kinds that try to beat a bound on what any bilinear warp leaves.

Each function draws reading positions, (warp, height, width, 2), normalised, for one pair of maps;
many of them lie beyond the border, where reading is clamped.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Case:
    """A pair of small maps to attack.

    Attributes:
        reference: (1, channel, height, width).
        moved: (1, channel, rows, columns).
        region: (1, height, width).
    """

    reference: Tensor
    moved: Tensor
    region: Tensor


KINDS = ("affine", "projective", "piecewise", "torn", "adversarial")


def read(moved: Tensor, grid: Tensor) -> Tensor:
    """Read a map through many warps with the engine's sampler.

    Args:
        moved: (channel, height, width).
        grid: (warp, rows, columns, 2), normalised.

    Returns:
        (warp, channel, rows, columns).
    """
    maps = moved.expand(len(grid), *moved.shape)
    return F.grid_sample(
        maps, grid.to(moved), mode="bilinear", padding_mode="border", align_corners=False
    )


def left_by(reference: Tensor, moved: Tensor, region: Tensor, grid: Tensor) -> Tensor:
    """Sum what warps leave over the region.

    Args:
        reference: (channel, height, width).
        moved: (channel, height, width).
        region: (height, width).
        grid: (warp, height, width, 2), normalised.

    Returns:
        (warp,), float64, from maps read in their own dtype.
    """
    return ((read(moved, grid) - reference).double().square().sum(1) * region).sum((1, 2))


def draw(kind: str, count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Draw warps that do not look at the maps.

    Args:
        kind: One of `KINDS` but the last.
        count: How many.
        size: Height and width of the reference.
        generator: Source of randomness.

    Returns:
        (warp, height, width, 2), normalised, float64.
    """
    height, width = size

    def uniform(*shape: int) -> Tensor:
        return 2 * torch.rand(*shape, generator=generator, dtype=torch.float64) - 1

    x, y = ((2 * torch.arange(n, dtype=torch.float64) + 1) / n - 1 for n in (width, height))
    points = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], -1)
    points = torch.cat([points, torch.ones_like(points[..., :1])], -1)
    if kind == "torn":
        return 1.3 * uniform(count, height, width, 2)
    matrices = torch.cat([_affine(count, uniform), torch.zeros(count, 1, 3).double()], 1)
    matrices[:, 2, 2] = 1
    if kind == "projective":
        matrices[:, 2, :2] = 0.45 * uniform(count, 2)
    if kind == "piecewise":
        # each position follows one of a few affine pieces, by a random map of the plane
        pieces = 6
        more = torch.stack([_affine(count, uniform) for _ in range(pieces)], 1)
        choice = (uniform(count, pieces, 3) @ points.flatten(0, 1).T).argmax(1)
        chosen = more[torch.arange(count)[:, None], choice]
        return (chosen @ points.flatten(0, 1)[:, :, None])[..., 0].view(count, height, width, 2)
    image = points @ matrices[:, None].mT
    return image[..., :2] / image[..., 2:]


def _affine(count: int, uniform: object) -> Tensor:
    """Turns and stretches by up to 4, either way round, shifted by up to the map's width."""
    assert callable(uniform)
    angles = math.pi * uniform(2, count)
    first, second = (
        torch.stack([torch.stack([a.cos(), -a.sin()], -1), torch.stack([a.sin(), a.cos()], -1)], -2)
        for a in angles
    )
    stretch = torch.diag_embed(4 ** uniform(count, 2))
    return torch.cat([first @ stretch @ second, uniform(count, 2, 1)], -1)


def adversarial(
    reference: Tensor, moved: Tensor, *, steps_per_cell: int = 4, rounds: int = 12
) -> list[Tensor]:
    """Send each position where the reading comes closest to it.

    All positions of a fine grid are tried, then a pattern search narrows down around the best.

    Args:
        reference: (channel, height, width).
        moved: (channel, height, width).
        steps_per_cell: Fineness of the grid.
        rounds: Of the pattern search; each is a warp that improves on the one before.

    Returns:
        The warp of each round, (1, height, width, 2), normalised, float64.
    """
    height, width = reference.shape[1:]
    rows, columns = moved.shape[1:]
    x, y = (
        torch.linspace(0, n - 1, steps_per_cell * (n - 1) + 1, dtype=torch.float64)
        for n in (columns, rows)
    )
    fine = torch.stack([x.expand(len(y), len(x)), y[:, None].expand(len(y), len(x))], -1)
    scale = 2 / torch.tensor([columns, rows], dtype=torch.float64)

    def normalised(index: Tensor) -> Tensor:
        return (index + 0.5) * scale - 1

    offers = read(moved, normalised(fine)[None])[0].flatten(1).T
    wanted = reference.flatten(1).T
    at = fine.flatten(0, 1)[
        torch.cat([torch.cdist(part, offers).argmin(1) for part in torch.split(wanted, 256)])
    ]
    step = 0.5 / steps_per_cell
    sides = torch.tensor([[a, b] for a in (0, -1, 1) for b in (0, -1, 1)], dtype=torch.float64)
    warps = [normalised(at).view(1, height, width, 2)]
    for _ in range(rounds):
        tries = at + step * sides[:, None]
        values = read(moved, normalised(tries)[None])[0]
        left = (values - wanted.T[:, None]).double().square().sum(0)
        at = tries[left.argmin(0), torch.arange(len(at))]
        warps.append(normalised(at).view(1, height, width, 2))
        step *= 0.6
    return warps


def case(
    seed: int,
    channels: int,
    size: tuple[int, int],
    moved_size: tuple[int, int],
    style: str,
    dtype: torch.dtype = torch.float32,
) -> Case:
    """Make a pair of small maps.

    Args:
        seed: Of the random values.
        channels: Number of channels.
        size: Height and width of the reference.
        moved_size: Height and width of the moved map.
        style: ``"noise"``; ``"levels"``, whole numbers, so that corners coincide; ``"related"``,
            the reference a warp of the moved map; ``"offset"``, far from 0; ``"flat"``, a ground of
            one value with little on it, the same in both maps up to rounding.
        dtype: Of the maps.

    Returns:
        The pair, with a random region that may be empty.
    """
    generator = torch.Generator().manual_seed(seed)
    moved = torch.randn(1, channels, *moved_size, generator=generator)
    reference = torch.randn(1, channels, *size, generator=generator)
    if style == "levels":
        moved, reference = moved.round(), reference.round()
    if style == "related":
        grid = draw("affine", 1, size, generator)
        reference = read(moved[0], grid) + 0.01 * reference
    if style == "offset":
        moved, reference = moved + 300, reference + 300
    if style == "flat":
        ground = torch.randn(1, channels, 1, 1, generator=generator)
        drawn = torch.rand(1, 1, *moved_size, generator=generator) < 0.3
        moved = ground + drawn * moved.relu()
        drawn = torch.rand(1, 1, *size, generator=generator) < 0.3
        rounding = torch.finfo(reference.dtype).eps * reference
        reference = ground * (1 + rounding) + drawn * reference.relu()
    region = torch.rand(1, *size, generator=generator) < 0.8
    return Case(reference=reference.to(dtype), moved=moved.to(dtype), region=region)


_SIZES = st.tuples(st.integers(1, 6), st.integers(1, 6))

cases = st.builds(
    case,
    seed=st.integers(0, 10**6),
    channels=st.sampled_from([1, 2, 3, 7]),
    size=_SIZES,
    moved_size=_SIZES,
    style=st.sampled_from(["noise", "levels", "related", "offset", "flat"]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
"""Pairs of small maps of all temperaments."""
