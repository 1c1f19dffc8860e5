"""The truth that the closed form is judged by: each face of each hull solved by pseudo-inverse."""

from itertools import combinations

import numpy as np

FACES = tuple(face for size in (1, 2, 3, 4) for face in combinations(range(4), size))
"""Corners, edges, triangles and the whole."""

OUTSIDE = 1e-12
"""Barycentric coordinates may be below zero by rounding."""


def distances_to_hulls(vectors: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """From each of n vectors (n, C) to each of m hulls (m, 4, C): (n, m)."""
    best = np.full((len(vectors), len(corners)), np.inf)
    for face in FACES:
        origin = corners[:, face[0]]
        edges = corners[:, face[1:]] - origin[:, None]
        offset = vectors[:, None] - origin
        gram = np.einsum("mic,mjc->mij", edges, edges)
        along = np.einsum("mic,nmc->nmi", edges, offset)
        # a degenerate face has a singular Gram matrix; its own smaller faces cover it
        weights = np.einsum("mij,nmj->nmi", np.linalg.pinv(gram, hermitian=True), along)
        inside = (weights >= -OUTSIDE).all(axis=-1) & (weights.sum(axis=-1) <= 1 + OUTSIDE)
        foot = np.einsum("nmi,mic->nmc", weights, edges)
        distance = np.linalg.norm(offset - foot, axis=-1)
        best = np.where(inside, np.minimum(best, distance), best)
    return best


def cells(maps: np.ndarray) -> np.ndarray:
    """The corners of all cells of a map (C, H, W): (cells, 4, C)."""
    sides = (slice(None, -1), slice(1, None))
    around = [maps[:, y, x] for y in sides for x in sides]
    return np.stack([corner.reshape(len(maps), -1).T for corner in around], axis=1)
