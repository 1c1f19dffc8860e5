"""Squared errors of warps and their derivatives, against torch's own sampler and autograd."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from invariance_probe.alignment import objectives


def _pairs(seed: int, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    reference, moved = torch.randn(2, 2, 4, height, width, generator=g, dtype=torch.float64)
    mask = (torch.rand(2, height, width, generator=g) > 0.3).double()
    return reference, moved, mask


def _naive(
    warps: Tensor,
    pairs: Tensor,
    maps: tuple[Tensor, Tensor, Tensor],
    full_size: tuple[int, int] | None = None,
) -> Tensor:
    """The squared error through torch's own sampler."""
    reference, moved, mask = maps
    height, width = reference.shape[-2:]
    change = objectives.isotropic_from_normalised(*(full_size or (height, width)))
    last = torch.tensor([[[0.0, 0.0, 1.0]]]).double().expand(len(warps), 1, 3)
    theta = (torch.linalg.inv(change) @ torch.cat([warps, last], 1) @ change)[:, :2]
    grid = F.affine_grid(theta, [len(warps), 1, height, width], align_corners=False)
    warped = F.grid_sample(moved[pairs], grid, padding_mode="border", align_corners=False)
    return ((warped - reference[pairs]).square().sum(1) * mask[pairs]).flatten(1).sum(1)


@given(
    seed=st.integers(0, 10_000),
    height=st.integers(2, 7),
    width=st.integers(2, 7),
    table=st.booleans(),
)
def test_objectives_have_the_exact_value_and_gradient_of_torchs_sampler(
    seed: int, height: int, width: int, table: bool
) -> None:
    """Error and gradient agree with autograd through grid_sample, to rounding."""
    maps = _pairs(seed, height, width)
    reference, moved, mask = maps
    g = torch.Generator().manual_seed(seed + 1)
    warps = torch.eye(2, 3).double() + 0.4 * torch.randn(5, 2, 3, generator=g).double()
    warps.requires_grad_()
    pairs = torch.tensor([0, 1, 1, 0, 1])
    expected = _naive(warps, pairs, maps)
    (gradient,) = torch.autograd.grad(expected.sum(), warps)
    if table:
        objective: objectives.Objective = objectives.InnerProducts(*maps, (height, width))
    else:
        positions = torch.arange(height * width).expand(2, -1)
        objective = objectives.Residuals(
            reference, moved, positions, mask.flatten(1), (height, width)
        )
    got = objective.normal(warps.detach(), pairs)
    torch.testing.assert_close(objective.error(warps.detach(), pairs), got.error)
    torch.testing.assert_close(got.error, expected.detach(), atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(got.gradient, gradient.flatten(1) / 2, atol=1e-9, rtol=1e-9)


def test_both_objectives_have_the_same_gauss_newton_matrix() -> None:
    """The table's matrix is that of the channels, symmetric and positive semidefinite."""
    maps = _pairs(0, 6, 5)
    positions = torch.arange(30).expand(2, -1)
    table = objectives.InnerProducts(*maps, (6, 5))
    direct = objectives.Residuals(maps[0], maps[1], positions, maps[2].flatten(1), (6, 5))
    warps = torch.eye(2, 3).double() + 0.3 * torch.randn(6, 2, 3).double()
    pairs = torch.tensor([0, 1] * 3)
    a, b = table.normal(warps, pairs).matrix, direct.normal(warps, pairs).matrix
    torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(a, a.mT)
    assert torch.linalg.eigvalsh(a).min() > -1e-9


@pytest.mark.parametrize("table", [True, False])
def test_readings_are_what_an_affine_warp_sums_up(table: bool) -> None:
    """Given by where it reads, a warp leaves the same, with the slope of autograd at each place."""
    maps = _pairs(4, 6, 5)
    positions = torch.arange(30).expand(2, -1)
    objective: objectives.Objective = (
        objectives.InnerProducts(*maps, (6, 5))
        if table
        else objectives.Residuals(maps[0], maps[1], positions, maps[2].flatten(1), (6, 5))
    )
    pairs = torch.tensor([1, 0, 1])
    # index coordinates, x before y, inside the map and beyond its border
    places = (torch.rand(3, 2, 30).double() * 8 - 1).requires_grad_()
    size = torch.tensor([5.0, 6.0]).double()[:, None]
    grid = ((2 * places + 1) / size - 1).view(3, 2, 6, 5).movedim(1, -1)
    warped = F.grid_sample(maps[1][pairs], grid, padding_mode="border", align_corners=False)
    expected = ((warped - maps[0][pairs]).square().sum(1) * maps[2][pairs]).flatten(1)
    (slopes,) = torch.autograd.grad(expected.sum(), places)
    objective.warps_at_once = 2
    got = objective.readings(places.detach(), pairs)
    torch.testing.assert_close(got.error, expected.detach(), atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(got.slopes, slopes * objective.grid.scale / 2, atol=1e-9, rtol=1e-9)


def test_chosen_positions_are_all_that_count() -> None:
    """Residuals at some positions, in any order, are the whole error's over a mask of them."""
    reference, moved, _ = _pairs(1, 5, 6)
    positions = torch.tensor([[7, 3, 29], [0, 12, 11]])
    weight = torch.tensor([[1.0, 1, 0], [1, 1, 1]]).double()
    few = objectives.Residuals(reference, moved, positions, weight, (5, 6))
    mask = torch.zeros(2, 30).double().scatter(1, positions, weight).view(2, 5, 6)
    whole = objectives.InnerProducts(reference, moved, mask, (5, 6))
    warps = torch.eye(2, 3).double() + 0.3 * torch.randn(8, 2, 3).double()
    pairs = torch.tensor([0, 1] * 4)
    for name in ("error", "gradient", "matrix"):
        one, other = (getattr(each.normal(warps, pairs), name) for each in (few, whole))
        torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-9)


def test_coarser_copies_take_the_warps_of_the_full_map() -> None:
    """In isotropic coordinates of the full map, a copy of 5 x 4 cells is read as torch reads it."""
    maps = _pairs(3, 5, 4)
    warps = torch.eye(2, 3).double() + 0.3 * torch.randn(6, 2, 3).double()
    pairs = torch.tensor([0, 1] * 3)
    got = objectives.InnerProducts(*maps, (23, 16)).error(warps, pairs)
    torch.testing.assert_close(got, _naive(warps, pairs, maps, (23, 16)), atol=1e-9, rtol=1e-9)


def test_large_batches_are_evaluated_in_blocks() -> None:
    """More warps than fit into a block have the errors that they have one by one."""
    reference, moved, mask = _pairs(2, 4, 4)
    objective = objectives.InnerProducts(reference, moved, mask, (4, 4))
    objective.warps_at_once = 3
    warps = torch.eye(2, 3).double() + 0.3 * torch.randn(8, 2, 3).double()
    pairs = torch.tensor([0, 1] * 4)
    together = objective.normal(warps, pairs)
    for i in range(8):
        alone = objective.normal(warps[i, None], pairs[i, None])
        for name in ("error", "gradient", "matrix"):
            torch.testing.assert_close(getattr(alone, name)[0], getattr(together, name)[i])
    torch.testing.assert_close(objective.error(warps, pairs), together.error)


def test_positions_of_large_maps_are_spread_over_the_region() -> None:
    """Chosen positions lie in the region, all different, and in every quarter of it."""
    weight = torch.zeros(1, 40, 40)
    weight[:, 8:32, 8:32] = 1
    maps = torch.zeros(1, 1, 40, 40)
    level = objectives.Level(reference=maps, moved=maps, mask=weight, full_size=(40, 40), count=64)
    positions, inside = level.chosen()
    assert inside.all()
    assert len(set(positions[0].tolist())) == 64
    rows, columns = positions[0] // 40, positions[0] % 40
    quarters = 2 * (rows >= 20).long() + (columns >= 20).long()
    assert quarters.bincount(minlength=4).min() >= 8
