"""Lower bounds on what all warps of a box of parameters leave.

Where a warp reads is linear in its parameters (`families`), so over a box of them each position
reads from a rectangle, and the error is a sum over positions of functions of that rectangle alone.
Two kinds of minorant are used:

- Constants. The moved map is cut into cells, and each cell into `subdivisions` squared; bilinear
  reading inside such a part mixes the values at its own corners. A table holds the squared distance
  of each position to the hull of each part, and range minima over it give the smallest among the
  parts that a rectangle touches. These are good for large boxes; their error is of the order of the
  boxes' width.
- Quadratics. Within a cell the residual is r + g s + h t + d s t, r the residual at the rectangle's
  middle, g and h the slopes of the reading there, d its twist, s and t the steps to the right and
  down. Its square is |r|^2 + 2 <r, g> s + 2 <r, h> t + 2 <r, d> s t + |(g s + h t) + d s t|^2, and
  as 2 <x, y> >= -k |x|^2 - |y|^2 / k it is at least

      |r|^2 + 2 <r, g> s + 2 <r, h> t + (1 - k) |g s + h t|^2
            - 2 |<r, d>| |s t| - (1 / k - 1) |d|^2 s^2 t^2      for any 0 < k < 1.

  Sums of these over positions are convex quadratics in the parameters, whose slopes cancel where
  the warp is best: their error is of the order of the boxes' width squared, without which six
  parameters could not be enclosed. Where a rectangle meets several cells the tangents of all of
  them are combined; beyond the border, where reading is clamped, slopes across it are 0.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from invariance_probe.alignment.solver import Normal
from invariance_probe.certificates import any_warp
from invariance_probe.certificates.families import Family
from invariance_probe.certificates.range_minima import RangeMinima

SHARE = 0.2
"""k of the module's docstring."""

_SLACK = 1e-5
"""In pixels: how far rounding may move a reading, by `coordinates.LATTICE_TOLERANCE` or by a
sampling grid in float32 on maps of up to 64 cells; rectangles are widened by it."""


@dataclass(frozen=True, kw_only=True)
class Quadratic:
    """A convex quadratic  constant + <slope, x> + <x, curvature x>  a box, x from its centre.

    Attributes:
        constant: Its value at the centre.
        slope: Its gradient there.
        curvature: Half its second derivative, not negative.
    """

    constant: Float[Tensor, " box"]
    slope: Float[Tensor, "box parameter"]
    curvature: Float[Tensor, "box parameter parameter"]

    def least(self, halves: Float[Tensor, "box parameter"]) -> Float[Tensor, " box"]:
        """Bound from below over boxes.

        A few sweeps of coordinate descent come near the minimum; the tangent plane there, which a
        convex function never undercuts, is minimised over the box exactly.

        Args:
            halves: Half sides of the boxes.

        Returns:
            A value that is nowhere undercut in the box.
        """
        # along parameter j the derivative is pull + 2 stiff * step: the quadratic is least where it
        # vanishes, or at the side of the box on the way there
        x = torch.zeros_like(self.slope)
        diagonal = torch.diagonal(self.curvature, dim1=-2, dim2=-1)
        stiff = torch.where(diagonal > 0, diagonal, torch.ones_like(diagonal))
        for _ in range(_SWEEPS):
            for j in range(x.shape[1]):
                pull = self.slope[:, j] + 2 * (self.curvature[:, j] * x).sum(1)
                x[:, j] = (x[:, j] - pull / (2 * stiff[:, j])).clamp(-halves[:, j], halves[:, j])
        # q(y) >= q(x) + <tilt, y - x> for all y, tilt = grad q(x); <tilt, y> is least at a corner
        bent = (self.curvature @ x[:, :, None])[:, :, 0]
        value = self.constant + ((self.slope + bent) * x).sum(1)
        tilt = self.slope + 2 * bent
        return value - (tilt * x).sum(1) - (tilt.abs() * halves).sum(1)


_SWEEPS = 4

_FINE, _FINE_SHARE = 1.0, 0.25
"""Half sides of a rectangle, in cells, up to which it may have tangents; share of a box's
rectangles that must be so for them to be worth their price."""


class Minorants:
    """What the warps of a box leave at least, for one pair of maps.

    Args:
        wanted: Reference vectors at the region's positions, float64.
        moved: The moved map, float64, at least 2 x 2.
        family: Where boxes make the positions read.
    """

    def __init__(
        self,
        wanted: Float[Tensor, "position channel"],
        moved: Float[Tensor, "channel moved_height moved_width"],
        family: Family,
    ) -> None:
        self.family = family
        self.height, self.width = moved.shape[1:]
        # a reading inside a cell is  a + u b + v c + u v d  (see `objectives.InnerProducts`)
        a, right, below, across = any_warp.quarters(moved)
        b, c = right - a, below - a
        d = across - below - b
        corners = [each.flatten(1) for each in (a, b, c, d)]
        a, b, c, d = corners
        apart = (wanted.square().sum(1)[:, None] - 2 * wanted @ a + a.square().sum(0)).clamp_(min=0)
        terms = [apart, *((a * each).sum(0) - wanted @ each for each in (b, c, d))]
        self.own = torch.stack(terms, -1).flatten(0, 1)
        """|a - f|^2, <a - f, b>, <a - f, c>, <a - f, d>; a row a position and cell."""
        pairs = ((b, b), (b, c), (c, c), (b, d), (c, d), (d, d))
        self.gram = torch.stack([(one * other).sum(0) for one, other in pairs], -1)
        self.table = RangeMinima(wanted, moved)
        # a sum of C products is off by about C roundings of its largest; a value adds several
        scale = wanted.square().sum(1).max() + moved.square().sum(0).max()
        rounding = 64 * torch.finfo(torch.float64).eps * (wanted.shape[1] + 8)
        self.rounding = float(rounding * scale * len(wanted))
        """How far sums over all positions may be off."""

    def lower(
        self,
        centres: Float[Tensor, "box parameter"],
        halves: Float[Tensor, "box parameter"],
        enough: float = math.inf,
    ) -> Float[Tensor, " box"]:
        """Bound what any warp of a box leaves.

        Args:
            centres: Middles of the boxes.
            halves: Their half sides.
            enough: Boxes whose constants prove this much are not looked at any further.

        Returns:
            Sums of (WG - F)^2 over the region that no warp of the box undercuts.
        """
        # a box sends a position to a polygon; the rectangle around it can only lower the bound
        middles, sides = self.family.rectangles(centres, halves)
        sides = sides + _SLACK
        constant = self.table.least(middles, sides)
        total = constant.sum(1, dtype=torch.float64)
        # tangents say little where most rectangles span several cells
        fine = (sides.amax(0) <= _FINE).double().mean(1) >= _FINE_SHARE
        rows = torch.nonzero(fine & (total - self.rounding < enough)).flatten()
        if len(rows):
            quadratic = self._sum(middles[:, rows], sides[:, rows], constant[rows])
            total[rows] = torch.maximum(total[rows], quadratic.least(halves[rows]))
        return total - self.rounding

    def quadratic(
        self, centres: Float[Tensor, "box parameter"], halves: Float[Tensor, "box parameter"]
    ) -> Quadratic:
        """Give the quadratics that no warp of a box undercuts anywhere, but for rounding.

        Args:
            centres: Middles of the boxes.
            halves: Their half sides.

        Returns:
            One for each box.
        """
        middles, sides = self.family.rectangles(centres, halves)
        sides = sides + _SLACK
        return self._sum(middles, sides, self.table.least(middles, sides))

    def at(self, parameters: Float[Tensor, "warp parameter"]) -> Normal:
        """Expand the error about warps.

        Args:
            parameters: Of the warps.

        Returns:
            What the warps leave, exactly, and its normal equations.
        """
        middles, _ = self.family.rectangles(parameters, torch.zeros_like(parameters))
        here = self._sum(middles, torch.zeros_like(middles), None)
        # over boxes without extent the quadratic is the error itself, but for the share k of the
        # Gauss-Newton matrix; its slope is the whole derivative, a `Normal`'s gradient half of it
        return Normal(
            error=here.constant, gradient=here.slope / 2, matrix=here.curvature / (1 - SHARE)
        )

    def _sum(self, middles: Tensor, sides: Tensor, constant: Tensor | None) -> Quadratic:
        """Sum the positions' quadratics; `constant` serves where a rectangle is too wide."""
        x, y = (
            _Span.along(m, s, n)
            for m, s, n in zip(middles, sides, (self.width, self.height), strict=True)
        )
        position = torch.arange(middles.shape[2]).expand_as(middles[0])
        # rectangles that meet at most 2 x 2 cells, each in one part
        narrow = x.narrow & y.narrow
        if constant is None:
            narrow = torch.ones_like(narrow)
        pieces = [
            _Piece(
                self,
                number,
                torch.nonzero((narrow & x.has(i) & y.has(j)).flatten()).flatten(),
                position,
                x,
                y,
                i,
                j,
            )
            for number, (i, j) in enumerate(((0, 0), (1, 0), (0, 1), (1, 1)))
        ]
        size = middles[0].numel()
        # One plane has to stay below all parts of a rectangle. Any slope would do; the mean of the
        # parts' own, by area, comes near them all. Its height at the rectangle's middle is what
        # the part that is worst for it allows.
        weight = middles.new_zeros(size)
        slopes = middles.new_zeros(2, size)
        for piece in pieces:
            weight.index_add_(0, piece.at, piece.area)
            for slope, own in zip(slopes, piece.slopes, strict=True):
                slope.index_add_(0, piece.at, piece.area * own)
        slopes /= torch.where(weight > 0, weight, torch.ones_like(weight))
        value = middles.new_full((size,), torch.inf)
        for piece in pieces:
            value[piece.at] = torch.minimum(value[piece.at], piece.value(slopes[:, piece.at]))
        # Within one cell the curvature can be kept as well, at the price of the bow. Across cells
        # it cannot, as each has its own, but neither need the bow be paid: |g s + h t + d s t|^2,
        # which both stand for, is at least 0
        alone = (narrow & (x.pieces == 0) & (y.pieces == 0)).flatten()
        curved = middles.new_zeros(3, size)
        first = pieces[0]
        curved[:, first.at] = first.curvature * alone[first.at]
        value[first.at] -= first.bow * alone[first.at]
        if constant is not None:
            # a constant that is above the tangent's middle is the better of the two
            flat = constant.flatten().to(value)
            worse = ~narrow.flatten() | (flat > value)
            value = torch.where(worse, flat, value)
            slopes.masked_fill_(worse, 0)
            curved.masked_fill_(worse, 0)
        # From steps (s, t) of the reading to steps x of the parameters: s = <jx, x>, t = <jy, x>,
        # exactly, so slopes s_x s + s_y t sum to <sum s_x jx + s_y jy, x>, and
        # |g s + h t|^2 = |g|^2 s^2 + 2 <g, h> s t + |h|^2 t^2 to <x, curvature x>
        shape = middles.shape[1:]
        jx, jy = self.family.jacobian
        sx, sy = slopes.view(2, *shape)
        xx, xy, yy = (1 - SHARE) * curved.view(3, *shape)
        outer = [
            (one[:, :, None] * other[:, None, :]).flatten(1)
            for one, other in ((jx, jx), (jx, jy), (jy, jx), (jy, jy))
        ]
        curvature = xx @ outer[0] + xy @ (outer[1] + outer[2]) + yy @ outer[3]
        count = self.family.count
        if constant is not None:
            # a plane's height changes as rounding moves the reading along it
            value = value - _SLACK * slopes.abs().sum(0)
        return Quadratic(
            constant=value.view(shape).sum(1),
            slope=sx @ jx + sy @ jy,
            curvature=curvature.view(-1, count, count),
        )


@dataclass(frozen=True)
class _Span:
    """Intervals along one axis, and the cells they meet; -1 and n - 1 lie beyond the border."""

    start: Tensor
    end: Tensor
    middle: Tensor
    first: Tensor
    pieces: Tensor
    length: int

    @classmethod
    def along(cls, middles: Tensor, sides: Tensor, length: int) -> "_Span":
        # an end that lies on a cell's border does not meet the next one
        start, end = middles - sides, middles + sides
        first = start.floor().clamp_(-1, length - 1)
        last = torch.maximum(end.ceil().sub_(1).clamp_(-1, length - 1), first)
        return cls(start, end, middles, first, last - first, length)

    @property
    def narrow(self) -> Tensor:
        return self.pieces <= 1

    def has(self, number: int) -> Tensor:
        return self.pieces >= number

    def piece(self, at: Tensor, number: int) -> tuple[Tensor, ...]:
        """Cell, fraction of its middle, middle, half length and whether it is inside, of pieces."""
        cell = self.first.take(at) + number
        start, end = self.start.take(at), self.end.take(at)
        # the strips beyond the border have no far side
        before, beyond = cell < 0, cell >= self.length - 1
        start = torch.where(before, start, torch.maximum(start, cell))
        end = torch.where(beyond, end, torch.minimum(end, cell + 1))
        middle, half = (start + end) / 2, ((end - start) / 2).clamp_(min=0)
        # what is read there is the border: fraction 0 of the first cell or 1 of the last
        cell = cell.clamp_(0, self.length - 2)
        return cell.long(), (middle - cell).clamp_(0, 1), middle, half, ~(before | beyond)


class _Piece:
    """The tangents of rectangles' parts within one cell each."""

    def __init__(
        self,
        whole: Minorants,
        number: int,
        at: Tensor,
        position: Tensor,
        x: _Span,
        y: _Span,
        i: int,
        j: int,
    ) -> None:
        self.at = at
        cell_x, u, middle_x, self.half_x, inside_x = x.piece(at, i)
        cell_y, v, middle_y, self.half_y, inside_y = y.piece(at, j)
        self.away = middle_x - x.middle.take(at), middle_y - y.middle.take(at)
        cell = cell_y * (whole.width - 1) + cell_x
        row = position.reshape(-1).take(at) * ((whole.width - 1) * (whole.height - 1)) + cell
        e, p, q, r = whole.own[row].unbind(1)
        bb, bc, cc, bd, cd, dd = whole.gram[cell].unbind(1)
        # as in `objectives.InnerProducts`, but for r, which is <a - f, d> alone here
        uv = u * v
        value = (
            e
            + u * (2 * p + u * bb)
            + v * (2 * q + v * cc)
            + 2 * uv * (r + bc + u * bd + v * cd)
            + uv * uv * dd
        )
        self.centre = value.clamp_(min=0)
        # half the derivatives of the value, <residual, g> and <residual, h>, with the residual
        # a - f + u b + v c + u v d, g = b + v d and h = c + u d; `twist` is <residual, d>
        along_x = p + u * bb + v * (r + bc + 2 * u * bd + v * (cd + u * dd))
        along_y = q + v * cc + u * (r + bc + 2 * v * cd + u * (bd + v * dd))
        twist = r + u * bd + v * cd + uv * dd
        # beyond a border steps across it change nothing: s or t, and so s t, count as 0
        inside = (inside_x & inside_y).to(u)
        self.slopes = 2 * along_x * inside_x, 2 * along_y * inside_y
        steps = self.half_x * self.half_y * inside
        # |s t| is at most the product of the half sides in the two terms that are not convex,
        # - 2 |<r, d>| |s t|  and the bow,  - (1 / k - 1) |d|^2 s^2 t^2
        self.centre = self.centre - 2 * twist.abs() * steps
        self.bow = (1 / SHARE - 1) * dd * steps.square()
        # a part without extent has a weight too, where it is all there is
        self.area = (self.half_x + 1e-12) * (self.half_y + 1e-12)
        if number == 0:  # the only part of a rectangle within one cell
            # |g|^2 = |b + v d|^2, <g, h> = <b + v d, c + u d> and |h|^2 = |c + u d|^2
            self.curvature = torch.stack([
                (bb + v * (2 * bd + v * dd)) * inside_x,
                (bc + u * bd + v * cd + uv * dd) * inside,
                (cc + u * (2 * cd + u * dd)) * inside_y,
            ])

    def value(self, slopes: Tensor) -> Tensor:
        """Value at the rectangle's middle of the highest plane with these slopes below the part."""
        # centre + <own, x - m> over the part about m; the plane c + <slopes, x - M> about the
        # rectangle's middle M is below it if
        #     c <= centre - <slopes, m - M> + <own - slopes, x - m>,
        # whose last term is least at a corner of the part
        own_x, own_y = self.slopes
        away_x, away_y = self.away
        return (
            self.centre
            - slopes[0] * away_x
            - slopes[1] * away_y
            - (own_x - slopes[0]).abs() * self.half_x
            - (own_y - slopes[1]).abs() * self.half_y
        )
