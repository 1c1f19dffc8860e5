"""Affine maps that positions read from a map are close to."""

import torch
from jaxtyping import Float
from torch import Tensor

from invariance_probe.plane import coordinates


def blocks(
    positions: Float[Tensor, "part height width 2"],
) -> Float[Tensor, "part_or_block _ width 2"]:
    """Part grids that are several affine ones, one below the other.

    So several boxes, or the taps of a convolution, are read at once. Within an affine part steps
    from row to row are all the same; from one part to the next they are not.

    Args:
        positions: Where is read, normalised.

    Returns:
        The parts, of three rows at least; what was given where there are none.
    """
    height = positions.shape[1]
    bend = positions.diff(n=2, dim=1).square().sum((0, 2, 3))
    # beside a jump steps are small, and rounding is nothing
    step = positions.diff(dim=1).square().sum((0, 2, 3)).median()
    if height < 2 * _LEAST or not float(bend.sum()) > float(step):
        return positions
    for count in range(2, height // _LEAST + 1):
        rows, left_over = divmod(height, count)
        if left_over:
            continue
        edges = torch.arange(rows, height, rows, device=bend.device)
        between = float(bend[edges - 1].sum() + bend[edges - 2].sum())
        if between > _BENT * float(bend.sum()):
            return positions.reshape(-1, rows, *positions.shape[2:])
    return positions


_LEAST = 3
"""Rows of a part: of two, nothing is left within them that could be straight."""
_BENT = 0.9
"""Share of the bends that lies between parts. A smooth warp has at most 2 / 3 of them there."""


def pull_backs(
    positions: Float[Tensor, "part height width 2"], read_size: tuple[int, int]
) -> Float[Tensor, "part 3 3"]:
    """Fit affine maps to where is read, by least squares.

    Args:
        positions: Normalised coordinates in what is read.
        read_size: Its height and width, in cells.

    Returns:
        Where each position of the output reads from, in normalised coordinates of what is read: the
        output's cells are taken to be as large, about the same centre, so that an output of half as
        many cells that shows all of a map is that map at half the size. NaN where a position is not
        finite, or the positions do not tell.
    """
    _, height, width, _ = positions.shape
    if min(height, width) < 2:
        return positions.new_full((len(positions), 3, 3), torch.nan)
    y = coordinates.cell_centres(height, positions) * height / read_size[0]
    x = coordinates.cell_centres(width, positions) * width / read_size[1]
    columns, rows = torch.meshgrid(x, y, indexing="xy")
    design = torch.stack([columns, rows, torch.ones_like(rows)], dim=-1).flatten(0, 1)
    theta = (torch.linalg.pinv(design) @ positions.flatten(1, 2)).mT
    return coordinates.homogeneous(theta.where(theta.isfinite(), torch.nan))
