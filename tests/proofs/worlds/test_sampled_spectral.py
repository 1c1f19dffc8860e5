"""The law of a sampled map, against forward passes at every sample that a reading mixes."""

import numpy as np
import pytest
import torch

from proofs.worlds import plane_maps, sampled_spectral, spectral
from proofs.worlds.sampled_spectral import Reading

BANK = np.random.default_rng(0).standard_normal((3, 3, 3))
FREQUENCIES = np.array([[0.11, -0.07], [0.23, 0.31], [-0.38, 0.19]])
POWER = np.array([1.0, 0.6, 0.4])
H = np.array([[1.125, 0.25], [-0.375, 0.875]])
"""Takes whole numbers of samples to eighths of one: no phase is rounded."""


def test_the_kernel_is_torchs() -> None:
    """Bicubic reading of a single 1 returns the kernel."""
    maps = torch.zeros(1, 1, 1, 11, dtype=torch.float64)
    maps[..., 5] = 1
    offsets = np.linspace(-2.5, 2.5, 21)
    x = torch.from_numpy((2 * (5 + offsets) + 1) / 11 - 1)
    grid = torch.stack([x, torch.zeros_like(x)], dim=-1)[None, None]
    read = torch.nn.functional.grid_sample(maps, grid, mode="bicubic", align_corners=False)
    assert sampled_spectral.cubic(offsets) == pytest.approx(read.flatten().numpy(), abs=1e-12)


def wave_features(points: np.ndarray, back: np.ndarray) -> np.ndarray:
    """What the bank makes of each wave of the image moved by `back`'s inverse: wave x channel x n.

    Two columns a wave, for its cosine and its sine.
    """
    seen = plane_maps.move(back, (points[:, None] + spectral.taps(3)).reshape(-1, 2))
    angle = 2 * np.pi * seen @ FREQUENCIES.T
    waves = np.sqrt(np.concatenate([POWER, POWER])) * np.concatenate(
        [np.cos(angle), np.sin(angle)], axis=1
    )
    patches = waves.reshape(len(points), 9, -1)
    return np.einsum("ck,nkw->wcn", BANK.reshape(3, 9), patches)


@pytest.mark.parametrize("stride", [1, 2])
def test_residuals_are_those_of_the_samples_that_are_read(stride: int) -> None:
    """Summed over samples one by one, linear and rectified, the law's residuals come out."""
    side = np.arange(-4, 5) * stride
    positions = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2).astype(float)
    reading = Reading(stride=stride, positions=positions)
    found = sampled_spectral.residuals(BANK, FREQUENCIES, POWER, [H], reading)[:, 0]
    # A Gaussian image has independent normal amplitudes of each wave's cosine and sine: what is
    # linear in them has the variance of its coefficients' squares
    reference = wave_features(positions, np.eye(2))
    there = plane_maps.move(H, positions) / stride
    corner = np.floor(there)
    linear = np.zeros_like(reference)
    # by the pair of samples, for the rectified: covariances of 16 samples and the reference
    weights, samples = [], []
    for dy in range(-1, 3):
        for dx in range(-1, 3):
            at = corner + np.array([dx, dy])
            weight = np.prod(sampled_spectral.cubic(there - at), axis=1)
            sample = wave_features(stride * at, plane_maps.inverse(H))
            linear += weight * sample
            weights.append(weight)
            samples.append(sample)
    energy = (reference**2).sum(0).mean(1)
    wanted = ((linear - reference) ** 2).sum(0).mean(1) / energy
    assert found[0] == pytest.approx(wanted, rel=1e-5)

    def product(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        moments = [(a * b).sum(0) for a, b in ((one, one), (other, other), (one, other))]
        return spectral.rectified_product(*moments)

    total = product(reference, reference)
    for w, s in zip(weights, samples, strict=True):
        total = total - 2 * w * product(reference, s)
        for w2, s2 in zip(weights, samples, strict=True):
            total = total + w * w2 * product(s, s2)
    rectified = total.mean(1) / (energy / 2)
    # an angle near 0 rounds by the root of single precision, and its product by the square of that
    assert found[1] == pytest.approx(rectified, rel=1e-4)
    assert (found > 0.01).all()


def test_phases_are_shares_of_the_positions() -> None:
    """Unmoved, all positions are samples; turned by 45 degrees they lie everywhere between."""
    reading = Reading(stride=2, positions=spectral.disc(40, 2))
    still = reading.phases(np.eye(2))
    assert still[0, 0] == 1
    turned = reading.phases(plane_maps.rotation(45))
    assert turned.sum() == pytest.approx(1)
    assert turned.min() > 0.005
    assert turned.max() < 0.03


def test_without_a_motion_and_at_quarter_turns_nothing_is_added() -> None:
    """Where samples fall on samples the law is that of the map known everywhere."""
    reading = Reading(stride=2, positions=spectral.disc(20, 2))
    turns = [np.eye(2), plane_maps.rotation(90)]
    found = sampled_spectral.residuals(BANK, FREQUENCIES, POWER, turns, reading)
    moments = spectral.covariances(BANK, FREQUENCIES, POWER, turns)
    assert found[:, 0] == pytest.approx(np.zeros((2, 3)), abs=1e-5)
    assert found[0, 1] == pytest.approx(spectral.linear_residual(moments)[1], rel=1e-5)
    assert found[1, 1] == pytest.approx(spectral.rectified_residual(moments)[1], rel=1e-4)
