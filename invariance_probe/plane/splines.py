"""Cubic splines through images and maps, which interpolation must not blur."""

import math
from types import ModuleType

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from invariance_probe.machine import over
from invariance_probe.plane import coordinates, sampling

PADDING = 16
"""Border of coefficients, in pixels: a spline's impulse response has fallen to 0.27**16 < 1e-9."""
_PADDING_OF_KERNELS = 10
"""The same for compiled loops, which are for single precision: 0.27**10 < 2e-6."""


class Spline:
    """Cubic splines through images, whose border is extended with its nearest values.

    Args:
        images: Images to interpolate.
        blur: Covariance of a Gaussian that blurs them first, in square pixels, rows and columns in
            the order x, y; none by default.
    """

    def __init__(
        self,
        images: Float[Tensor, "batch channel height width"],
        blur: Float[Tensor, "2 2"] | None = None,
    ) -> None:
        self._kernels, self._padding = sampling.compiled(images), PADDING
        if self._kernels is None:
            self._found = spline_coefficients(images, blur)
        elif blur is not None:
            self._found = spline_coefficients(images, blur).permute(0, 2, 3, 1).contiguous()
        else:
            self._padding = _PADDING_OF_KERNELS
            self._found = _channels_last(images, self._kernels, self._padding)

    def read(
        self, x: Float[Tensor, "height width"], y: Float[Tensor, "height width"]
    ) -> Float[Tensor, "batch channel height width"]:
        """Evaluate them at the same positions in every image.

        Args:
            x: Index coordinates in the images.
            y: Index coordinates in the images.

        Returns:
            Interpolated values; compiled loops leave a position's channels side by side.
        """
        if self._kernels is None:
            return sample_spline(self._found, x, y)
        count, channels = len(self._found), self._found.shape[-1]
        out = self._found.new_empty(count, *x.shape, channels)
        at = [each.double().flatten().numpy() for each in (x, y)]
        found, into = self._found.numpy(), out.flatten(1, 2).numpy()
        kernels, padding = self._kernels, self._padding
        over(count, lambda i: kernels.spline(found[i], *at, padding, into[i]))
        return out.permute(0, 3, 1, 2)


def _channels_last(
    images: Tensor, kernels: ModuleType, padding: int
) -> Float[Tensor, "batch padded_height padded_width channel"]:
    """Find what `spline_coefficients` does by recursions, with the channels last."""
    count, channels, height, width = images.shape
    found = images.new_empty(count, height + 2 * padding, width + 2 * padding, channels)
    maps, into = images.detach().contiguous().numpy(), found.numpy()
    over(count, lambda i: kernels.coefficients(maps[i], padding, into[i]))
    return found


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
    p = PADDING
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
    taps_x, taps_y = _paired_taps(x + PADDING), _paired_taps(y + PADDING)
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
