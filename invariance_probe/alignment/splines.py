"""Smooth warps: cubic B-splines over a map, and how far each of their cells can distort.

Convention:
    A warp reads the position (x, y) at  phi(x, y) = sum_jk P_jk B_j(y) B_k(x), in the isotropic
    coordinates of `objectives`. The basis is that of uniform cubic B-splines on a grid of cells
    that covers the map to its outer edges, so there are three control points more than cells along
    each axis, stored as (2, rows + 3, columns + 3), x before y. Affine warps are among these: their
    control points are their values at the control points' own places.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64
from torch import Tensor

_PIECES = 2
"""Parts of a cell along each axis, each bounded for itself: bounds tighten with their square."""


@dataclass(frozen=True, kw_only=True)
class ControlGrid:
    """The cells of a spline over a map.

    Attributes:
        rows: Number of cells down.
        columns: Number of cells across.
        height: Of the map, in isotropic units.
        width: Of the map, in isotropic units.
    """

    rows: int
    columns: int
    height: float
    width: float

    @property
    def shape(self) -> tuple[int, int]:
        """Number of control points down and across."""
        return self.rows + 3, self.columns + 3

    def affine(
        self, warps: Float[Tensor, "pair 2 3"]
    ) -> Float[Tensor, "pair 2 {self.rows}+3 {self.columns}+3"]:
        """Write affine warps as splines.

        Args:
            warps: Pull-backs in isotropic coordinates.

        Returns:
            Their control points.
        """
        down, across = self.shape
        y = (torch.arange(down).to(warps) - 1) * self.height / self.rows - self.height / 2
        x = (torch.arange(across).to(warps) - 1) * self.width / self.columns - self.width / 2
        places = torch.stack([x.expand(down, -1), y[:, None].expand(-1, across)])
        return torch.einsum("pab,bjk->pajk", warps[:, :, :2], places) + warps[:, :, 2:, None]

    def basis(
        self, x: Float[Tensor, " column"], y: Float[Tensor, " row"]
    ) -> tuple[Float[Tensor, "row {self.rows}+3"], Float[Tensor, "column {self.columns}+3"]]:
        """Evaluate the basis on a lattice of positions of the map.

        Args:
            x: Of its columns, in isotropic coordinates.
            y: Of its rows.

        Returns:
            Y and X, so that warps with control points P read the lattice at  Y P X^T.
        """
        return (
            _basis((y / self.height + 0.5) * self.rows, self.rows),
            _basis((x / self.width + 0.5) * self.columns, self.columns),
        )

    def refined(
        self, points: Float[Tensor, "pair 2 down across"], finer: "ControlGrid"
    ) -> Float[Tensor, "pair 2 {finer.rows}+3 {finer.columns}+3"]:
        """Write the same warps on a finer grid.

        Args:
            points: Control points.
            finer: A grid with as many cells along each axis, or 2, 4, ... times as many.

        Returns:
            Control points of the finer grid.
        """
        down, across = _refinement(self.rows, finer.rows), _refinement(self.columns, finer.columns)
        return down.to(points) @ points @ across.to(points).mT

    def distortion(
        self,
        points: Float64[Tensor, "pair 2 {self.rows}+3 {self.columns}+3"],
        oracle: Float64[Tensor, "pair 2 3"],
    ) -> tuple[
        Float64[Tensor, "pair {self.rows} {self.columns}"],
        Float64[Tensor, "pair {self.rows} {self.columns}"],
    ]:
        """Bound the singular values of the warps' Jacobians relative to the oracle's.

        Args:
            points: Control points.
            oracle: Affine warps, isotropic, to which distortion is relative.

        Returns:
            For each cell, a number that no singular value anywhere in it exceeds, and one that none
            is less than. Where the latter is positive, so is the determinant: nothing folds.
        """
        # Over a piece of a cell the columns of the Jacobian J are polynomials, cubic in x and in y.
        # In Bernstein form J is a convex combination of the 16 matrices of their coefficients,
        # whatever the position. So is  J O^-1, O the oracle's linear part, and of any 2 x 2 matrix
        # with conformal part q and anticonformal part r (complex numbers) the singular values are
        # |q| + |r| and, negative if it mirrors, |q| - |r|. The first is convex, so its maximum
        # over the 16 bounds it. The second is at least  Re(w* q) - |r|  for any unit w, which is
        # concave, so its minimum over the 16 bounds it.
        down, across = self.rows * _PIECES, self.columns * _PIECES
        along_y, slope_y = (_bernstein(self.rows, order).to(points.device) for order in (0, 1))
        along_x, slope_x = (_bernstein(self.columns, order).to(points.device) for order in (0, 1))
        by_x = along_y @ points @ slope_x.mT * (self.columns / self.width)
        by_y = slope_y @ points @ along_x.mT * (self.rows / self.height)
        by_x, by_y = (torch.complex(*each.unbind(1)) for each in (by_x, by_y))
        (a, b), (c, d) = torch.linalg.inv(oracle[:, :, :2]).permute(1, 2, 0)[..., None, None]
        # the relative Jacobian has the columns  a by_x + c by_y  and  b by_x + d by_y
        first, second = a * by_x + c * by_y, b * by_x + d * by_y
        q = ((first - 1j * second) / 2).view(-1, down, 4, across, 4)
        stretched = ((first + 1j * second) / 2).abs().view(q.shape)
        w = q.mean((2, 4), keepdim=True)
        w = w / w.abs().clamp(min=torch.finfo(stretched.dtype).tiny)
        largest, smallest = q.abs() + stretched, (w.conj() * q).real - stretched
        shape = (-1, self.rows, 4 * _PIECES, self.columns, 4 * _PIECES)
        return largest.view(shape).amax((2, 4)), smallest.view(shape).amin((2, 4))

    def stiffness(
        self, weights: Float[Tensor, "pair {self.rows} {self.columns}"]
    ) -> Float[Tensor, "pair point point"]:
        """Build the quadratic form that keeps neighbouring control points together.

        Args:
            weights: How much the cells weigh; the largest of the cells that it acts in counts.

        Returns:
            Matrices S, so that  p^T S p  is the mean over all pairs of neighbours of the squared
            difference of their values p a unit of length, times its weight.
        """
        down, across = self.shape
        one = torch.eye(down * across).to(weights).view(-1, down, across)
        right = one.diff(dim=2).flatten(1) * (self.columns / self.width)
        below = one.diff(dim=1).flatten(1) * (self.rows / self.height)
        # a difference acts in the cells of four control points either of which it touches
        w_right = F.max_pool2d(F.pad(weights, (2, 2, 3, 3)), (4, 3), stride=1).flatten(1)
        w_below = F.max_pool2d(F.pad(weights, (3, 3, 2, 2)), (3, 4), stride=1).flatten(1)
        differences = torch.cat([right, below], dim=1)
        weighted = differences * torch.cat([w_right, w_below], dim=1)[:, None]
        return weighted @ differences.mT / differences.shape[1]


def _basis(u: Tensor, cells: int, order: int = 0) -> Tensor:
    """Values or slopes of the basis at positions counted in cells, (position, cells + 3)."""
    cell = u.floor().clamp(0, cells - 1)
    t = (u - cell)[:, None]
    s = 1 - t
    if order == 0:
        parts = [s**3, 4 - 6 * t**2 + 3 * t**3, 4 - 6 * s**2 + 3 * s**3, t**3]
    else:
        parts = [-3 * s**2, 9 * t**2 - 12 * t, 12 * s - 9 * s**2, 3 * t**2]
    at = cell.long()[:, None] + torch.arange(4, device=u.device)
    return u.new_zeros(len(u), cells + 3).scatter(1, at, torch.cat(parts, dim=1) / 6)


@lru_cache
def _bernstein(cells: int, order: int) -> Tensor:
    """Control points to Bernstein coefficients (cubic) of values or slopes, piece by piece."""
    t = torch.arange(4, dtype=torch.float64) / 3
    s = 1 - t
    polynomials = torch.stack([s**3, 3 * s**2 * t, 3 * s * t**2, t**3], dim=1)
    pieces = torch.arange(cells * _PIECES, dtype=torch.float64)
    values = _basis(((pieces[:, None] + t) / _PIECES).flatten(), cells, order)
    to_coefficients: Tensor = torch.linalg.inv(polynomials)
    return (to_coefficients @ values.view(-1, 4, cells + 3)).flatten(0, 1)


@lru_cache
def _refinement(cells: int, finer: int) -> Tensor:
    """Control points of a spline from those on a grid of fewer cells."""
    if cells == finer:
        return torch.eye(cells + 3, dtype=torch.float64)
    halves = torch.zeros(2 * cells + 3, cells + 3, dtype=torch.float64)
    for k in range(cells + 2):
        halves[2 * k, k : k + 2] = 0.5
    for k in range(cells + 1):
        halves[2 * k + 1, k : k + 3] = torch.tensor([0.125, 0.75, 0.125])
    return _refinement(2 * cells, finer) @ halves
