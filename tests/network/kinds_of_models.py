"""Models of many kinds, each of which something has damaged before."""

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, weight_norm


def _net(**options: object) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, **options), nn.ReLU(inplace=True)).train()


class Writing(nn.Module):
    """Writes a buffer, a parameter and an attribute in every pass."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 4, 3)
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("kept", torch.zeros(2), persistent=False)
        self.scale = nn.Parameter(torch.ones(1))
        self.passes, self.seen = 0, list[int]()

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.body(images)
        with torch.no_grad():
            self.mean.add_(maps.mean((0, 2, 3)))
            self.scale.mul_(1.5)
        self.kept = self.kept + 1
        self.passes += 1
        self.seen.append(len(images))
        return maps


class Complex(nn.Module):
    """Filters by a complex weight."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, 1, 1, dtype=dtype))

    def forward(self, images: Tensor) -> Tensor:
        return torch.einsum("oixy,nihw->nohw", self.weight, images.to(self.weight.dtype)).abs()


class Locked(nn.Module):
    """Holds a lock, which nothing can copy."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self._lock = _net(), threading.Lock()

    def forward(self, images: Tensor) -> Tensor:
        with self._lock:
            return self.body(images)


def _mixed() -> nn.Module:
    return nn.Sequential(_net(), nn.Conv2d(4, 4, 3).bfloat16(), nn.Conv2d(4, 4, 3).half())


def _modes() -> nn.Module:
    net = nn.Sequential(_net(), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Conv2d(4, 2, 3))
    net[1].eval()
    net[3].weight.requires_grad_(False)
    return net


def _always_training() -> nn.Module:
    net = nn.Sequential(_net(), nn.BatchNorm2d(4))
    net[1].register_forward_pre_hook(lambda module, _: module.train() and None)
    return net


def _counting() -> nn.Module:
    net = _net()
    net.register_buffer("count", torch.zeros(1))
    net[0].register_forward_hook(lambda *_: net.count.add_(1) and None)
    return net


def _forward_replaced() -> nn.Module:
    net = Writing()
    inner = net.forward
    net.forward = lambda images: inner(images) * 2  # type: ignore[method-assign]  (as users patch models)
    return net


@torch.enable_grad()
def _older_weight_norm() -> nn.Module:
    net = _net()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weight_norm(net[0])
    return net


def _tied() -> nn.Module:
    net = nn.Sequential(nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3))
    net[1].weight = net[0].weight
    return net


@torch.enable_grad()
def _with_gradients() -> nn.Module:
    net = _net()
    net(torch.rand(1, 3, 8, 8)).sum().backward()
    return net


def _made_for_inference() -> nn.Module:
    with torch.inference_mode():
        return _net()


def _quantized() -> nn.Module:
    net = nn.Sequential(_net(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and still about
        return torch.ao.quantization.quantize_dynamic(net, {nn.Linear})


def _scripted_inside() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Sequential(_net(), torch.jit.script(nn.Conv2d(4, 2, 3)))


class _Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def _parametrized() -> nn.Module:
    net = _net()
    parametrize.register_parametrization(net[0], "weight", _Doubled())
    return net


KINDS: dict[str, Callable[[], nn.Module]] = {
    "float32": _net,
    "float64": partial(_net, dtype=torch.float64),
    "bfloat16": partial(_net, dtype=torch.bfloat16),
    "complex64": partial(Complex, torch.complex64),
    "complex128": partial(Complex, torch.complex128),
    "mixed float32, bfloat16, float16": _mixed,
    "buffers, parameters and attributes written in forward": Writing,
    "modes of its own": _modes,
    "normalisation always in training": _always_training,
    "hooks that count": _counting,
    "another forward": _forward_replaced,
    "tied weights": _tied,
    "gradients": _with_gradients,
    "a lock": Locked,
    "made for inference": _made_for_inference,
    "weight_norm": lambda: nn.Sequential(parametrizations.weight_norm(nn.Conv2d(3, 4, 3)).double()),
    "spectral_norm": lambda: nn.Sequential(parametrizations.spectral_norm(nn.Conv2d(3, 4, 3))),
    "the older weight_norm": _older_weight_norm,
    "parametrized": _parametrized,
    "compiled": lambda: torch.compile(_net(), backend="eager"),
    "quantized": _quantized,
    "torch.jit inside": _scripted_inside,
}
"""How to make a model of each kind, on images of three colours."""


def state(model: nn.Module) -> dict[str, object]:
    """All of a model that a probe could have changed, to the last bit.

    Args:
        model: Any.

    Returns:
        By name; two states are equal if no tensor, mode, hook or attribute differs.
    """
    found: dict[str, object] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        found[f"{name} is"] = (id(module), type(module), module.training)
        found[f"{name} hooks"] = (list(module._forward_hooks), list(module._forward_pre_hooks))
        for key, value in getattr(module, "__dict__", {}).items():
            if isinstance(value, int | float | list):
                found[f"{name}.{key}"] = value if not isinstance(value, list) else list(value)
            if isinstance(value, Tensor):
                found[f"{name}.{key}"] = _bits(value)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        gradient = None if parameter.grad is None else _bits(parameter.grad)
        found[name] = (id(parameter), _bits(parameter), parameter.requires_grad, gradient)
    for name, buffer in model.named_buffers(remove_duplicate=False):
        found[name] = (id(buffer), _bits(buffer))
    found["saved"] = [
        (name, _bits(each)) for name, each in model.state_dict().items() if isinstance(each, Tensor)
    ]
    return found


def _bits(tensor: Tensor) -> tuple[object, ...]:
    plain = tensor.detach()
    where = (tensor.dtype, tensor.device, tuple(tensor.shape), tensor.stride())
    if plain.is_quantized:
        return (*where, plain.int_repr().numpy().tobytes())
    return (*where, plain.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())


@contextmanager
def failing(model: nn.Module, error: BaseException) -> Iterator[None]:
    """Have a model raise in its second pass.

    Args:
        model: One whose first child takes hooks.
        error: What to raise.

    Yields:
        Nothing.
    """
    passes: list[int] = []

    def fail(*_: object) -> None:
        passes.append(1)
        if len(passes) > 1:
            raise error

    first = next(iter(model.children()), model)
    handle = first.register_forward_pre_hook(fail)
    try:
        yield
    finally:
        handle.remove()
