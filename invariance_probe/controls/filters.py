"""Controls defined by the symmetry of their filters: pointwise, isotropic, 4-fold, none, blur.

For one linear layer, a warp by h aligns exactly if every filter is unchanged by h (claim P5); only
a filter of one pixel is unchanged by scalings (P6), only an isotropic one by all rotations (P7).
"""

import math
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from invariance_probe.controls.weights import (
    KernelConv2d,
    draw_bias,
    draw_weight,
    plain_conv,
    require_positive,
    stacked,
    without_mean,
)
from invariance_probe.errors import InvalidInputError


class IsotropicConv2d(KernelConv2d):
    """Convolution whose filters are isotropic: sums of Gaussians of several widths.

    The widths run geometrically from 1 cell to a third of the kernel's half side, so that no
    Gaussian is narrower than pixels can show, or cut off where it matters: sampled on pixels, the
    filters remain isotropic to about a hundredth. Trained or not, they stay in that space.

    Args:
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        kernel_size: Side of the kernel, in cells.
        gaussians: Number of widths.
        zero_sum: Whether the filters drawn sum to zero, see `weights.without_mean`.
        generator: Source of the weights.

    Attributes:
        weight: Coefficients of the Gaussians, (out, in, gaussians).
        bias: (out,).
        basis: The Gaussians, each of norm 1, (gaussians, kernel_size, kernel_size); no parameter.

    Example:
        >>> import torch
        >>> from invariance_probe import controls
        >>> generator = torch.Generator().manual_seed(0)
        >>> layer = controls.IsotropicConv2d(3, 2, generator=generator)
    """

    basis: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 13,
        gaussians: int = 3,
        zero_sum: bool = False,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        require_positive(
            in_channels=in_channels,
            out_channels=out_channels,
            kernel_size=kernel_size,
            gaussians=gaussians,
        )
        basis = _gaussians(kernel_size, gaussians)
        self.register_buffer("basis", basis)
        shape = (out_channels, in_channels, gaussians)
        weight = draw_weight(shape, in_channels * gaussians, generator)
        if zero_sum and gaussians > 1:
            sums = F.normalize(basis.sum((1, 2)), dim=0)
            weight = weight - (weight @ sums)[..., None] * sums
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(draw_bias(out_channels, generator))

    def kernel(self) -> Float[Tensor, "out in size size"]:
        """Sum the Gaussians.

        Returns:
            The filters that are applied.

        Example:
            >>> kernel = layer.kernel()
            >>> torch.allclose(kernel, kernel.rot90(1, (-2, -1)), atol=1e-6)
            True
        """
        return torch.einsum("oij,jyx->oiyx", self.weight, self.basis)


def _gaussians(kernel_size: int, count: int) -> Tensor:
    """Gaussians of growing width and norm 1, (count, k, k)."""
    half = (kernel_size - 1) / 2
    line = torch.arange(kernel_size, dtype=torch.float64) - half
    square = line[:, None].square() + line.square()
    widths = torch.logspace(0, math.log10(max(half / 3, 1.5)), count, dtype=torch.float64)
    basis = torch.exp(-square / (2 * widths[:, None, None].square()))
    norms = basis.square().sum((1, 2), keepdim=True).sqrt()
    return (basis / norms).float()


class FourFoldConv2d(KernelConv2d):
    """Convolution whose filters are unchanged by quarter turns.

    The filter applied is the mean of the weight over its four turns (times 2, which keeps the
    variance), so that it stays symmetric in training. Reflections change it.

    Args:
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        kernel_size: Side of the kernel, in cells.
        stride: In cells.
        zero_sum: Whether the filters drawn sum to zero, see `weights.without_mean`.
        generator: Source of the weights.

    Attributes:
        weight: Before symmetrisation, (out, in, kernel_size, kernel_size).
        bias: (out,).

    Example:
        >>> import torch
        >>> from invariance_probe import controls
        >>> generator = torch.Generator().manual_seed(0)
        >>> layer = controls.FourFoldConv2d(3, 2, generator=generator)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 5,
        stride: int = 1,
        zero_sum: bool = False,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        require_positive(
            in_channels=in_channels,
            out_channels=out_channels,
            kernel_size=kernel_size,
            stride=stride,
        )
        self.stride = stride
        shape = (out_channels, in_channels, kernel_size, kernel_size)
        weight = draw_weight(shape, in_channels * kernel_size**2, generator)
        self.weight = nn.Parameter(without_mean(weight) if zero_sum else weight)
        self.bias = nn.Parameter(draw_bias(out_channels, generator))

    def kernel(self) -> Float[Tensor, "out in size size"]:
        """Symmetrise the weight.

        Returns:
            The filters that are applied.

        Example:
            >>> kernel = layer.kernel()
            >>> torch.allclose(kernel, kernel.rot90(1, (-2, -1)), atol=1e-6)
            True
        """
        half_turn = self.weight + self.weight.rot90(2, (-2, -1))
        return (half_turn + half_turn.rot90(1, (-2, -1))) / 2


class GaussianBlur2d(nn.Module):
    """Convolve every channel with the same Gaussian, sampled out to four standard deviations.

    Args:
        sigma: Standard deviation, in cells; positive.

    Attributes:
        line: The Gaussian along one axis, (taps,), of sum 1; no parameter.

    Example:
        >>> import torch
        >>> from invariance_probe import controls
        >>> blur = controls.GaussianBlur2d(1.0)
    """

    line: Tensor

    def __init__(self, sigma: float = 1.5) -> None:
        super().__init__()
        if not (math.isfinite(sigma) and sigma > 0):
            raise InvalidInputError(f"sigma={sigma:g}: give a positive number of cells")
        reach = math.ceil(4 * sigma)
        at = torch.arange(-reach, reach + 1, dtype=torch.float64)
        line = torch.exp(-at.square() / (2 * sigma**2))
        self.register_buffer("line", (line / line.sum()).float())

    def forward(
        self, maps: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel out_height out_width"]:
        """Blur, without padding.

        Args:
            maps: Maps to blur.

        Returns:
            Blurred maps.

        Example:
            >>> flat = blur(torch.ones(1, 2, 15, 15))
            >>> torch.allclose(flat, torch.ones_like(flat))
            True
        """
        channels = maps.shape[1]
        across = self.line.expand(channels, 1, 1, -1)
        blurred = F.conv2d(maps, across, groups=channels)
        return F.conv2d(blurred, across.transpose(-2, -1), groups=channels)


def pointwise_network(
    *, channels: int = 3, width: int = 16, depth: int = 3, seed: int = 0
) -> nn.Sequential:
    """Build 1 x 1 convolutions, each followed by a ReLU: nothing but colour is looked at.

    Known answer: every feature vector is a function of one pixel, so that the maps move like the
    image. The oracle warp aligns exactly wherever pixels move to pixels, and to the floor under
    every other transform, scalings and shears included.

    Args:
        channels: Channels of the image.
        width: Channels of every layer.
        depth: Number of convolutions.
        seed: Of the weights.

    Returns:
        Modules ``0`` (convolution), ``1`` (ReLU), ``2``, ....

    Example:
        >>> import torch
        >>> from invariance_probe import controls
        >>> controls.pointwise_network()(torch.rand(1, 3, 33, 33)).shape[:2]
        torch.Size([1, 16])
    """
    return random_network(channels=channels, width=width, depth=depth, kernel_size=1, seed=seed)


def isotropic_network(
    *,
    channels: int = 3,
    width: int = 16,
    depth: int = 2,
    kernel_size: int = 13,
    seed: int = 0,
) -> nn.Sequential:
    """Build convolutions with isotropic filters, each followed by a ReLU.

    Known answer: quarter turns and reflections are aligned exactly by the oracle warp, at odd and
    even sizes; other rotations up to the floor and what sampling the filters costs (P7); scalings
    and shears by no warp (P6).

    Args:
        channels: Channels of the image.
        width: Channels of every layer.
        depth: Number of convolutions.
        kernel_size: Side of the kernels, in pixels. Finer supports are rounder.
        seed: Of the weights.

    Returns:
        Modules ``0`` (`IsotropicConv2d`), ``1`` (ReLU), ``2``, ....

    Example:
        >>> import torch
        >>> from invariance_probe import controls
        >>> controls.isotropic_network()(torch.rand(1, 3, 33, 33)).shape[:2]
        torch.Size([1, 16])
    """
    conv = partial(IsotropicConv2d, kernel_size=kernel_size)
    return stacked(conv, channels=channels, width=width, depth=depth, seed=seed)


def four_fold_network(
    *,
    channels: int = 3,
    width: int = 16,
    depth: int = 2,
    kernel_size: int = 7,
    stride: int = 1,
    seed: int = 0,
) -> nn.Sequential:
    """Build convolutions with filters unchanged by quarter turns, each followed by a ReLU.

    Known answer: quarter turns are aligned exactly by the oracle warp (P7); with a stride, on sizes
    whose centre it keeps (see `invariance_probe.controls`). Reflections, other rotations, scalings
    and shears are aligned by no warp.

    Args:
        channels: Channels of the image.
        width: Channels of every layer.
        depth: Number of convolutions.
        kernel_size: Side of the kernels, in cells.
        stride: Of the first layer, in pixels.
        seed: Of the weights.

    Returns:
        Modules ``0`` (`FourFoldConv2d`), ``1`` (ReLU), ``2``, ...

    Example:
        >>> import torch
        >>> from invariance_probe import controls
        >>> controls.four_fold_network()(torch.rand(1, 3, 33, 33)).shape[:2]
        torch.Size([1, 16])
    """
    conv = partial(FourFoldConv2d, kernel_size=kernel_size)
    first = {"stride": stride}
    return stacked(conv, channels=channels, width=width, depth=depth, seed=seed, first=first)


def random_network(
    *,
    channels: int = 3,
    width: int = 16,
    depth: int = 3,
    kernel_size: int = 5,
    seed: int = 0,
) -> nn.Sequential:
    """Build an untrained network of ordinary convolutions, each followed by a ReLU.

    Known answer: its filters have no symmetry at all, so that no warp aligns any rotation,
    reflection or scaling (P5, P9), and no permutation of its channels helps. What a trained network
    leaves beyond this one comes from its training.

    Args:
        channels: Channels of the image.
        width: Channels of every layer.
        depth: Number of convolutions.
        kernel_size: Side of the kernels, in pixels.
        seed: Of the weights.

    Returns:
        Modules ``0`` (convolution), ``1`` (ReLU), ``2``, ....

    Example:
        >>> import torch
        >>> from invariance_probe import controls
        >>> controls.random_network()(torch.rand(1, 3, 33, 33)).shape[:2]
        torch.Size([1, 16])
    """
    conv = partial(plain_conv, kernel_size=kernel_size)
    return stacked(conv, channels=channels, width=width, depth=depth, seed=seed)


def blur_network(*, sigma: float = 1.5) -> nn.Sequential:
    """Build a Gaussian blur of the image and nothing else.

    Known answer: quarter turns and reflections are aligned exactly, other rotations up to the
    floor, scalings by no warp: after the content has grown by s, a blur of sigma is
    one of sigma / s on the original. For stationary images of power spectrum S this leaves the
    fraction int S (e^(-q/s^2) - e^-q)^2 / int S e^(-2q) of the variance, q = sigma^2 w^2 / 2 (P13).
    It is small where S falls steeply: a network that mostly smooths looks aligned.

    Args:
        sigma: Standard deviation of the Gaussian, in pixels.

    Returns:
        Module ``0`` (`GaussianBlur2d`); maps with the image's channels.

    Example:
        >>> import torch
        >>> from invariance_probe import controls
        >>> controls.blur_network()(torch.rand(1, 3, 33, 33)).shape[:2]
        torch.Size([1, 3])
    """
    return nn.Sequential(GaussianBlur2d(sigma))
