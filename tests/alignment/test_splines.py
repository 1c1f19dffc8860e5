"""Smooth warps against scipy's splines, and their bound on distortion against a dense lattice."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from invariance_probe.alignment.splines import ControlGrid
from tests.alignment import planted, smooth

cells = st.sampled_from([1, 2, 3, 4, 8])


def _grid(rows: int, columns: int, height: float = 2.0, width: float = 2.0) -> ControlGrid:
    return ControlGrid(rows=rows, columns=columns, height=height, width=width)


def _points(grid: ControlGrid, seed: int, amount: float = 1.0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    straight = grid.affine(planted.theta(0.4, 1.2, 0.8, 1.0, 0.1, -0.2).expand(3, 2, 3))
    bend = torch.randn(straight.shape, generator=g, dtype=torch.float64)
    return straight + amount * bend / max(grid.rows, grid.columns)


@given(rows=cells, columns=cells, seed=st.integers(0, 1000))
def test_warps_are_scipys_tensor_splines(rows: int, columns: int, seed: int) -> None:
    """Read anywhere on the map, edges included, a warp is the textbook's cubic B-spline."""
    grid = _grid(rows, columns)
    points = _points(grid, seed)
    x, y = torch.linspace(-1, 1, 23).double(), torch.linspace(-1, 1, 17).double()
    along_y, along_x = grid.basis(x, y)
    got = along_y @ points @ along_x.mT
    for warp, expected in zip(points, got, strict=True):
        naive = smooth.evaluated(warp, y.numpy(), x.numpy(), 0, 0)
        torch.testing.assert_close(expected, torch.from_numpy(naive), atol=1e-12, rtol=0)


@given(rows=cells, columns=cells, height=st.floats(0.5, 2), width=st.floats(0.5, 2))
def test_affine_warps_are_splines(rows: int, columns: int, height: float, width: float) -> None:
    """Written as a spline on a grid of any proportions, an affine warp reads where it read."""
    grid = _grid(rows, columns, height, width)
    theta = planted.theta(0.7, 1.3, 0.7, 0.2, 0.3, -0.1)
    x = (torch.rand(9).double() - 0.5) * width
    y = (torch.rand(7).double() - 0.5) * height
    along_y, along_x = grid.basis(x, y)
    got = along_y @ grid.affine(theta) @ along_x.mT
    places = torch.stack([x.expand(7, 9), y[:, None].expand(7, 9), torch.ones(7, 9).double()])
    expected = torch.einsum("pab,bij->paij", theta, places)
    torch.testing.assert_close(got, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize(("rows", "columns", "finer"), [(1, 2, (4, 2)), (2, 2, (8, 4))])
def test_finer_grids_hold_the_same_warps(rows: int, columns: int, finer: tuple[int, int]) -> None:
    """Refining changes no position that is read."""
    coarse, fine = _grid(rows, columns), _grid(*finer)
    points = _points(coarse, 5)
    at = torch.linspace(-1, 1, 29).double()
    (y0, x0), (y1, x1) = coarse.basis(at, at), fine.basis(at, at)
    refined = coarse.refined(points, fine)
    assert refined.shape[-2:] == fine.shape
    torch.testing.assert_close(y1 @ refined @ x1.mT, y0 @ points @ x0.mT, atol=1e-12, rtol=0)


@given(rows=cells, columns=cells, seed=st.integers(0, 1000), amount=st.floats(0, 2))
def test_no_position_distorts_beyond_its_cells_bounds(
    rows: int, columns: int, seed: int, amount: float
) -> None:
    """On a dense lattice every singular value lies within the bounds of the cell that it is in.

    Mirrored oracles and folding warps included; the smaller value carries the determinant's sign.
    """
    height, width = 12, 20
    grid = _grid(rows, columns, 2 * height / width)
    points = _points(grid, seed, amount)
    oracle = planted.theta(1.0, 0.7, 1.4, 0.5, 0, 0).expand(3, 2, 3).clone()
    oracle[1, :, 0] *= -1
    largest, smallest = grid.distortion(points, oracle)
    # isotropic to normalised: x is as it was, y is counted in halves of the height
    units = torch.tensor([1.0, width / height], dtype=torch.float64)
    count = 60
    cell = np.minimum(np.arange(count) * np.array([[rows], [columns]]) // (count - 1), 7)
    down, across = (np.minimum(each, n - 1) for each, n in zip(cell, (rows, columns), strict=True))
    for i in range(3):
        normalised = oracle[i].clone()
        normalised[:, :2] *= units[:, None] / units
        large, small = smooth.distortions(
            points[i] * units[:, None, None], normalised, height, width, count
        )
        assert (large <= largest[i].numpy()[down[:, None], across] * (1 + 1e-9) + 1e-9).all()
        assert (small >= smallest[i].numpy()[down[:, None], across] - 1e-9).all()


def test_bounds_are_close() -> None:
    """Of affine warps they are the singular values, of bent ones they are off by some percent."""
    grid = _grid(4, 4)
    identity = torch.eye(2, 3).double().expand(3, 2, 3)
    theta = planted.theta(0.4, 1.2, 0.8, 1.0, 0.1, -0.2).expand(3, 2, 3)
    largest, smallest = grid.distortion(grid.affine(theta), identity)
    torch.testing.assert_close(largest, torch.full_like(largest, 1.2))
    torch.testing.assert_close(smallest, torch.full_like(smallest, 0.8))
    points = _points(grid, 0, 0.2)
    largest, smallest = grid.distortion(points, identity)
    for i in range(3):
        large, small = smooth.distortions(points[i], identity[i], 8, 8)
        assert large.max() <= float(largest[i].max()) <= 1.05 * large.max()
        assert small.min() >= float(smallest[i].min()) >= small.min() - 0.1


def test_stiffness_is_the_mean_square_of_neighbours_differences() -> None:
    """Across and down, a unit of length; a cell's weight counts for all that bends it."""
    grid = _grid(2, 3, 1.0, 2.0)
    values = torch.randn(5, 6, dtype=torch.float64)
    weights = torch.ones(1, 2, 3).double()
    weights[0, 1, 2] = 7
    across = ((values[:, 1:] - values[:, :-1]) / (2 / 3)).square()
    down = ((values[1:] - values[:-1]) / (1 / 2)).square()
    # control points 1 to 4 down and 2 to 5 across touch the weighted cell
    across[1:, 2:] *= 7
    down[1:, 2:] *= 7
    flat = values.flatten()
    got = flat @ grid.stiffness(weights)[0] @ flat
    torch.testing.assert_close(got, (across.sum() + down.sum()) / (across.numel() + down.numel()))
