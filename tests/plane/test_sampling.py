"""Samplers against torch's, against closed forms, and against each other."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from invariance_probe.plane import coordinates, sampling
from invariance_probe.plane.sampling import FAR, MODES, PADDINGS, resample

sizes = st.integers(2, 9)
numbers = st.floats(-2, 2).map(lambda x: round(x, 3))


@given(height=sizes, width=sizes, entries=st.lists(numbers, min_size=6, max_size=6))
def test_warp_is_torch_affine_grid_and_grid_sample(
    height: int, width: int, entries: list[float]
) -> None:
    """Off the lattice a warp is what a spatial transformer in torch computes."""
    theta = torch.tensor(entries, dtype=torch.float64).reshape(1, 2, 3)
    torch.manual_seed(height * width)
    maps = torch.randn(1, 3, height, width, dtype=torch.float64)
    grid = F.affine_grid(theta, [1, 3, height, width], align_corners=False)
    expected = F.grid_sample(maps, grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(sampling.warp(maps, theta), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_maps_are_read_at_whole_precision(dtype: torch.dtype) -> None:
    """Positions are not rounded to the maps' dtype: only the values read are."""
    maps = torch.randn(2, 3, 60, 60, generator=torch.Generator().manual_seed(0)).to(dtype)
    theta = torch.tensor([[[0.8, -0.6, 0.1], [0.6, 0.8, 0.0]], [[1.0, 0, 0], [0, 1, 0]]]).double()
    warped = sampling.warp(maps, theta)
    assert warped.dtype is dtype
    torch.testing.assert_close(warped, sampling.warp(maps.float(), theta).to(dtype))


@pytest.mark.parametrize("size", [(5, 5), (6, 6), (4, 7)])
def test_lattice_warps_move_pixels(size: tuple[int, int]) -> None:
    """Identity, flips and whole-pixel shifts are exact to the last bit, in float32 too."""
    height, width = size
    maps = torch.randn(1, 2, height, width)
    identity = torch.eye(2, 3, dtype=torch.float64)[None]
    assert torch.equal(sampling.warp(maps, identity), maps)
    flip = torch.diag(torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64))[None, :2]
    assert torch.equal(sampling.warp(maps, flip), maps.flip(3))
    shift = coordinates.theta_from_index_matrix(
        coordinates.scale_and_shift(1, 1, 1, 2)[None], height, width
    )
    moved = sampling.warp(maps, shift)
    assert torch.equal(moved[..., : height - 2, : width - 1], maps[..., 2:, 1:])


@pytest.mark.parametrize("mode", MODES)
def test_reading_anywhere_is_torchs_own(mode: str) -> None:
    """Positions of any kind and number are read as torch reads them, in the type of the maps."""
    maps, grid = torch.randn(2, 3, 5, 4), 3 * torch.rand(2, 7, 6, 2, dtype=torch.float64) - 1.5
    expected = F.grid_sample(
        maps, grid.float(), mode=mode, padding_mode="border", align_corners=False
    )
    assert torch.equal(sampling.read(maps, grid, mode=mode), expected)


def test_mixed_batch_uses_both_paths() -> None:
    """A batch may hold warps on the lattice and off it."""
    maps = torch.randn(2, 1, 5, 5)
    theta = torch.eye(2, 3, dtype=torch.float64).repeat(2, 1, 1)
    theta[1, 0, 2] = 0.1
    both = sampling.warp(maps, theta)
    assert torch.equal(both[0], maps[0])
    torch.testing.assert_close(both[1:], sampling.warp(maps[1:], theta[1:]))


def test_quarter_turn_four_times_is_identity() -> None:
    """Four quarter turns of a square map give it back, bit for bit."""
    turn = torch.tensor([[[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]], dtype=torch.float64)
    for side in (4, 5):
        maps = torch.randn(1, 2, side, side)
        turned = maps
        for _ in range(4):
            turned = sampling.warp(turned, turn)
        assert torch.equal(turned, maps)
        assert not torch.equal(sampling.warp(maps, turn), maps)


@pytest.mark.parametrize("size", [(8, 8), (7, 12), (2, 2), (2, 5), (1, 3)])
def test_resampling_is_the_engines(size: tuple[int, int]) -> None:
    """Maps read through random matrices are those of `sampling.warp`, and of affine_grid."""
    torch.manual_seed(1)
    maps = torch.rand(6, 3, *size, dtype=torch.float64)
    theta = torch.eye(2, 3) + 0.4 * torch.randn(6, 2, 3)
    pull_backs = coordinates.homogeneous(theta)
    ours = resample(maps, pull_backs)
    torch.testing.assert_close(ours, sampling.warp(maps, theta.double()), rtol=1e-9, atol=1e-9)
    grid = F.affine_grid(theta.double(), list(maps.shape), align_corners=False)
    zeros = F.grid_sample(maps, grid, padding_mode="zeros", align_corners=False)
    torch.testing.assert_close(
        resample(maps, pull_backs, padding="zeros"), zeros, rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 3e38])
@pytest.mark.parametrize("padding", PADDINGS)
def test_predictions_that_are_no_numbers_crash_nothing(value: float, padding: str) -> None:
    """Maps read through such a matrix, and their gradients, exist; other samples do not notice."""
    maps = torch.rand(3, 2, 9, 9, requires_grad=True)
    matrices = torch.eye(3).repeat(3, 1, 1)
    matrices[1, 0] = value
    matrices.requires_grad_()
    read = resample(maps, matrices, padding=padding)
    read.sum().backward()
    torch.testing.assert_close(read[[0, 2]], maps[[0, 2]], rtol=0, atol=1e-5)
    assert bool(read.isfinite().all())


def test_two_warps_are_one_by_the_product() -> None:
    """Reading through a, then through b, is reading once through a @ b."""
    y, x = torch.meshgrid(torch.arange(9.0), torch.arange(9.0), indexing="ij")
    maps = (2 * x - y).double()[None, None]  # linear, so that interpolation is exact
    a = coordinates.homogeneous(torch.tensor([[[0.5, 0.1, 0.05], [-0.2, 0.6, 0.1]]]))
    b = coordinates.homogeneous(torch.tensor([[[0.7, -0.3, 0.0], [0.1, 0.5, -0.1]]]))
    torch.testing.assert_close(resample(resample(maps, a), b), resample(maps, a @ b))


@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    entries=st.lists(numbers, min_size=12, max_size=12),
)
def test_the_affine_grid_is_torchs(height: int, width: int, entries: list[float]) -> None:
    """One matrix product gives the grid of torch, and a loss of it the same gradient."""
    theta = torch.tensor(entries, dtype=torch.float64).reshape(2, 2, 3).requires_grad_()
    weight = torch.rand(2, height, width, 2, dtype=torch.float64)
    gradients = []
    for grid in (
        sampling.affine_grid(theta, height, width),
        F.affine_grid(theta, [2, 1, height, width], align_corners=False),
    ):
        gradients.append(torch.autograd.grad((weight * grid).sum(), theta)[0])
        # sums of three terms of at most 2, and gradients of 81 positions
        reference = coordinates.mapped(
            coordinates.homogeneous(theta.detach()),
            coordinates.cell_centres(width, theta),
            coordinates.cell_centres(height, theta),
        )
        torch.testing.assert_close(
            grid.detach(), torch.stack(reference, dim=-1), atol=1e-14, rtol=0
        )
    torch.testing.assert_close(*gradients, atol=1e-12, rtol=0)


@pytest.mark.parametrize("mode", MODES)
def test_gradients_are_those_of_small_steps(mode: str) -> None:
    """Resampling passes on the derivatives by maps and matrices that differences show."""
    torch.manual_seed(4)
    maps = torch.rand(2, 1, 5, 6, dtype=torch.float64, requires_grad=True)
    # within the maps, and no read on a line between cells, where bilinear reading has a kink
    rows = torch.tensor([[0.53, 0.11, 0.05], [-0.07, 0.41, -0.03]], dtype=torch.float64)
    matrices = coordinates.homogeneous(rows).repeat(2, 1, 1).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda m, p: resample(m, p, mode=mode), (maps, matrices), eps=1e-7, atol=1e-5
    )


@pytest.mark.parametrize("size", [(2, 2), (2, 5), (1, 3)])
def test_small_maps_are_moved_from_the_identity(size: tuple[int, int]) -> None:
    """Where all cells lie at the border, matrices get a gradient all the same, and equal values."""
    torch.manual_seed(2)
    maps = torch.rand(3, 2, *size, dtype=torch.float64)
    matrices = torch.eye(3, dtype=torch.float64).repeat(3, 1, 1).requires_grad_()
    read = resample(maps, matrices)
    torch.testing.assert_close(read, maps, atol=1e-14, rtol=0)
    (gradient,) = torch.autograd.grad((read * torch.rand_like(read)).sum(), matrices)
    moved = [axis for axis, cells in ((1, size[0]), (0, size[1])) if cells > 1]
    assert float(gradient[:, moved, 2].abs().min()) > 1e-3


def test_entries_beyond_all_maps_read_the_border() -> None:
    """A matrix whose entries are larger than any map reads as one at the limit does."""
    maps = torch.rand(1, 1, 4, 4)
    far = torch.eye(3)[None].clone()
    far[0, 0, 2] = 1e30
    assert torch.equal(resample(maps, far), maps[..., -1:].expand_as(maps))
    far[0, 0, 2] = FAR
    assert torch.equal(resample(maps, far), maps[..., -1:].expand_as(maps))


def test_half_precision_does_not_reach_the_coordinates() -> None:
    """Under autocast maps are read at the places of float32, and come back in their own type."""
    torch.manual_seed(3)
    maps = torch.rand(2, 3, 40, 40)
    matrices = coordinates.homogeneous(torch.eye(2, 3) + 0.1 * torch.randn(2, 2, 3)).float()
    wanted = resample(maps, matrices)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(resample(maps, matrices), wanted)
        half = resample(maps.bfloat16(), matrices)
    assert half.dtype == torch.bfloat16
    # bfloat16 holds eight bits: what differs is the rounding of values, not of places
    assert float((half - wanted).abs().max()) < 2**-7


def test_bicubic_reading_is_keys() -> None:
    """The second mode reads a cubic of Keys' kernel with a = -0.75 along each axis."""
    row = torch.tensor([0.0, 3.0, -1.0, 2.0, 0.5, 1.0], dtype=torch.float64)
    maps = row.expand(1, 1, 6, 6)
    t = 0.3
    shift = coordinates.theta_from_index_matrix(coordinates.scale_and_shift(1, 1, t, 0)[None], 6, 6)
    a = -0.75

    def kernel(d: float) -> float:
        d = abs(d)
        if d <= 1:
            return (a + 2) * d**3 - (a + 3) * d**2 + 1
        return a * (d**3 - 5 * d**2 + 8 * d - 4)

    wanted = sum(kernel(t - k) * float(row[2 + k]) for k in (-1, 0, 1, 2))
    for read in (
        sampling.warp(maps, shift, mode="bicubic"),
        resample(maps, coordinates.homogeneous(shift), mode="bicubic"),
    ):
        torch.testing.assert_close(
            read[0, 0, :, 2], torch.full((6,), wanted, dtype=torch.float64), atol=1e-12, rtol=0
        )
