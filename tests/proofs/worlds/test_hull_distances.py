"""The exact distance to hulls against a solver, and against sampling."""

import inspect

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls
from torch import Tensor

from invariance_probe.certificates import any_warp, attacks
from proofs.worlds.hull_distances import any_warp_bounds, cell_corners, distances_to_hulls

small = st.integers(-3, 3)


def by_nnls(vector: np.ndarray, corners: np.ndarray) -> float:
    """Non-negative least squares with the sum of weights forced to 1 by a large penalty."""
    penalty = 1e5
    A = np.vstack([corners.T, penalty * np.ones(4)])
    return float(np.linalg.norm(corners.T @ nnls(A, np.append(vector, penalty))[0] - vector))


@given(
    vector=st.lists(small, min_size=3, max_size=3),
    corners=st.lists(st.lists(small, min_size=3, max_size=3), min_size=4, max_size=4),
)
def test_distance_agrees_with_a_solver(vector: list[int], corners: list[list[int]]) -> None:
    """Corners, edges, triangles, the inside, and coinciding corners are all handled."""
    v, c = np.array(vector, float), np.array(corners, float)
    assert distances_to_hulls(v[None], c[None])[0, 0] == pytest.approx(by_nnls(v, c), abs=1e-4)


def test_all_fifteen_faces() -> None:
    """Known distances to a corner, an edge, a triangle, and from inside."""
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    vectors = np.array([[-1.0, -1, -1], [0.5, -2, -1], [0.2, 0.2, -3], [0.1, 0.1, 0.1], [1, 1, 1]])
    expected = [3**0.5, 5**0.5, 3, 0, 2 / 3**0.5]
    assert distances_to_hulls(vectors, corners[None])[:, 0] == pytest.approx(expected, abs=1e-12)


def test_cells_include_the_ring_of_zeros() -> None:
    """A 1 x 1 map has four cells, all of which touch its only pixel."""
    cells = cell_corners(np.full((2, 1, 1), 3.0))
    assert cells.shape == (4, 4, 2)
    assert (cells.sum(axis=1) == 3).all()
    # a mixture with zeros restores every smaller multiple
    assert any_warp_bounds(np.full((2, 1, 1), 1.0), np.full((2, 1, 1), 3.0)) == pytest.approx(0)


def test_bad_input() -> None:
    """Channels that differ and values that are not finite are refused."""
    plain = inspect.unwrap(distances_to_hulls)  # without the tests' own check of shapes
    with pytest.raises(ValueError, match="channels"):
        plain(np.zeros((1, 2)), np.zeros((1, 4, 3)))
    with pytest.raises(ValueError, match="not finite"):
        distances_to_hulls(np.full((1, 2), np.nan), np.zeros((1, 4, 2)))


def _brute_force(reference: Tensor, moved: Tensor) -> np.ndarray:
    """Squared distances to the nearest hull by the reference implementation, clamped borders."""
    channels, height, width = reference.shape
    padded = np.pad(moved.double().numpy(), ((0, 0), (1, 1), (1, 1)), mode="edge")
    sides = (slice(None, -1), slice(1, None))
    around = [padded[:, y, x] for y in sides for x in sides]
    corners = np.stack([a.reshape(channels, -1).T for a in around], axis=1)
    wanted = reference.double().numpy().reshape(channels, -1).T
    nearest = distances_to_hulls(wanted, corners).min(axis=1)
    return nearest.reshape(height, width) ** 2


@settings(max_examples=80)
@given(case=attacks.cases)
def test_the_engines_bound_is_made_of_these_distances(case: attacks.Case) -> None:
    """In float64 each position has the distance that all faces of all cells give it, unpruned."""
    reference, moved, region = case.reference.double(), case.moved.double(), case.region
    found = any_warp.any_warp_bound(reference, moved, region)
    expected = np.where(region[0].numpy(), _brute_force(reference[0], moved[0]), 0)
    scale = float(reference.square().sum(1).max() + moved.square().sum(1).max())
    np.testing.assert_allclose(found.distance[0].numpy(), expected, rtol=1e-6, atol=1e-9 * scale)
    assert found.kind is any_warp.BoundKind.ALL_POSITIONS
    torch.testing.assert_close(found.error, found.distance.sum((1, 2)))
