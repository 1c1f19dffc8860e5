"""The lattice: quarter turns, flips and whole-pixel shifts permute pixels, so nothing is blurred.

Networks are torch, float64. They commute with a turn or flip of the grid only where every stride
keeps the grid's centre: (N + 2 p - k) divisible by s in each layer of kernel k, padding p,
stride s (for "same" padding and odd kernels: N - 1 divisible by s).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from proofs.worlds import plane_maps
from proofs.worlds.plane_maps import Matrix


@dataclass(frozen=True)
class Symmetry:
    """One of the eight symmetries of a square grid: first a flip in x or none, then quarter turns.

    Args:
        turns: quarter turns counter-clockwise as displayed, 0 to 3.
        flip: whether left and right are exchanged first.
    """

    turns: int
    flip: bool = False

    def __call__(self, maps: Tensor) -> Tensor:
        """Move the content of maps.

        Args:
            maps: (..., size, size).

        Returns:
            The moved maps, same shape.
        """
        mirrored = maps.flip(-1) if self.flip else maps
        return torch.rot90(mirrored, self.turns, (-2, -1))

    def inverse(self) -> "Symmetry":
        """What undoes it; a flipped one undoes itself.

        Returns:
            The inverse.
        """
        return self if self.flip else Symmetry(-self.turns % 4)

    def matrix(self) -> Matrix:
        """The linear map of the plane that it samples.

        Returns:
            2 x 2 matrix.
        """
        mirror = np.diag([-1.0, 1.0]) if self.flip else np.eye(2)
        return plane_maps.matrix(plane_maps.rotation(90 * self.turns) @ mirror)


QUARTER_TURNS = tuple(Symmetry(k) for k in range(4))
"""The rotations of the grid, each the previous one and a quarter turn more."""

SYMMETRIES = QUARTER_TURNS + tuple(Symmetry(k, flip=True) for k in range(4))
"""All eight, the identity first."""


def shifted(maps: Tensor, right: int, down: int) -> Tensor:
    """Move the content of maps by whole pixels, around the edges.

    Args:
        maps: (..., height, width).
        right: pixels to the right.
        down: pixels downwards.

    Returns:
        The shifted maps, same shape.
    """
    return maps.roll((down, right), (-2, -1))


def symmetrised(kernel: Tensor, group: Sequence[Symmetry]) -> Tensor:
    """The sum of a kernel over a group of symmetries.

    Args:
        kernel: (out, in, k, k).
        group: the symmetries; their sum is symmetric if they form a group.

    Returns:
        The symmetric kernel, same shape.
    """
    return torch.stack([g(kernel) for g in group]).sum(0)


Border = Literal["zero", "circular"]
"""What lies around a map: nothing, or its other side."""


def _padded(maps: Tensor, width: int, border: Border, nothing: float = 0.0) -> Tensor:
    """Maps with pixels on each side: those from the other side, or what stands for nothing."""
    if border == "circular" and width:
        return functional.pad(maps, (width,) * 4, mode="circular")
    return functional.pad(maps, (width,) * 4, value=nothing)


@dataclass(frozen=True, eq=False)
class Conv:
    """Convolution.

    Args:
        kernel: (out, in, k, k).
        stride: in pixels.
        padding: pixels on each side.
        border: what the padding holds.
    """

    kernel: Tensor
    stride: int = 1
    padding: int = 0
    border: Border = "zero"

    def __call__(self, maps: Tensor) -> Tensor:
        """Apply it.

        Args:
            maps: (batch, in, height, width).

        Returns:
            (batch, out, height', width').
        """
        padded = _padded(maps, self.padding, self.border)
        return functional.conv2d(padded, self.kernel, stride=self.stride)


@dataclass(frozen=True)
class Relu:
    """max(0, value)."""

    def __call__(self, maps: Tensor) -> Tensor:
        """Apply it.

        Args:
            maps: any shape.

        Returns:
            Same shape.
        """
        return functional.relu(maps)


@dataclass(frozen=True)
class Pool:
    """Pooling around the edges of the map.

    Args:
        kind: maximum or mean over the window.
        size: window width.
        stride: in pixels.
        padding: pixels on each side.
        border: what the padding holds; for a maximum "zero" stands for nothing, not for 0.
    """

    kind: Literal["max", "mean"]
    size: int
    stride: int = 1
    padding: int = 0
    border: Border = "zero"

    def __call__(self, maps: Tensor) -> Tensor:
        """Apply it.

        Args:
            maps: (batch, channels, height, width).

        Returns:
            (batch, channels, height', width').
        """
        nothing = -torch.inf if self.kind == "max" else 0.0
        padded = _padded(maps, self.padding, self.border, nothing)
        pool = functional.max_pool2d if self.kind == "max" else functional.avg_pool2d
        pooled: Tensor = pool(padded, self.size, self.stride)
        return pooled


@dataclass(frozen=True, eq=False)
class BatchNorm:
    """Batch normalisation in eval mode: one affine map per channel.

    Args:
        mean: running mean, (channels,).
        variance: running variance, (channels,), positive.
    """

    mean: Tensor
    variance: Tensor

    def __call__(self, maps: Tensor) -> Tensor:
        """Apply it.

        Args:
            maps: (batch, channels, height, width).

        Returns:
            Same shape.
        """
        return functional.batch_norm(maps, self.mean, self.variance, training=False)


Layer = Conv | Relu | Pool | BatchNorm


@dataclass(frozen=True, eq=False)
class LatticeNetwork:
    """A small CNN.

    Args:
        layers: applied in order.
    """

    layers: tuple[Layer, ...]

    def __call__(self, image: Tensor) -> Tensor:
        """Feature maps.

        Args:
            image: (batch, channels, height, width), float64.

        Returns:
            (batch, channels', height', width').
        """
        maps = image
        for layer in self.layers:
            maps = layer(maps)
        return maps

    @property
    def stride(self) -> int:
        """The product of all strides."""
        total = 1
        for layer in self.layers:
            if isinstance(layer, (Conv, Pool)):
                total *= layer.stride
        return total


def relative_gap(a: Tensor, b: Tensor) -> float:
    """The largest difference over the largest value.

    Args:
        a: maps.
        b: maps of the same shape.

    Returns:
        max abs(a - b) / max(abs(a), abs(b)), 0 if both vanish; infinite if the shapes differ.
    """
    if a.shape != b.shape:
        return float("inf")
    scale = max(float(a.abs().max()), float(b.abs().max()))
    return float((a - b).abs().max()) / scale if scale else 0.0
