"""What is left is a share of the variance, and floors are what no filter has a part in."""

import numpy as np
import pytest
import torch

from analyses.related import measuring
from analyses.related.methods import Motions
from tests.analyses.related.planted import EXACT, digits, untrained


def test_left_is_a_share_of_the_variance() -> None:
    """The same leaves 0, the channels' means 1, independent values 2; of no variance is nothing."""
    generator = torch.Generator().manual_seed(0)
    maps, others = (3 + torch.randn(40, 5, 6, 6, generator=generator) for _ in range(2))
    assert measuring.left(maps, maps) == 0
    means = maps.mean((0, 2, 3), keepdim=True).expand_as(maps)
    assert measuring.left(means, maps) == pytest.approx(1, rel=1e-5)
    # 7 200 values: a standard error of some 0.03
    assert measuring.left(others, maps) == pytest.approx(2, abs=0.15)
    vectors = maps.flatten(1)
    assert measuring.left(vectors.mean(0, keepdim=True).expand_as(vectors), vectors) == (
        pytest.approx(1, rel=1e-5)
    )
    assert np.isnan(measuring.left(maps, torch.ones_like(maps)))


def test_the_floor_of_a_map_is_0_only_where_cells_come_to_lie_on_cells() -> None:
    """Between them a map of one-pixel filters leaves no less than it says, which is not 0."""
    network = untrained("pointwise")
    for motions in Motions:
        for pose in motions.poses:
            floor = measuring.floor_of_map(network, digits(), pose)
            exact = motions in {Motions.QUARTERS, Motions.SHIFTS}
            assert (floor <= EXACT) if exact else (0.005 < floor < 0.5)
