"""What images a model takes: how many channels its first layer reads, and of which size."""

import math
from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from invariance_probe.errors import InvalidInputError, first_line
from invariance_probe.network.copies import working_copy
from invariance_probe.network.hooks import evaluating

USUAL = 224
"""Side of the images of most networks, in pixels."""
_SIDES = (USUAL, 28, 32, 48, 64, 96, 128, 160, 192, 256, 299, 384, 512)
"""Sides of images to try out, in pixels."""
_COLOURS = (1, 3)


def input_channels(model: object) -> int | None:
    """Read how many channels the images of a model have.

    Args:
        model: Any module.

    Returns:
        Those of the first convolution, or those of the square images whose values a first linear
        layer takes; None if there is neither.
    """
    first = _first_layer(model)
    if isinstance(first, nn.Linear):
        return next((channels for channels, _ in _squares(first.in_features)), None)
    return None if first is None else first.in_channels


def find_image(
    model: nn.Module, *, channels: int | None = None, sides: Iterable[int | None] = ()
) -> Float[Tensor, "1 channel side side"]:
    """Find an image of a size that a model takes, by trying it.

    Args:
        model: Any module; it is left as it was found.
        channels: Of the image; by default as many as its first layer reads, or 3.
        sides: Sides to try first, in pixels; after them those that the model's modules name, and
            usual ones.

    Returns:
        A random image.

    Raises:
        InvalidInputError: If the model refuses all of them, or cannot be copied.
    """
    read = input_channels(model)
    count = channels or read or _COLOURS[-1]
    tried: dict[int, str] = {}
    own = working_copy(model)
    with evaluating(own):
        for side in (*sides, *_named_sides(model), *_SIDES):
            if side is None or side in tried:
                continue
            image = torch.rand(1, count, side, side)
            try:
                own(image)
            except Exception as error:  # a model raises what it likes
                tried[side] = first_line(error) or type(error).__name__
            else:
                return image
    side, cause = next(iter(tried.items()))
    reads = "" if read in {None, count} else f", where its first layer reads {read}"
    raise InvalidInputError(
        f"the model refuses square images of {count} channels{reads}, of {side} pixels because "
        f"{cause}; say what it takes, such as --channels 1 --crop 28"
    )


def _first_layer(model: object) -> nn.Conv2d | nn.Linear | None:
    """The first convolution of a module; the first linear layer if there is none."""
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    for kind in (nn.Conv2d, nn.Linear):
        for each in modules:
            if isinstance(each, kind):
                return each
    return None


def _squares(values: int) -> Iterator[tuple[int, int]]:
    """Channels and sides of the square images that have so many values."""
    for channels in _COLOURS:
        side = math.isqrt(values // channels)
        if channels * side**2 == values:
            yield channels, side


def _named_sides(model: nn.Module) -> list[int]:
    """Sides that the modules of a model or their configurations name, or that follow from it."""
    first = _first_layer(model)
    found = (
        [side for _, side in _squares(first.in_features)] if isinstance(first, nn.Linear) else []
    )
    for module in model.modules():
        for owner in (module, getattr(module, "config", None)):
            for name in ("image_size", "img_size"):
                value = getattr(owner, name, None)
                value = value[-1] if isinstance(value, tuple | list) and value else value
                if isinstance(value, int) and value > 0:
                    found.append(value)
    return found
