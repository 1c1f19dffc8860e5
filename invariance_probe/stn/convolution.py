"""A convolution whose gradient with respect to few-channel images is quick on a CPU."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

MOST_CHANNELS = 4
"""Up to so many input channels the gradient of the images goes through one matrix product. The
library's own kernel fills its registers with input channels and leaves most of them empty (256
images of 28 x 28, 64 filters of 9 x 9, one core: 158 against 25 milliseconds)."""
_COLUMNS_AT_ONCE = 1 << 21
"""So many numbers stay in the caches while they are added up: 64 images of 28 x 28 and their 81
taps. Of 60 x 60, where 64 images would hold seven times as many, training was twice as slow."""


class ImageConvolution(nn.Conv2d):
    """`torch.nn.Conv2d` with stride 1 for images, which trains quickly where they need a gradient.

    Results and gradients are those of `torch.nn.Conv2d`, up to the order of float additions. Only
    the gradient of images with at most 4 channels on the CPU is computed differently.

    Args:
        in_channels: Channels of the images.
        out_channels: Number of filters.
        kernel_size: Side of the filters, in pixels.
        padding: Zeros added on every side, in pixels.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, padding: int = 0
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=padding)

    def forward(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch filter map_height map_width"]:
        """Convolve.

        Args:
            images: Images or maps.

        Returns:
            Maps.
        """
        few = self.in_channels <= MOST_CHANNELS and images.device.type == "cpu"
        if few and images.requires_grad:
            assert self.bias is not None
            given = [images, self.weight, self.bias]
            if torch.is_autocast_enabled("cpu"):
                # a function of one's own is not among those that autocast casts
                given = [tensor.to(torch.get_autocast_dtype("cpu")) for tensor in given]
            maps: Tensor = _FewChannels.apply(  # type: ignore[no-untyped-call]  # torch leaves it so
                *given, int(self.padding[0])
            )
            return maps
        return super().forward(images)


class _FewChannels(torch.autograd.Function):
    """Convolution with a gradient of the input that multiplies first and shifts afterwards."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.padding = padding
        return F.conv2d(images, weight, bias, padding=padding)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        (gradient,) = gradients
        images, weight = ctx.saved_tensors
        padding = ctx.padding
        # weights and bias as the library does it; only the images' gradient is its slow one, so
        # the mask leaves it out
        _, for_weight, for_bias = torch.ops.aten.convolution_backward(
            gradient,
            images,
            weight,
            [len(weight)],
            [1, 1],
            [padding, padding],
            [1, 1],
            False,
            [0, 0],
            1,
            [False, True, True],
        )
        for_images = None
        if ctx.needs_input_grad[0]:
            for_images = _image_gradient(gradient, weight, padding, images.shape)
        return for_images, for_weight, for_bias, None


def _image_gradient(gradient: Tensor, weight: Tensor, padding: int, shape: torch.Size) -> Tensor:
    """Filters transposed times gradients, then each tap added where it was read."""
    batch, channels, height, width = shape
    filters, _, side, _ = weight.shape
    rows, columns = gradient.shape[-2:]
    # sums are kept in single precision where the products are in half
    wide = gradient.dtype if gradient.dtype == torch.float64 else torch.float32
    size = (batch, channels, height + 2 * padding, width + 2 * padding)
    padded = torch.zeros(size, dtype=wide, device=gradient.device)
    # The map at p is the sum over taps t of weight[t] image[p + t - padding]; its adjoint sends the
    # gradient g back along the same pairs: image[q] gets the sum over t of
    # weight[t]^T g[q - t + padding]. All weight[t]^T g are one product, of a matrix of
    # (channels side^2) x filters with the gradients as columns. What is left is to add each tap's
    # plane, shifted by t, to a padded image: few and long additions.
    taps = weight.reshape(filters, -1).T.contiguous()
    flat = gradient.permute(0, 2, 3, 1).reshape(batch, rows * columns, filters).mT
    at_once = max(1, round(_COLUMNS_AT_ONCE / (taps.shape[0] * rows * columns)))
    for start in range(0, batch, at_once):
        chunk = flat[start : start + at_once]
        product = torch.bmm(taps.expand(len(chunk), -1, -1), chunk)
        product = product.view(len(chunk), channels, side, side, rows, columns)
        into = padded[start : start + at_once]
        for y in range(side):
            for x in range(side):
                into[:, :, y : y + rows, x : x + columns].add_(product[:, :, y, x])
    # what lay in the padding was no pixel
    inner = padded[:, :, padding : padding + height, padding : padding + width]
    return inner.to(gradient.dtype)
