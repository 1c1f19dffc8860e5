"""Kinds of coordinates, and the way from one to another."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from invariance_probe.plane import coordinates

sizes = st.integers(2, 9)
numbers = st.floats(-2, 2).map(lambda x: round(x, 3))


@given(height=sizes, width=sizes, entries=st.lists(numbers, min_size=6, max_size=6))
def test_index_and_normalised_matrices_are_inverse(
    height: int, width: int, entries: list[float]
) -> None:
    """Going from normalised to index coordinates and back changes nothing."""
    theta = torch.tensor(entries, dtype=torch.float64).reshape(1, 2, 3)
    there = coordinates.index_matrix_from_theta(theta, height, width)
    back = coordinates.theta_from_index_matrix(there, height, width)
    torch.testing.assert_close(back, theta, atol=1e-12, rtol=0)


@given(margin=st.floats(0, 3))
def test_inside_keeps_the_margin(margin: float) -> None:
    """A position is inside when it is at least the margin away from the outer edges."""
    x = torch.linspace(-1, 7, 81, dtype=torch.float64)
    got = coordinates.inside(x, torch.full_like(x, 3.0), 7, 7, margin)
    expected = (x + 0.5 >= margin - 1e-6) & (6.5 - x >= margin - 1e-6)
    assert torch.equal(got, expected & (margin - 1e-6 <= 3.5))


@given(height=sizes, width=sizes)
def test_kinds_of_coordinates_agree(height: int, width: int) -> None:
    """Outer edges lie at -1 and 1, the centre at 0, and cells where torch's identity reads."""
    normalised = coordinates.normalised_from_index(height, width)
    corners = torch.tensor([[-0.5, -0.5, 1], [width - 0.5, height - 0.5, 1]]).double().T
    ends = normalised @ corners
    torch.testing.assert_close(ends[:2], torch.tensor([[-1.0, 1], [-1, 1]]).double())
    by_way_of_index = normalised @ coordinates.index_from_centred(height, width)
    direct = coordinates.normalised_from_centred(height, width)
    torch.testing.assert_close(by_way_of_index, direct, atol=1e-15, rtol=0)
    like = torch.empty(0, dtype=torch.float64)
    identity = torch.eye(2, 3, dtype=torch.float64)[None]
    grid = F.affine_grid(identity, [1, 1, height, width], align_corners=False)[0]
    x, y = coordinates.cell_centres(width, like), coordinates.cell_centres(height, like)
    torch.testing.assert_close(grid[0, :, 0], x, atol=1e-15, rtol=0)
    torch.testing.assert_close(grid[:, 0, 1], y, atol=1e-15, rtol=0)


@given(height=sizes, width=sizes, entries=st.lists(numbers, min_size=6, max_size=6))
def test_positions_are_read_where_the_matrix_sends_them(
    height: int, width: int, entries: list[float]
) -> None:
    """Every position of a grid is the product of the matrix and the column (x, y, 1)."""
    matrix = coordinates.homogeneous(torch.tensor(entries).double().reshape(2, 3))
    x, y = coordinates.read_positions(matrix, height, width)
    assert x.shape == y.shape == (height, width)
    for row in range(height):
        for column in range(width):
            wanted = matrix @ torch.tensor([column, row, 1.0]).double()
            # terms of at most 16 are rounded in another order
            assert float(x[row, column]) == pytest.approx(float(wanted[0]), abs=1e-13)
            assert float(y[row, column]) == pytest.approx(float(wanted[1]), abs=1e-13)
    grid = coordinates.sampling_grid(x, y, height, width)
    theta = coordinates.theta_from_index_matrix(matrix[None], height, width)
    wanted = F.affine_grid(theta, [1, 1, height, width], align_corners=False)[0]
    torch.testing.assert_close(grid, wanted, atol=1e-13, rtol=0)


def test_content_moves_by_the_inverse_of_a_pull_back() -> None:
    """A single bright cell lands where the inverse of the pull-back sends it."""
    image = torch.zeros(5, 5)
    image[1, 3] = 1  # at (x, y) = (3, 1)
    matrix = coordinates.scale_and_shift(1, 1, 2, -1)  # reads from 2 to the right, 1 above
    x, y = coordinates.read_positions(matrix, 5, 5)
    lattice = coordinates.lattice_positions(x, y)
    assert lattice is not None
    columns, rows = lattice
    moved = image[rows.clamp(0, 4), columns.clamp(0, 4)]
    assert moved.nonzero().tolist()[0] == [2, 1]  # one below, two to the left


def test_positions_between_cells_are_no_lattice() -> None:
    """One position off all cells' centres by more than the tolerance is enough."""
    y, x = torch.meshgrid(torch.arange(3).double(), torch.arange(4).double(), indexing="ij")
    near = x + 0.9 * coordinates.LATTICE_TOLERANCE
    found = coordinates.lattice_positions(near, y)
    assert found is not None
    assert torch.equal(found[0], x.long())
    far = x.clone()
    far[2, 3] += 1.1 * coordinates.LATTICE_TOLERANCE
    assert coordinates.lattice_positions(far, y) is None
