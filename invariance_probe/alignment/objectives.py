"""The squared error of affine warps and its exact derivative, for many warps of many maps at once.

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

What both compute at each position (`Readings`) knows nothing of how a warp is described, so that
warps with other parameters (`flow`) are judged by the same.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from invariance_probe.alignment.solver import Normal

FEW_CHANNELS = 2
"""Up to so many channels, reading them is cheaper than looking up their inner products, and the
error has more minima than coarse maps can tell apart."""
_BLOCK = 2**17
"""Warps x positions evaluated at once: their temporaries stay within a processor's cache."""


@dataclass
class Readings:
    """What warps leave at each position, and how it changes with where the warps read.

    With r = G(phi) - F the residual of the channels, and G_x, G_y the derivatives of the reading by
    the place in isotropic coordinates.

    Attributes:
        error: <r, r>.
        slopes: <G_x, r> and <G_y, r>.
        products: <G_x, G_x>, <G_x, G_y> and <G_y, G_y>.
    """

    error: Float[Tensor, "warp position"]
    slopes: Float[Tensor, "warp 2 position"]
    products: Float[Tensor, "warp 3 position"]


class Objective(ABC):
    """A squared error of warps, each of them for one of several pairs of maps.

    Attributes:
        grid: The positions of the maps.
        points: The positions that count, homogeneous, of all pairs or of each.
        moments: Their products of up to second order.
    """

    warps_at_once: int
    """Warps whose temporaries stay within a processor's cache."""
    grid: "Grid"
    points: Float[Tensor, "*pair 3 position"]
    moments: Float[Tensor, "*pair position 6"]

    def normal(self, warps: Float[Tensor, "warp 2 3"], pairs: Int[Tensor, " warp"]) -> Normal:
        """Evaluate warps for a descent.

        Args:
            warps: Pull-backs in isotropic coordinates.
            pairs: Which pair of maps each of them is for.

        Returns:
            Error, gradient and Gauss-Newton matrix.
        """
        blocks = [
            _assemble(self._read(self._places(*block), block[1]), self._of(self.moments, block[1]))
            for block in self._blocks(warps, pairs)
        ]
        if len(blocks) == 1:
            return blocks[0]
        return Normal(
            error=torch.cat([block.error for block in blocks]),
            gradient=torch.cat([block.gradient for block in blocks]),
            matrix=torch.cat([block.matrix for block in blocks]),
        )

    def error(
        self, warps: Float[Tensor, "warp 2 3"], pairs: Int[Tensor, " warp"]
    ) -> Float[Tensor, " warp"]:
        """Evaluate warps for a comparison, at half the price.

        Args:
            warps: Pull-backs in isotropic coordinates.
            pairs: Which pair of maps each of them is for.

        Returns:
            The squared error.
        """
        return torch.cat([
            self._error(self._places(*block), block[1]) for block in self._blocks(warps, pairs)
        ])

    def readings(
        self, places: Float[Tensor, "warp 2 position"], pairs: Int[Tensor, " warp"]
    ) -> Readings:
        """Evaluate warps that are given by where they read.

        Args:
            places: For each position that counts, x and y in index coordinates of `grid`.
            pairs: Which pair of maps each warp is for.

        Returns:
            What each leaves, position by position.
        """
        blocks = [vars(self._read(*block)).values() for block in self._blocks(places, pairs)]
        return Readings(*(torch.cat(parts) for parts in zip(*blocks, strict=True)))

    def _blocks(self, warps: Tensor, pairs: Tensor) -> Iterable[tuple[Tensor, Tensor]]:
        size = max(1, self.warps_at_once)
        return zip(torch.split(warps, size), torch.split(pairs, size), strict=True)

    def _of(self, values: Tensor, pairs: Tensor) -> Tensor:
        """What belongs to the positions of some pairs; one for all, where all have the same."""
        return values if self.points.dim() == 2 else values[pairs]

    def _places(self, warps: Tensor, pairs: Tensor) -> Tensor:
        """Where affine warps read, in index coordinates."""
        # an index is the pixels from the map's middle, plus the middle's own index, last / 2
        index_warps = warps * self.grid.scale
        index_warps[:, :, 2] += self.grid.last[:, 0] / 2
        return index_warps @ self._of(self.points, pairs)

    @abstractmethod
    def _read(self, places: Tensor, pairs: Tensor) -> Readings: ...

    @abstractmethod
    def _error(self, places: Tensor, pairs: Tensor) -> Tensor: ...


def isotropic_from_normalised(height: int, width: int) -> Float[Tensor, "3 3"]:
    """Map normalised to isotropic coordinates.

    Args:
        height: Height of the full map, in cells.
        width: Width of the full map, in cells.

    Returns:
        A 3 x 3 diagonal matrix, float64.
    """
    longer = max(height, width)
    # normalised x is 1 at the right edge, width / 2 pixels from the centre; an isotropic unit is
    # longer / 2 pixels: x (width / 2) / (longer / 2)
    return torch.diag(torch.tensor([width / longer, height / longer, 1.0], dtype=torch.float64))


class Grid:
    """Positions of a (perhaps coarser) map in isotropic coordinates, and the way to its cells.

    Args:
        size: Height and width of the map, in cells.
        full_size: Those of the map that it is a coarser copy of.
        like: A tensor of the type that all of it is to have.
    """

    def __init__(self, size: tuple[int, int], full_size: tuple[int, int], like: Tensor) -> None:
        height, width = size
        self.width = width
        longer = max(full_size)
        # pixels of this map per isotropic unit, x before y: half the longer side of the full map,
        # times the share of its pixels that this map has left
        self.scale = like.new_tensor([
            [width / 2 * longer / full_size[1]],
            [height / 2 * longer / full_size[0]],
        ])
        self.last = like.new_tensor([[width - 1.0], [height - 1.0]])
        # homogeneous, row by row: (3, position)
        x = torch.arange(width).to(like) - (width - 1) / 2
        y = torch.arange(height).to(like) - (height - 1) / 2
        x, y = x.repeat(height) / self.scale[0], y.repeat_interleave(width) / self.scale[1]
        self.points = torch.stack([x, y, torch.ones_like(x)])

    def corners(
        self, places: Float[Tensor, "warp 2 position"]
    ) -> tuple[
        Int[Tensor, "warp position"],
        Float[Tensor, "warp 2 position"],
        Float[Tensor, "warp 2 position"],
    ]:
        """Find the cells that are read.

        Args:
            places: Index coordinates, x before y.

        Returns:
            Flat numbers of their top left corners; the fractions of the places within them; index
            units per isotropic unit, 0 where the place is clamped to the border.
        """
        # beyond the border the sampler repeats it: what is read no longer depends on the warp
        clamped = torch.minimum(places.clamp(min=0), self.last)
        units = (places == clamped).to(places).mul_(self.scale)
        # the last row and column are the far sides (fraction 1) of the last cells
        corner = torch.minimum(clamped.floor(), self.last - 1)
        flat = torch.add(corner[:, 0], corner[:, 1], alpha=self.width).long()
        return flat, clamped.sub_(corner), units


def _moments(points: Tensor) -> Tensor:
    """(..., position, 6): 1, x, y, x^2, x y, y^2 of points (..., 3, position)."""
    x, y, one = points.unbind(-2)
    return torch.stack([one, x, y, x * x, x * y, y * y], dim=-1)


_OUTER = torch.tensor([[3, 4, 1], [4, 5, 2], [1, 2, 0]])
"""Which of the moments is which product of (x, y, 1) with itself."""


def _assemble(read: Readings, moments: Tensor) -> Normal:
    """Sum over positions."""
    # A warp with rows X, Y reads p at (X p, Y p), p = (x, y, 1). With G_x, G_y the derivatives of
    # the reading there and r the residual, J has G_x p^T in the columns of X and G_y p^T in those
    # of Y, so that
    #     J^T r = (sum <G_x, r> p, sum <G_y, r> p),
    #     J^T J = [[sum <G_x, G_x> p p^T, sum <G_x, G_y> p p^T], [..., sum <G_y, G_y> p p^T]].
    # p p^T has six different entries, the moments, so one matrix product sums everything
    second = read.products @ moments
    xx, xy, yy = second[..., _OUTER.to(second.device)].unbind(1)
    matrix = torch.cat([torch.cat([xx, xy], dim=-1), torch.cat([xy, yy], dim=-1)], dim=-2)
    # the first three moments are (1, x, y), and p is (x, y, 1)
    gradient = (read.slopes @ moments[..., :3])[..., [1, 2, 0]].flatten(1)
    return Normal(error=read.error.sum(-1), gradient=gradient, matrix=matrix)


class InnerProducts(Objective):
    """The squared error from a table of inner products; see the module's docstring.

    Args:
        reference: Reference maps F.
        moved: Moved maps G, at least 2 x 2.
        mask: 1 in the region, 0 outside.
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
        self.grid = Grid((height, width), full_size, reference)
        self.mask = mask.flatten(1)
        self.positions = height * width
        self.warps_at_once = _BLOCK // self.positions
        # <F(p), G(q)> of all positions p and q, p before q
        self.cross = (reference.flatten(2).transpose(1, 2) @ moved.flatten(2)).flatten()
        self.squares = reference.square().sum(1).flatten(1)
        # inside a cell with corners G_00, G_10 (right), G_01 (below) and G_11 the reading
        #     (1 - u)(1 - v) G_00 + u (1 - v) G_10 + (1 - u) v G_01 + u v G_11
        # is  a + u b + v c + u v d:
        a = moved[:, :, :-1, :-1]
        b = moved[:, :, :-1, 1:] - a
        c = moved[:, :, 1:, :-1] - a
        d = moved[:, :, 1:, 1:] - a - b - c
        bc = (b * c).sum(1)
        gram = torch.stack([
            *((a * corner).sum(1) for corner in (a, b, c)),
            (a * d).sum(1) + bc,  # always used together: both go with u v
            (b * b).sum(1),
            bc,
            (c * c).sum(1),
            *((d * corner).sum(1) for corner in (b, c, d)),
        ])
        # stored at every position, so that one index serves both tables
        table = gram.new_zeros(10, pairs, height, width)
        table[:, :, :-1, :-1] = gram
        self.gram = table.reshape(10, -1)
        self.points = self.grid.points
        self.moments = _moments(self.points)

    def _look_up(self, corner: Tensor, pairs: Tensor) -> tuple[Tensor, ...]:
        """Coefficients of the error inside the cells at which warps read."""
        # |a - f + u b + v c + u v d|^2 = e + 2 u p + 2 v q + 2 u v r + u^2 bb + v^2 cc
        #                                 + 2 u^2 v bd + 2 u v^2 cd + u^2 v^2 dd
        # with  e = |a - f|^2, p = <a - f, b>, q = <a - f, c>, r = <a - f, d> + <b, c>,
        # the square of a sum of four terms: u b times v c goes with u v, as does a - f times u v d
        n, width = self.positions, self.grid.width
        start = pairs[:, None] * n
        cell = (corner + start).flatten()
        aa, ab, ac, ad_bc, bb, bc, cc, bd, cd, dd = self.gram.index_select(1, cell).view(
            10, *corner.shape
        )
        # row p of the pair's cross products, which lies at (n pair + p) n; its entries at the
        # cell's corners are <f, G_00> = <f, a>, ...
        at = corner.add_((torch.arange(n, device=pairs.device) + start) * n)
        fa, right, below, across = (self.cross.take(at + k) for k in (0, 1, width, width + 1))
        # <f, c> = below - fa, <f, b> = right - fa, <f, d> = across - right - below + fa
        q = ac.sub_(below).add_(fa)
        p = ab.sub_(right).add_(fa)
        r = ad_bc.sub_(across).add_(right).add_(below).sub_(fa)
        e = aa.add_(fa, alpha=-2).add_(self.squares[pairs])
        return e, p, q, r, bb, bc, cc, bd, cd, dd

    def _error(self, places: Tensor, pairs: Tensor) -> Tensor:
        corner, fractions, _ = self.grid.corners(places)
        u, v = fractions.unbind(1)
        e, p, q, r, bb, _, cc, bd, cd, dd = self._look_up(corner, pairs)
        # grouped as  e + u (2 t + u |b + v d|^2) + v (2 q + v cc),  t = p + v (r + v cd),
        # where  |b + v d|^2 = bb + v (2 bd + v dd)
        along = torch.addcmul(bd.mul_(2), v, dd)
        t = torch.addcmul(p, v, torch.addcmul(r, v, cd))
        e.addcmul_(u, torch.addcmul(t.mul_(2), u, torch.addcmul(bb, v, along)))
        e.addcmul_(v, torch.addcmul(q.mul_(2), v, cc))
        return e.mul_(self.mask[pairs]).sum(-1)

    def _read(self, places: Tensor, pairs: Tensor) -> Readings:
        corner, fractions, units = self.grid.corners(places)
        u, v = fractions.unbind(1)
        e, p, q, r, bb, bc, cc, bd, cd, dd = self._look_up(corner, pairs)
        # the derivatives of the reading by u and v are  G_u = b + v d  and  G_v = c + u d
        du = torch.addcmul(bd, v, dd)  # <d, G_u>
        dv = torch.addcmul(cd, u, dd)  # <d, G_v>
        mask = self.mask[pairs]
        units.mul_(mask[:, None])
        unit_x, unit_y = units.unbind(1)
        products = torch.empty(len(u), 3, self.positions, dtype=u.dtype, device=u.device)
        xx, xy, yy = products.unbind(1)
        # |G_u|^2 = bb + 2 v bd + v^2 dd = bb + v (<d, G_u> + bd), and |G_v|^2 likewise;
        # <G_u, G_v> = <b, c + u d> + v <d, G_v>
        torch.addcmul(bb, v, du.add_(bd), out=xx)
        torch.addcmul(torch.addcmul(bc, u, bd), v, dv, out=xy)
        torch.addcmul(cc, u, dv.add_(cd), out=yy)
        # half the derivatives of the error, with the residual  a - f + u b + v c + u v d;  sorted
        # by u and by v they are
        #     <G_u, residual> = t + u |G_u|^2,            t = p + v (r + v cd),
        #     <G_v, residual> = q + u (r + u bd) + v |G_v|^2
        t = torch.addcmul(p, v, torch.addcmul(r, v, cd))
        slopes = torch.empty_like(fractions)
        torch.addcmul(t, u, xx, out=slopes[:, 0])
        torch.addcmul(torch.addcmul(q, u, torch.addcmul(r, u, bd)), v, yy, out=slopes[:, 1])
        # as in `_error`, where  2 t + u |G_u|^2 = t + <G_u, residual>
        e.addcmul_(u, t.add_(slopes[:, 0]))
        e.addcmul_(v, torch.addcmul(q.mul_(2), v, cc))
        # from index to isotropic units, by the chain rule: a unit more in the warp's row X moves
        # u by unit_x, so G_x = unit_x G_u; the mask, 0 or 1, is in the units already
        xx.mul_(unit_x).mul_(unit_x)
        xy.mul_(unit_x).mul_(unit_y)
        yy.mul_(unit_y).mul_(unit_y)
        return Readings(e.mul_(mask), slopes.mul_(units), products)


class Residuals(Objective):
    """The squared error from the channels themselves, over chosen positions of each pair.

    Args:
        reference: Reference maps F.
        moved: Moved maps G, at least 2 x 2.
        positions: Flat numbers of the positions that count.
        mask: 1 where they lie in the region, else 0.
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
        self.grid = Grid((height, width), full_size, reference)
        self.size = height * width
        self.mask = mask
        self.points = self.grid.points[:, positions].transpose(0, 1)
        self.moments = _moments(self.points)
        row = torch.arange(len(reference), device=reference.device)[:, None] * self.size
        # channels last: a position's vector is contiguous
        self.target = reference.flatten(2).transpose(1, 2).reshape(-1, channels)[row + positions]
        self.warps_at_once = 4 * _BLOCK // self.target[0].numel()
        self.source = moved.flatten(2).transpose(1, 2).reshape(-1, channels)

    def _corners(self, corner: Tensor, pairs: Tensor) -> tuple[Tensor, ...]:
        """Vectors at the four corners of the cells at which warps read, row by row."""
        width = self.grid.width
        corner = corner + pairs[:, None] * self.size
        return tuple(
            self.source.index_select(0, (corner + k).flatten()).view(*corner.shape, -1)
            for k in (0, 1, width, width + 1)
        )

    def _error(self, places: Tensor, pairs: Tensor) -> Tensor:
        corner, fractions, _ = self.grid.corners(places)
        u, v = fractions[:, 0, :, None], fractions[:, 1, :, None]
        nw, ne, sw, se = self._corners(corner, pairs)
        read = torch.lerp(torch.lerp(nw, ne, u), torch.lerp(sw, se, u), v)
        residual = read.sub_(self.target[pairs])
        return _dot(residual, residual).mul_(self.mask[pairs]).sum(-1)

    def _read(self, places: Tensor, pairs: Tensor) -> Readings:
        corner, fractions, units = self.grid.corners(places)
        nw, ne, sw, se = self._corners(corner, pairs)
        u, v = fractions[:, 0, :, None], fractions[:, 1, :, None]
        top, bottom = torch.lerp(nw, ne, u), torch.lerp(sw, se, u)
        # the reading is linear in each fraction: its derivative by u is the slope along the top
        # and bottom sides, mixed by v, and by v the step from top to bottom
        g_u = torch.lerp(ne.sub_(nw), se.sub_(sw), v)
        g_v = bottom.sub_(top)
        residual = torch.addcmul(top, v, g_v).sub_(self.target[pairs])
        mask = self.mask[pairs]
        unit_x, unit_y = units.mul_(mask[:, None]).unbind(1)
        products = torch.stack(
            [
                _dot(g_u, g_u) * unit_x * unit_x,
                _dot(g_u, g_v) * unit_x * unit_y,
                _dot(g_v, g_v) * unit_y * unit_y,
            ],
            dim=1,
        )
        slopes = torch.stack([_dot(g_u, residual), _dot(g_v, residual)], dim=1).mul_(units)
        return Readings(_dot(residual, residual).mul_(mask), slopes, products)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    products: Tensor = torch.linalg.vecdot(a, b)
    return products


def spread_order(cells: int, count: int | None) -> Int[Tensor, " cell"]:
    """Say in which order positions are chosen.

    Args:
        cells: How many there are.
        count: How many are to be chosen; None for all.

    Returns:
        Their numbers, the same at every call.
    """
    if count is None:
        return torch.arange(cells)
    # multiples of the golden section, modulo 1, fill an interval evenly at any length
    return ((torch.arange(cells) * 0.6180339887498949) % 1.0).argsort(stable=True)


def shrunk_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Say how large maps are once they are averaged down.

    Args:
        size: Their height and width, in cells.
        side: Their longest side after it.

    Returns:
        Height and width, at least 2 each.
    """
    height, width = (max(2, round(n * side / max(size))) for n in size)
    return height, width


@dataclass(frozen=True, kw_only=True)
class Level:
    """Maps on which warps are compared: the full ones, or coarser copies of them.

    Attributes:
        reference: Reference maps F.
        moved: Moved maps G.
        mask: 1 in the region, 0 outside.
        full_size: Height and width of the full maps, in cells.
        count: On how many positions of the region, spread evenly over it; None for all of them.
    """

    reference: Float[Tensor, "pair channel height width"]
    moved: Float[Tensor, "pair channel height width"]
    mask: Float[Tensor, "pair height width"]
    full_size: tuple[int, int]
    count: int | None = None

    def shrunk(self, side: int) -> "Level":
        """Average the maps down.

        Args:
            side: Their longest side after it, in cells.

        Returns:
            Coarser maps, at least 2 x 2; in their region are cells more than half of which was in
            it.
        """
        size = shrunk_size(self.full_size, side)
        reference, moved, mask = (
            F.adaptive_avg_pool2d(maps, size)
            for maps in (self.reference, self.moved, self.mask[:, None])
        )
        mask = (mask[:, 0] > 0.5).to(mask)
        return replace(self, reference=reference, moved=moved, mask=mask)

    def widened(self) -> "Level":
        """Take maps that are one cell wide as two equal cells, as reading is between cells."""
        shape = tuple(max(2, n) for n in self.reference.shape[-2:])
        if shape == self.reference.shape[-2:]:
            return self
        reference, moved, mask = (
            F.interpolate(maps, size=shape)
            for maps in (self.reference, self.moved, self.mask[:, None])
        )
        return replace(self, reference=reference, moved=moved, mask=mask[:, 0])

    def chosen(self) -> tuple[Int[Tensor, "pair position"], Bool[Tensor, "pair position"]]:
        """Choose positions, those of the region first, the same at every call.

        Returns:
            Their flat numbers, and whether each lies in the region.
        """
        inside = self.mask.flatten(1) > 0
        most = self.count or max(1, int(inside.sum(1).max()))
        order = spread_order(inside.shape[1], self.count).to(inside.device)
        positions = order[(~inside[:, order]).to(self.mask).argsort(dim=1, stable=True)[:, :most]]
        return positions, inside.gather(1, positions)

    def objective(self) -> Objective:
        """Prepare to judge warps in torch.

        Returns:
            By inner products where all positions count, else by the channels.
        """
        if self.count is None:
            return InnerProducts(self.reference, self.moved, self.mask, self.full_size)
        positions, inside = self.chosen()
        weight = inside.to(self.mask)
        return Residuals(self.reference, self.moved, positions, weight, self.full_size)
