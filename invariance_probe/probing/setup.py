"""What every measurement begins with: its images, the model in place, and what is written down."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from typing import Any, TypeAlias

import torch
from torch import nn

from invariance_probe.alignment import search
from invariance_probe.data import inputs
from invariance_probe.data.pictures import ImageSource
from invariance_probe.errors import InvalidInputError
from invariance_probe.errors.checks import as_list, check_device
from invariance_probe.network import copies
from invariance_probe.network.features import name_of
from invariance_probe.network.fingerprints import fingerprint
from invariance_probe.network.sizes import input_channels
from invariance_probe.plane.transforms import Transform, described
from invariance_probe.probing.duplicates import alike_in
from invariance_probe.probing.options import ProbeOptions
from invariance_probe.probing.passes import ForwardPasses

LayerNames: TypeAlias = str | nn.Module | Sequence[str | nn.Module]
"""Names or patterns of layers, or modules of the model themselves."""


def opened(model: nn.Module, images: object, options: ProbeOptions) -> ImageSource:
    """Take images in any form.

    Args:
        model: What sees them; pictures become grey or colour as its first layer takes them.
        images: See `inputs.as_source`.
        options: How it is measured.

    Returns:
        The images, one by one.

    Raises:
        InvalidInputError: If there are none, or they are something else.
    """  # noqa: DOC502  (raised by what is called)
    channels = input_channels(model)
    return inputs.as_source(
        images, crop=options.crop, channels=channels if channels in {1, 3} else None
    )


def motions(transforms: Transform | Sequence[Transform]) -> Sequence[Transform]:
    """Check that there is something to do to images.

    Args:
        transforms: One transform or several.

    Returns:
        A sequence of them.

    Raises:
        InvalidInputError: If there are none, or they are something else.
    """
    if isinstance(transforms, Transform):
        return [transforms]
    if not isinstance(transforms, Sequence) or not all(
        isinstance(t, Transform) for t in transforms
    ):
        raise InvalidInputError(
            f"transforms={transforms!r}: give a list of transforms, such as [Rotation(30)]"
        )
    if not transforms:
        raise InvalidInputError("there are no transforms; give at least one")
    return transforms


def named(model: nn.Module, layers: LayerNames) -> list[str]:
    """Check that there is a layer to measure.

    Args:
        model: The model.
        layers: Names, patterns or modules of the model.

    Returns:
        A list of names and patterns.

    Raises:
        InvalidInputError: If there is none, or one is no text and no module of the model.
    """
    several = [layers] if isinstance(layers, str | nn.Module) else as_list(layers)
    if not several or not all(isinstance(one, str | nn.Module) for one in several):
        raise InvalidInputError(
            f"layers={layers!r}: give at least one name, pattern or module; list_layers lists them"
        )
    return [one if isinstance(one, str) else name_of(model, one) for one in several]


@contextmanager
def computing(model: nn.Module, options: ProbeOptions) -> Iterator[nn.Module]:
    """Make ready to compute in full precision, without gradients, with a copy of a model.

    Args:
        model: The model, which is left alone.
        options: Device and type.

    Yields:
        The copy, in place and in evaluation mode (see `copies.working_copy`).
    """
    device = check_device(options.device)
    with copies.same_randomness(), in_full_precision(device):
        own = copies.placed_copy(model, device, options.real)
        if any(method.needs_search for method in options.compared):
            search.compile_ahead(device, options.real)
        yield own


@contextmanager
def in_full_precision(device: torch.device) -> Iterator[None]:
    """Compute without gradients, and on a GPU without its shorter numbers.

    Args:
        device: Where.

    Yields:
        Nothing.
    """
    with (
        torch.no_grad(),
        # a global switch, left alone where it switches nothing: other threads may compute as well
        torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
        if device.type == "cuda"
        else nullcontext(),
    ):
        yield


def identity(
    passes: ForwardPasses, transforms: Sequence[Transform], options: ProbeOptions, name: str | None
) -> dict[str, Any]:
    """Write down all that a table depends on but the images' content.

    Args:
        passes: Model and images.
        transforms: What is done to the images.
        options: How it is measured.
        name: What to call the model; its class by default.

    Returns:
        What `journal.Journal.begin` knows a run by.

    Raises:
        InvalidInputError: If the name is none that files can hold.
    """
    name = type(passes.model).__name__ if name is None else name
    if not isinstance(name, str) or not name.isprintable():
        raise InvalidInputError(f"name={name!r}: give a text")
    return {
        "model": name,
        "weights": fingerprint(passes.model),
        "layers": [layer.name for layer in passes.layers],
        "transforms": [repr(transform) for transform in transforms],
        "moves": described(transforms),
        "images": list(passes.source.names),
        "canvas": list(passes.canvas),
        **asdict(options),
        "device": str(passes.device),
    }


def seen(passes: ForwardPasses) -> dict[str, Any]:
    """Write down what a run saw in its model and images.

    Args:
        passes: Model and images, all of which have been read.

    Returns:
        The part of the configuration that is known afterwards.
    """
    return {
        "near_duplicates": [
            [passes.source.names[number] for number in alike] for alike in alike_in(passes.groups)
        ],
        "partners": passes.partners,
        "unmeasured": passes.unmeasured,
        **inputs.about(passes.source),
        "pixels": passes.pixels,
    }
