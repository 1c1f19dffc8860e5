"""Memory that operations move is counted as by hand."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from analyses.traffic import Traffic

N = 1000


@pytest.mark.parametrize(
    ("operation", "floats"),
    [
        (lambda x: x + x, 3 * N),  # read twice, written once
        (lambda x: x.clone(), 2 * N),
        (lambda x: x.sum(), N + 1),
        (lambda x: x.view(10, 100).T, 0),
        (lambda x: x[None].expand(5, N), 0),
        (lambda x: x.mul_(2.0), 2 * N),
        (lambda x: x[:1].expand(N) + x, 3 * N),  # read from the whole storage
    ],
)
def test_traffic_is_counted_as_by_hand(operation: Callable[[Tensor], object], floats: int) -> None:
    """Arguments and results count once, views not at all."""
    x = torch.rand(N)
    with Traffic() as counted:
        operation(x)
    assert counted.bytes == 4 * floats
