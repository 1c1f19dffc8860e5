"""The ingredients of the spectral law, each against an independent computation."""

import numpy as np
import pytest
import torch
from scipy import integrate, ndimage

from proofs.worlds import plane_maps, spectral


@pytest.mark.parametrize("correlation", [-0.9, -0.3, 0.0, 0.5, 0.95])
def test_arc_cosine_kernel(correlation: float) -> None:
    """The mixed moment of two rectified Gaussians agrees with a double integral."""
    v, w = 1.3, 0.6
    c = correlation * np.sqrt(v * w)
    inverse = np.linalg.inv([[v, c], [c, w]])
    norm = np.sqrt(np.linalg.det(inverse)) / (2 * np.pi)

    def density(y: float, x: float) -> float:
        z = np.array([x, y])
        return x * y * norm * np.exp(-z @ inverse @ z / 2)

    expected, _ = integrate.dblquad(density, 0, 10, 0, 10)
    found = spectral.rectified_product(*map(np.atleast_1d, (v, w, c)))[0]
    assert found == pytest.approx(expected, abs=1e-7)


def test_response_is_what_torch_does_to_a_wave() -> None:
    """Correlating a complex wave with a kernel multiplies it by the response."""
    bank = np.random.default_rng(0).standard_normal((2, 3, 3))
    w = np.array([[3, -5]]) / 16
    y, x = np.meshgrid(np.arange(16), np.arange(16), indexing="ij")
    wave = np.exp(2j * np.pi * (w[0, 0] * x + w[0, 1] * y))
    padded = torch.from_numpy(np.pad(wave, 1, mode="wrap"))[None, None]
    kernel = torch.from_numpy(bank)[:, None].to(torch.complex128)
    found = torch.nn.functional.conv2d(padded, kernel)[0].numpy()
    expected = spectral.response(bank, w) * wave.ravel()
    assert found.reshape(2, -1) == pytest.approx(expected, abs=1e-12)


def test_noise_has_its_spectrum() -> None:
    """The mean periodogram of many noises is the spectrum they were drawn from."""
    images = [spectral.noise(32, 0.35, seed) for seed in range(200)]
    power = np.mean([np.abs(np.fft.fft2(f)) ** 2 for f in images], axis=0).ravel()
    wanted = spectral.noise_power(spectral.frequency_grid(32), 0.35)
    kept = wanted > 0
    ratio = power[kept] / wanted[kept]
    assert ratio.std() / ratio.mean() < 0.15
    assert power[~kept].max() < 1e-18 * power.max()
    assert np.mean([f.var() for f in images]) == pytest.approx(1, abs=0.1)


def test_oversampling_keeps_the_pixels() -> None:
    """Every second value of the interpolated image is a pixel."""
    image = spectral.noise(32, 0.35, 0)
    assert spectral.oversampled(image)[::2, ::2] == pytest.approx(image, abs=1e-12)


def test_moving_turns_counter_clockwise() -> None:
    """A quarter turn of a periodic image agrees with moving pixels."""
    image = spectral.noise(32, 0.2, 1)
    fine = ndimage.spline_filter(spectral.oversampled(image), 3, mode="grid-wrap")
    turned = spectral.moved_image(fine, plane_maps.rotation(90), 32)
    expected = np.rot90(image[1:, 1:])
    assert turned[1:, 1:] == pytest.approx(expected, abs=1e-6)


def test_periodogram_has_no_mean() -> None:
    """A constant has no power."""
    assert spectral.periodogram([np.full((16, 16), 3.0)]).max() < 1e-20


def test_explained() -> None:
    """A perfect prediction explains everything, the mean nothing."""
    values = np.arange(5.0)
    assert spectral.explained(values, values) == 1
    assert spectral.explained(np.full(5, 2.0), values) == 0
