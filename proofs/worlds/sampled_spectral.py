"""The spectral law of a map that is sampled and read between its samples.

A layer of stride s knows its features at the points of a lattice only. Warped back, they are read
between these by an interpolating kernel, so that waves above the lattice's Nyquist frequency come
back as others (aliasing) and waves below it are damped: both belong to the residual (P14), and both
follow from the spectrum. Frequencies, banks and transforms are those of `spectral`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex128, Float64

from proofs.worlds import spectral
from proofs.worlds.plane_maps import Matrix, move
from proofs.worlds.spectral import Bank, Frequencies

PHASES = 8
"""Where a reading lies between samples is told to an eighth of their distance, along x and y."""
KEYS = -0.75
"""Keys' parameter in torch's bicubic kernel."""
_TAPS = np.arange(-1, 3)
"""Samples that bicubic reading mixes, counted from the one before the position."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How the moved map is sampled, and where it is read.

    Attributes:
        stride: Distance of the samples, in pixels; one lies at the centre.
        positions: Where the reference is compared, in pixels about the centre; samples themselves.
    """

    stride: int
    positions: Frequencies

    def phases(self, h: Matrix) -> Float64[np.ndarray, "phases phases"]:
        """Count where between samples the map of a moved image is read.

        Args:
            h: linear map of the image.

        Returns:
            Shares of the positions by phase, rows y and columns x; phase k stands for k / `PHASES`.
        """
        phase = np.mod(move(h, self.positions) / self.stride, 1)
        x, y = np.mod(np.round(phase * PHASES), PHASES).astype(int).T
        counts = np.zeros((PHASES, PHASES))
        np.add.at(counts, (y, x), 1)
        return counts / len(phase)


def cubic(distance: Float64[np.ndarray, "*any"]) -> Float64[np.ndarray, "*any"]:
    """The kernel of bicubic reading.

    Source: Keys, "Cubic convolution interpolation for digital image processing" (1981), eq. 4.

    Args:
        distance: From the sample, in samples; 0 from 2 on.

    Returns:
        Weights.
    """
    d, a = np.abs(distance), KEYS
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    return np.asarray(np.where(d <= 1, near, np.where(d < 2, far, 0.0)))


def residuals(
    bank: Bank,
    frequencies: Frequencies,
    power: Float64[np.ndarray, "n"],
    transforms: Sequence[Matrix],
    reading: Reading,
) -> Float64[np.ndarray, "2 transforms channels"]:
    """The law and P13b for a sampled map.

    Args:
        bank: C x k x k kernels.
        frequencies: n x 2.
        power: S at each of them, not negative.
        transforms: linear maps h of the image; the maps are warped back by them.
        reading: how they are read.

    Returns:
        Relative mean squared residuals, linear and after ReLU.
    """
    before = spectral.response(bank, frequencies)
    variance = np.square(np.abs(before)) @ power
    found = []
    for h in transforms:
        carried = spectral.transported(frequencies, h)
        after = spectral.response(bank, carried)
        shares = reading.phases(h)
        waves = _Waves(carried * reading.stride)
        # of the moved map's samples with each other, by their distance in samples, and with the
        # reference, by where the reading lies and which sample it mixes
        own = waves.lags(np.square(np.abs(after)) * power)
        across = waves.between(before.conj() * after * power)
        # P13b for each pair of them; lag 0, in the middle, is E G^2, and E ReLU(F)^2 = E F^2 / 2
        same = own[:, 3:4, 3:4]
        pairs = spectral.rectified_product(same, same, own)
        reads = spectral.rectified_product(
            variance[:, None, None, None, None], same[..., None, None], across
        )
        found.append([
            _residual(variance, own, across, shares),
            _residual(variance / 2, pairs, reads, shares),
        ])
    return np.array(found).swapaxes(0, 1)


class _Waves:
    """Waves of the moved map, frequencies in cycles per sample."""

    def __init__(self, frequencies: Frequencies) -> None:
        self.x, self.y = frequencies.T

    def lags(self, power: Float64[np.ndarray, "c n"]) -> Float64[np.ndarray, "c 7 7"]:
        """Covariances of samples that lie -3 to 3 samples apart, rows y and columns x."""
        steps = np.arange(-3, 4)
        return self._sums(power.astype(complex), steps, steps)

    def between(
        self, product: Complex128[np.ndarray, "c n"]
    ) -> Float64[np.ndarray, "c phase_y tap_y phase_x tap_x"]:
        """Covariances of the reference with the samples that a reading mixes, by its phase."""
        # sample j of a reading at phase u lies j - u samples from it: q - h x of P13c
        steps = (_TAPS - np.arange(PHASES)[:, None] / PHASES).ravel()
        shape = (len(product), PHASES, len(_TAPS), PHASES, len(_TAPS))
        return self._sums(product, steps, steps).reshape(shape)

    def _sums(self, factors: np.ndarray, ys: np.ndarray, xs: np.ndarray) -> np.ndarray:
        """Real part of  sum_n factors exp(2 pi i (x_n dx + y_n dy)), by channel, dy and dx."""
        # one product over the waves for each channel; single precision does for a law that is
        # compared at 1e-3
        along_y = np.exp(2j * np.pi * ys[:, None] * self.y).astype(np.complex64)
        along_x = np.exp(2j * np.pi * xs[:, None] * self.x).astype(np.complex64)
        out = [(along_y * row.astype(np.complex64)) @ along_x.T for row in factors]
        return np.asarray(np.real(out), dtype=np.float64)


def _residual(
    variance: Float64[np.ndarray, "c"],
    own: Float64[np.ndarray, "c 7 7"],
    across: Float64[np.ndarray, "c phase_y tap_y phase_x tap_x"],
    shares: Float64[np.ndarray, "phase_y phase_x"],
) -> Float64[np.ndarray, "c"]:
    """E (W - F)^2 / E F^2 for W a mixture of samples, averaged over phases."""
    # a reading at phase u mixes sample j with weight cubic(u - j)
    weights = cubic(np.arange(PHASES)[:, None] / PHASES - _TAPS)
    between = np.einsum("yx,ya,xb,cyaxb->c", shares, weights, weights, across, optimize=True)
    # W^2 mixes pairs of samples j, k, of which only the distance k - j matters: 0 to 6 for -3 to 3
    pair = np.zeros((PHASES, 7))
    for j, k in np.ndindex(len(_TAPS), len(_TAPS)):
        pair[:, 3 + k - j] += weights[:, j] * weights[:, k]
    after = np.einsum("yx,ya,xb,cab->c", shares, pair, pair, own, optimize=True)
    return np.asarray((variance + after - 2 * between) / variance)
