"""Minima over rectangles, against looking at every part that a rectangle touches."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from invariance_probe.certificates.range_minima import RangeMinima
from tests.certificates.exact_hulls import cells, distances_to_hulls


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6), height=st.integers(2, 5), width=st.integers(2, 5), data=st.data()
)
def test_minima_are_those_of_the_parts_that_are_touched(
    seed: int, height: int, width: int, data: st.DataObject
) -> None:
    """Rectangles of all sizes, also beyond the border, have the least distance of their parts."""
    g = torch.Generator().manual_seed(seed)
    wanted = torch.randn(3, 2, generator=g, dtype=torch.float64)
    moved = torch.randn(2, height, width, generator=g, dtype=torch.float64)
    table = RangeMinima(wanted, moved)
    k = table.subdivisions
    assert k > 1
    fine = torch.nn.functional.interpolate(
        moved[None], (table.rows + 1, table.columns + 1), mode="bilinear", align_corners=True
    )[0]
    parts = distances_to_hulls(wanted.numpy(), cells(fine.numpy())) ** 2
    parts = torch.from_numpy(parts).view(3, table.rows, table.columns)
    # eighths of a part, half of one off its borders: what is touched does not hang on rounding
    place = st.integers(-8, 8 * (max(height, width) + 1)).map(lambda n: (n + 0.5) / (8 * k))
    start_x, start_y, wide, high = (data.draw(place) for _ in range(4))
    sides = torch.tensor([abs(wide), abs(high)], dtype=torch.float64) / 2
    middles = torch.tensor([start_x, start_y], dtype=torch.float64) + sides
    found = table.least(
        middles[:, None, None].expand(2, 1, 3), sides[:, None, None].expand(2, 1, 3)
    )[0]

    def touched(middle: float, side: float, count: int) -> slice:
        first = min(max(math.floor((middle - side) * k), 0), count - 1)
        last = min(max(math.ceil((middle + side) * k) - 1, first), count - 1)
        return slice(first, last + 1)

    columns = touched(float(middles[0]), float(sides[0]), table.columns)
    rows = touched(float(middles[1]), float(sides[1]), table.rows)
    expected = parts[:, rows, columns].amin((1, 2))
    assert bool((found <= expected + 1e-9).all())
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
