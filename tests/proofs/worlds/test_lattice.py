"""The symmetries of the grid, and the layers of small CNNs against torch's own modules."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from proofs.draws.lattice import cnns, pixel_images
from proofs.worlds import plane_maps
from proofs.worlds.lattice import (
    SYMMETRIES,
    BatchNorm,
    Conv,
    LatticeNetwork,
    Pool,
    Relu,
    relative_gap,
    shifted,
    symmetrised,
)


@given(image=pixel_images(5), h=st.sampled_from(SYMMETRIES))
def test_symmetries_move_pixels_as_their_matrix_says(image: Tensor, h) -> None:
    """The pixel at x goes to h x, and the inverse brings it back."""
    assert torch.equal(h.inverse()(h(image)), image)
    moved = h(image)
    for row, column in image[0, 0].nonzero().tolist():
        x, y = plane_maps.move(h.matrix(), np.array([[column - 2.0, row - 2.0]]))[0]
        assert moved[0, 0, round(y) + 2, round(x) + 2] == image[0, 0, row, column]


def test_shift_moves_right_and_down() -> None:
    """Content goes to the right and down, around the edges."""
    image = torch.zeros(1, 1, 4, 4)
    image[..., 0, 3] = 1
    assert shifted(image, 1, 2)[..., 2, 0] == 1


@given(kernel=pixel_images(3), image=pixel_images(7))
def test_layers_are_those_of_torch(kernel: Tensor, image: Tensor) -> None:
    """Convolution, pooling and batch normalisation agree with torch's modules."""
    conv = nn.Conv2d(1, 1, 3, 2, 1, bias=False, padding_mode="circular").double()
    conv.weight.data = kernel
    norm = nn.BatchNorm2d(1, affine=False).double().eval()
    norm.running_mean.fill_(1)
    norm.running_var.fill_(4)
    modules = nn.Sequential(conv, nn.ReLU(), norm, nn.MaxPool2d(3, 1, 1), nn.AvgPool2d(3, 1, 1))
    ours = LatticeNetwork((
        Conv(kernel, 2, 1, "circular"),
        Relu(),
        BatchNorm(torch.ones(1).double(), torch.full((1,), 4.0).double()),
        Pool("max", 3, 1, 1),
        Pool("mean", 3, 1, 1),
    ))
    with torch.no_grad():
        assert relative_gap(ours(image), modules(image)) <= 1e-14
    assert ours.stride == 2


@given(network=cnns(strides=(1, 2)), image=pixel_images(16))
def test_maps_are_finite(network: LatticeNetwork, image: Tensor) -> None:
    """Drawn CNNs give finite float64 maps of the size that their strides say."""
    maps = network(image)
    assert maps.dtype == torch.float64
    assert maps.isfinite().all()
    assert maps.shape[-1] == 16 // network.stride


def test_relative_gap() -> None:
    """Equal maps have gap 0, maps of different shape an infinite one."""
    zeros = torch.zeros(1, 1, 3, 3)
    assert relative_gap(zeros, zeros) == 0
    assert relative_gap(zeros, zeros[..., :2]) == float("inf")
    assert relative_gap(zeros, zeros + 2) == 1


@given(kernel=pixel_images(3))
def test_symmetrised(kernel: Tensor) -> None:
    """The sum over all symmetries has all of them."""
    symmetric = symmetrised(kernel, SYMMETRIES)
    assert all(torch.equal(h(symmetric), symmetric) for h in SYMMETRIES)
