"""Minorants are nowhere above what warps leave, and come near it as boxes shrink."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from invariance_probe.certificates import families
from invariance_probe.certificates.minorants import Minorants, Quadratic
from tests.certificates import problems


@settings(max_examples=25)
@given(
    family=st.sampled_from(["similarity", "affine"]),
    seed=st.integers(0, 10**6),
    size=st.tuples(st.integers(2, 6), st.integers(2, 6)),
)
def test_no_warp_of_a_box_leaves_less_than_the_boxs_bound(
    family: str, seed: int, size: tuple[int, int]
) -> None:
    """Warps drawn from boxes of all sizes, and boxes' best corners, stay above their bounds."""
    kind, minorants, reference, moved, region = problems.problem(family, seed, size)
    g = torch.Generator().manual_seed(seed)
    boxes, draws = 12, 200
    unit = torch.rand(boxes, kind.count, generator=g, dtype=torch.float64)
    centres = kind.low + (kind.high - kind.low) * unit
    widths = 10 ** (-3 * torch.rand(boxes, 1, generator=g, dtype=torch.float64))
    halves = (kind.high - kind.low) / 2 * widths
    lower = minorants.lower(centres, halves)
    inside = 2 * torch.rand(boxes, draws, kind.count, generator=g, dtype=torch.float64) - 1
    inside[:, ::2] = inside[:, ::2].sign()
    warps = (centres[:, None] + halves[:, None] * inside).flatten(0, 1)
    left = problems.left_by(reference, moved, region, kind.theta(warps)).view(boxes, draws)
    assert bool((lower[:, None] <= left).all()), (lower - left.amin(1)).max()
    # the quadratics behind it are below what is left point by point
    quadratic, x = minorants.quadratic(centres, halves), halves[:, None] * inside
    bent = (x @ quadratic.curvature * x).sum(-1)
    value = quadratic.constant[:, None] + (x @ quadratic.slope[:, :, None])[..., 0] + bent
    assert bool((value <= left + minorants.rounding).all()), (value - left).max()


@pytest.mark.parametrize("twist", [0.0, 1.0, 4.0])
def test_a_twisted_cells_quadratic_is_not_too_steep(twist: float) -> None:
    """Where a cell's twist cancels its slope nothing is left, and nothing is promised."""
    slope = 0.2
    side = torch.tensor([[-1.0, 1.0], [-1.0, 1.0]], dtype=torch.float64)
    saddle = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    moved = (slope / 2 * side + twist / 4 * saddle)[None]
    region = torch.tensor([[True, False], [False, False]])
    kind = families.Family("similarity", problems.IDENTITY, region, (2, 2), 2.0)
    minorants = Minorants(torch.zeros(1, 1, dtype=torch.float64), moved, kind)
    centre = torch.tensor([[1.0, 0.0, 0.5, 0.5]], dtype=torch.float64)
    halves = torch.tensor([[0.0, 0.0, 0.1, 0.1]], dtype=torch.float64)
    quadratic = minorants.quadratic(centre, halves)
    steps = torch.linspace(-0.1, 0.1, 41, dtype=torch.float64)
    x = torch.zeros(41, 41, 4, dtype=torch.float64)
    x[..., 2], x[..., 3] = steps, steps[:, None]
    x = x.flatten(0, 1)
    bent = (x @ quadratic.curvature[0] * x).sum(-1)
    value = quadratic.constant + x @ quadratic.slope[0] + bent
    left = minorants.at(centre + x).error
    assert bool((value <= left + minorants.rounding).all())
    assert float(left.min()) < 1e-12


@pytest.mark.parametrize("family", ["similarity", "affine"])
def test_bounds_close_with_the_square_of_the_boxs_size(family: str) -> None:
    """Small boxes' bounds come within 1 % of what is left; ten times narrower, 5 times closer."""
    kind, minorants, *_ = problems.problem(family, 3, (5, 6))
    g = torch.Generator().manual_seed(0)
    unit = torch.rand(60, kind.count, generator=g, dtype=torch.float64)
    centres = kind.low + (kind.high - kind.low) * unit
    gaps = []
    for width in (1e-2, 1e-3):
        halves = ((kind.high - kind.low) * width / 2).expand_as(centres)
        inside = 2 * torch.rand(60, 300, kind.count, generator=g, dtype=torch.float64) - 1
        warps = (centres[:, None] + halves[:, None] * inside).flatten(0, 1)
        least = minorants.at(warps).error.view(60, 300).amin(1)
        gaps.append(float(((least - minorants.lower(centres, halves)) / least).median()))
    assert gaps[0] < 0.01
    assert gaps[1] < gaps[0] / 5


def test_the_expansion_is_what_warps_leave() -> None:
    """Values are those of reading the maps; slopes are their differences."""
    kind, minorants, reference, moved, region = problems.problem("affine", 5, (5, 4))
    unit = torch.rand(40, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    warps = kind.low + (kind.high - kind.low) * unit
    here = minorants.at(warps)
    torch.testing.assert_close(
        here.error, problems.left_by(reference, moved, region, kind.theta(warps))
    )
    torch.testing.assert_close(kind.parameters(kind.theta(warps)), warps)
    for j in range(6):
        step = 1e-6 * torch.eye(6, dtype=torch.float64)[j]
        ahead, behind = (minorants.at(warps + s * step).error for s in (1, -1))
        difference = (ahead - behind) / 2e-6
        torch.testing.assert_close(difference, 2 * here.gradient[:, j], rtol=1e-4, atol=1e-4)


@given(seed=st.integers(0, 10**6), parameters=st.integers(1, 6))
def test_a_quadratic_is_nowhere_in_its_box_below_its_least(seed: int, parameters: int) -> None:
    """The bound is below every point drawn, corners included, and near the lowest of them."""
    g = torch.Generator().manual_seed(seed)
    factor = torch.randn(1, parameters, parameters, generator=g, dtype=torch.float64)
    factor[:, :, :: 1 + seed % 3] = 0  # flat in some directions
    slope = torch.randn(1, parameters, generator=g, dtype=torch.float64)
    quadratic = Quadratic(constant=slope[:, 0], slope=slope, curvature=factor.mT @ factor)
    halves = torch.rand(1, parameters, generator=g, dtype=torch.float64)
    x = halves * (3 * torch.rand(4000, parameters, generator=g).double() - 1.5).clamp(-1, 1)
    values = slope[0, 0] + x @ slope[0] + (x @ quadratic.curvature[0] * x).sum(1)
    least = float(quadratic.least(halves))
    assert least <= float(values.min()) + 1e-12 * float(values.abs().max())
    if parameters == 1:  # one parameter is minimised exactly
        assert least == pytest.approx(float(values.min()), abs=1e-3 * float(values.abs().max()))
