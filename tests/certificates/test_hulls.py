"""Distances to hulls in closed form, against exact faces, which are held against a solver."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls
from torch import Tensor

from invariance_probe.certificates import hulls
from tests.certificates.exact_hulls import distances_to_hulls

small = st.integers(-3, 3)
whole = {
    "vector": st.lists(small, min_size=3, max_size=3),
    "corners": st.lists(st.lists(small, min_size=3, max_size=3), min_size=4, max_size=4),
}


def by_nnls(vector: np.ndarray, corners: np.ndarray) -> float:
    """Non-negative least squares with the sum of weights forced to 1 by a large penalty."""
    penalty = 1e5
    A = np.vstack([corners.T, penalty * np.ones(4)])
    return float(np.linalg.norm(corners.T @ nnls(A, np.append(vector, penalty))[0] - vector))


def closed_form(vectors: Tensor, corners: Tensor, rounding: float = 0.0) -> hulls.HullDistance:
    """`hulls.squared_distances` of vectors (n, C) from one hull (4, C)."""
    return hulls.squared_distances(
        [(vectors - c).square().sum(1) for c in corners],
        [(corners[i] - corners[j]).square().sum().expand(1) for i, j in hulls.EDGES],
        rounding,
    )


@given(**whole)
def test_the_exact_faces_agree_with_a_solver(vector: list[int], corners: list[list[int]]) -> None:
    """Corners, edges, triangles, the inside, and coinciding corners are all handled."""
    v, c = np.array(vector, float), np.array(corners, float)
    assert distances_to_hulls(v[None], c[None])[0, 0] == pytest.approx(by_nnls(v, c), abs=1e-4)


@settings(max_examples=300)
@given(**whole)
def test_the_closed_form_agrees_with_the_exact_faces(
    vector: list[int], corners: list[list[int]]
) -> None:
    """Of whole numbers, where corners coincide and hulls are flat, both sides are the distance."""
    v, c = np.array([vector], float), np.array(corners, float)
    expected = distances_to_hulls(v, c[None])[0, 0] ** 2
    found = closed_form(torch.from_numpy(v), torch.from_numpy(c))
    # squares are whole numbers up to 108, quotients of them round in the last places
    assert float(found.upper) == pytest.approx(expected, abs=1e-10)
    assert float(found.lower) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize(
    ("vector", "expected"),
    [
        ((-1.0, -1.0, -1.0), 3.0),
        ((0.5, -2.0, -1.0), 5.0),
        ((0.2, 0.2, -3.0), 9.0),
        ((0.1, 0.1, 0.1), 0.0),
        ((1.0, 1.0, 1.0), 4 / 3),
    ],
    ids=["corner", "edge", "triangle", "inside", "far triangle"],
)
def test_faces_of_all_sizes(vector: tuple[float, ...], expected: float) -> None:
    """Known distances from the unit corner's tetrahedron."""
    corners = torch.cat([torch.zeros(1, 3), torch.eye(3)]).double()
    found = closed_form(torch.tensor([vector], dtype=torch.float64), corners)
    assert float(found.upper) == pytest.approx(expected, abs=1e-12)
    assert float(found.lower) == pytest.approx(expected, abs=1e-12)
    exact = distances_to_hulls(np.array([vector]), corners.numpy()[None])
    assert exact[0, 0] ** 2 == pytest.approx(expected, abs=1e-12)


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), flat=st.sampled_from([0.0, 1e-12, 1e-8, 1e-3]))
def test_hulls_that_are_almost_flat_keep_their_bound(seed: int, flat: float) -> None:
    """However flat a hull is, no point of it is nearer than the lower side."""
    g = torch.Generator().manual_seed(seed)
    corners = torch.randn(4, 3, generator=g, dtype=torch.float64)
    corners[3] = corners[:3].mean(0) + flat * corners[3]
    if seed % 3 == 0:
        corners[2] = corners[1] + flat * corners[2]
    vectors = torch.randn(64, 3, generator=g, dtype=torch.float64)
    found = closed_form(vectors, corners, rounding=1e-14)
    weights = torch.rand(3000, 4, generator=g, dtype=torch.float64).pow(4)
    inside = (weights / weights.sum(1, keepdim=True)) @ corners
    nearest = torch.cdist(vectors, torch.cat([inside, corners])).amin(1).square()
    assert bool((found.lower <= found.upper).all())
    assert bool((found.lower <= nearest * (1 + 1e-12)).all())
