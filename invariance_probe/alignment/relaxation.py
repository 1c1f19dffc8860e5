"""Lower bounds on what all warps of a box of parameters leave.

Convention:
    Warps are pull-backs  phi(p) = L O (p - m) + t  in index coordinates, p a position of the
    reference, m the middle of its region, O the linear part of the oracle, and
    L = [[e + f, g - h], [g + h, e - f]]. The parameters are (e, h, t_x, t_y) of a similarity and
    (e, h, t_x, t_y, f, g) of an affine warp; L has the singular values  hypot(e, h) +- hypot(f, g).
    Index and isotropic coordinates share their linear parts (see `solver`).

phi(p) is linear in the parameters, so over a box each position reads from a rectangle, and the
error is a sum over positions of functions of that rectangle alone. Two kinds of minorant are used:

- Constants. The moved map is cut into cells, and each cell into `subdivisions` squared; bilinear
  reading inside such a part mixes the values at its own corners. A table holds the squared distance
  of each position to the hull of each part, and range minima over it give the smallest among the
  parts that a rectangle touches. These are good for large boxes; their error is of the order of the
  boxes' width.
- Quadratics. Within a cell a reading is r + a s + b t + d s t about the rectangle's middle, r the
  residual there, a and b the slopes, s and t the steps, so that its square is at least

      |r|^2 + 2 <r, a> s + 2 <r, b> t + (1 - k) |a s + b t|^2
            - 2 |<r, d>| |s t| - (1 / k - 1) |d|^2 s^2 t^2      for any 0 < k < 1.

  Sums of these over positions are convex quadratics in the parameters, whose slopes cancel where
  the warp is best: their error is of the order of the boxes' width squared, without which six
  parameters could not be enclosed. Where a rectangle meets several cells the tangents of all of
  them are combined; beyond the border, where reading is clamped, slopes across it are 0.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from invariance_probe import geometry
from invariance_probe.alignment import bounds, hulls

PARAMETERS = {"similarity": 4, "affine": 6}
"""Families of warps and their numbers of parameters."""

SHARE = 0.2
"""k of the module's docstring."""

_TABLE_ENTRIES = 2**25
"""Range minima that a pair may keep, in float32."""

_MOST_SUBDIVISIONS = 8

_SLACK = 1e-5
"""In pixels: how far rounding may move a reading, by `geometry.LATTICE_TOLERANCE` or by a sampling
grid in float32 on maps of up to 64 cells; rectangles are widened by it."""


class Family:
    """The parameters of a family of warps about an oracle, and where they make positions read.

    Args:
        family: A key of `PARAMETERS`.
        oracle: The oracle's warp, normalised.
        region: Positions that count, at least one.
        moved_size: Height and width of the moved map.
        max_distortion: Largest singular value of L; the smallest is its reciprocal.
    """

    def __init__(
        self,
        family: str,
        oracle: Float[Tensor, "2 3"],
        region: Bool[Tensor, "height width"],
        moved_size: tuple[int, int],
        max_distortion: float,
    ) -> None:
        self.size = region.shape[0], region.shape[1]
        self.limit = max_distortion
        self.count = PARAMETERS[family]
        self.oracle = geometry.index_matrix_from_theta(oracle, *self.size)
        rows, columns = torch.nonzero(region, as_tuple=True)
        points = torch.stack([columns, rows], -1).double()
        self.middle = points.mean(0)
        x, y = ((points - self.middle) @ self.oracle[:2, :2].T).unbind(1)
        one, zero = torch.ones_like(x), torch.zeros_like(x)
        jacobian = [
            torch.stack([x, -y, one, zero, x, y], -1),
            torch.stack([y, x, zero, one, -y, x], -1),
        ]
        self.jacobian = torch.stack(jacobian)[..., : self.count]
        """Derivatives of x and y by the parameters, (2, position, parameter)."""
        reach = max_distortion * float(torch.hypot(x, y).max())
        bend = (max_distortion - 1 / max_distortion) / 2
        last_y, last_x = (max(1, n - 1) for n in moved_size)
        # a shift that sends all positions beyond one border changes nothing by going farther
        low = [-max_distortion, -max_distortion, -reach, -reach, -bend, -bend]
        high = [max_distortion, max_distortion, last_x + reach, last_y + reach, bend, bend]
        self.low, self.high = x.new_tensor([low, high])[:, : self.count]
        self.travel = self.jacobian.square().sum(0).mean(0).sqrt()
        """Root mean square path of the positions, in pixels, per unit of each parameter."""

    def rectangles(self, centres: Tensor, halves: Tensor) -> tuple[Tensor, Tensor]:
        """Where boxes make positions read: middles and half sides, (2, box, position) each."""
        middles = centres @ self.jacobian.mT
        return middles, halves @ self.jacobian.abs().mT

    def meets(self, centres: Tensor, halves: Tensor) -> Tensor:
        """Tell which boxes may hold a warp within the limits of distortion."""
        far = centres.abs() + halves
        near = (centres.abs() - halves).clamp(min=0)
        least = torch.hypot(near[:, 0], near[:, 1])
        most = torch.hypot(far[:, 0], far[:, 1])
        bend = torch.hypot(near[:, 4], near[:, 5]) if self.count == 6 else torch.zeros_like(least)
        slack = 1 + 1e-6
        return (least + bend <= self.limit * slack) & (most - bend >= 1 / self.limit / slack)

    def theta(self, parameters: Float[Tensor, "warp parameter"]) -> Float[Tensor, "warp 2 3"]:
        """Express warps in normalised coordinates.

        Args:
            parameters: Of warps.

        Returns:
            Pull-backs.
        """
        matrix = torch.eye(3).to(parameters).repeat(len(parameters), 1, 1)
        linear = self.linear(parameters) @ self.oracle[:2, :2]
        matrix[:, :2, :2] = linear
        matrix[:, :2, 2] = parameters[:, 2:4] - linear @ self.middle
        return geometry.theta_from_index_matrix(matrix, *self.size)

    def linear(self, parameters: Tensor) -> Tensor:
        """L of warps, (warp, 2, 2)."""
        e, h = parameters[:, 0], parameters[:, 1]
        f = parameters[:, 4] if self.count == 6 else torch.zeros_like(e)
        g = parameters[:, 5] if self.count == 6 else torch.zeros_like(e)
        return torch.stack([torch.stack([e + f, g - h], -1), torch.stack([g + h, e - f], -1)], -2)

    def parameters(self, theta: Float[Tensor, "warp 2 3"]) -> Float[Tensor, "warp parameter"]:
        """Invert `theta`; what a similarity cannot express is dropped.

        Args:
            theta: Pull-backs, normalised.

        Returns:
            Parameters of the nearest warps in the family.
        """
        matrix = geometry.index_matrix_from_theta(theta, *self.size)
        linear = matrix[:, :2, :2] @ self.oracle[:2, :2].inverse()
        shift = matrix[:, :2, :2] @ self.middle + matrix[:, :2, 2]
        return self.from_linear(linear, shift)

    def from_linear(self, linear: Tensor, shift: Tensor) -> Tensor:
        """Parameters of warps given by L (warp, 2, 2) and t (warp, 2)."""
        (a, b), (c, d) = (row.unbind(-1) for row in linear.unbind(-2))
        every = [(a + d) / 2, (c - b) / 2, *shift.unbind(-1), (a - d) / 2, (b + c) / 2]
        return torch.stack(every[: self.count], -1)


@dataclass(frozen=True, kw_only=True)
class Quadratic:
    """A convex quadratic  constant + <slope, x> + <x, curvature x>  for each box, x from its centre.

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
        x = torch.zeros_like(self.slope)
        diagonal = torch.diagonal(self.curvature, dim1=-2, dim2=-1)
        stiff = torch.where(diagonal > 0, diagonal, torch.ones_like(diagonal))
        for _ in range(_SWEEPS):
            for j in range(x.shape[1]):
                pull = self.slope[:, j] + 2 * (self.curvature[:, j] * x).sum(1)
                x[:, j] = (x[:, j] - pull / (2 * stiff[:, j])).clamp(-halves[:, j], halves[:, j])
        bent = (self.curvature @ x[:, :, None])[:, :, 0]
        value = self.constant + ((self.slope + bent) * x).sum(1)
        tilt = self.slope + 2 * bent
        return value - (tilt * x).sum(1) - (tilt.abs() * halves).sum(1)


_SWEEPS = 4


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
        a, right, below, across = bounds.quarters(moved)
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
        self.table = _RangeMinima(wanted, moved)
        scale = wanted.square().sum(1).max() + moved.square().sum(0).max()
        rounding = 64 * torch.finfo(torch.float64).eps * (wanted.shape[1] + 8)
        self.rounding = float(rounding * scale * len(wanted))
        """How far sums over all positions may be off."""

    def lower(
        self, centres: Float[Tensor, "box parameter"], halves: Float[Tensor, "box parameter"]
    ) -> Float[Tensor, " box"]:
        """Bound what any warp of a box leaves.

        Args:
            centres: Middles of the boxes.
            halves: Their half sides.

        Returns:
            Sums of (WG - F)^2 over the region that no warp of the box undercuts.
        """
        middles, sides = self.family.rectangles(centres, halves)
        sides = sides + _SLACK
        constant = self.table.least(middles, sides)
        total = constant.sum(1, dtype=torch.float64)
        quadratic = self._quadratic(middles, sides, constant)
        return torch.maximum(total, quadratic.least(halves)) - self.rounding

    def at(self, parameters: Float[Tensor, "warp parameter"]) -> Quadratic:
        """Expand the error about warps.

        Args:
            parameters: Of the warps.

        Returns:
            Value, gradient and the Gauss-Newton matrix, times 1 - k.
        """
        middles, _ = self.family.rectangles(parameters, torch.zeros_like(parameters))
        return self._quadratic(middles, torch.zeros_like(middles), None)

    def _quadratic(self, middles: Tensor, sides: Tensor, constant: Tensor | None) -> Quadratic:
        """Sum the positions' quadratics; `constant` serves where a rectangle is too wide."""
        x, y = (_Span.along(m, s, n) for m, s, n in zip(
            middles, sides, (self.width, self.height), strict=True
        ))
        position = torch.arange(middles.shape[2]).expand_as(middles[0])
        narrow = x.narrow & y.narrow
        if constant is None:
            narrow = torch.ones_like(narrow)
        pieces = [
            _Piece(self, number, torch.nonzero((narrow & x.has(i) & y.has(j)).flatten()).flatten(),
                   position, x, y, i, j)
            for number, (i, j) in enumerate(((0, 0), (1, 0), (0, 1), (1, 1)))
        ]
        size = middles[0].numel()
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
    """Intervals along one axis, and the cells that they meet; -1 and n - 1 lie beyond the border."""

    start: Tensor
    end: Tensor
    middle: Tensor
    first: Tensor
    pieces: Tensor
    length: int

    @classmethod
    def along(cls, middles: Tensor, sides: Tensor, length: int) -> "_Span":
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
        before, beyond = cell < 0, cell >= self.length - 1
        start = torch.where(before, start, torch.maximum(start, cell))
        end = torch.where(beyond, end, torch.minimum(end, cell + 1))
        middle, half = (start + end) / 2, ((end - start) / 2).clamp_(min=0)
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
        uv = u * v
        value = (
            e
            + u * (2 * p + u * bb)
            + v * (2 * q + v * cc)
            + 2 * uv * (r + bc + u * bd + v * cd)
            + uv * uv * dd
        )
        self.centre = value.clamp_(min=0)
        # half the derivatives of the value; `twist` is <residual, d>
        along_x = p + u * bb + v * (r + bc + 2 * u * bd + v * (cd + u * dd))
        along_y = q + v * cc + u * (r + bc + 2 * v * cd + u * (bd + v * dd))
        twist = r + u * bd + v * cd + uv * dd
        inside = (inside_x & inside_y).to(u)
        self.slopes = 2 * along_x * inside_x, 2 * along_y * inside_y
        steps = self.half_x * self.half_y * inside
        self.centre = self.centre - 2 * twist.abs() * steps
        self.bow = (1 / SHARE - 1) * dd * steps.square()
        self.area = (self.half_x + 1e-12) * (self.half_y + 1e-12)
        if number == 0:
            self.curvature = torch.stack([
                (bb + v * (2 * bd + v * dd)) * inside_x,
                (bc + u * bd + v * cd + uv * dd) * inside,
                (cc + u * (2 * cd + u * dd)) * inside_y,
            ])

    def value(self, slopes: Tensor) -> Tensor:
        """Value at the rectangle's middle of the highest plane with these slopes below the part."""
        own_x, own_y = self.slopes
        away_x, away_y = self.away
        return (
            self.centre
            - slopes[0] * away_x
            - slopes[1] * away_y
            - (own_x - slopes[0]).abs() * self.half_x
            - (own_y - slopes[1]).abs() * self.half_y
        )


class _RangeMinima:
    """Smallest hull distance of each position among the parts of cells that a rectangle touches."""

    def __init__(self, wanted: Tensor, moved: Tensor) -> None:
        rows, columns = (n - 1 for n in moved.shape[1:])
        self.subdivisions = 1
        while self.subdivisions < _MOST_SUBDIVISIONS:
            parts = 4 * self.subdivisions**2 * rows * columns * len(wanted)
            levels = (2 * self.subdivisions * max(rows, columns)).bit_length() ** 2
            if parts * levels > _TABLE_ENTRIES:
                break
            self.subdivisions *= 2
        k = self.subdivisions
        self.rows, self.columns = rows * k, columns * k
        fine = F.interpolate(
            moved[None], (self.rows + 1, self.columns + 1), mode="bilinear", align_corners=True
        )
        cells = bounds.Cells(fine)
        below = 1 - 2 * torch.finfo(torch.float32).eps
        size = max(1, 2**17 // (self.rows * self.columns))
        parts = []
        for some in torch.split(wanted, size):
            to_vectors, rounding = cells.distances(some[None])
            corners = bounds.quarters(to_vectors.view(len(some), self.rows + 1, self.columns + 1))
            found = hulls.squared_distances(corners, cells.between, rounding)
            parts.append((found.lower * below).float())
        table = torch.cat(parts)
        # level (i, j) covers 2^i rows and 2^j columns from each part on, cut off at the border
        levels = []
        self.column_levels = self.columns.bit_length()
        for i in range(self.rows.bit_length()):
            if i:
                table = _paired(table, 2 ** (i - 1), 1)
            across = table
            for j in range(self.column_levels):
                if j:
                    across = _paired(across, 2 ** (j - 1), 2)
                levels.append(across)
        self.table = torch.stack(levels)
        self.positions = torch.arange(len(wanted))

    def least(self, middles: Tensor, sides: Tensor) -> Tensor:
        """Minima over rectangles, (box, position), float32."""
        x0, x1, level_x, cut_x = _touched(middles[0], sides[0], self.subdivisions, self.columns)
        y0, y1, level_y, cut_y = _touched(middles[1], sides[1], self.subdivisions, self.rows)
        plane = (level_y * self.column_levels + level_x) * len(self.positions) + self.positions
        plane *= self.rows
        x1, y1 = x1 - cut_x, y1 - cut_y
        corners = [
            self.table.take((plane + y) * self.columns + x) for y in (y0, y1) for x in (x0, x1)
        ]
        return torch.minimum(
            torch.minimum(corners[0], corners[1]), torch.minimum(corners[2], corners[3])
        )


def _paired(table: Tensor, step: int, dim: int) -> Tensor:
    """Minimum of each entry and the one `step` farther; the last ones stay alone."""
    kept = table.shape[dim] - step
    near, far = table.narrow(dim, 0, kept), table.narrow(dim, step, kept)
    return torch.cat([torch.minimum(near, far), table.narrow(dim, kept, step)], dim)


def _touched(
    middles: Tensor, sides: Tensor, subdivisions: int, parts: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """First and last part that intervals touch, the level that covers them, its width less one."""
    first = ((middles - sides) * subdivisions).floor_().clamp_(0, parts - 1)
    last = ((middles + sides) * subdivisions).ceil_().sub_(1).clamp_(0, parts - 1)
    last = torch.maximum(first, last)
    level = (last - first + 1).log2().floor_()
    return first.long(), last.long(), level.long(), (level.exp2() - 1).long()
