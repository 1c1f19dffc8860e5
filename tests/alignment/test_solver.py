"""The objectives' derivatives, the family of warps, and the descent."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from invariance_probe.alignment import distortion, objectives, solver


def _pairs(seed: int, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    reference, moved = torch.randn(2, 2, 4, height, width, generator=g, dtype=torch.float64)
    mask = (torch.rand(2, height, width, generator=g) > 0.3).double()
    return reference, moved, mask


def _naive(warps: Tensor, pairs: Tensor, maps: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """The squared error through torch's own sampler."""
    reference, moved, mask = maps
    height, width = reference.shape[-2:]
    change = objectives.isotropic_from_normalised(height, width)
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


@given(
    entries=st.lists(st.floats(-3, 3), min_size=4, max_size=4),
    angle=st.floats(-180, 180),
    bound=st.floats(1, 4),
)
def test_limit_distortion_brings_singular_values_within_bounds(
    entries: list[float], angle: float, bound: float
) -> None:
    """Singular values relative to the oracle end within bounds; what is inside is not touched."""
    a = math.radians(angle)
    oracle = torch.tensor(
        [[[math.cos(a), -math.sin(a), 0.1], [math.sin(a), math.cos(a), 0.2]]], dtype=torch.float64
    )
    linear = torch.tensor(entries, dtype=torch.float64).reshape(1, 2, 2)
    warps = torch.cat([linear, torch.tensor([[[0.3], [-0.2]]]).double()], dim=-1)
    limited, outside = distortion.limit_distortion(warps, oracle, bound)
    relative = limited[:, :, :2] @ torch.linalg.inv(oracle[:, :, :2])
    values = torch.linalg.svdvals(relative)
    assert bool((values <= bound * (1 + 1e-5)).all() & (values >= (1 - 1e-5) / bound).all())
    assert float(torch.linalg.det(relative)) > 0
    _, outside_again = distortion.limit_distortion(limited, oracle, bound)
    assert not bool(outside_again)
    if not bool(outside):
        assert torch.equal(limited, warps)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_descent_finds_a_small_shift_at_any_scale(scale: float) -> None:
    """From the identity the descent reaches a smooth map's known shift, whatever its units."""
    rows, columns = torch.meshgrid(torch.arange(12.0), torch.arange(12.0), indexing="ij")
    moved = scale * torch.stack([torch.sin(0.5 * columns), torch.cos(0.4 * rows + 0.2 * columns)])
    truth = torch.eye(2, 3)[None].clone()
    truth[0, :, 2] = torch.tensor([0.1, -0.07])
    grid = F.affine_grid(truth, [1, 2, 12, 12], align_corners=False)
    reference = F.grid_sample(moved[None], grid, padding_mode="border", align_corners=False)
    mask = torch.zeros(1, 12, 12)
    mask[:, 2:-2, 2:-2] = 1
    objective = objectives.InnerProducts(
        reference.double(), moved[None].double(), mask.double(), (12, 12)
    )
    start = torch.eye(2, 3)[None].double()
    problem = distortion.LimitedWarps(
        objective=objective, pairs=torch.tensor([0]), oracle=start, max_distortion=2.0
    )
    state = solver.start(problem, start.flatten(1))
    solution = solver.descend(state, problem, max_steps=40)
    assert bool(solution.converged)
    torch.testing.assert_close(solution.points.view(1, 2, 3), truth.double(), atol=1e-3, rtol=0)
