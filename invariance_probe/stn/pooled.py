"""Convolution, max pooling and ReLU as one step, whose gradient visits only what was kept.

Of four cells that are pooled one gets a gradient, and none where the rectifier lets nothing
through: for a quarter to an eighth of the convolution's maps there is anything to multiply. Torch's
convolutions multiply all, and pooling and rectifier write all that is zero for them.

All pooled layers of this package's networks and localizers are quicker so, with the gradient of
their images and without: what torch takes for pooling, rectifying and all gradients is on one core
1.2 times (3 x 3, 16 channels of 14 x 14 cells) to 3.5 times as much (5 x 5, colour images of 64 x
64). The loops are compiled at a machine's first step, in three seconds, and kept on disk.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from invariance_probe.machine import loop_threads, over, where_numba_is
from invariance_probe.stn.convolution import ImageConvolution

_SHARES = 4
"""A thread takes, one after the other: one that torch's own threads, which wait for work with all
their might, keep from its core for a while leaves more of them to the others."""


class PooledSequential(nn.Sequential):
    """`torch.nn.Sequential` that trains quickly on a CPU what is convolved, pooled and rectified.

    Values and gradients are those of the modules in turn, up to the order of float additions, and
    the same bits for any number of threads. In training, float32 maps on the CPU go through a
    convolution of stride 1, max pooling of 2 x 2 cells and ReLU in one step where these follow each
    other. The modules run in turn where numba is missing, where one of them has a hook, and under
    autocast, compilation, tracing, `torch.func` and modes that watch or change operations.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from invariance_probe.stn.pooled import PooledSequential
        >>> layer = PooledSequential(nn.Conv2d(1, 8, 5), nn.MaxPool2d(2), nn.ReLU())
        >>> layer(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 8, 12, 12])
    """

    def forward(self, maps: Float[Tensor, "batch channel height width"]) -> Tensor:
        """Run all modules.

        Args:
            maps: Images or maps.

        Returns:
            What the last module returns.
        """
        if not self.training or torch.compiler.is_compiling():
            whole: Tensor = super().forward(maps)  # type: ignore[no-untyped-call]  # torch leaves it so
            return whole
        parts = list(self)
        while parts:
            convolution = _one_step(parts[:3])
            loops = None if convolution is None or not _is_plain(maps, convolution) else _loops()
            if convolution is None or loops is None:
                maps = parts.pop(0)(maps)
                continue
            del parts[:3]
            maps = _Pooled.apply(  # type: ignore[no-untyped-call]  # torch leaves it so
                maps, convolution.weight, convolution.bias, int(convolution.padding[0]), loops
            )
        return maps


@where_numba_is
def _loops() -> ModuleType:
    """The compiled loops."""
    from invariance_probe.stn import kernels

    return kernels


def _one_step(parts: list[nn.Module]) -> nn.Conv2d | None:
    """The convolution, if these three modules can be made one step."""
    # exactly these: subclasses, and modules with parametrised weights, may do anything
    if [type(part) for part in parts[1:]] != [nn.MaxPool2d, nn.ReLU]:
        return None
    convolution, pool = parts[:2]
    if type(convolution) not in {nn.Conv2d, ImageConvolution} or any(map(_is_hooked, parts)):
        return None
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(pool, nn.MaxPool2d)
    windows = [pool.kernel_size, pool.stride, pool.padding, pool.dilation]
    fits = (
        [value if isinstance(value, tuple) else (value, value) for value in windows]
        == [(2, 2), (2, 2), (0, 0), (1, 1)]
        and not (pool.ceil_mode or pool.return_indices)
        and (convolution.stride, convolution.dilation, convolution.groups) == ((1, 1), (1, 1), 1)
        and isinstance(convolution.padding, tuple)
        and len({*convolution.padding}) == len({*convolution.kernel_size}) == 1
        and convolution.padding_mode == "zeros"
        and convolution.bias is not None
    )
    return convolution if fits else None


def _is_hooked(module: nn.Module) -> bool:
    """Whether somebody waits for what a module reads, returns or sends back."""
    hooks = (
        module._forward_pre_hooks,
        module._forward_hooks,
        module._backward_pre_hooks,
        module._backward_hooks,
    )
    # torch names no public way to ask
    everywhere = nn.modules.module._has_any_global_hook()  # type: ignore[no-untyped-call]
    return any(hooks) or bool(everywhere)


def _is_plain(maps: Tensor, convolution: nn.Conv2d) -> bool:
    """Whether float32 maps on the CPU are to be trained on, and nobody watches the operations."""
    bias = convolution.bias
    assert bias is not None
    given = maps, convolution.weight, bias
    least = convolution.kernel_size[0] + 1 - 2 * int(convolution.padding[0])
    return (
        torch._C._get_tracing_state() is None
        and torch.is_grad_enabled()
        and any(tensor.requires_grad for tensor in given)
        and all(type(tensor) in {Tensor, nn.Parameter} for tensor in given)
        and {(tensor.device.type, tensor.dtype) for tensor in given} == {("cpu", torch.float32)}
        and maps.dim() == 4
        and maps.shape[1] == convolution.in_channels
        and len(maps) > 0
        and min(maps.shape[2:]) >= least
        and not torch.is_autocast_enabled("cpu")
        and not torch._C._are_functorch_transforms_active()
        and torch._C._len_torch_function_stack() == torch._C._len_torch_dispatch_stack() == 0
        and torch.autograd.forward_ad._current_level < 0
    )


class _Pooled(torch.autograd.Function):
    """Rectified maxima over 2 x 2 cells of a convolution, by `kernels`."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, padding: int, loops: ModuleType
    ) -> Tensor:
        # nobody but the pooling reads the convolution's maps: they are not kept
        side_by_side = images.contiguous(memory_format=torch.channels_last)
        maps = F.conv2d(side_by_side, weight, bias, padding=padding).permute(0, 2, 3, 1)
        maps = maps.contiguous()
        count, height, width, filters = maps.shape
        size = (count, filters, height // 2, width // 2)
        out = torch.empty(size, memory_format=torch.channels_last)
        kept = torch.empty(count, *size[2:], filters, dtype=torch.uint8)
        arrays = [tensor.numpy() for tensor in (maps, out.permute(0, 2, 3, 1), kept)]
        _in_shares(count, lambda *share: loops.pool(arrays[0], *share, *arrays[1:]))
        ctx.save_for_backward(images, weight, bias, kept)
        ctx.padding, ctx.loops = padding, loops
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        images, weight, bias, kept = ctx.saved_tensors
        if torch.is_grad_enabled():
            # somebody wants the gradient's gradient, which loops have not
            given = {0: images, 1: weight, 2: bias}
            wanted = [place for place in given if ctx.needs_input_grad[place]]
            maps = F.conv2d(images, weight, bias, padding=ctx.padding)
            found = torch.autograd.grad(
                F.relu(F.max_pool2d(maps, 2)),
                [given[place] for place in wanted],
                gradients,
                create_graph=True,
            )
            by_place = dict(zip(wanted, found, strict=True))
            return *(by_place.get(place) for place in given), None, None
        patches = _Patches(images, weight, ctx.padding, ctx.loops)
        gradient = gradients[0].permute(0, 2, 3, 1).contiguous().numpy()
        for_images = for_weight = for_bias = None
        if ctx.needs_input_grad[0]:
            for_images = patches.image_gradient(gradient, kept.numpy())
        if any(ctx.needs_input_grad[1:3]):
            for_weight, for_bias = patches.weight_gradient(gradient, kept.numpy())
        return for_images, for_weight, for_bias, None, None


class _Patches:
    """Images and filters as the loops read them: rows of numbers, of whole vectors.

    Arrays, as torch's threads would go on waiting for more of its work for milliseconds after each
    copy, and keep the loops from their cores.
    """

    def __init__(self, images: Tensor, weight: Tensor, padding: int, loops: ModuleType) -> None:
        self.images = images.detach().permute(0, 2, 3, 1).numpy()
        self.weight = weight.detach().permute(0, 2, 3, 1).numpy()
        self.padding, self.loops = padding, loops
        self.count, *sides, self.channels = self.images.shape
        self.height, self.width = (side + 2 * padding for side in sides)
        self.filters, self.side = self.weight.shape[:2]
        self.row = self.side * self.channels
        self.length = loops.row_length(self.side, self.channels)
        self.pitch = self.width * self.channels
        # the last row of an image is read to the end of its last vector, too
        self.size = self.height * self.pitch + self.length - self.row

    def _unpadded(self, flat: Any) -> Any:
        """The images, or their gradients, within their rows."""
        whole = flat[:, : self.height * self.pitch]
        whole = whole.reshape(self.count, self.height, self.width, self.channels)
        rows, columns = (slice(self.padding, self.padding + n) for n in self.images.shape[1:3])
        return whole[:, rows, columns]

    def weight_gradient(self, gradient: Any, kept: Any) -> tuple[Tensor, Tensor]:
        """Gradients of weights and biases."""
        flat = self.images
        if self.size * self.count != flat.size or not flat.flags.c_contiguous:
            flat = np.zeros((self.count, self.size), np.float32)
            self._unpadded(flat)[...] = self.images
        rows = np.zeros((self.filters, self.side, self.length), np.float32)
        biases = np.zeros(self.filters, np.float32)
        images = flat.reshape(-1), self.size, self.pitch, self.channels
        _in_shares(
            self.filters,
            lambda *share: self.loops.weight_gradient(
                *images, gradient, kept, *share, rows, biases
            ),
        )
        found = rows[..., : self.row].reshape(self.weight.shape)
        return torch.from_numpy(found).permute(0, 3, 1, 2), torch.from_numpy(biases)

    def image_gradient(self, gradient: Any, kept: Any) -> Tensor:
        """Gradients of images."""
        rows = np.zeros((self.filters, self.side, self.length), np.float32)
        rows[..., : self.row] = self.weight.reshape(self.filters, self.side, self.row)
        flat = np.empty((self.count, self.size), np.float32)
        into = self.size, self.pitch
        _in_shares(
            self.count,
            lambda *share: self.loops.image_gradient(
                rows, self.channels, gradient, kept, *into, *share, flat.reshape(-1)
            ),
        )
        return torch.from_numpy(self._unpadded(flat)).permute(0, 3, 1, 2)


def _in_shares(count: int, run: Callable[[int, int], None]) -> None:
    """Have threads run shares of so many things, each from a first up to a last."""
    size = -(-count // (1 if loop_threads() == 1 else _SHARES * loop_threads()))
    shares = [(first, min(first + size, count)) for first in range(0, count, size)]
    over(len(shares), lambda number: run(*shares[number]))
