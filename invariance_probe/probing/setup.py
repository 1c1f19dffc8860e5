"""What every measurement begins with: its images, the model in place, and what is written down."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from invariance_probe.data.pictures import ImageSource, TensorImages
from invariance_probe.errors import InvalidInputError
from invariance_probe.machine import pick_device
from invariance_probe.network import hooks
from invariance_probe.plane.transforms import Transform
from invariance_probe.probing.duplicates import alike_in
from invariance_probe.probing.options import ProbeOptions
from invariance_probe.probing.passes import ForwardPasses, placed


def opened(
    images: Float[Tensor, "batch channel height width"] | ImageSource,
    transforms: Sequence[Transform],
) -> ImageSource:
    """Check that there is something to measure.

    Args:
        images: Images.
        transforms: What is done to them.

    Returns:
        The images, one by one.

    Raises:
        InvalidInputError: If there are no images or no transforms.
    """
    source = TensorImages(images) if isinstance(images, Tensor) else images
    if len(source) == 0:
        raise InvalidInputError("there are no images; give at least one")
    if not transforms:
        raise InvalidInputError("there are no transforms; give at least one")
    return source


@contextmanager
def computing(model: nn.Module, options: ProbeOptions) -> Iterator[None]:
    """Put a model in place, in evaluation mode and full precision; leave it as it was found.

    Args:
        model: The model.
        options: Device and type.

    Yields:
        Nothing.
    """
    with (
        placed(model, pick_device(options.device), options.real),
        hooks.evaluating(model),
        torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
    ):
        yield


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
