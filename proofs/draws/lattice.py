"""What the claims draw on the lattice: sparse integer images, and small CNNs as values.

Entries are small integers, so convolutions, sums and maxima are exact in float64; only the mean in
average pooling and batch normalisation round.
"""

from functools import cache
from typing import Literal

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from torch import Tensor

from proofs.draws.gaussians import kernels
from proofs.worlds.lattice import (
    SYMMETRIES,
    BatchNorm,
    Border,
    Conv,
    LatticeNetwork,
    Layer,
    Pool,
    Relu,
    Symmetry,
)
from proofs.worlds.lattice import symmetrised as summed_over

LARGEST_SIDE = 33
"""Images above this width would make a case slow."""


@cache
def kernel_tensors(outputs: int, inputs: int, size: int) -> SearchStrategy[Tensor]:
    """Kernels as tensors, `proofs.draws.gaussians.kernels`.

    Args:
        outputs: channels that go out.
        inputs: channels that come in.
        size: width and height.

    Returns:
        Strategy of (out, in, size, size) float64 tensors.
    """
    return kernels(outputs, inputs, size).map(torch.from_numpy)


@cache
@st.composite
def pixel_images(draw: DrawFn, side: int, channels: int = 1, pixels: int = 10) -> Tensor:
    """Images that are 0 but for a few pixels; one pixel of value 1 is the simplest.

    Args:
        draw: given by Hypothesis.
        side: width and height.
        channels: K.
        pixels: largest number of pixels set.

    Returns:
        (1, channels, side, side) float64 tensor.

    Raises:
        ValueError: a side below 1 or above `LARGEST_SIDE`, or no channel.
    """
    if not 1 <= side <= LARGEST_SIDE:
        raise ValueError(f"side = {side}: images are 1 to {LARGEST_SIDE} pixels wide.")
    if channels < 1:
        raise ValueError(f"channels = {channels}: an image has at least one.")
    place = st.integers(0, channels * side * side - 1)
    value = st.sampled_from([1, 2, 3, -1, -2, -3])
    drawn = draw(st.dictionaries(place, value, min_size=1, max_size=pixels), "pixels")
    flat = np.zeros(channels * side * side)
    flat[list(drawn)] = list(drawn.values())
    return torch.from_numpy(flat.reshape(1, channels, side, side))


@cache
def symmetries() -> SearchStrategy[Symmetry]:
    """Symmetries of the grid other than the identity; a quarter turn first.

    Returns:
        Strategy of symmetries.
    """
    return st.sampled_from(SYMMETRIES[1:])


@cache
def shifts(bound: int = 4) -> SearchStrategy[tuple[int, int]]:
    """Whole-pixel shifts to the right and down, other than none.

    Args:
        bound: largest distance in each direction.

    Returns:
        Strategy of pairs.
    """
    pixels = st.integers(-bound, bound)
    return st.tuples(pixels, pixels).filter(any)


@cache
@st.composite
def cnns(
    draw: DrawFn,
    *,
    border: Border = "circular",
    strides: tuple[int, ...] = (1,),
    symmetric: bool = False,
    depth: int = 2,
) -> LatticeNetwork:
    """Small CNNs of one input channel, with "same" padding everywhere.

    Each convolution may be followed by ReLU, batch normalisation and 3 x 3 pooling.

    Args:
        draw: given by Hypothesis.
        border: what the padding holds.
        strides: strides to choose from.
        symmetric: whether kernels have all eight symmetries of the grid.
        depth: largest number of convolutions.

    Returns:
        The network.

    Raises:
        ValueError: no layer is asked for.
    """
    if depth < 1:
        raise ValueError(f"depth = {depth}: a network has at least one layer.")
    layers: list[Layer] = []
    inputs = 1
    for number in range(draw(st.integers(1, depth), "convolutions")):
        outputs = draw(st.integers(1, 2), f"channels {number}")
        size = draw(st.sampled_from([3, 1, 5]), f"size {number}")
        kernel = draw(kernel_tensors(outputs, inputs, size), f"kernel {number}")
        if symmetric:
            kernel = summed_over(kernel, SYMMETRIES)
        stride = draw(st.sampled_from(strides), f"stride {number}")
        layers.append(Conv(kernel, stride, size // 2, border))
        if draw(st.booleans(), "ReLU"):
            layers.append(Relu())
        if draw(st.booleans(), "batch norm"):
            mean = draw(st.lists(st.integers(-2, 2), min_size=outputs, max_size=outputs), "mean")
            variance = torch.full((outputs,), float(draw(st.sampled_from([1, 4, 9]), "variance")))
            layers.append(BatchNorm(torch.tensor(mean).double(), variance.double()))
        if draw(st.booleans(), "pooling"):
            kind: Literal["max", "mean"] = "max" if draw(st.booleans(), "maximum") else "mean"
            stride = draw(st.sampled_from(strides), "pooling stride")
            layers.append(Pool(kind, 3, stride, 1, border))
        inputs = outputs
    return LatticeNetwork(tuple(layers))
