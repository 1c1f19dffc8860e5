"""From weights and a spectrum to the residual that a warp leaves, and the measurement to compare.

Frequencies are in cycles per pixel (x, y). A filter bank is an array of C kernels, k x k,
correlated with the image as torch does, its taps at whole pixels about the kernel's centre. The
transform of such a filter is continued to all frequencies.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Complex128, Float64
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from proofs.worlds.plane_maps import Matrix, inverse, move, square

Bank = Float64[np.ndarray, "channels k k"]
Grey = Float64[np.ndarray, "side side"]
Frequencies = Float64[np.ndarray, "n 2"]
"""Rows (x, y): frequencies, or positions."""

RADIUS, STEP = 80.0, 2
"""Of the disc in which maps are compared, and the spacing of its positions, in pixels."""
OVERSAMPLING = 2
"""Images are moved at half-pixel spacing, where interpolating them costs next to nothing."""


def frequency_grid(side: int) -> Frequencies:
    """The frequencies of a discrete Fourier transform.

    Args:
        side: width and height of the image.

    Returns:
        side^2 x 2, in the order of `numpy.fft.fft2` of a (y, x) array, flattened.
    """
    f = np.fft.fftfreq(side)
    return square(f)


def one_of_each_pair(
    frequencies: Frequencies, power: Float64[np.ndarray, "n"]
) -> tuple[Float64[np.ndarray, "kept 2"], Float64[np.ndarray, "kept"]]:
    """Leave out w where -w is on the grid too; filters and images are real, so both count alike.

    Args:
        frequencies: from `frequency_grid` of an even side.
        power: S at each of them, even in the frequency.

    Returns:
        Frequencies with power, and their power, doubled where -w was left out.
    """
    x, y = frequencies.T
    # -1/2 is there without 1/2, and 0 is its own negative
    single = (x == -0.5) | (y == -0.5) | ((x == 0) & (y == 0))
    kept = (power > 0) & (single | (y > 0) | ((y == 0) & (x > 0)))
    return frequencies[kept], np.where(single, 1, 2)[kept] * power[kept]


def taps(width: int) -> Float64[np.ndarray, "taps 2"]:
    """Where the taps of a kernel lie.

    Args:
        width: k.

    Returns:
        k^2 x 2 displacements (x, y) from the centre, row by row.
    """
    side = np.arange(width) - (width - 1) / 2
    return square(side)


def response(bank: Bank, frequencies: Frequencies) -> Complex128[np.ndarray, "channels n"]:
    """What each filter makes of a wave exp(2 pi i w x): the factor L(w).

    Args:
        bank: C x k x k kernels.
        frequencies: n x 2.

    Returns:
        C x n complex factors.
    """
    # correlation: sum_t l(t) exp(2 pi i w (x + t)) = L(w) exp(2 pi i w x). The exponential is a
    # product over x and y, so 2 k of them do for k^2 taps; and as the weights are real, pairs of
    # numbers can stand for complex ones
    width = bank.shape[-1]
    side = np.arange(width) - (width - 1) / 2
    x, y = np.exp(2j * np.pi * frequencies.T[:, None] * side[:, None])
    phase = (y[:, None] * x).reshape(width**2, -1)
    return np.asarray((bank.reshape(len(bank), -1) @ phase.view(np.float64)).view(np.complex128))


def transported(frequencies: Frequencies, h: Matrix) -> Frequencies:
    """Where the transform of U l = abs(det h) l(h .) reads the transform of l.

    Args:
        frequencies: w, n x 2.
        h: linear map.

    Returns:
        h^-T w, n x 2.
    """
    # with t = h y,  int abs(det h) l(h y) exp(2 pi i w y) dy = int l(t) exp(2 pi i w (h^-1 t)) dt,
    # and w (h^-1 t) = (h^-T w) t
    return move(inverse(h).T, frequencies)


def covariances(
    bank: Bank,
    frequencies: Frequencies,
    power: Float64[np.ndarray, "n"],
    transforms: Sequence[Matrix],
) -> Float64[np.ndarray, "transforms channels 3"]:
    """Second moments of each channel before, after, and between, for zero-mean stationary noise.

    Args:
        bank: C x k x k kernels.
        frequencies: n x 2.
        power: S at each of them, not negative.
        transforms: linear maps h of the image; the maps are warped back by them.

    Returns:
        E F^2, E W^2, E F W for each h and channel, with F the features of f and W those of T_h f,
        warped back.
    """

    # Stationary noise is a sum of waves exp(2 pi i w x) of independent amplitudes and power S(w). A
    # linear layer multiplies each by L(w), and one that is warped back by L(h^-T w); moments of
    # two such maps at one position are sums of S times one factor times the other's conjugate
    def moment(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.asarray((one.real * other.real + one.imag * other.imag) @ power)

    before = response(bank, frequencies)
    unmoved = moment(before, before)
    moments = []
    for h in transforms:
        after = response(bank, transported(frequencies, h))
        moments.append([unmoved, moment(after, after), moment(before, after)])
    return np.array(moments).swapaxes(1, 2)


def linear_residual(
    moments: Float64[np.ndarray, "*any 3"],
) -> Float64[np.ndarray, "*any"]:
    """The spectral law: relative mean squared residual of a linear layer.

    Args:
        moments: from `covariances`.

    Returns:
        E (W - F)^2 / E F^2.
    """
    before, after, between = np.moveaxis(moments, -1, 0)
    # E (W - F)^2 = int S abs(L(h^-T w) - L(w))^2 dw, expanded
    return np.asarray((before + after - 2 * between) / before)


def rectified_product(
    before: Float64[np.ndarray, "*#any"],
    after: Float64[np.ndarray, "*#any"],
    between: Float64[np.ndarray, "*#any"],
) -> Float64[np.ndarray, "..."]:
    """E ReLU(F) ReLU(W) of jointly Gaussian, zero-mean F and W: the first-order arc-cosine kernel.

    Source: Cho and Saul, "Kernel methods for deep learning" (NIPS 2009), section 2.

    Args:
        before: E F^2.
        after: E W^2.
        between: E F W.

    Returns:
        sigma_F sigma_W (sin t + (pi - t) cos t) / (2 pi), t the angle with cosine the correlation.
    """
    # F = sigma_F <a, z>, W = sigma_W <b, z> for white z in the plane and unit vectors a, b at angle
    # t. Both are positive in a wedge of angle pi - t, where  <a, z> <b, z> = |z|^2 (cos t + cos 2s)
    # / 2, s the direction of z from the wedge's middle. E |z|^2 = 2, and over the wedge the mean of
    # the bracket is  (1 / 2 pi) ((pi - t) cos t + sin(pi - t)),  sin(pi - t) = sin t.
    product = np.sqrt(before * after)
    # rounding can take a correlation beyond 1
    t = np.arccos(np.clip(between / product, -1, 1))
    return np.asarray(product * (np.sin(t) + (np.pi - t) * np.cos(t)) / (2 * np.pi))


def rectified_residual(
    moments: Float64[np.ndarray, "*any 3"],
) -> Float64[np.ndarray, "*any"]:
    """P13b: relative mean squared residual after ReLU, for Gaussian images.

    Args:
        moments: from `covariances`.

    Returns:
        E (ReLU W - ReLU F)^2 / E (ReLU F)^2.
    """
    before, after, between = np.moveaxis(moments, -1, 0)
    # half of a symmetric variable's square is on either side: E ReLU(F)^2 = E F^2 / 2
    product = rectified_product(before, after, between)
    return np.asarray((before / 2 + after / 2 - 2 * product) / (before / 2))


def noise_power(frequencies: Frequencies, cut: float) -> Float64[np.ndarray, "n"]:
    """The spectrum of 1/f noise: power proportional to 1 / abs(w)^2, no mean, nothing above a cut.

    Args:
        frequencies: n x 2.
        cut: cycles per pixel.

    Returns:
        S, n values.
    """
    squared = (frequencies**2).sum(axis=1)
    kept = (squared > 0) & (squared <= cut**2)
    return np.where(kept, 1 / np.where(squared > 0, squared, 1), 0.0)


def noise(side: int, cut: float, seed: int) -> Grey:
    """Periodic Gaussian noise with the spectrum of `noise_power`.

    Args:
        side: width and height.
        cut: cycles per pixel.
        seed: of the generator.

    Returns:
        One image of variance 1 on average.
    """
    return shaped_noise(noise_power(frequency_grid(side), cut), seed)


def shaped_noise(power: Float64[np.ndarray, "n"], seed: int) -> Grey:
    """Periodic Gaussian noise with a given spectrum.

    Args:
        power: S on `frequency_grid`, even in the frequency.
        seed: of the generator.

    Returns:
        One image of variance 1 on average.
    """
    # numpy's fft2 of N x N white pixels has power N^2 at each frequency; ifft2 divides by N^2, so
    # pixels have variance  sum (N^2 S / sum S N^2) / N^4 = 1
    side = math.isqrt(len(power))
    white = np.fft.fft2(np.random.default_rng(seed).standard_normal((side, side)))
    shaped = white * np.sqrt(power / power.sum()).reshape(side, side) * side
    return np.asarray(np.fft.ifft2(shaped).real)


def periodogram(images: Sequence[Grey]) -> Float64[np.ndarray, "n"]:
    """The mean power spectrum of images, seen through a Hann window.

    Args:
        images: equal squares.

    Returns:
        S on `frequency_grid`, without the mean.
    """
    side = len(images[0])
    window = np.outer(np.hanning(side), np.hanning(side))
    spectra = [np.abs(np.fft.fft2((f - np.average(f, weights=window)) * window)) for f in images]
    # the mean was taken off under the window; what is left of it at frequency 0 is rounding
    power = np.mean(np.square(spectra), axis=0).ravel()
    power[0] = 0
    return np.asarray(power)


def oversampled(image: Grey) -> Float64[np.ndarray, "fine fine"]:
    """The band-limited interpolation of a periodic image at half-pixel spacing.

    Args:
        image: side x side, side even.

    Returns:
        2 side x 2 side.
    """
    side = len(image)
    spectrum = np.fft.fftshift(np.fft.fft2(image))
    # shifted, frequency 0 is at side / 2; padded by half a side, at side, the middle of the new
    # spectrum. Frequency -1/2 stays without its twin, 1/2: the real part is the mean of both. ifft2
    # divides by the number of its pixels, OVERSAMPLING^2 times as many as there were
    padded = np.pad(spectrum, side * (OVERSAMPLING - 1) // 2)
    return np.asarray(np.fft.ifft2(np.fft.ifftshift(padded)).real * OVERSAMPLING**2)


def moved_image(fine: Float64[np.ndarray, "fine fine"], h: Matrix, side: int) -> Grey:
    """T_h of a periodic image about its centre, by cubic spline interpolation.

    Args:
        fine: spline coefficients (`scipy.ndimage.spline_filter`) of the oversampled image.
        h: linear map.
        side: width and height of the part about the centre that is wanted.

    Returns:
        side x side pixels, the centre at index side // 2.
    """
    index = np.arange(side, dtype=np.float64) - side // 2
    # (T_h f)(x) = f(h^-1 x); scipy wants (y, x) and counts from the corner
    source = OVERSAMPLING * move(inverse(h), square(index))
    values = ndimage.map_coordinates(
        fine, source.T[::-1] + len(fine) // 2, order=3, mode="grid-wrap", prefilter=False
    )
    return np.asarray(values.reshape(side, side))


def disc(radius: float, step: int) -> Frequencies:
    """Whole-pixel positions in a disc about the centre.

    Args:
        radius: in pixels.
        step: spacing in pixels.

    Returns:
        n x 2 positions (x, y).
    """
    side = np.arange(-math.floor(radius), math.floor(radius) + 1, dtype=np.float64)
    side = side[side % step == 0]
    positions = square(side)
    inside: Frequencies = positions[(positions**2).sum(axis=1) <= radius**2]
    return inside


def feature_maps(pixels: Grey, bank: Bank, stride: int) -> Float64[Tensor, "channels rows rows"]:
    """A forward pass of a linear layer.

    Args:
        pixels: the image.
        bank: C x k x k kernels, k odd.
        stride: of the layer.

    Returns:
        C maps; the middle pixel's output is the middle of the map where the stride divides its
        index.
    """
    reach = (bank.shape[-1] - 1) // 2
    padded = functional.pad(torch.from_numpy(pixels)[None, None], (reach,) * 4, mode="circular")
    return functional.conv2d(padded, torch.from_numpy(bank)[:, None], stride=stride)[0]


def read_at(
    maps: Float64[Tensor, "channels rows rows"], positions: Frequencies, stride: int
) -> Float64[np.ndarray, "channels n"]:
    """Read maps at positions by bicubic interpolation.

    Args:
        maps: from `feature_maps`.
        positions: in pixels about the centre.
        stride: of the layer.

    Returns:
        C x n features.
    """
    side = maps.shape[-1]
    # From indices to grid_sample's coordinates, whose -1 and 1 are the outer edges: pixel i of
    # `side` is 2 / side wide and has its middle at (2 i + 1) / side - 1.
    index = positions / stride + side // 2
    grid = torch.from_numpy((2 * index + 1) / side - 1)[None, None]
    read = functional.grid_sample(
        maps[None], grid, mode="bicubic", padding_mode="border", align_corners=False
    )
    return np.asarray(read[0, :, 0].numpy())


def measured_residuals(
    images: Sequence[Grey],
    bank: Bank,
    transforms: Sequence[Matrix],
    *,
    stride: int = 1,
    negatives: bool = False,
    radius: float = RADIUS,
    step: int = STEP,
) -> Float64[np.ndarray, "2 transforms channels"]:
    """Run the layer on images and on moved images, warp back, compare inside a disc.

    As in a network, what is read between the samples of a map is its rectified values.

    Args:
        images: equal squares.
        bank: C x k x k kernels.
        transforms: linear maps of the images.
        stride: of the layer.
        negatives: count each image's negative as well; for noise it is as likely.
        radius: of the disc, pixels.
        step: spacing of the compared positions, pixels.

    Returns:
        Relative mean squared residuals, linear and after ReLU.
    """
    positions = disc(radius, step)
    # what a kernel and bicubic reading (two positions to either side) see beyond a position; whole
    # strides from the centre to the edge keep the centre among the map's positions
    beyond = bank.shape[-1] // 2 + 3 * stride
    sums = np.zeros((len(transforms), 4, len(bank)))
    for image in images:
        fine = ndimage.spline_filter(oversampled(image), 3, mode="grid-wrap")
        reference = feature_maps(image, bank, stride)
        before = read_at(reference, positions, stride)
        for row, h in enumerate(transforms):
            # warped back: the features of T_h f at h x are compared with those of f at x
            there = move(h, positions)
            half = stride * math.ceil((np.abs(there).max() + beyond) / stride)
            part = moved_image(fine, h, min(2 * half, len(image)))
            moved = feature_maps(part, bank, stride)
            after = read_at(moved, there, stride)
            for sign in (1, -1) if negatives else (1,):
                # positions are samples of the reference, whose values nothing mixes
                rectified = np.maximum(sign * before, 0)
                warped = read_at((sign * moved).relu(), there, stride)
                sums[row] += [
                    ((after - before) ** 2).sum(axis=1),
                    (before**2).sum(axis=1),
                    ((warped - rectified) ** 2).sum(axis=1),
                    (rectified**2).sum(axis=1),
                ]
    return np.stack([sums[:, 0] / sums[:, 1], sums[:, 2] / sums[:, 3]])


def explained(predicted: np.ndarray, measured: np.ndarray) -> float:
    """The coefficient of determination.

    Args:
        predicted: any shape.
        measured: the same shape.

    Returns:
        R^2 of the prediction as it is, without any fit.
    """
    unexplained = ((measured - predicted) ** 2).sum()
    return float(1 - unexplained / ((measured - measured.mean()) ** 2).sum())
