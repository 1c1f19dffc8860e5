"""The stages of the search, and its starts."""

import pytest
import torch

from invariance_probe.alignment import schedule


@pytest.mark.parametrize("longest", [2, 7, 8, 14, 28, 29, 112])
def test_stages_go_from_coarse_to_fine_and_end_with_one_warp(longest: int) -> None:
    """Sides grow up to the full one, warps beside others join once, and all steps are taken."""
    stages = schedule.coarse_to_fine(longest, max_steps=17)
    sides = [stage.side for stage in stages]
    assert sides == sorted(sides)
    assert sides[-1] == longest
    assert next(stage.nudged for stage in stages if stage.side == longest)
    assert sum(stage.nudged for stage in stages) == 1
    assert stages[-1].rounds[-1] == (17, 1)
    assert all((stage.count is None) == (longest <= 28) for stage in stages if stage.nudged)


def test_moves_and_nudges_hold_none() -> None:
    """Starts beside the oracle lie all around it, and it is one of them."""
    turns, sides = schedule.far_moves(4, (1.0, 2.0), 0.3)
    assert turns.shape == (8, 2, 2)
    torch.testing.assert_close(turns[::2].sum(0), torch.zeros(2, 2).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(turns.det(), torch.tensor([1.0, 4.0] * 4).double())
    for shifts in (sides, schedule.nudges(10, 2)):
        assert (shifts == 0).all(1).sum() == 1
        torch.testing.assert_close(shifts.sum(0), torch.zeros(2).double(), atol=1e-6, rtol=0)
    assert float(schedule.nudges(10, 2).max()) == pytest.approx(0.2)
