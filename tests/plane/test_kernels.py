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


@pytest.mark.parametrize("size", [(9, 11), (1, 8), (6, 1)])
def test_compared_sums_what_bilinear_reads(size: tuple[int, int]) -> None:
    """Power and error are sums of squares over the positions that are kept, warp by warp."""
    rng = np.random.default_rng(0)
    height, width = size
    maps, references = rng.normal(size=(2, 1, 4, height * width)).astype(np.float32)
    keep = (rng.random((1, height * width)) < 0.6).astype(np.float32)
    mean = rng.normal(size=(1, 4)).astype(np.float32)
    matrices, out = rng.normal(size=(1, 3, 6)), np.empty((1, 3, 2))
    by_cell = (np.ascontiguousarray(each.transpose(0, 2, 1)) for each in (maps, references))
    kernels.compared(*by_cell, mean, keep, matrices, out, size, 1e-6)
    rows, columns = np.divmod(np.arange(height * width), width)
    places = matrices[0].reshape(3, 2, 3) @ np.stack([columns, rows, np.ones_like(rows)])
    for (x, y), sums in zip(places, out[0], strict=True):
        read = np.empty((4, height * width), np.float32)
        kernels.bilinear(maps[0], x, y, height, width, read)
        wanted = [
            np.square((read.astype(float) - off) * keep[0]).sum()
            for off in (mean[0][:, None], references[0])
        ]
        np.testing.assert_allclose(sums, wanted, rtol=1e-5)
