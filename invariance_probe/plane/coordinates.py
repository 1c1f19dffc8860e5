"""The one coordinate convention, and the matrices that lead from one kind to another.

Convention:
    Maps are ``(batch, channel, height, width)``. *Index* coordinates ``(x, y)`` count pixels, x to
    the right and y down, with the centre of the first pixel at ``(0, 0)``. *Centred* coordinates
    are index coordinates minus those of the map's centre. *Normalised* coordinates are those of
    `torch.nn.functional.affine_grid` with ``align_corners=False``: the outer edges of the map lie
    at -1 and 1. Matrices are 3 x 3, homogeneous, and act on columns ``(x, y, 1)``; a name like
    ``moved_from_reference`` says from where to where, so that a product reads itself.

    What is done to an image is a *motion*: it says, in centred coordinates, where the *content*
    goes. ``Rotation(30)`` turns it 30 degrees counter-clockwise as displayed, ``Scaling(1.4)``
    makes it larger, and ``t @ u`` does u first, then t. What reads a map is a *pull-back*: it says,
    in normalised coordinates, where each output position reads from, so that the content moves by
    its inverse. Reading through ``a`` and then through ``b`` is reading once through ``a @ b``. A
    *warp* ``theta`` is the first two rows of a pull-back. Reading outside a map returns its nearest
    border value where nothing else is said, as in the papers' code (Finnveden et al.,
    "Understanding when spatial transformer networks do not support invariance").
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

LATTICE_TOLERANCE = 1e-6
"""In pixels. Positions this close to pixel centres are read there, without interpolation."""


def homogeneous(theta: Float[Tensor, "*batch 2 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Append the row ``(0, 0, 1)``.

    Args:
        theta: Matrices of affine maps without their last row.

    Returns:
        The same maps as 3 x 3 matrices, float64.
    """
    last = theta.new_tensor([0.0, 0.0, 1.0]).expand(*theta.shape[:-2], 1, 3)
    return torch.cat([theta, last], dim=-2).double()


def scale_and_shift(
    scale_x: float, scale_y: float, shift_x: float, shift_y: float
) -> Float[Tensor, "3 3"]:
    """Build the map ``(x, y) -> (scale_x x + shift_x, scale_y y + shift_y)``.

    Args:
        scale_x: Factor of x.
        scale_y: Factor of y.
        shift_x: What is added to x.
        shift_y: What is added to y.

    Returns:
        Its 3 x 3 matrix, float64.
    """
    return torch.tensor(
        [[scale_x, 0.0, shift_x], [0.0, scale_y, shift_y], [0.0, 0.0, 1.0]], dtype=torch.float64
    )


def normalised_from_index(height: int, width: int) -> Float[Tensor, "3 3"]:
    """Map index to normalised coordinates: ``x -> (2 x + 1) / width - 1``.

    Args:
        height: Height of the map, in pixels.
        width: Width of the map, in pixels.

    Returns:
        A 3 x 3 matrix, float64.
    """
    return scale_and_shift(2 / width, 2 / height, 1 / width - 1, 1 / height - 1)


def normalised_from_centred(height: int, width: int) -> Float[Tensor, "3 3"]:
    """Map centred to normalised coordinates: ``x -> 2 x / width``.

    Args:
        height: Height of the map, in pixels.
        width: Width of the map, in pixels.

    Returns:
        A 3 x 3 matrix, float64.
    """
    return scale_and_shift(2 / width, 2 / height, 0.0, 0.0)


def index_from_centred(height: int, width: int) -> Float[Tensor, "3 3"]:
    """Map centred to index coordinates: ``x -> x + (width - 1) / 2``.

    Args:
        height: Height of the map, in pixels.
        width: Width of the map, in pixels.

    Returns:
        A 3 x 3 matrix, float64.
    """
    return scale_and_shift(1.0, 1.0, (width - 1) / 2, (height - 1) / 2)


def theta_from_index_matrix(
    index_matrix: Float[Tensor, "*batch 3 3"], height: int, width: int
) -> Float[Tensor, "*batch 2 3"]:
    """Express a pull-back given in index coordinates in normalised ones.

    Args:
        index_matrix: Where each index position reads from, in index coordinates.
        height: Height of both maps, in pixels.
        width: Width of both maps, in pixels.

    Returns:
        The warp as `torch.nn.functional.affine_grid` takes it, float64.
    """
    to_normalised = normalised_from_index(height, width)
    theta = to_normalised @ index_matrix.cpu() @ to_normalised.inverse()
    return theta[..., :2, :].to(index_matrix.device)


def index_matrix_from_theta(
    theta: Float[Tensor, "*batch 2 3"], height: int, width: int
) -> Float[Tensor, "*batch 3 3"]:
    """Invert `theta_from_index_matrix`.

    Args:
        theta: A warp in normalised coordinates.
        height: Height of both maps, in pixels.
        width: Width of both maps, in pixels.

    Returns:
        The same pull-back in index coordinates, float64.
    """
    to_normalised = normalised_from_index(height, width).to(theta.device)
    return to_normalised.inverse() @ homogeneous(theta) @ to_normalised


def read_positions(
    index_matrix: Float[Tensor, "*batch 3 3"], height: int, width: int
) -> tuple[Float[Tensor, "*batch height width"], Float[Tensor, "*batch height width"]]:
    """List where each position of a ``height x width`` output reads from.

    Args:
        index_matrix: A pull-back in index coordinates.
        height: Height of the output, in pixels.
        width: Width of the output, in pixels.

    Returns:
        x and y in index coordinates, float64.
    """
    x = torch.arange(width, dtype=torch.float64, device=index_matrix.device)
    y = torch.arange(height, dtype=torch.float64, device=index_matrix.device)
    return mapped(index_matrix.double(), x, y)


def mapped(
    matrix: Float[Tensor, "*batch 3 3"],
    x: Float[Tensor, " width"],
    y: Float[Tensor, " height"],
) -> tuple[Float[Tensor, "*batch height width"], Float[Tensor, "*batch height width"]]:
    """List where an affine map sends the positions of a grid.

    Args:
        matrix: Any affine map.
        x: Of the columns, in its coordinates.
        y: Of the rows, in its coordinates.

    Returns:
        x and y of the images, in the dtype of the three.
    """
    # Sums of outer terms, in this order: what is exact (whole pixels, quarter turns) stays so. The
    # matrix product of `sampling.affine_grid` is quicker and rounds otherwise in the last place,
    # where each motion that a stored training was perturbed by would come out as another number.
    row = [[matrix[..., i, j, None, None] for j in range(3)] for i in range(2)]
    down = y[:, None]
    return (
        row[0][0] * x + row[0][1] * down + row[0][2],
        row[1][0] * x + row[1][1] * down + row[1][2],
    )


def cell_centres(count: int, like: Float[Tensor, "..."]) -> Float[Tensor, " {count}"]:
    """List where the cells of an axis lie.

    Args:
        count: How many there are.
        like: A tensor of the dtype and on the device that the result is to have.

    Returns:
        Normalised coordinates of their centres.
    """
    return (2 * torch.arange(count, dtype=like.dtype, device=like.device) + 1) / count - 1


def sampling_grid(
    x: Float[Tensor, "*batch out_height out_width"],
    y: Float[Tensor, "*batch out_height out_width"],
    height: int,
    width: int,
) -> Float[Tensor, "*batch out_height out_width 2"]:
    """Turn positions into what `torch.nn.functional.grid_sample` takes.

    Args:
        x: Index coordinates in the map that is read.
        y: Index coordinates in the map that is read.
        height: Height of that map, in pixels.
        width: Width of that map, in pixels.

    Returns:
        Normalised coordinates, x and y last.
    """
    return torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)


def lattice_positions(
    x: Float[Tensor, "height width"], y: Float[Tensor, "height width"]
) -> tuple[Int[Tensor, "height width"], Int[Tensor, "height width"]] | None:
    """Round positions to pixel centres where all of them lie there.

    Args:
        x: Index coordinates.
        y: Index coordinates.

    Returns:
        Column and row numbers, or None if any position lies between pixel centres.
    """
    columns, rows = x.round(), y.round()
    off = torch.maximum((x - columns).abs().max(), (y - rows).abs().max())
    if float(off) > LATTICE_TOLERANCE:
        return None
    return columns.long(), rows.long()


def inside(
    x: Float[Tensor, "*grid"], y: Float[Tensor, "*grid"], height: int, width: int, margin: float
) -> Bool[Tensor, "*grid"]:
    """Tell which positions lie within a map, less a margin.

    Args:
        x: Index coordinates.
        y: Index coordinates.
        height: Height of the map, in pixels.
        width: Width of the map, in pixels.
        margin: Distance to keep from the outer edges, in pixels.

    Returns:
        True where the position is at least `margin` inside the outer edges.
    """
    slack = LATTICE_TOLERANCE
    low, high_x, high_y = margin - 0.5 - slack, width - 0.5 - margin + slack, height - 0.5 - margin
    return (x >= low) & (x <= high_x) & (y >= low) & (y <= high_y + slack)
