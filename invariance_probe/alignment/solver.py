"""Batched Levenberg-Marquardt over affine warps, with the exact derivative of bilinear reading.

Convention:
    Warps are 2 x 3 pull-backs in *isotropic* coordinates: pixels of the full map from its centre,
    in units of half its longer side, so that a rotation is a rotation on maps of any shape and on
    any coarser copy of them. `isotropic_from_normalised` leads there.

A warp W of a moved map G is judged by the squared error  sum_p m(p) |G(phi(p)) - F(p)|^2  over the
positions p of the reference F, m the mask of the region. Two objectives compute it, with its
gradient and Gauss-Newton matrix in the six parameters:

- `InnerProducts` never touches a channel while searching. Inside a cell, bilinear reading is
  G(phi) = a + b u + c v + d u v with corner combinations a, b, c, d and fractions u, v; so the
  error and its derivatives are polynomials in u, v whose coefficients are inner products: ten of
  <a,a> ... <d,d> a cell, and <F(p), G(q)> for each pair of positions. One matrix product makes
  them all; after it a warp costs the same whether the map has 3 channels or 3 000, and hundreds of
  starts are affordable. The table has positions**2 entries, so it is for small and coarse maps.
- `Residuals` reads the channels themselves: for large maps, and for the last digits.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Normal:
    """Value, gradient and Gauss-Newton matrix of the squared error, one row a warp."""

    error: Float[Tensor, " warp"]
    gradient: Float[Tensor, "warp 6"]
    matrix: Float[Tensor, "warp 6 6"]


class Objective(Protocol):
    """A squared error of warps, each of them belonging to one pair of maps."""

    def __call__(self, warps: Float[Tensor, "warp 2 3"], pairs: Int[Tensor, " warp"]) -> Normal:
        """Evaluate warps.

        Args:
            warps: Pull-backs in isotropic coordinates.
            pairs: Which pair of maps each warp is for.

        Returns:
            Error, gradient and Gauss-Newton matrix.
        """
        ...


def isotropic_from_normalised(height: int, width: int) -> Float[Tensor, "3 3"]:
    """Map normalised to isotropic coordinates.

    Args:
        height: Height of the full map, in cells.
        width: Width of the full map, in cells.

    Returns:
        A 3 x 3 diagonal matrix, float64.
    """
    longer = max(height, width)
    return torch.diag(torch.tensor([width / longer, height / longer, 1.0], dtype=torch.float64))


class _Grid:
    """Positions of a (perhaps coarser) map in isotropic coordinates, and the way back to its cells.

    Maps one cell wide are taken as two equal cells, so that every position has a cell to lie in.
    """

    def __init__(self, size: tuple[int, int], full_size: tuple[int, int], like: Tensor) -> None:
        self.height, self.width = size
        longer = max(full_size)
        half_width, half_height = full_size[1] / longer, full_size[0] / longer
        self.scale_x, self.scale_y = self.width / 2 / half_width, self.height / 2 / half_height
        x = (torch.arange(self.width).to(like) - (self.width - 1) / 2) / self.scale_x
        y = (torch.arange(self.height).to(like) - (self.height - 1) / 2) / self.scale_y
        self.x = x.repeat(self.height)
        self.y = y.repeat_interleave(self.width)

    def read(
        self, warps: Tensor, x: Tensor, y: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Top-left corner (flat index), fractions, and index units per isotropic unit, 0 if clamped."""
        w = warps[..., None]
        u = (w[:, 0, 0] * x + w[:, 0, 1] * y + w[:, 0, 2]) * self.scale_x + (self.width - 1) / 2
        v = (w[:, 1, 0] * x + w[:, 1, 1] * y + w[:, 1, 2]) * self.scale_y + (self.height - 1) / 2
        free_x = ((u > 0) & (u < self.width - 1)).to(u) * self.scale_x
        free_y = ((v > 0) & (v < self.height - 1)).to(v) * self.scale_y
        u, v = u.clamp_(0, self.width - 1), v.clamp_(0, self.height - 1)
        column = u.floor().clamp_(0, self.width - 2)
        row = v.floor().clamp_(0, self.height - 2)
        corner = (row * self.width + column).long()
        return corner, u - column, v - row, free_x, free_y


def _moments(x: Tensor, y: Tensor) -> Tensor:
    """(position, 6): 1, x, y, x^2, x y, y^2."""
    return torch.stack([torch.ones_like(x), x, y, x * x, x * y, y * y], dim=-1)


_OUTER = torch.tensor([[3, 4, 1], [4, 5, 2], [1, 2, 0]])
"""Which of the moments is which product of (x, y, 1) with itself."""


def _assemble(
    error: Tensor,
    slope_x: Tensor,
    slope_y: Tensor,
    xx: Tensor,
    xy: Tensor,
    yy: Tensor,
    moments: Tensor,
) -> Normal:
    """Sum over positions: everything given is (warp, position), moments (..., position, 6)."""
    second = torch.stack([xx, xy, yy], dim=1) @ moments
    first = torch.stack([slope_x, slope_y], dim=1) @ moments[..., :3]
    blocks = second[..., _OUTER.to(second.device)]
    matrix = torch.cat(
        [
            torch.cat([blocks[:, 0], blocks[:, 1]], dim=-1),
            torch.cat([blocks[:, 1], blocks[:, 2]], dim=-1),
        ],
        dim=-2,
    )
    gradient = first[..., [1, 2, 0]].flatten(1)
    return Normal(error=error.sum(-1), gradient=gradient, matrix=matrix)


class InnerProducts:
    """The squared error from a table of inner products; see the module's docstring.

    Args:
        reference: Reference maps F.
        moved: Moved maps G, at least 2 x 2.
        mask: Weight of each reference position, 0 outside the region.
        full_size: Height and width of the maps that these are a coarser copy of.
    """

    def __init__(
        self,
        reference: Float[Tensor, "pair channel height width"],
        moved: Float[Tensor, "pair channel height width"],
        mask: Float[Tensor, "pair height width"],
        full_size: tuple[int, int],
    ) -> None:
        pairs, _, height, width = reference.shape
        self.grid = _Grid((height, width), full_size, reference)
        self.mask = mask.flatten(1)
        F = reference.flatten(2)
        G = moved.flatten(2)
        self.positions = height * width
        self.cross = (F.transpose(1, 2) @ G).flatten()
        self.squares = F.square().sum(1)
        a = moved[:, :, :-1, :-1]
        b = moved[:, :, :-1, 1:] - a
        c = moved[:, :, 1:, :-1] - a
        d = moved[:, :, 1:, 1:] - a - b - c
        corners = [a, b, c, d]
        gram = torch.stack(
            [(corners[i] * corners[j]).sum(1) for i in range(4) for j in range(i, 4)], dim=-1
        )
        # stored at every position, so that one index serves both tables
        table = gram.new_zeros(pairs, height, width, 10)
        table[:, :-1, :-1] = gram
        self.gram = table.reshape(-1, 10)
        self.moments = _moments(self.grid.x, self.grid.y)

    def __call__(self, warps: Float[Tensor, "warp 2 3"], pairs: Int[Tensor, " warp"]) -> Normal:
        """Evaluate warps; see `Objective`."""
        grid, n = self.grid, self.positions
        corner, u, v, free_x, free_y = grid.read(warps, grid.x, grid.y)
        aa, ab, ac, ad, bb, bc, bd, cc, cd, dd = self.gram[corner + pairs[:, None] * n].unbind(-1)
        row = torch.arange(n, device=warps.device) + pairs[:, None] * n
        at = corner + row * n
        fa = self.cross.take(at)
        fb = self.cross.take(at + 1) - fa
        fc = self.cross.take(at + grid.width) - fa
        fd = self.cross.take(at + grid.width + 1) - fa - fb - fc
        # G = a + b u + c v + d u v;  G_u = b + d v;  G_v = c + d u
        b_v, d_v = ab + v * ad, bd + v * dd  # <a, G_u>, <d, G_u>
        uu = bb + v * (bd + d_v)  # <G_u, G_u>
        cross_c = bc + v * cd  # <c, G_u>
        g_u = b_v + u * uu + v * cross_c  # <G, G_u>
        c_u, d_u = ac + u * ad, cd + u * dd  # <a, G_v>, <d, G_v>
        vv = cc + u * (cd + d_u)  # <G_v, G_v>
        g_v = c_u + v * vv + u * (bc + u * bd)  # <G, G_v>
        uv = cross_c + u * d_v  # <G_u, G_v>
        f_u, f_v = fb + v * fd, fc + u * fd
        gg = aa + v * (2 * ac + v * cc) + u * (2 * (b_v + v * cross_c) + u * uu)  # <G, G>
        fg = fa + u * f_u + v * fc
        m = self.mask[pairs]
        m_x, m_y = m * free_x, m * free_y
        return _assemble(
            error=m * (self.squares[pairs] - 2 * fg + gg),
            slope_x=m_x * (g_u - f_u),
            slope_y=m_y * (g_v - f_v),
            xx=m_x * free_x * uu,
            xy=m_x * free_y * uv,
            yy=m_y * free_y * vv,
            moments=self.moments,
        )


class Residuals:
    """The squared error from the channels themselves, over chosen positions of each pair.

    Args:
        reference: Reference maps F.
        moved: Moved maps G, at least 2 x 2.
        positions: Flat numbers of the positions that count.
        mask: Weight of each of them.
        full_size: Height and width of the maps that these are a coarser copy of.
    """

    def __init__(
        self,
        reference: Float[Tensor, "pair channel height width"],
        moved: Float[Tensor, "pair channel height width"],
        positions: Int[Tensor, "pair position"],
        mask: Float[Tensor, "pair position"],
        full_size: tuple[int, int],
    ) -> None:
        _, channels, height, width = reference.shape
        self.grid = _Grid((height, width), full_size, reference)
        self.size = height * width
        self.mask = mask
        self.x, self.y = self.grid.x[positions], self.grid.y[positions]
        self.moments = _moments(self.x, self.y)
        row = torch.arange(len(reference), device=reference.device)[:, None] * self.size
        # channels last: a position's vector is contiguous
        self.target = reference.flatten(2).transpose(1, 2).reshape(-1, channels)[row + positions]
        self.source = moved.flatten(2).transpose(1, 2).reshape(-1, channels)

    def __call__(self, warps: Float[Tensor, "warp 2 3"], pairs: Int[Tensor, " warp"]) -> Normal:
        """Evaluate warps; see `Objective`."""
        width = self.grid.width
        corner, u, v, free_x, free_y = self.grid.read(warps, self.x[pairs], self.y[pairs])
        corner = corner + pairs[:, None] * self.size
        a, b = self.source[corner], self.source[corner + 1]
        c, d = self.source[corner + width], self.source[corner + width + 1]
        u, v = u[..., None], v[..., None]
        top, bottom = torch.lerp(a, b, u), torch.lerp(c, d, u)
        g_v = bottom - top
        g_u = torch.lerp(b - a, d - c, v)
        residual = torch.lerp(top, bottom, v) - self.target[pairs]
        m = self.mask[pairs]
        m_x, m_y = m * free_x, m * free_y
        return _assemble(
            error=m * _dot(residual, residual),
            slope_x=m_x * _dot(g_u, residual),
            slope_y=m_y * _dot(g_v, residual),
            xx=m_x * free_x * _dot(g_u, g_u),
            xy=m_x * free_y * _dot(g_u, g_v),
            yy=m_y * free_y * _dot(g_v, g_v),
            moments=self.moments[pairs],
        )


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return torch.einsum("npc,npc->np", a, b)


def limit_distortion(
    warps: Float[Tensor, "warp 2 3"], oracle: Float[Tensor, "warp 2 3"], max_distortion: float
) -> tuple[Float[Tensor, "warp 2 3"], Bool[Tensor, " warp"]]:
    """Bring warps into the family: singular values relative to the oracle within the limits.

    The linear part is taken as  L O, O that of the oracle; the singular values of L are clamped to
    [1 / max_distortion, max_distortion], and mirrored warps are turned back, at the smaller end.

    Args:
        warps: Pull-backs in isotropic coordinates.
        oracle: The oracle's, for each of them.
        max_distortion: Largest stretch; the smallest is its reciprocal.

    Returns:
        The warps inside the family, and which of them were outside.
    """
    linear = warps[:, :, :2]
    reference = oracle[:, :, :2]
    relative = linear @ torch.linalg.inv(reference)
    # closed form of a 2 x 2 singular value decomposition: a rotation-scaling part (e, h) and a
    # mirrored one (f, g), whose lengths are half the sum and half the difference of the values
    e = (relative[:, 0, 0] + relative[:, 1, 1]) / 2
    f = (relative[:, 0, 0] - relative[:, 1, 1]) / 2
    g = (relative[:, 1, 0] + relative[:, 0, 1]) / 2
    h = (relative[:, 1, 0] - relative[:, 0, 1]) / 2
    q, r = torch.hypot(e, h), torch.hypot(f, g)
    large, small = q + r, q - r
    tolerance = 1e-6
    low, high = 1 / max_distortion, max_distortion
    outside = (large > high * (1 + tolerance)) | (small < low * (1 - tolerance))
    if not bool(outside.any()):
        return warps, outside
    new_large, new_small = large.clamp(low, high), small.clamp(low, high)
    new_q, new_r = (new_large + new_small) / 2, (new_large - new_small) / 2
    tiny = torch.finfo(warps.dtype).tiny
    turn = torch.where(q > 0, new_q / q.clamp(min=tiny), torch.zeros_like(q))
    flip = torch.where(r > 0, new_r / r.clamp(min=tiny), torch.zeros_like(r))
    e = torch.where(q > 0, e * turn, new_q)
    h, f, g = h * turn, f * flip, g * flip
    clamped = torch.stack([torch.stack([e + f, g - h], -1), torch.stack([g + h, e - f], -1)], -2)
    limited = torch.cat([clamped @ reference, warps[:, :, 2:]], dim=-1)
    return torch.where(outside[:, None, None], limited, warps), outside


@dataclass(frozen=True, kw_only=True)
class Solution:
    """Where Levenberg-Marquardt ended, one row a warp."""

    warps: Float[Tensor, "warp 2 3"]
    error: Float[Tensor, " warp"]
    n_iter: Int[Tensor, " warp"]
    converged: Bool[Tensor, " warp"]
    at_limit: Bool[Tensor, " warp"]


def levenberg_marquardt(
    objective: Objective,
    warps: Float[Tensor, "warp 2 3"],
    pairs: Int[Tensor, " warp"],
    oracle: Float[Tensor, "warp 2 3"],
    *,
    max_distortion: float,
    max_steps: int,
    tolerance: float = 1e-6,
    damping: float = 1e-3,
) -> Solution:
    """Minimise a squared error over warps of the family, each from its own start.

    Steps solve (H + damping diag H) s = -g and are brought back into the family before they are
    judged; a step that does not lower the error raises the damping tenfold, one that does lowers
    it as far (Marquardt 1963). A warp is done when a step promises or brings less than `tolerance`
    of its error, which does not depend on the scale of the maps.

    Args:
        objective: The squared error.
        warps: Starts, in isotropic coordinates.
        pairs: Which pair of maps each start is for.
        oracle: The oracle's warp for each start.
        max_distortion: Bound of the family; see `limit_distortion`.
        max_steps: Evaluations allowed to each start.
        tolerance: Relative decrease of the error at which a warp counts as converged.
        damping: Damping at the start, relative to the diagonal.

    Returns:
        The best warp met from each start.
    """
    warps, _ = limit_distortion(warps, oracle, max_distortion)
    now = objective(warps, pairs)
    best, error = warps.clone(), now.error.clone()
    gradient, matrix = now.gradient.clone(), now.matrix.clone()
    damp = torch.full_like(error, damping)
    n_iter = torch.zeros_like(pairs)
    converged = torch.zeros_like(pairs, dtype=torch.bool)
    at_limit = torch.zeros_like(converged)
    active = torch.arange(len(pairs), device=pairs.device)
    floor = 16 * torch.finfo(error.dtype).eps
    for _ in range(max_steps):
        active = active[~converged[active] & error[active].isfinite()]
        if len(active) == 0:
            break
        H, g = matrix[active], gradient[active]
        diagonal = torch.diagonal(H, dim1=-2, dim2=-1)
        lift = diagonal * damp[active, None] + 1e-9 * diagonal.amax(-1, keepdim=True) + 1e-30
        step = torch.linalg.solve_ex(H + torch.diag_embed(lift), -g)[0]
        trial, clamped = limit_distortion(
            best[active] + step.reshape(-1, 2, 3), oracle[active], max_distortion
        )
        there = objective(trial, pairs[active])
        n_iter[active] += 1
        gain = error[active] - there.error
        better = gain > 0
        small = gain.abs() <= tolerance * error[active]
        # a step that promises nothing is an end too: rounding may hide the gain itself
        promised = -2 * (step * g).sum(-1) - torch.einsum("ni,nij,nj->n", step, H, step)
        done = (better & small) | (promised <= tolerance * error[active])
        damp[active] = torch.where(better, damp[active] / 10, damp[active] * 10).clamp(1e-9, 1e12)
        done |= ~better & (damp[active] > 1e8)
        won = active[better]
        best[won], error[won] = trial[better], there.error[better]
        gradient[won], matrix[won] = there.gradient[better], there.matrix[better]
        at_limit[won] = clamped[better]
        converged[active[done | (error[active] <= floor * diagonal.amax(-1))]] = True
    return Solution(
        warps=best, error=error, n_iter=n_iter, converged=converged, at_limit=at_limit
    )
