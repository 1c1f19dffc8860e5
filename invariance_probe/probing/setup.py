"""What every measurement begins with: its images, the model in place, and what is written down."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from invariance_probe.alignment import search
from invariance_probe.data.pictures import ImageSource, TensorImages
from invariance_probe.errors import InvalidInputError
from invariance_probe.errors.checks import as_list, check_tensor
from invariance_probe.machine import pick_device
from invariance_probe.network import copies
from invariance_probe.plane.transforms import Transform
from invariance_probe.probing.duplicates import alike_in
from invariance_probe.probing.options import ProbeOptions
from invariance_probe.probing.passes import ForwardPasses

IMAGES = ("batch", "channel", "height", "width")
"""Dimensions of images."""


def opened(
    images: Float[Tensor, "batch channel height width"] | ImageSource,
    transforms: Sequence[Transform],
    name: str | None = None,
) -> ImageSource:
    """Check that there is something to measure.

    Args:
        images: Images.
        transforms: What is done to them.
        name: What to call the model, if anything.

    Returns:
        The images, one by one.

    Raises:
        InvalidInputError: If there are no images or no transforms, or they are something else; if
            the name is none that files can hold.
    """
    if not (name is None or (isinstance(name, str) and name.isprintable())):
        raise InvalidInputError(f"name={name!r}: give a text")
    if not isinstance(images, ImageSource):
        check_tensor("images", images, *IMAGES)
    source = TensorImages(images) if isinstance(images, Tensor) else images
    if len(source) == 0:
        raise InvalidInputError("there are no images; give at least one")
    if not isinstance(transforms, Sequence) or not all(
        isinstance(t, Transform) for t in transforms
    ):
        raise InvalidInputError(
            f"transforms={transforms!r}: give a list of transforms, such as [Rotation(30)]"
        )
    if not transforms:
        raise InvalidInputError("there are no transforms; give at least one")
    return source


def named(layers: str | Sequence[str]) -> list[str]:
    """Check that there is a layer to measure.

    Args:
        layers: Names or patterns.

    Returns:
        A list of them.

    Raises:
        InvalidInputError: If there is none, or one is no text.
    """
    names = [layers] if isinstance(layers, str) else as_list(layers)
    if not names or not all(isinstance(name, str) for name in names):
        raise InvalidInputError(
            f"layers={layers!r}: give at least one name or pattern; list_layers lists them"
        )
    return names


@contextmanager
def computing(model: nn.Module, options: ProbeOptions) -> Iterator[nn.Module]:
    """Make ready to compute in full precision, without gradients, with a copy of a model.

    Args:
        model: The model, which is left alone.
        options: Device and type.

    Yields:
        The copy, in place and in evaluation mode (see `copies.working_copy`).
    """
    device = pick_device(options.device)
    with (
        copies.same_randomness(),
        torch.no_grad(),
        # a global switch, left alone where it switches nothing: other threads may compute as well
        torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
        if device.type == "cuda"
        else nullcontext(),
    ):
        own = copies.placed_copy(model, device, options.real)
        if any(method.needs_search for method in options.compared):
            search.compile_ahead(device, options.real)
        yield own


def configuration(
    passes: ForwardPasses, transforms: Sequence[Transform], options: ProbeOptions, name: str
) -> dict[str, Any]:
    """Write down what was measured, and how.

    Args:
        passes: Model and images.
        transforms: What was done to the images.
        options: How it was measured.
        name: What to call the model.

    Returns:
        The configuration of the run, before provenance.
    """
    return {
        "model": name,
        "layers": [layer.name for layer in passes.layers],
        "transforms": [repr(transform) for transform in transforms],
        "images": list(passes.source.names),
        "near_duplicates": [
            [passes.source.names[number] for number in alike] for alike in alike_in(passes.groups)
        ],
        "partners": passes.partners,
        "unmeasured": passes.unmeasured,
        "canvas": list(passes.canvas),
        **asdict(options),
        "device": str(passes.device),
    }
