"""Images as people have them: tensors, files, pictures, data sets, loaders and batches."""

import operator
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Real
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from invariance_probe import files
from invariance_probe.data.pictures import (
    ImageFiles,
    ImageSource,
    TensorImages,
    as_parts,
    find_files,
    is_grey,
    on_canvas,
    picture_size,
    pixel_values,
    read_picture,
)
from invariance_probe.errors import ConvertedImagesWarning, InvalidInputError, refusing
from invariance_probe.errors.checks import check_tensor
from invariance_probe.plane.rendering import rotating_canvas

_WAY_OUT = (
    "give a tensor (batch, channel, height, width), a folder, a list of files or pictures, a "
    "Dataset, a DataLoader, or batches with a length"
)
_NONE = "there are no images; give at least one"


def as_source(
    images: object, *, crop: int | None = None, channels: int | None = None
) -> ImageSource:
    """Take images in any form, and hand them out one by one.

    Args:
        images: A tensor (batch, channel, height, width), whose bytes become parts of 255; a folder
            or ``"photographs"``; a list of files, of Pillow's pictures or of tensors; a `Dataset`
            of such, or of tuples that begin with one and may go on with a class number; a
            `DataLoader` over a `Dataset`, whose images are read one by one, in this process;
            anything else with a length that gives batches, alone or first in tuples, which are then
            held in memory.
        crop: Side of the square that the model will see. Files and pictures of several sizes are
            resized and cut to a canvas on which it can be turned; of one size they stay.
        channels: Of files and pictures: 3 for colour, 1 for grey; by default grey if all are.

    Returns:
        The images; class numbers, where there are any, are their `labels_of`.

    Raises:
        InvalidInputError: If they are something else, there are none, or one cannot be read.
    """
    if isinstance(images, Tensor):
        check_tensor("images", images, "batch", "channel", "height", "width")
        images = _in_memory(images, None)
    if isinstance(images, ImageSource) and not isinstance(images, Dataset):
        if len(images) == 0:
            raise InvalidInputError(_NONE)
        return images
    if isinstance(images, str | Path):
        images = find_files(images)
    if isinstance(images, DataLoader) and not isinstance(images.dataset, IterableDataset):
        images = _Loaded(images)
    kind = type(images).__name__
    refused = {np.ndarray: "torch.from_numpy(images)", dict: "a list of its values"}
    for each, instead in refused.items():
        if isinstance(images, each):
            raise InvalidInputError(f"images: a {kind} was given; give {instead}")
    try:
        count = len(images)  # type: ignore[arg-type]  # (what has none is refused)
    except (TypeError, NotImplementedError) as error:
        raise InvalidInputError(
            f"images: a {kind} without a length was given; {_WAY_OUT}"
        ) from error
    if count == 0:
        raise InvalidInputError(_NONE)
    if not hasattr(images, "__getitem__") or isinstance(images, IterableDataset | DataLoader):
        return _batches(images)
    with refusing(lambda cause: f"images[0] of a {kind} cannot be had ({cause}); {_WAY_OUT}"):
        first = _image_of(images[0])
    if isinstance(first, Tensor) and first.dim() == 4:
        return _batches(images)
    if isinstance(images, list | tuple) and isinstance(first, str | Path | Image.Image):
        return _pictures(images, crop, channels)
    if isinstance(first, Tensor):
        _say_of_bytes(first)
    return Examples(images, channels=channels or _channels(first))


def labels_of(source: ImageSource) -> tuple[int, ...] | None:
    """Say of which class images are.

    Args:
        source: Images.

    Returns:
        A class number for each, if each has one.
    """
    labels: tuple[int, ...] | None = getattr(source, "labels", None)
    return labels


def about(source: ImageSource) -> dict[str, Any]:
    """Say what else a run should remember of its images.

    Args:
        source: Images, all of which have been read.

    Returns:
        How files were read, and the classes, where there are any; in a form that JSON holds.
    """
    labels = labels_of(source)
    read = source.about() if isinstance(source, ImageFiles) else {}
    return read | ({} if labels is None else {"labels": list(labels)})


@dataclass(frozen=True)
class Examples:
    """Images of a list or a data set.

    Attributes:
        items: Images (tensors, pictures, files), or tuples that begin with one.
        channels: Of files and pictures: 3 for colour, 1 for grey.
        canvas: Side of the square on which files and pictures are brought, in pixels; None leaves
            each its own size.
    """

    items: Any
    channels: int = 3
    canvas: int | None = None
    _labels: dict[int, int | None] = field(default_factory=dict, init=False, repr=False)

    @property
    def names(self) -> list[str]:
        """Their numbers."""
        return [str(i) for i in range(len(self.items))]

    @property
    def labels(self) -> tuple[int, ...] | None:
        """Class numbers that stand second in tuples; an image is loaded if it was not yet."""
        found = []
        for number in range(len(self.items)):
            if number not in self._labels:
                self._labels[number] = _label_of(self.items[number])
            label = self._labels[number]
            if label is None:
                return None
            found.append(label)
        return tuple(found)

    def __len__(self) -> int:
        """Count them."""
        return len(self.items)

    def __getitem__(self, index: int) -> Float[Tensor, "channel height width"]:
        """Load one.

        Args:
            index: Its number.

        Returns:
            Pixel values, in [0, 1] of files, pictures and bytes.

        Raises:
            InvalidInputError: If it cannot be loaded, or is something else.
        """
        with refusing(lambda cause: f"images[{index}] cannot be loaded ({cause})"):
            item = self.items[index]
        self._labels[index] = _label_of(item)
        image = _image_of(item)
        if isinstance(image, str | Path):
            image = read_picture(Path(image), "leave it out")
        if isinstance(image, Image.Image):
            if self.canvas is not None:
                image = on_canvas(image, self.canvas, self.channels)
            return pixel_values(image, self.channels)
        name = f"images[{index}]"
        if isinstance(image, dict):
            raise InvalidInputError(
                f"{name}: a dict of {', '.join(map(str, image))} was given; give a Dataset that "
                "returns the image itself"
            )
        if isinstance(image, np.ndarray):
            raise InvalidInputError(
                f"{name}: an array of shape {image.shape} was given; give "
                "torch.from_numpy(image).permute(2, 0, 1)"
            )
        check_tensor(name, image, "channel", "height", "width")
        return as_parts(image)


class _Loaded:
    """What a loader over a data set gives, image by image, without its processes."""

    def __init__(self, loader: "DataLoader[Any]") -> None:
        self.dataset, self._collate = loader.dataset, loader.collate_fn
        self._batched = loader.batch_sampler is not None
        owners = (loader, loader.sampler)
        generators = [g for o in owners if (g := getattr(o, "generator", None)) is not None]
        states = [generator.get_state() for generator in generators]
        sampler: Iterable[Any] = loader.sampler
        if loader.batch_sampler is not None:
            sampler = _Chained(loader.batch_sampler)
        with torch.random.fork_rng(devices=[]):
            once, again = list(sampler), list(sampler)
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
        if once != again:
            # shuffled: the order is of no account, as a probe takes one of its own
            once, again = sorted(once), sorted(again)
        if once != again:
            raise InvalidInputError(
                f"images: the {type(loader.sampler).__name__} of the DataLoader draws other images "
                "each time, and they are read several times; give a Subset"
            )
        self._numbers = once

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> object:
        item = self.dataset[self._numbers[index]]
        if not self._batched:
            return self._collate(item)
        batch = self._collate([item])
        return [part[0] for part in batch] if isinstance(batch, tuple | list) else batch[0]


@dataclass(frozen=True)
class _Chained:
    """Batches of numbers, number by number."""

    batches: Iterable[Iterable[int]]

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(self.batches)


def _image_of(item: object) -> Any:
    """An image, or the first of a tuple."""
    return item[0] if isinstance(item, tuple | list) and item else item


def _label_of(item: object) -> int | None:
    """The whole number that stands second in a tuple, if one does."""
    if not isinstance(item, tuple | list) or len(item) < 2 or isinstance(item[1], bool | np.bool):
        return None
    try:
        return operator.index(item[1])
    except TypeError:
        return None


def _in_memory(images: Real[Tensor, "batch channel height width"], labels: Any) -> TensorImages:
    _say_of_bytes(images)
    return TensorImages(images, labels)


def _say_of_bytes(images: Tensor) -> None:
    if images.dtype == torch.uint8:
        said = "images are bytes: they are divided by 255; give floats to be taken as they are"
        warnings.warn(said, ConvertedImagesWarning, stacklevel=5)


def _channels(image: object) -> int:
    """Channels of a file or a picture as it is."""
    if isinstance(image, str | Path):
        return 1 if is_grey(picture_size(Path(image))[1]) else 3
    return 1 if isinstance(image, Image.Image) and is_grey(image.mode) else 3


def _pictures(items: Sequence[Any], crop: int | None, channels: int | None) -> ImageSource:
    """Files and pictures in a list, which are looked at first: are they of one size, and grey?"""
    images = [_image_of(item) for item in items]
    looks = [
        (each.size, each.mode) if isinstance(each, Image.Image) else picture_size(Path(each))
        for each in images
        if isinstance(each, str | Path | Image.Image)  # anything else is refused when it is loaded
    ]
    sizes = sorted({size for size, _ in looks})
    channels = channels or (1 if all(is_grey(mode) for _, mode in looks) else 3)
    if len(sizes) > 1 and crop is None:
        few = " and ".join(f"{width} x {height}" for width, height in (sizes[0], sizes[-1]))
        raise InvalidInputError(
            f"images are of {len(sizes)} sizes, such as {few}; give crop=PIXELS, and they are "
            "resized and cut to one"
        )
    canvas = rotating_canvas(crop) if len(sizes) > 1 and crop is not None else None
    if all(isinstance(item, str | Path) for item in items):
        return ImageFiles(paths=tuple(map(Path, items)), canvas=canvas, channels=channels)
    return Examples(items, channels=channels, canvas=canvas)


def _batches(batches: Any) -> TensorImages:
    """Read batches into memory, as they can only be had one after another."""
    images: list[Tensor] = []
    labels: list[int] = []
    held = 0
    for number, batch in enumerate(batches):
        image = _image_of(batch)
        check_tensor(f"batch {number} of images", image, "batch", "channel", "height", "width")
        images.append(image)
        held += image.numel() * image.element_size()
        if held > files.limit():
            raise InvalidInputError(
                f"images: batches of more than {files.limit() / 1e9:g} GB do not go into memory; "
                f"give a Dataset, which is read image by image, or set {files.LIMIT}"
            )
        if isinstance(batch, tuple | list) and len(batch) > 1 and isinstance(batch[1], Tensor):
            labels += [label for one in batch[1] if (label := _label_of((None, one))) is not None]
    if not images:
        raise InvalidInputError(_NONE)
    if len({each.shape[1:] for each in images}) > 1:
        shapes = sorted({str(tuple(each.shape[1:])) for each in images})
        raise InvalidInputError(f"images are of shapes {' and '.join(shapes)}; give one size")
    whole = torch.cat(images)
    return _in_memory(whole, tuple(labels) if len(labels) == len(whole) else None)
