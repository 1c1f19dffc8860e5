"""Smooth warps as scipy evaluates them, and random ones that distort within a limit."""

import numpy as np
import torch
from scipy.interpolate import BSpline
from torch import Tensor

from tests.alignment import planted


def _axis(coefficients: np.ndarray, at: np.ndarray, order: int) -> np.ndarray:
    """Values or slopes along the first axis, of splines over [-1, 1]."""
    cells = len(coefficients) - 3
    knots = (np.arange(cells + 7) - 3) * 2 / cells - 1
    spline = BSpline(knots, coefficients, 3)
    return np.asarray((spline.derivative() if order else spline)(at))


def evaluated(points: Tensor, y: np.ndarray, x: np.ndarray, down: int, across: int) -> np.ndarray:
    """Partial derivatives, of order `down` and `across`, of a warp (2, rows + 3, columns + 3)."""
    lines = _axis(np.moveaxis(points.numpy(), 1, 0), y, down)  # (y, 2, columns + 3)
    return np.moveaxis(_axis(np.moveaxis(lines, 2, 0), x, across), 0, 2).transpose(1, 0, 2)


def distortions(
    points: Tensor, oracle: Tensor, height: int, width: int, count: int = 101
) -> np.ndarray:
    """Singular values of the Jacobian relative to the oracle's, on a dense lattice: (2, y, x).

    The larger comes first, the smaller has the sign of the determinant; points and oracle are
    normalised.
    """
    at = np.linspace(-1, 1, count)
    by_x, by_y = evaluated(points, at, at, 0, 1), evaluated(points, at, at, 1, 0)
    jacobian = np.stack([by_x, by_y], axis=-1).transpose(1, 2, 0, 3)  # (y, x, component, axis)
    units = np.diag([width / 2, height / 2])
    relative = (
        units
        @ jacobian
        @ np.linalg.inv(units)
        @ np.linalg.inv(units @ oracle[:, :2].numpy() @ np.linalg.inv(units))
    )
    large, small = np.moveaxis(np.linalg.svd(relative, compute_uv=False), 2, 0)
    return np.stack([large, small * np.sign(np.linalg.det(relative))])


def random_warp(seed: int, cells: int, limit: float, height: int, width: int) -> Tensor:
    """Control points of a turned, shifted and bent map that distorts up to nearly the limit."""
    g = torch.Generator().manual_seed(seed)
    angle, dx, dy = (0.3 * torch.rand(3, generator=g, dtype=torch.float64) - 0.15).tolist()
    theta = planted.theta(2 * angle, 1.1, 0.9, 0.3, dx, dy)[0]
    places = (np.arange(cells + 3) - 1) * 2 / cells - 1
    x, y = (torch.from_numpy(each) for each in np.meshgrid(places, places))
    straight = torch.einsum("ab,bjk->ajk", theta[:, :2], torch.stack([x, y])) + theta[:, 2:, None]
    bend = torch.randn(2, cells + 3, cells + 3, generator=g, dtype=torch.float64) / cells
    identity = torch.eye(2, 3, dtype=torch.float64)
    amount = 1.0
    while True:
        warp = straight + amount * bend
        large, small = distortions(warp, identity, height, width)
        if large.max() <= limit and small.min() >= 1 / limit:
            return warp
        amount *= 0.9
