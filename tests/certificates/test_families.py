"""Families of warps: parameters, the boxes that hold them, and the limits of distortion."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.certificates import problems


@settings(max_examples=30)
@given(family=st.sampled_from(["similarity", "affine"]), seed=st.integers(0, 10**6))
def test_no_warp_of_the_family_is_left_out(family: str, seed: int) -> None:
    """Boxes that hold a warp of the family are kept; shifts beyond the root box change nothing."""
    kind, minorants, *_ = problems.problem(family, seed, (4, 5))
    g = torch.Generator().manual_seed(seed)
    angles = 2 * math.pi * torch.rand(2, 50, generator=g, dtype=torch.float64)
    large, small = 2 ** (2 * torch.rand(2, 50, generator=g, dtype=torch.float64) - 1)
    q, r = (large + small) / 2, (large - small) / 2 * (family == "affine")
    q = torch.where(r.abs() > 0, q, large)
    shift = kind.low[2:4] + (kind.high - kind.low)[2:4] * torch.rand(50, 2, generator=g).double()
    every = [q * angles[0].cos(), q * angles[0].sin(), *shift.unbind(1)]
    every += [r * angles[1].cos(), r * angles[1].sin()]
    warps = torch.stack(every[: kind.count], -1)
    assert bool(((kind.low <= warps) & (warps <= kind.high)).all())
    halves = torch.rand(warps.shape, generator=g, dtype=torch.float64)
    away = halves * (2 * torch.rand(warps.shape, generator=g, dtype=torch.float64) - 1)
    assert bool(kind.meets(warps + away, halves).all())
    assert not bool(kind.meets(0 * warps, 0.1 * torch.ones_like(warps)).any())
    far = warps.clone()
    far[:, 2] = torch.where(angles[0] < math.pi, kind.high[2], kind.low[2])
    farther = far.clone()
    farther[:, 2] += torch.where(angles[0] < math.pi, 5.0, -5.0)
    torch.testing.assert_close(minorants.at(far).error, minorants.at(farther).error)


@given(family=st.sampled_from(["similarity", "affine"]), seed=st.integers(0, 10**6))
def test_confined_warps_are_within_the_limits(family: str, seed: int) -> None:
    """Singular values of L end within [1/2, 2]; what is inside, and every shift, stays as it is."""
    kind, *_ = problems.problem(family, seed, (4, 5))
    g = torch.Generator().manual_seed(seed)
    warps = 2 * torch.randn(40, kind.count, generator=g, dtype=torch.float64)
    confined, outside = kind.confine(warps)
    values = torch.linalg.svdvals(kind.linear(confined))
    assert bool((values <= 2 * (1 + 1e-5)).all() & (values >= 0.5 * (1 - 1e-5)).all())
    assert int(outside.sum()) > 0
    torch.testing.assert_close(confined[~outside], warps[~outside])
    torch.testing.assert_close(confined[:, 2:4], warps[:, 2:4])


@given(family=st.sampled_from(["similarity", "affine"]), seed=st.integers(0, 10**6))
def test_boxes_read_within_their_rectangles(family: str, seed: int) -> None:
    """Warps of a box send each position into its rectangle, and some corner to each side."""
    kind, _, _, _, region = problems.problem(family, seed, (4, 5))
    g = torch.Generator().manual_seed(seed)
    centres = torch.randn(3, kind.count, generator=g, dtype=torch.float64)
    halves = torch.rand(3, kind.count, generator=g, dtype=torch.float64)
    middles, sides = kind.rectangles(centres, halves)
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0]).double()] * kind.count)
    warps = centres[:, None] + halves[:, None] * corners
    rows, columns = torch.nonzero(region, as_tuple=True)
    points = torch.stack([columns, rows], -1).double() - kind.middle
    linear = kind.linear(warps.flatten(0, 1)) @ kind.oracle[:2, :2]
    read = (points @ linear.mT).unflatten(0, warps.shape[:2]) + warps[:, :, None, 2:4]
    away = (read.movedim(-1, 0) - middles[:, :, None]).abs().amax(2)
    torch.testing.assert_close(away, sides)
