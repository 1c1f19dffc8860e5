"""Data sets by name: images and labels in memory, split into training, validation and test.

Convention:
    Images are bytes, ``(sample, channel, height, width)``, square. Labels are class numbers, one
    slot for a single label; numbers of up to five digits have five, and 10 where there is no digit.
    Every split is fixed: by the publisher, or by a seed that is part of the code. No class is
    named: classes of folders are numbered in the order of the folders' names.
"""

from dataclasses import replace
from pathlib import Path

import torch

from invariance_probe.data import downloads
from invariance_probe.data.catalogue import SOURCES, source_of
from invariance_probe.data.sources import Dataset, Parts, Request, Source
from invariance_probe.data.splits import Split
from invariance_probe.errors import InvalidInputError
from invariance_probe.errors.checks import check_path

__all__ = ["Dataset", "Parts", "Source", "Split", "open_dataset"]

LEAST_SIDE = 8
"""Images are not made smaller than this, in pixels."""
_SUBSET = 5_300_000
"""Seed of the fixed shuffle that says which training images ``train=N`` keeps."""


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
        name: One of `catalogue.SOURCES`, where each is described.
        root: Folder that holds the files.
        download: Fetch what is missing into `root`, where the publisher's address is known.
        train: Keep this many training images, the first of a fixed shuffle; all by default. Of
            street digits, which come in no order, the first; as many as one likes.
        side: Side of the images where these may be resized, in pixels; the record's by default.
        progress: Called while files are fetched, cut up or rendered.

    Returns:
        The data set.

    Raises:
        InvalidInputError: If there is no such data set, its files are missing or damaged, or fewer
            than `train` images are there.
    """
    source = source_of(name)
    root = None if root is None else check_path("data root", root)
    if train is not None and train < 1:
        raise InvalidInputError(f"data set {name!r}: train={train}; give at least 1")
    if side is not None and not (source.resizable and side >= LEAST_SIDE):
        resized = " and ".join(each.name for each in SOURCES.values() if each.resizable)
        raise InvalidInputError(
            f"data set {name!r}: side={side}; only {resized} can be resized, to {LEAST_SIDE} "
            "pixels or more"
        )
    if side is not None:
        source = replace(source, side=side)
    parts = source.read(
        Request(source=source, root=root, download=download, train=train, progress=progress)
    )
    count = len(parts.train)
    if train is not None and train > count:
        raise InvalidInputError(
            f"data set {name!r}: {train} training images were asked for, but there are only "
            f"{count}; ask for fewer"
        )
    if train is not None and train < count:
        order = torch.randperm(count, generator=torch.Generator().manual_seed(_SUBSET))
        parts = replace(parts, train=parts.train.take(order[:train]))
    return Dataset(source=source, parts=parts)
