"""Cubic splines against closed forms, and their compiled loops against torch's operations."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from invariance_probe.machine import one_thread
from invariance_probe.plane import coordinates, sampling, splines


def _field(x: Tensor, y: Tensor) -> Tensor:
    """A band-limited field known at any point (0.11 cycles per pixel at most)."""
    return torch.sin(0.5 * x + 0.3 * y) + torch.cos(0.2 * x - 0.6 * y + 1)


def test_spline_interpolates_and_beats_bilinear() -> None:
    """The cubic B-spline goes through the pixels and reads a smooth field ten times better."""
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(50.0), indexing="ij")
    image = _field(columns, rows)[None, None].double()
    coefficients = splines.spline_coefficients(image)
    at = splines.sample_spline(coefficients, columns.double(), rows.double())
    torch.testing.assert_close(at, image, atol=1e-8, rtol=0)
    x, y = columns[8:-8, 8:-8].double() + 0.37, rows[8:-8, 8:-8].double() - 0.41
    truth = _field(x, y)
    spline_error = (splines.sample_spline(coefficients, x, y)[0, 0] - truth).abs().max()
    grid = torch.stack([(2 * x + 1) / 50 - 1, (2 * y + 1) / 40 - 1], -1)[None]
    bilinear = F.grid_sample(image, grid, align_corners=False)[0, 0]
    assert spline_error < 2e-3
    assert spline_error < 0.1 * (bilinear - truth).abs().max()


def test_blur_widens_a_gaussian_by_its_covariance() -> None:
    """Blurring a Gaussian adds the covariances, along oblique axes too."""
    rows, columns = torch.meshgrid(torch.arange(65.0), torch.arange(65.0), indexing="ij")
    at = torch.stack([columns - 32, rows - 32]).double()
    start = torch.tensor([[9.0, 2.0], [2.0, 6.0]], dtype=torch.float64)
    extra = torch.tensor([[4.0, -1.5], [-1.5, 3.0]], dtype=torch.float64)

    def gaussian(covariance: Tensor) -> Tensor:
        exponent = torch.einsum("ihw,ij,jhw->hw", at, torch.linalg.inv(covariance), at)
        return torch.exp(-exponent / 2) / (2 * math.pi * torch.linalg.det(covariance).sqrt())

    coefficients = splines.spline_coefficients(gaussian(start)[None, None], blur=extra)
    blurred = splines.sample_spline(coefficients, columns.double(), rows.double())[0, 0]
    torch.testing.assert_close(blurred, gaussian(start + extra), atol=1e-7, rtol=0)


def test_blurring_maps_is_convolving_them() -> None:
    """Far from the border a blurred impulse is the Gaussian; a constant stays as it is."""
    impulse = torch.zeros(1, 1, 41, 41, dtype=torch.float64)
    impulse[..., 20, 20] = 1
    covariance = torch.tensor([[5.0, 1.0], [1.0, 3.0]], dtype=torch.float64)
    rows, columns = torch.meshgrid(torch.arange(-20.0, 21), torch.arange(-20.0, 21), indexing="ij")
    at = torch.stack([columns, rows]).double()
    exponent = torch.einsum("ihw,ij,jhw->hw", at, torch.linalg.inv(covariance), at)
    wanted = torch.exp(-exponent / 2) / (2 * math.pi * torch.linalg.det(covariance).sqrt())
    blurred = splines.blurred(impulse, covariance)[0, 0]
    # the response is cut off at the highest frequency, where it is exp(-pi^2 sigma^2 / 2) < 4e-7
    torch.testing.assert_close(blurred, wanted, atol=1e-6, rtol=0)
    flat = torch.full((1, 2, 7, 5), 0.25, dtype=torch.float64)
    torch.testing.assert_close(splines.blurred(flat, covariance), flat, atol=1e-13, rtol=0)


@pytest.mark.parametrize("shape", [(3, 3, 20, 31), (2, 17, 7, 7), (1, 1, 1, 5)])
@pytest.mark.parametrize("blurred", [False, True])
def test_compiled_splines_are_torchs(shape: tuple[int, ...], blurred: bool) -> None:
    """Single precision, where compiled loops read, gives what torch does in double precision.

    Some way beyond the border, too. Further out torch's Fourier transform, which takes what it sees
    for periodic, brings in the other side.
    """
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    blur = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64) if blurred else None
    turn = torch.tensor([[0.9, -0.5, 0.7], [0.6, 0.8, -0.4], [0, 0, 1]], dtype=torch.float64)
    x, y = coordinates.read_positions(turn, *shape[2:])
    x, y = x.clamp(-5, shape[3] + 4), y.clamp(-5, shape[2] + 4)
    wanted = splines.sample_spline(splines.spline_coefficients(images, blur), x, y)
    read = splines.Spline(images.float(), blur).read(x, y)
    assert read.dtype == torch.float32
    # a dozen roundings of values up to 4, and borders cut off at 0.27^10
    torch.testing.assert_close(read.double(), wanted, atol=2e-5, rtol=0)
    whole = splines.Spline(images, blur).read(x, y)
    torch.testing.assert_close(whole, wanted, atol=0, rtol=0)


def test_far_beyond_the_border_its_value_goes_on() -> None:
    """A position outside reads what the nearest border pixels say, however far it is."""
    images = torch.randn(1, 20, 6, 9, generator=torch.Generator().manual_seed(1))
    y = torch.tensor([[2.0, 2.0]], dtype=torch.float64)
    far = torch.tensor([[-1e5, 1e5]], dtype=torch.float64)
    read = splines.Spline(images).read(far, y)[0, :, 0]
    torch.testing.assert_close(read, images[0, :, 2, [0, -1]], atol=2e-5, rtol=0)


def test_threads_change_no_bit() -> None:
    """Images are read one by one, whoever reads them, and whichever others there are."""
    images = torch.randn(5, 4, 12, 12, generator=torch.Generator().manual_seed(2))
    x, y = coordinates.read_positions(0.7 * torch.eye(3, dtype=torch.float64), 12, 12)
    read = splines.Spline(images).read(x, y)
    with one_thread():
        assert torch.equal(splines.Spline(images).read(x, y), read)
    assert torch.equal(splines.Spline(images[2:3]).read(x, y), read[2:3])


def test_without_numba_torch_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Splines of single precision are torch's where there are no compiled loops."""
    monkeypatch.setattr(sampling, "_kernels", lambda: None)
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    x, y = coordinates.read_positions(0.7 * torch.eye(3, dtype=torch.float64), 8, 8)
    wanted = splines.sample_spline(splines.spline_coefficients(images), x, y)
    assert torch.equal(splines.Spline(images).read(x, y), wanted)
