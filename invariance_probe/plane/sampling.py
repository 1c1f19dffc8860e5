"""Reading maps at positions between their cells; coordinates are those of `coordinates`.

`warp` is for measuring: positions are computed in float64, and a warp from cells to cells moves
values and interpolates nothing. `resample` is for learning: it passes gradients to the matrices,
takes what a network may predict, and is quick. For images, which interpolation must not blur, there
is `splines`.
"""

from types import ModuleType

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from invariance_probe.machine import loop_threads, over, where_numba_is
from invariance_probe.plane import coordinates

PADDINGS = ("border", "zeros", "reflection")
"""What is read outside the maps: the nearest border value (as in the papers' code), 0, a mirror."""
MODES = ("bilinear", "bicubic")
"""Samplers; ``bilinear`` is the papers', ``bicubic`` has Keys' kernel, a = -0.75."""

FAR = 1e6
"""Entries of matrices are taken to lie within this; what is not a number reads from out there."""

_ALL_BORDER = 2
"""Maps of so few cells a side have no inner one. Where positions are clipped, torch passes no
gradient from the border itself, so that such maps would never be moved from the identity."""
_MAPS_A_CALL = 8
"""So many maps go to a thread at once: a call costs as much as comparing a small map."""


def warp(
    maps: Float[Tensor, "batch channel height width"],
    theta: Float[Tensor, "batch 2 3"],
    *,
    mode: str = "bilinear",
) -> Float[Tensor, "batch channel height width"]:
    """Read maps through affine warps; the output has the size of the input.

    A warp that sends pixel centres to pixel centres (identity, quarter turns, flips, whole-pixel
    shifts) moves pixels and interpolates nothing.

    Args:
        maps: Maps to read from.
        theta: Pull-backs in normalised coordinates, one for each map.
        mode: ``"bilinear"``, the sampler of spatial transformers, or ``"bicubic"`` (Keys' kernel,
            a = -0.75).

    Returns:
        The warped maps, in the dtype of `maps`.
    """
    height, width = maps.shape[-2:]
    matrix = coordinates.index_matrix_from_theta(theta, height, width)
    x, y = coordinates.read_positions(matrix, height, width)
    columns, rows = x.round(), y.round()
    distance = torch.maximum((x - columns).abs(), (y - rows).abs()).amax(dim=(1, 2))
    off = distance > coordinates.LATTICE_TOLERANCE
    if bool(off.all()):
        return _between(maps, x, y, mode)
    warped = torch.empty_like(maps)
    if bool(off.any()):
        warped[off] = _between(maps[off], x[off], y[off], mode)
    columns, rows = columns.long().clamp(0, width - 1), rows.long().clamp(0, height - 1)
    for i in torch.nonzero(~off).flatten().tolist():
        warped[i] = maps[i, :, rows[i], columns[i]]
    return warped


def compared(
    maps: Float[Tensor, "batch channel height width"],
    thetas: Float[Tensor, "batch warp 2 3"],
    reference: Float[Tensor, "batch channel height width"],
    keep: Bool[Tensor, "batch height width"],
    mean: Float[Tensor, "batch channel"],
) -> Float[Tensor, "batch warp 2"] | None:
    """Warp finite maps and sum squares in one go, without writing the warped maps down.

    Args:
        maps: Maps to read from, as `warp` does bilinearly; quickest where channels are last.
        thetas: Pull-backs in normalised coordinates, some for each map.
        reference: What the warped maps are compared with; quickest likewise.
        keep: Positions over which is summed.
        mean: What is taken off each channel.

    Returns:
        Sums over kept positions and channels, float64: of squares of what is read, less the mean,
        and of its differences from the reference; None where no compiled loops may do it.
    """
    kernels = compiled(maps, thetas, reference)
    if kernels is None:
        return None
    height, width = maps.shape[-2:]
    matrices = coordinates.index_matrix_from_theta(thetas, height, width)[:, :, :2].flatten(2)
    sums = torch.empty(*thetas.shape[:2], 2, dtype=torch.float64)
    by_cell = (each.detach().permute(0, 2, 3, 1).flatten(1, 2) for each in (maps, reference))
    kept, means = keep.flatten(1).to(maps), mean.to(maps)
    arrays = [each.contiguous().numpy() for each in (*by_cell, means, kept, matrices, sums)]
    step = max(1, min(_MAPS_A_CALL, -(-len(maps) // loop_threads())))

    def run(part: int) -> None:
        some = (each[step * part : step * (part + 1)] for each in arrays)
        kernels.compared(*some, (height, width), coordinates.LATTICE_TOLERANCE)

    over(-(-len(maps) // step), run)
    return sums


def _between(maps: Tensor, x: Tensor, y: Tensor, mode: str) -> Tensor:
    """Read maps between their cells: in compiled loops where these may, else as `read` does."""
    height, width = maps.shape[-2:]
    kernels = compiled(maps, x, y) if mode == "bilinear" else None
    if kernels is None:
        return read(maps, coordinates.sampling_grid(x, y, height, width), mode=mode)
    out = torch.empty_like(maps, memory_format=torch.contiguous_format)
    cells, into = maps.detach().flatten(2).contiguous().numpy(), out.flatten(2).numpy()
    at_x, at_y = x.detach().flatten(1).numpy(), y.detach().flatten(1).numpy()
    over(len(maps), lambda i: kernels.bilinear(cells[i], at_x[i], at_y[i], height, width, into[i]))
    return out


def compiled(maps: Tensor, *given: Tensor) -> ModuleType | None:
    """Find the compiled loops that may read some maps.

    Args:
        maps: The maps.
        *given: What says where they are read.

    Returns:
        `kernels`; None for maps that are not float32 on the CPU, where a gradient is wanted, and
        without numba.
    """
    if maps.device.type != "cpu" or maps.dtype != torch.float32:
        return None
    wanted = torch.is_grad_enabled() and any(each.requires_grad for each in (maps, *given))
    return None if wanted else _kernels()


@where_numba_is
def _kernels() -> ModuleType:
    from invariance_probe.plane import kernels

    return kernels


def read(
    maps: Float[Tensor, "batch channel height width"],
    grid: Float[Tensor, "batch out_height out_width 2"],
    *,
    mode: str = "bilinear",
) -> Float[Tensor, "batch channel out_height out_width"]:
    """Read maps at any positions; beyond the border the nearest value is read.

    Args:
        maps: Maps to read from.
        grid: Positions in normalised coordinates, x and y last.
        mode: As of `warp`.

    Returns:
        What is read, in the dtype of `maps`.
    """
    # half precision quantises coordinates to a tenth of a pixel and worse
    wide = maps.to(torch.promote_types(maps.dtype, torch.float32))
    found = F.grid_sample(
        wide, grid.to(wide), mode=mode, padding_mode="border", align_corners=False
    )
    return found.to(maps.dtype)


def resample(
    maps: Float[Tensor, "batch channel height width"],
    pull_backs: Float[Tensor, "batch 3 3"],
    *,
    mode: str = "bilinear",
    padding: str = "border",
    size: tuple[int, int] | None = None,
) -> Float[Tensor, "batch channel new_height new_width"]:
    """Read maps through affine pull-backs, differentiably in both.

    Args:
        maps: Maps to read from.
        pull_backs: A matrix for each, in normalised coordinates.
        mode: One of `MODES`.
        padding: One of `PADDINGS`.
        size: Height and width of what is returned, in cells; by default those of `maps`.

    Returns:
        Warped maps, in the dtype of `maps`.
    """
    with torch.autocast(maps.device.type, enabled=False):
        # half precision quantises coordinates to a tenth of a pixel and worse
        wide = maps if maps.dtype == torch.float64 else maps.float()
        # torch reads and writes out of bounds at coordinates that are not numbers
        rows = pull_backs[:, :2].to(wide).nan_to_num(nan=FAR).clamp(-FAR, FAR)
        grid = affine_grid(rows, *(size or maps.shape[-2:]))
        if padding == "border" and mode == "bilinear" and min(maps.shape[-2:]) <= _ALL_BORDER:
            wide, grid = _framed(wide, grid)
        read = F.grid_sample(wide, grid, mode=mode, padding_mode=padding, align_corners=False)
    return read.to(maps.dtype)


def affine_grid(
    rows: Float[Tensor, "batch 2 3"], height: int, width: int
) -> Float[Tensor, "batch height width 2"]:
    """List where pull-backs read, differentiably: `torch.nn.functional.affine_grid`.

    Args:
        rows: Pull-backs without their last row.
        height: Height of the output, in cells.
        width: Width of the output, in cells.

    Returns:
        Normalised coordinates, in the dtype of `rows`.
    """
    # One matrix product for the whole batch, and one for its gradient: 3 to 13 times as fast as the
    # sums of `coordinates.mapped`, from 12 to 60 cells a side, and 5 to 15 times as `affine_grid`.
    x = coordinates.cell_centres(width, rows).expand(height, width)
    y = coordinates.cell_centres(height, rows)[:, None].expand(height, width)
    grid = rows.reshape(-1, 3) @ torch.stack([x, y, torch.ones_like(x)]).view(3, -1)
    return grid.view(-1, 2, height, width).permute(0, 2, 3, 1)


def _framed(maps: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """The border repeated once around maps, and where the same values now lie."""
    height, width = maps.shape[-2:]
    shrunk = grid.new_tensor([width / (width + 2), height / (height + 2)])
    return F.pad(maps, (1, 1, 1, 1), mode="replicate"), grid * shrunk
