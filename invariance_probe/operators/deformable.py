"""Convolutions that choose, at each position, where their taps read."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from invariance_probe.errors import InvalidInputError
from invariance_probe.errors.checks import check_integer, check_maps
from invariance_probe.plane import coordinates

MOST_CHANNELS = 10**6
"""A slip of the pen would fill the memory."""


class DeformableConv2d(nn.Module):
    """A convolution whose taps are moved by offsets that another convolution reads from the map.

    Version 1: Dai et al., "Deformable convolutional networks" (2017), section 2.1. Version 2, which
    weighs each tap as well: Zhu et al., "Deformable ConvNets v2: more deformable, better results"
    (2019), section 3.2. Both start from offsets of 0, the weights of version 2 from 1/2.

    Known answer: before training it is an ordinary convolution with the same weights (version 2:
    with half of them).

    Attributes:
        weight: Of the convolution, (out_channels, in_channels, kernel_size, kernel_size).
        bias: (out_channels,).
        offset: Convolution to two numbers a tap, in cells, y before x; weights and biases start at
            0.
        mask: Convolution to one logit a tap, in version 2; None in version 1.

    Args:
        in_channels: Channels of the maps.
        out_channels: Number of filters.
        kernel_size: Side of the filters, in cells.
        stride: In cells.
        padding: Zeros read on every side, in cells; beyond them 0 is read as well.
        dilation: Distance of the taps, in cells.
        modulated: Whether taps are weighed: version 2.

    Raises:
        InvalidInputError: If a size is no whole number in its range.

    Example:
        >>> import torch
        >>> from invariance_probe.operators import DeformableConv2d
        >>> layer = DeformableConv2d(3, 8, 3, padding=1)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        modulated: bool = False,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("in_channels", in_channels, 1),
            ("out_channels", out_channels, 1),
            ("kernel_size", kernel_size, 1),
            ("stride", stride, 1),
            ("padding", padding, 0),
            ("dilation", dilation, 1),
        ):
            check_integer(name, value, least, MOST_CHANNELS)
        self.stride, self.padding, self.dilation = stride, padding, dilation

        def conv(filters: int) -> nn.Conv2d:
            return nn.Conv2d(in_channels, filters, kernel_size, stride, padding, dilation)

        start = conv(out_channels)  # torch's own first weights
        assert start.bias is not None
        self.weight, self.bias = start.weight, start.bias
        taps = kernel_size**2
        self.offset = conv(2 * taps)
        self.mask = conv(taps) if modulated else None
        for predictor in (self.offset, self.mask):
            for parameter in () if predictor is None else predictor.parameters():
                nn.init.zeros_(parameter)

    def forward(
        self, maps: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch filter out_height out_width"]:
        """Convolve.

        Args:
            maps: Maps.

        Returns:
            Filtered maps, of the size that an ordinary convolution returns.

        Example:
            >>> maps = torch.rand(2, 3, 9, 9)
            >>> plain = torch.nn.functional.conv2d(maps, layer.weight, layer.bias, padding=1)
            >>> torch.allclose(layer(maps), plain, atol=1e-5)  # before training
            True
        """
        return deformable_conv2d(
            maps,
            self.offset(maps),
            self.weight,
            self.bias,
            mask=None if self.mask is None else self.mask(maps).sigmoid(),
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
        )


def deformable_conv2d(
    maps: Float[Tensor, "batch channel height width"],
    offsets: Float[Tensor, "batch two_taps out_height out_width"],
    weight: Float[Tensor, "filter channel side side"],
    bias: Float[Tensor, " filter"] | None = None,
    *,
    mask: Float[Tensor, "batch taps out_height out_width"] | None = None,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> Float[Tensor, "batch filter out_height out_width"]:
    """Convolve with taps that are moved, each at each position by an offset of its own.

    As of `torchvision.ops.deform_conv2d` with one group: bilinear readings, 0 outside of the map.

    Args:
        maps: Maps to read from.
        offsets: For each tap, row by row, how far down and how far right it is moved, in cells.
        weight: Filters.
        bias: Of the filters; none by default.
        mask: Factor of each tap; 1 by default.
        stride: In cells.
        padding: Zeros read on every side, in cells.
        dilation: Distance of the taps, in cells.

    Returns:
        Filtered maps.

    Raises:
        InvalidInputError: If offsets or mask are not of the size that the filters ask for.

    Example:
        >>> import torch
        >>> from invariance_probe.operators import deformable_conv2d
        >>> maps, weight = torch.rand(1, 2, 5, 5), torch.rand(3, 2, 3, 3)
        >>> deformable_conv2d(maps, torch.zeros(1, 18, 3, 3), weight).shape
        torch.Size([1, 3, 3, 3])
    """
    check_maps("maps", maps, "batch", "channel", "height", "width")
    batch, channels, height, width = maps.shape
    side = weight.shape[-1]
    rows, columns = (
        (length + 2 * padding - dilation * (side - 1) - 1) // stride + 1
        for length in (height, width)
    )
    taps = side**2
    for name, given, count in (("offsets", offsets, 2 * taps), ("mask", mask, taps)):
        if given is not None and given.shape != (batch, count, rows, columns):
            raise InvalidInputError(
                f"{name} of shape {tuple(given.shape)} were given; give "
                f"{(batch, count, rows, columns)}"
            )
    # half precision quantises coordinates to a tenth of a cell and worse
    wide = maps.to(torch.promote_types(maps.dtype, torch.float32))
    moved = offsets.to(wide).reshape(batch, taps, 2, rows, columns)
    along_y, along_x = (
        stride * torch.arange(count, dtype=wide.dtype, device=maps.device) - padding
        for count in (rows, columns)
    )
    tap = dilation * torch.arange(side, dtype=wide.dtype, device=maps.device)
    y = moved[:, :, 0] + tap.repeat_interleave(side)[:, None, None] + along_y[:, None]
    x = moved[:, :, 1] + tap.repeat(side)[:, None, None] + along_x
    grid = coordinates.sampling_grid(x, y, height, width).flatten(1, 2)
    found = F.grid_sample(wide, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    found = found.view(batch, channels, taps, rows, columns)
    if mask is not None:
        found = found * mask.to(found)[:, None]
    filtered = torch.einsum("bctyx,fct->bfyx", found.to(maps.dtype), weight.flatten(2))
    return filtered if bias is None else filtered + bias[:, None, None]
