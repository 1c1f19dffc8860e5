"""The exact distance from a vector to the convex hull of four others, many at a time.

The nearest point of a hull lies inside one of its 15 faces (4 corners, 6 edges, 4 triangles and the
whole), where it is the foot of the perpendicular onto the face's affine span. Each face is solved
from the Gram matrix of its corners; feet that lie outside their face do not count.
"""

from itertools import combinations

import numpy as np
from jaxtyping import Float64

FACES = tuple(face for size in (1, 2, 3, 4) for face in combinations(range(4), size))
"""Index sets of the faces of a tetrahedron."""

OUTSIDE = 1e-12
"""Barycentric coordinates may be below zero by rounding."""


def distances_to_hulls(
    vectors: Float64[np.ndarray, "vectors channels"],
    corners: Float64[np.ndarray, "hulls 4 channels"],
) -> Float64[np.ndarray, "vectors hulls"]:
    """Distance from every vector to every hull.

    Args:
        vectors: n vectors of C channels.
        corners: four corners for each of m hulls; they may coincide.

    Returns:
        n x m distances.

    Raises:
        ValueError: the numbers of channels differ, or a value is not finite.
    """
    if vectors.shape[-1] != corners.shape[-1]:
        raise ValueError(f"{vectors.shape[-1]} and {corners.shape[-1]} channels: they must agree.")
    if not (np.isfinite(vectors).all() and np.isfinite(corners).all()):
        raise ValueError("A feature vector holds a value that is not finite.")
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


def cell_corners(
    maps: Float64[np.ndarray, "channels height width"],
) -> Float64[np.ndarray, "hulls 4 channels"]:
    """The four feature vectors around every cell of a map that is 0 outside.

    Args:
        maps: C x H x W.

    Returns:
        (H + 1)(W + 1) cells, four corners each: what bilinear sampling with zero padding may mix.
    """
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1))).transpose(1, 2, 0)
    around = [padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]]
    return np.stack(around, axis=2).reshape(-1, 4, maps.shape[0])


def any_warp_bounds(
    reference: Float64[np.ndarray, "channels height width"],
    offered: Float64[np.ndarray, "channels height2 width2"],
) -> Float64[np.ndarray, "height width"]:
    """What no bilinear warp of one map can beat in showing another, position by position.

    Args:
        reference: the map to be shown, C x H x W.
        offered: the map that is warped, C x H' x W'.

    Returns:
        H x W distances to the nearest mixture of four neighbours.
    """
    channels, height, width = reference.shape
    wanted = reference.reshape(channels, -1).T
    nearest = distances_to_hulls(wanted, cell_corners(offered)).min(axis=1)
    return np.asarray(nearest.reshape(height, width), dtype=np.float64)
