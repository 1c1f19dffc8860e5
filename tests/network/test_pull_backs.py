"""Where an operation reads is told as affine maps."""

import math

import torch

from invariance_probe.network.pull_backs import blocks, pull_backs
from invariance_probe.plane import sampling

TURN = torch.tensor([[0.6, -0.8, 0.1], [0.8, 0.6, 0.0]])


def test_parts_that_lie_one_below_the_other_are_told_from_a_smooth_warp() -> None:
    """Three turned boxes are three parts; one affine grid, and one that bends, are one."""
    grid = sampling.affine_grid(TURN[None].double(), 4, 5)[0]
    several = torch.cat([0.3 * grid + shift for shift in (-0.5, 0.0, 0.4)])[None]
    assert blocks(several).shape == (3, 4, 5, 2)
    smooth = sampling.affine_grid(TURN[None].double(), 12, 12)
    bent = smooth + 0.1 * (math.pi * smooth).sin()
    assert blocks(smooth).shape[0] == blocks(bent).shape[0] == 1


def test_a_pull_back_needs_finite_positions() -> None:
    """One that is not finite, or a single row, fits none; half the cells are half the size."""
    grid = sampling.affine_grid(TURN[None].double(), 6, 6)
    broken = grid.clone()
    broken[0, 2, 3, 0] = torch.nan
    assert pull_backs(broken, (6, 6))[0, :2].isnan().any()
    assert pull_backs(grid[:, :1], (6, 6)).isnan().all()
    whole = sampling.affine_grid(torch.eye(2, 3).double()[None], 6, 6)
    torch.testing.assert_close(
        pull_backs(whole, (12, 12))[0], torch.diag(torch.tensor([2.0, 2.0, 1.0])).double()
    )
