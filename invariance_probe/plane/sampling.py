"""Reading maps at positions between their cells; coordinates are those of `coordinates`.

`warp` is for measuring: positions are computed in float64, and a warp from cells to cells moves
values and interpolates nothing. `resample` is for learning: it passes gradients to the matrices,
takes what a network may predict, and is quick. `sample_spline` is for images, which interpolation
must not blur.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

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
_SPLINE_PADDING = 16
"""Border of the spline filter, in pixels: its impulse response has fallen to 0.27**16 < 1e-9."""


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
    grid = coordinates.sampling_grid(x, y, height, width)
    if bool(off.all()):
        return read(maps, grid, mode=mode)
    warped = torch.empty_like(maps)
    if bool(off.any()):
        warped[off] = read(maps[off], grid[off], mode=mode)
    columns, rows = columns.long().clamp(0, width - 1), rows.long().clamp(0, height - 1)
    for i in torch.nonzero(~off).flatten().tolist():
        warped[i] = maps[i, :, rows[i], columns[i]]
    return warped


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


def spline_coefficients(
    images: Float[Tensor, "batch channel height width"],
    blur: Float[Tensor, "2 2"] | None = None,
) -> Float[Tensor, "batch channel padded_height padded_width"]:
    """Compute the cubic B-spline coefficients of images, blurred first if asked.

    The spline filter and the Gaussian are applied as one product in the Fourier domain (Unser,
    "Splines: a perfect fit for signal and image processing", 1999); the border is extended with its
    nearest values.

    Args:
        images: Images to interpolate.
        blur: Covariance of the Gaussian, in square pixels, rows and columns in the order x, y.

    Returns:
        Coefficients with a border of 16 pixels all round, to be read by `sample_spline`.
    """
    p = _SPLINE_PADDING
    padded = F.pad(images, (p, p, p, p), mode="replicate")
    omega_y, omega_x = _frequencies(padded)
    response = ((4 + 2 * torch.cos(omega_y)) / 6) * ((4 + 2 * torch.cos(omega_x)) / 6)
    gain = 1 / response
    if blur is not None:
        gain = gain * _gaussian_response(omega_x, omega_y, blur)
    return _filtered(padded, gain)


def blurred(
    maps: Float[Tensor, "batch channel height width"], covariance: Float[Tensor, "2 2"]
) -> Float[Tensor, "batch channel height width"]:
    """Convolve maps with a Gaussian; the border is extended with its nearest values.

    Args:
        maps: Maps to blur.
        covariance: Of the Gaussian, in square cells, rows and columns in the order x, y.

    Returns:
        Blurred maps.
    """
    p = math.ceil(4 * float(covariance.diagonal().max()) ** 0.5) + 1
    padded = F.pad(maps, (p, p, p, p), mode="replicate")
    omega_y, omega_x = _frequencies(padded)
    smooth = _filtered(padded, _gaussian_response(omega_x, omega_y, covariance))
    return smooth[..., p:-p, p:-p]


def _frequencies(images: Tensor) -> tuple[Tensor, Tensor]:
    """Angular frequencies along y (a column) and x of a real Fourier transform."""
    height, width = images.shape[-2:]
    like = {"device": images.device, "dtype": images.dtype}
    omega_y = 2 * math.pi * torch.fft.fftfreq(height, **like)
    return omega_y[:, None], 2 * math.pi * torch.fft.rfftfreq(width, **like)


def _filtered(images: Tensor, gain: Tensor) -> Tensor:
    """Multiply by a real, symmetric gain in the Fourier domain."""
    spectrum: Tensor = torch.fft.rfft2(images)
    filtered: Tensor = torch.fft.irfft2(spectrum * gain, s=images.shape[-2:])
    return filtered


def _gaussian_response(omega_x: Tensor, omega_y: Tensor, covariance: Tensor) -> Tensor:
    xx, xy, yy = (float(covariance[i, j]) for i, j in ((0, 0), (0, 1), (1, 1)))
    return torch.exp(-0.5 * (xx * omega_x**2 + 2 * xy * omega_x * omega_y + yy * omega_y**2))


def sample_spline(
    coefficients: Float[Tensor, "batch channel padded_height padded_width"],
    x: Float[Tensor, "height width"],
    y: Float[Tensor, "height width"],
) -> Float[Tensor, "batch channel height width"]:
    """Evaluate cubic B-splines at the same positions in every image.

    The sixteen taps are read as four bilinear ones (Sigg and Hadwiger, "Fast third-order texture
    filtering", GPU Gems 2, 2005), which the B-spline's positive weights allow.

    Args:
        coefficients: What `spline_coefficients` returned.
        x: Index coordinates in the image, before padding.
        y: Index coordinates in the image, before padding.

    Returns:
        Interpolated values.
    """
    height, width = coefficients.shape[-2:]
    taps_x, taps_y = _paired_taps(x + _SPLINE_PADDING), _paired_taps(y + _SPLINE_PADDING)
    total: Tensor | None = None
    for weight_x, at_x in taps_x:
        for weight_y, at_y in taps_y:
            grid = coordinates.sampling_grid(at_x, at_y, height, width)
            grid = grid.to(coefficients).expand(len(coefficients), -1, -1, -1)
            read = F.grid_sample(
                coefficients, grid, mode="bilinear", padding_mode="border", align_corners=False
            )
            term = read * (weight_x * weight_y).to(coefficients)
            total = term if total is None else total.add_(term)
    assert total is not None
    return total


def _paired_taps(position: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Pair the four cubic B-spline taps: two weights, and the positions where bilinear reads."""
    start = position.floor()
    t = position - start
    w0, w1 = (1 - t) ** 3 / 6, (4 - 6 * t**2 + 3 * t**3) / 6
    w2, w3 = (1 + 3 * t + 3 * t**2 - 3 * t**3) / 6, t**3 / 6
    return [(w0 + w1, start - 1 + w1 / (w0 + w1)), (w2 + w3, start + 1 + w3 / (w2 + w3))]
