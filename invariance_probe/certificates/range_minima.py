"""Minima over rectangles of hull distances, in constant time.

The moved map is cut into cells, and each cell into `subdivisions` squared parts: bilinear reading
inside a part mixes the values at its own four corners. A sparse table keeps the minima over windows
of 2^i x 2^j parts; four overlapping windows cover any rectangle (Bender and Farach-Colton, "The LCA
problem revisited", 2000, section 3, in two dimensions).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from invariance_probe.certificates import any_warp, hulls

_TABLE_ENTRIES = 2**25
"""Range minima that a pair may keep, in float32."""

_MOST_SUBDIVISIONS = 8


class RangeMinima:
    """Smallest hull distance of each position among the parts of cells that a rectangle touches.

    Args:
        wanted: Reference vectors, float64.
        moved: The moved map, float64, at least 2 x 2.
    """

    def __init__(
        self,
        wanted: Float[Tensor, "position channel"],
        moved: Float[Tensor, "channel height width"],
    ) -> None:
        rows, columns = (n - 1 for n in moved.shape[1:])
        # doubled while the next table, an entry a part, position and level, would fit
        self.subdivisions = 1
        while self.subdivisions < _MOST_SUBDIVISIONS:
            parts = 4 * self.subdivisions**2 * rows * columns * len(wanted)
            levels = (2 * self.subdivisions * max(rows, columns)).bit_length() ** 2
            if parts * levels > _TABLE_ENTRIES:
                break
            self.subdivisions *= 2
        k = self.subdivisions
        self.rows, self.columns = rows * k, columns * k
        # corners of cells fall on corners of parts, so inside a part the fine map is read as the
        # coarse one is: bilinear in a cell is bilinear in each part of it
        fine = F.interpolate(
            moved[None], (self.rows + 1, self.columns + 1), mode="bilinear", align_corners=True
        )
        cells = any_warp.Cells(fine)
        # rounding to float32 must not raise a bound
        below = 1 - 2 * torch.finfo(torch.float32).eps
        size = max(1, 2**17 // (self.rows * self.columns))
        chunks = []
        for some in torch.split(wanted, size):
            to_vectors, rounding = cells.distances(some[None])
            corners = any_warp.quarters(to_vectors.view(len(some), self.rows + 1, self.columns + 1))
            found = hulls.squared_distances(corners, cells.between, rounding)
            chunks.append((found.lower * below).float())
        table = torch.cat(chunks)
        # level (i, j) covers 2^i rows and 2^j columns from each part on, cut off at the border
        planes = []
        self.column_levels = self.columns.bit_length()
        for i in range(self.rows.bit_length()):
            if i:
                table = _paired(table, 2 ** (i - 1), 1)
            across = table
            for j in range(self.column_levels):
                if j:
                    across = _paired(across, 2 ** (j - 1), 2)
                planes.append(across)
        self.table = torch.stack(planes)
        self.positions = torch.arange(len(wanted))

    def least(
        self, middles: Float[Tensor, "2 box position"], sides: Float[Tensor, "2 box position"]
    ) -> Float[Tensor, "box position"]:
        """Look up minima over rectangles.

        Args:
            middles: Their middles, x before y, in index coordinates of the moved map.
            sides: Half their sides.

        Returns:
            Squared distances that no reading inside undercuts, float32.
        """
        x0, x1, level_x, cut_x = _touched(middles[0], sides[0], self.subdivisions, self.columns)
        y0, y1, level_y, cut_y = _touched(middles[1], sides[1], self.subdivisions, self.rows)
        # The windows of the level begin at the first part and end at the last, in each direction;
        # as 2^level is more than half the width they cover it, and overlaps do no harm to a
        # minimum. `plane` numbers level and position, and then the rows
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
