"""How the controls draw their weights, and what sizes they refuse."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from invariance_probe.errors import InvalidInputError

BIAS_STD = 0.1
"""Standard deviation of the biases: enough that no network is homogeneous in its input."""


def draw_weight(
    shape: Sequence[int], fan_in: int, generator: torch.Generator
) -> Float[Tensor, "..."]:
    """Draw weights that keep the variance through a ReLU.

    He, Zhang, Ren, Sun, "Delving deep into rectifiers" (2015), section 2.2.

    Args:
        shape: Of the weight.
        fan_in: Number of terms in the sum that one output is.
        generator: Source of randomness.

    Returns:
        Normal numbers of variance 2 / fan_in.
    """
    return torch.randn(*shape, generator=generator) * math.sqrt(2 / fan_in)


def without_mean(
    kernel: Float[Tensor, "*filters height width"],
) -> Float[Tensor, "*filters height width"]:
    """Make filters sum to zero, for the first layer.

    Mean brightness looks the same to every filter, and in photographs it outweighs what the filters
    tell apart: with it, any network looks nearly aligned. Filters of one pixel are left alone, they
    hold nothing else.

    Args:
        kernel: Filters.

    Returns:
        Filters of sum 0 and, on average, the norm they had.
    """
    pixels = kernel.shape[-2] * kernel.shape[-1]
    if pixels == 1:
        return kernel
    return (kernel - kernel.mean((-2, -1), keepdim=True)) * math.sqrt(pixels / (pixels - 1))


def draw_bias(count: int, generator: torch.Generator) -> Float[Tensor, " count"]:
    """Draw biases.

    Args:
        count: How many.
        generator: Source of randomness.

    Returns:
        Normal numbers of standard deviation `BIAS_STD`.
    """
    return BIAS_STD * torch.randn(count, generator=generator)


def plain_conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    generator: torch.Generator,
    stride: int = 1,
    zero_sum: bool = False,
) -> nn.Conv2d:
    """Build an ordinary convolution without padding, its weights drawn from a generator.

    Args:
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        kernel_size: Side of the kernel, in cells.
        generator: Source of randomness.
        stride: In cells.
        zero_sum: Whether its filters sum to zero, see `without_mean`.

    Returns:
        The layer.
    """
    require_positive(kernel_size=kernel_size, stride=stride)
    # built without memory, because torch's own initialisation draws from the global generator
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride=stride, device="meta")
    conv = conv.to_empty(device="cpu")
    assert conv.bias is not None
    with torch.no_grad():
        weight = draw_weight(conv.weight.shape, in_channels * kernel_size**2, generator)
        conv.weight.copy_(without_mean(weight) if zero_sum else weight)
        conv.bias.copy_(draw_bias(out_channels, generator))
    return conv


class KernelConv2d(nn.Module, ABC):
    """Convolution without padding whose filters are made from its weights.

    Attributes:
        bias: One for each filter, or for each field of so many filters.
        stride: In cells.
    """

    bias: Tensor
    stride: int = 1

    @abstractmethod
    def kernel(self) -> Float[Tensor, "out in size size"]:
        """Make the filters.

        Returns:
            Those that are applied.
        """

    def forward(
        self, maps: Float[Tensor, "batch in height width"]
    ) -> Float[Tensor, "batch out out_height out_width"]:
        """Apply them.

        Args:
            maps: Input maps.

        Returns:
            Filtered maps.

        Example:
            >>> import torch
            >>> from invariance_probe.controls import IsotropicConv2d
            >>> layer = IsotropicConv2d(3, 2, generator=torch.Generator().manual_seed(0))
            >>> layer(torch.rand(1, 3, 15, 15)).shape[:2]
            torch.Size([1, 2])
        """
        kernel = self.kernel()
        bias = self.bias.repeat_interleave(len(kernel) // len(self.bias))
        return F.conv2d(maps, kernel, bias, self.stride)


def stacked(
    conv: Callable[..., nn.Module],
    *,
    channels: int,
    width: int,
    depth: int,
    seed: int,
    first: Mapping[str, Any] | None = None,
    after: Callable[[], nn.Module] | None = None,
) -> nn.Sequential:
    """Stack convolutions, each followed by a ReLU; the filters of the first sum to zero.

    Args:
        conv: Builds a layer from the numbers of its input and output channels; takes ``zero_sum``
            and ``generator``.
        channels: Channels of the image.
        width: Channels of every layer.
        depth: Number of convolutions.
        seed: Of the weights.
        first: What else only the first layer is given.
        after: Builds what follows each ReLU, if anything does.

    Returns:
        Modules ``0`` (convolution), ``1`` (ReLU), ``2``, ....
    """
    require_positive(channels=channels, width=width, depth=depth)
    generator = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    for number in range(depth):
        into, own = (width, {}) if number else (channels, {"zero_sum": True, **(first or {})})
        layers += [conv(into, width, generator=generator, **own), nn.ReLU()]
        layers += [] if after is None else [after()]
    return nn.Sequential(*layers)


def require_positive(**values: int) -> None:
    """Refuse sizes below 1.

    Args:
        **values: Sizes by the names of the arguments.

    Raises:
        InvalidInputError: With name and value of the first one that is no positive integer.
    """
    for name, value in values.items():
        if value < 1:
            raise InvalidInputError(f"{name}={value}: give a positive whole number")
