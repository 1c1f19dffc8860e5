"""Linear maps of the plane, in the project's coordinates.

Convention: x points right and y points down, and a map says how the content moves: ``rotation(30)``
turns it 30 degrees counter-clockwise as displayed. T_h moves an image f by h,
``(T_h f)(x) = f(h^-1 x)``, and D_d shifts it by d, ``(D_d f)(x) = f(x - d)``.
"""

import math

import numpy as np
from jaxtyping import Float64

Matrix = Float64[np.ndarray, "2 2"]
Vector = Float64[np.ndarray, "2"]
Points = Float64[np.ndarray, "points 2"]

SMALLEST_DETERMINANT = 1e-9
"""A linear map that shrinks areas more than this is treated as singular."""


def matrix(entries: object) -> Matrix:
    """A linear map of the plane from its four entries, checked.

    Args:
        entries: anything numpy reads as a 2 x 2 array.

    Returns:
        The 2 x 2 float64 matrix.

    Raises:
        ValueError: the shape is not 2 x 2, an entry is not finite, or the matrix is singular.
    """
    h = np.asarray(entries, dtype=np.float64)
    if h.shape != (2, 2):
        raise ValueError(f"h has shape {h.shape}, but a linear map of the plane is 2 x 2.")
    if not np.isfinite(h).all():
        raise ValueError(f"h = {h.tolist()} has an entry that is not finite.")
    if abs(determinant(h)) < SMALLEST_DETERMINANT:
        raise ValueError(
            f"h = {h.tolist()} is singular (determinant {determinant(h):.1e}): it has no inverse, "
            "so an image moved by it cannot be moved back. Use an invertible map."
        )
    return h


def determinant(h: Matrix) -> float:
    """Determinant of a 2 x 2 matrix: the signed factor by which it changes areas.

    Args:
        h: 2 x 2 matrix.

    Returns:
        The determinant.
    """
    return float(h[0, 0] * h[1, 1] - h[0, 1] * h[1, 0])


def inverse(h: Matrix) -> Matrix:
    """Inverse of a linear map of the plane.

    Args:
        h: 2 x 2 matrix.

    Returns:
        The 2 x 2 inverse.

    Raises:
        ValueError: h is singular or not finite.
    """  # noqa: DOC502 - raised by `matrix`
    h = matrix(h)
    return np.array([[h[1, 1], -h[0, 1]], [-h[1, 0], h[0, 0]]]) / determinant(h)


def rotation(degrees: float) -> Matrix:
    """Turns the content counter-clockwise as displayed; exact for quarter turns.

    Args:
        degrees: angle.

    Returns:
        2 x 2 rotation matrix.

    Raises:
        ValueError: the angle is not finite.
    """
    if not math.isfinite(degrees):
        raise ValueError(f"degrees = {degrees} is not a finite angle.")
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    if degrees % 90 == 0:
        cos, sin = round(cos), round(sin)
    return np.array([[cos, sin], [-sin, cos]], dtype=np.float64)


def scaling(factor: float) -> Matrix:
    """Enlarges the content by one factor in every direction.

    Args:
        factor: s, not 0.

    Returns:
        The matrix s I.

    Raises:
        ValueError: the factor is 0 or not finite.
    """  # noqa: DOC502 - raised by `matrix`
    return matrix([[factor, 0], [0, factor]])


def shear(amount: float) -> Matrix:
    """Moves each row sideways in proportion to its height.

    Args:
        amount: displacement in x for one unit of y.

    Returns:
        2 x 2 matrix of determinant 1.

    Raises:
        ValueError: the amount is not finite.
    """  # noqa: DOC502 - raised by `matrix`
    return matrix([[1, amount], [0, 1]])


def reflection(degrees: float) -> Matrix:
    """Mirrors the content in a line through the origin.

    Args:
        degrees: direction of the line, counter-clockwise from the x axis as displayed.

    Returns:
        2 x 2 matrix of determinant -1.

    Raises:
        ValueError: the angle is not finite.
    """  # noqa: DOC502 - raised by `rotation`
    return rotation(2 * degrees) @ np.diag([1.0, -1.0])


def cyclic_group(order: int) -> list[Matrix]:
    """The rotations by multiples of 360 / order degrees.

    Args:
        order: number of elements, at least 1.

    Returns:
        The rotations, the identity first, each the previous one times the generator.

    Raises:
        ValueError: the order is below 1.
    """
    if order < 1:
        raise ValueError(f"order = {order}: a cyclic group has at least one element.")
    return [rotation(360 * k / order) for k in range(order)]


def square(side: Float64[np.ndarray, "side"]) -> Points:
    """The grid with the same coordinates along both axes, row by row.

    Args:
        side: the coordinates.

    Returns:
        Positions (x, y), y outermost.
    """
    y, x = np.meshgrid(side, side, indexing="ij")
    return np.stack([x.ravel(), y.ravel()], axis=1)


def move(h: Matrix, points: Points) -> Points:
    """Where a linear map takes points.

    Args:
        h: 2 x 2 matrix.
        points: positions, n x 2.

    Returns:
        h x for each point x, n x 2.
    """
    moved: Points = points @ h.T
    return moved
