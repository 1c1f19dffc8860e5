"""The compiled loops of reading, at sizes and positions where an index could go astray."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from invariance_probe.plane import coordinates, kernels

sizes = st.integers(1, 9)


@given(
    height=sizes,
    width=sizes,
    places=st.lists(st.tuples(st.floats(-20, 20), st.floats(-20, 20)), min_size=1, max_size=9),
)
def test_bilinear_reading_is_torchs(
    height: int, width: int, places: list[tuple[float, float]]
) -> None:
    """Anywhere within and beyond maps, of one cell a side too."""
    maps = torch.randn(3, height, width, generator=torch.Generator().manual_seed(height * width))
    x, y = torch.tensor(places, dtype=torch.float64).T
    grid = coordinates.sampling_grid(x[None, None], y[None, None], height, width)
    wanted = F.grid_sample(maps.double()[None], grid, padding_mode="border", align_corners=False)[
        0, :, 0
    ]
    out = np.empty((3, len(places)), np.float32)
    at = (x.contiguous().numpy(), y.contiguous().numpy())
    kernels.bilinear(maps.flatten(1).numpy(), *at, height, width, out)
    # a few roundings of values up to 4
    np.testing.assert_allclose(out, wanted.numpy(), atol=2e-6, rtol=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_positions_that_are_no_numbers_stay_within_the_map(value: float) -> None:
    """Whatever a position is, only cells of the map are looked at."""
    around = np.full((1, 300), np.float32(7))
    maps = around[:, 100:112]
    maps[:] = 1
    x, y = np.array([value, 1.0, value]), np.array([1.0, value, value])
    out = np.empty((1, 3), np.float32)
    kernels.bilinear(maps, x, y, 3, 4, out)
    assert np.all(np.isnan(out) | (out == 1))


def test_compared_sums_what_bilinear_reads() -> None:
    """Power and error are sums of squares over the positions that are kept, over any row length."""
    rng = np.random.default_rng(0)
    height, width, count = 9, 11, 2 * kernels._ROW + 3
    maps = rng.normal(size=(4, height * width)).astype(np.float32)
    x, y = rng.uniform(-1, width, count), rng.uniform(-1, height, count)
    keep = (rng.random(count) < 0.6).astype(np.float32)
    mean = rng.normal(size=4).astype(np.float32)
    centred = rng.normal(size=(4, count)).astype(np.float32) * keep
    read, out = np.empty((4, count), np.float32), np.empty(2)
    kernels.bilinear(maps, x, y, height, width, read)
    kernels.compared(maps, x, y, height, width, keep, mean, centred, out)
    value = (read.astype(float) - mean[:, None]) * keep
    wanted = [np.square(value).sum(), np.square(value - centred).sum()]
    np.testing.assert_allclose(out, wanted, rtol=1e-5)
