"""The one coordinate convention: matrices between pixels and grids, and the samplers.

Convention:
    Maps are ``(batch, channel, height, width)``. *Index* coordinates ``(x, y)`` count pixels, x to
    the right and y down, with the centre of the first pixel at ``(0, 0)``. *Centred* coordinates
    are index coordinates minus those of the map's centre. *Normalised* coordinates are those of
    `torch.nn.functional.affine_grid` with ``align_corners=False``: the outer edges of the map lie
    at -1 and 1. Matrices are 3 x 3, homogeneous, float64, and act on columns ``(x, y, 1)``; a name
    like ``moved_from_reference`` says from where to where, so that a product reads itself. A warp
    ``theta`` (2 x 3, normalised) is a pull-back: it says where each output position reads from.
    Reading outside a map returns its nearest border value, as in the papers' code (Finnveden et
    al., "Understanding when spatial transformer networks do not support invariance").
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

LATTICE_TOLERANCE = 1e-6
"""In pixels. Positions this close to pixel centres are read there, without interpolation."""

_SPLINE_PADDING = 16
"""Border of the spline filter, in pixels: its impulse response has fallen to 0.27**16 < 1e-9."""


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
    m = index_matrix.double()
    x = torch.arange(width, dtype=torch.float64, device=m.device)
    y = torch.arange(height, dtype=torch.float64, device=m.device)[:, None]
    row = [[m[..., i, j, None, None] for j in range(3)] for i in range(2)]
    return (
        row[0][0] * x + row[0][1] * y + row[0][2],
        row[1][0] * x + row[1][1] * y + row[1][2],
    )


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
    x, y = read_positions(index_matrix_from_theta(theta, height, width), height, width)
    columns, rows = x.round(), y.round()
    off = torch.maximum((x - columns).abs(), (y - rows).abs()).amax(dim=(1, 2)) > LATTICE_TOLERANCE
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1).to(maps)
    if bool(off.all()):
        return F.grid_sample(maps, grid, mode=mode, padding_mode="border", align_corners=False)
    warped = torch.empty_like(maps)
    if bool(off.any()):
        warped[off] = F.grid_sample(
            maps[off], grid[off], mode=mode, padding_mode="border", align_corners=False
        )
    columns, rows = columns.long().clamp(0, width - 1), rows.long().clamp(0, height - 1)
    for i in torch.nonzero(~off).flatten().tolist():
        warped[i] = maps[i, :, rows[i], columns[i]]
    return warped


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
            grid = torch.stack([(2 * at_x + 1) / width - 1, (2 * at_y + 1) / height - 1], dim=-1)
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
