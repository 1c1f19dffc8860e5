"""The family of warps, and the descent within it."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from invariance_probe.alignment import distortion, objectives, solver


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
