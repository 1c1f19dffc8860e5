"""Controls for shifts: plain striding against blurring before subsampling.

A strided layer reads every s-th position. Shifts by multiples of the stride move its cells to
cells; shifts in between read positions that were skipped, and what they hold can be told from the
neighbouring cells only if it varies slowly (claim P14). Zhang, "Making convolutional networks
shift-invariant again" (2019), section 3: blur first, then read every s-th position.
"""

import math
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from invariance_probe.controls.weights import plain_conv, require_positive, stacked


class BlurPool2d(nn.Module):
    """Blur with a binomial filter, then keep every s-th cell.

    Zhang, "Making convolutional networks shift-invariant again" (2019), section 3.2, but without
    padding.

    Args:
        stride: s, in cells.
        taps: Of the binomial filter along each axis: 3 is (1, 2, 1) / 4, 5 is
            (1, 4, 6, 4, 1) / 16.

    Attributes:
        kernel: The filter, (taps, taps), of sum 1; no parameter.

    Example:
        >>> import torch
        >>> from invariance_probe import controls
        >>> pool = controls.BlurPool2d(stride=2)
    """

    kernel: Tensor

    def __init__(self, *, stride: int = 2, taps: int = 5) -> None:
        super().__init__()
        require_positive(stride=stride, taps=taps)
        self.stride = stride
        line = torch.tensor([float(math.comb(taps - 1, i)) for i in range(taps)])
        self.register_buffer("kernel", torch.outer(line, line) / line.sum().square())

    def forward(
        self, maps: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel out_height out_width"]:
        """Blur and subsample.

        Args:
            maps: Input maps, no smaller than the filter.

        Returns:
            Cells 0, s, 2s, ... of the blurred maps.

        Example:
            >>> pool(torch.rand(1, 3, 13, 13)).shape[:2]
            torch.Size([1, 3])
        """
        channels = maps.shape[1]
        kernel = self.kernel.expand(channels, 1, -1, -1)
        return F.conv2d(maps, kernel, stride=self.stride, groups=channels)


def strided_network(
    *,
    channels: int = 3,
    width: int = 16,
    depth: int = 2,
    kernel_size: int = 3,
    stride: int = 2,
    seed: int = 0,
) -> nn.Sequential:
    """Build ordinary strided convolutions, each followed by a ReLU.

    Known answer: whole-pixel shifts by multiples of the total stride, stride^depth, are aligned
    exactly; shifts in between are not, by any warp: they leave what the grid costs, the floor, and
    that is several times what `antialiased_network` leaves (P14).

    Args:
        channels: Channels of the image.
        width: Channels of every layer.
        depth: Number of convolutions.
        kernel_size: Side of the kernels, in cells.
        stride: Of every layer, in cells.
        seed: Of the weights; the same seed gives `antialiased_network` the same ones.

    Returns:
        Modules ``0`` (convolution), ``1`` (ReLU), ``2``, ...

    Example:
        >>> import torch
        >>> from invariance_probe import controls
        >>> controls.strided_network()(torch.rand(1, 3, 33, 33)).shape[:2]
        torch.Size([1, 16])
    """
    conv = partial(plain_conv, kernel_size=kernel_size, stride=stride)
    return stacked(conv, channels=channels, width=width, depth=depth, seed=seed)


def antialiased_network(
    *,
    channels: int = 3,
    width: int = 16,
    depth: int = 2,
    kernel_size: int = 3,
    stride: int = 2,
    taps: int = 5,
    seed: int = 0,
) -> nn.Sequential:
    """Build `strided_network` with a blur before each subsampling.

    Known answer: whole-pixel shifts by multiples of the total stride are aligned exactly; shifts in
    between to the floor, which is a fraction of that of `strided_network`.
    Rotations and scalings are aligned by no warp, as for any generic filters.

    Args:
        channels: Channels of the image.
        width: Channels of every layer.
        depth: Number of convolutions.
        kernel_size: Side of the kernels, in cells.
        stride: Of every `BlurPool2d`, in cells.
        taps: Of the blur, see `BlurPool2d`.
        seed: Of the weights; the same seed gives `strided_network` the same ones.

    Returns:
        Modules ``0`` (convolution), ``1`` (ReLU), ``2`` (`BlurPool2d`), ``3``, ...

    Example:
        >>> import torch
        >>> from invariance_probe import controls
        >>> controls.antialiased_network()(torch.rand(1, 3, 33, 33)).shape[:2]
        torch.Size([1, 16])
    """
    conv = partial(plain_conv, kernel_size=kernel_size)
    blur = partial(BlurPool2d, stride=stride, taps=taps)
    return stacked(conv, channels=channels, width=width, depth=depth, seed=seed, after=blur)
