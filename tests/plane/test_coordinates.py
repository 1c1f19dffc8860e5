"""Coordinates, samplers and the lattice."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from invariance_probe.plane import coordinates

sizes = st.integers(2, 9)
numbers = st.floats(-2, 2).map(lambda x: round(x, 3))


def _field(x: Tensor, y: Tensor) -> Tensor:
    """A band-limited field known at any point (0.11 cycles per pixel at most)."""
    return torch.sin(0.5 * x + 0.3 * y) + torch.cos(0.2 * x - 0.6 * y + 1)


@given(height=sizes, width=sizes, entries=st.lists(numbers, min_size=6, max_size=6))
def test_index_and_normalised_matrices_are_inverse(
    height: int, width: int, entries: list[float]
) -> None:
    """Going from normalised to index coordinates and back changes nothing."""
    theta = torch.tensor(entries, dtype=torch.float64).reshape(1, 2, 3)
    there = coordinates.index_matrix_from_theta(theta, height, width)
    back = coordinates.theta_from_index_matrix(there, height, width)
    torch.testing.assert_close(back, theta, atol=1e-12, rtol=0)


@given(height=sizes, width=sizes, entries=st.lists(numbers, min_size=6, max_size=6))
def test_warp_is_torch_affine_grid_and_grid_sample(
    height: int, width: int, entries: list[float]
) -> None:
    """Off the lattice a warp is what a spatial transformer in torch computes."""
    theta = torch.tensor(entries, dtype=torch.float64).reshape(1, 2, 3)
    maps = torch.randn(1, 3, height, width, dtype=torch.float64)
    grid = F.affine_grid(theta, [1, 3, height, width], align_corners=False)
    expected = F.grid_sample(maps, grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(coordinates.warp(maps, theta), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [(5, 5), (6, 6), (4, 7)])
def test_lattice_warps_move_pixels(size: tuple[int, int]) -> None:
    """Identity, flips and whole-pixel shifts are exact to the last bit, in float32 too."""
    height, width = size
    maps = torch.randn(1, 2, height, width)
    identity = torch.eye(2, 3, dtype=torch.float64)[None]
    assert torch.equal(coordinates.warp(maps, identity), maps)
    flip = torch.diag(torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64))[None, :2]
    assert torch.equal(coordinates.warp(maps, flip), maps.flip(3))
    shift = coordinates.theta_from_index_matrix(
        coordinates.scale_and_shift(1, 1, 1, 2)[None], height, width
    )
    moved = coordinates.warp(maps, shift)
    assert torch.equal(moved[..., : height - 2, : width - 1], maps[..., 2:, 1:])


def test_mixed_batch_uses_both_paths() -> None:
    """A batch may hold warps on the lattice and off it."""
    maps = torch.randn(2, 1, 5, 5)
    theta = torch.eye(2, 3, dtype=torch.float64).repeat(2, 1, 1)
    theta[1, 0, 2] = 0.1
    both = coordinates.warp(maps, theta)
    assert torch.equal(both[0], maps[0])
    torch.testing.assert_close(both[1:], coordinates.warp(maps[1:], theta[1:]))


def test_quarter_turn_four_times_is_identity() -> None:
    """Four quarter turns of a square map give it back, bit for bit."""
    turn = torch.tensor([[[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]], dtype=torch.float64)
    for side in (4, 5):
        maps = torch.randn(1, 2, side, side)
        turned = maps
        for _ in range(4):
            turned = coordinates.warp(turned, turn)
        assert torch.equal(turned, maps)
        assert not torch.equal(coordinates.warp(maps, turn), maps)


def test_spline_interpolates_and_beats_bilinear() -> None:
    """The cubic B-spline goes through the pixels and reads a smooth field ten times better."""
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(50.0), indexing="ij")
    image = _field(columns, rows)[None, None].double()
    coefficients = coordinates.spline_coefficients(image)
    at = coordinates.sample_spline(coefficients, columns.double(), rows.double())
    torch.testing.assert_close(at, image, atol=1e-8, rtol=0)
    x, y = columns[8:-8, 8:-8].double() + 0.37, rows[8:-8, 8:-8].double() - 0.41
    truth = _field(x, y)
    spline_error = (coordinates.sample_spline(coefficients, x, y)[0, 0] - truth).abs().max()
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

    coefficients = coordinates.spline_coefficients(gaussian(start)[None, None], blur=extra)
    blurred = coordinates.sample_spline(coefficients, columns.double(), rows.double())[0, 0]
    torch.testing.assert_close(blurred, gaussian(start + extra), atol=1e-7, rtol=0)


@given(margin=st.floats(0, 3))
def test_inside_keeps_the_margin(margin: float) -> None:
    """A position is inside when it is at least the margin away from the outer edges."""
    x = torch.linspace(-1, 7, 81, dtype=torch.float64)
    got = coordinates.inside(x, torch.full_like(x, 3.0), 7, 7, margin)
    expected = (x + 0.5 >= margin - 1e-6) & (6.5 - x >= margin - 1e-6)
    assert torch.equal(got, expected & (margin - 1e-6 <= 3.5))
