"""Street View House Numbers in both official formats (Netzer et al., 2011).

Cropped digits: ``train_32x32.mat`` and ``test_32x32.mat``, MATLAB files of 32 x 32 images. Full
numbers: folders ``train``, ``extra`` and ``test`` of photographs, each with a ``digitStruct.mat``
(MATLAB 7.3, which is HDF5) that holds the boxes of the digits. Numbers are cut out as in Goodfellow
et al., "Multi-digit number recognition from Street View imagery using deep convolutional neural
networks" (2014), section 5.1: the box round all digits, expanded by 30 %, resized to 64 x 64.
"""

import importlib
import math
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL import Image
from torch import Tensor

from invariance_probe.data.downloads import Progress, RemoteFile
from invariance_probe.data.formats import AGAIN, check_labels
from invariance_probe.data.pictures import read_picture
from invariance_probe.errors import InvalidInputError, first_line, refusing
from invariance_probe.files import refuse_explosion

SIDE, SLOTS, NO_DIGIT = 64, 5, 10
EXPANSION = 1.3
"""The box round the digits is made this much wider and higher before it is cut out."""
_MOST = 10**6
"""Photographs of one digitStruct, at most: SVHN has 248 823 in all."""
_ADDRESS = "http://ufldl.stanford.edu/housenumbers/"


def _published(name: str, sha256: str, size: int) -> RemoteFile:
    return RemoteFile(name=name, urls=(_ADDRESS + name,), sha256=sha256, size=size)


# Checksums and sizes as recorded by the datasets library of Hugging Face (datasets/svhn).
CROPPED = {
    "train": _published(
        "train_32x32.mat",
        "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
        182_040_794,
    ),
    "test": _published(
        "test_32x32.mat",
        "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
        64_275_384,
    ),
}
"""The published files of cropped digits."""
FULL = {
    "train": _published(
        "train.tar.gz",
        "4b17bb33b6cd8f963493168f80143da956f28ec406cc12f8e5745a9f91a51898",
        404_141_560,
    ),
    "extra": _published(
        "extra.tar.gz",
        "e857e27d1e65bd1e7d3959b094061777f6506bbc39889a0df3bba6a729d60f9c",
        1_955_489_752,
    ),
    "test": _published(
        "test.tar.gz",
        "57ac9ceb530e4aa85b55d991be8fc49c695b3d71c6f6a88afea86549efde7fb5",
        276_555_967,
    ),
}
"""The published archives of full numbers."""


def read_cropped(
    path: Path,
) -> tuple[UInt8[Tensor, "sample 3 32 32"], Int64[Tensor, "sample 1"]]:
    """Read a file of cropped digits.

    Args:
        path: ``train_32x32.mat`` or ``test_32x32.mat``.

    Returns:
        Images, and digits from 0 to 9 (the file says 10 for 0).

    Raises:
        InvalidInputError: If the file is damaged or holds something else.
    """
    from scipy.io import loadmat, whosmat

    if not path.exists():
        raise InvalidInputError(f"file {str(path)!r} does not exist")
    damaged = refusing(
        lambda cause: f"file {str(path)!r} is damaged or not a MATLAB 5 file ({cause}); {AGAIN}"
    )
    with damaged, path.open("rb") as file:
        shapes = [shape for _, shape, _ in whosmat(file)]
        refuse_explosion(path, sum(map(math.prod, shapes)))
        file.seek(0)
        held = loadmat(file, variable_names=["X", "y"])
    if not {"X", "y"} <= held.keys():
        raise InvalidInputError(f"file {str(path)!r} contains no X and y; is it one of SVHN's?")
    pixels, digits = held["X"], held["y"].reshape(-1)
    if pixels.ndim != 4 or pixels.shape[:3] != (32, 32, 3) or pixels.dtype != np.uint8:
        raise InvalidInputError(
            f"file {str(path)!r}: X is {pixels.dtype} of shape {pixels.shape}; SVHN's is uint8 of "
            "shape (32, 32, 3, samples)"
        )
    if pixels.shape[3] != len(digits):
        raise InvalidInputError(
            f"file {str(path)!r} contains {pixels.shape[3]} images and {len(digits)} labels; "
            f"{AGAIN}"
        )
    labels = _digits(digits.astype(np.int64), path)
    images = torch.from_numpy(np.ascontiguousarray(pixels.transpose(3, 2, 0, 1)))
    return images, torch.from_numpy(labels)[:, None]


def _digits(labels: np.ndarray, path: Path) -> np.ndarray:
    """Turn the labels 1 to 10 into the digits they stand for."""
    check_labels(labels, 10, path, first=1)
    return labels % 10


@dataclass(frozen=True, kw_only=True)
class Number:
    """A house number in a photograph.

    Attributes:
        name: File of the photograph.
        labels: As in the file, from left to right: 1 to 9, and 10 for 0.
        left: First column of each digit's box, counted from 1.
        top: First row of each digit's box, counted from 1.
        width: Width of each box, in pixels.
        height: Height of each box, in pixels.
    """

    name: str
    labels: tuple[int, ...]
    left: tuple[float, ...]
    top: tuple[float, ...]
    width: tuple[float, ...]
    height: tuple[float, ...]

    def crop(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Compute what is cut out of the photograph.

        Args:
            width: Of the photograph, in pixels.
            height: Of the photograph, in pixels.

        Returns:
            Left, top, right and bottom edge, from 0, within the photograph: the box round all
            digits, expanded by 30 % about its middle and clipped.
        """
        x0, y0 = min(self.left) - 1, min(self.top) - 1
        x1 = max(x + w for x, w in zip(self.left, self.width, strict=True)) - 1
        y1 = max(y + h for y, h in zip(self.top, self.height, strict=True)) - 1
        more_x, more_y = (EXPANSION - 1) / 2 * (x1 - x0), (EXPANSION - 1) / 2 * (y1 - y0)
        return (
            max(0.0, x0 - more_x),
            max(0.0, y0 - more_y),
            min(float(width), x1 + more_x),
            min(float(height), y1 + more_y),
        )


def read_digit_struct(path: Path) -> list[Number]:
    """Read the boxes of the digits of a folder of photographs.

    Args:
        path: A ``digitStruct.mat``.

    Returns:
        A number for each photograph, in the order of the file.

    Raises:
        InvalidInputError: If h5py is missing, or the file is damaged.
    """
    try:
        h5py = importlib.import_module("h5py")
    except ImportError as error:
        raise InvalidInputError(
            f"{str(path)!r} is a MATLAB 7.3 file, which h5py reads; install it with `pip install "
            "h5py`, or use --data svhn-cropped"
        ) from error
    if not path.is_file():  # a pipe would be waited for for ever
        raise InvalidInputError(f"file {str(path)!r} does not exist, or is none")
    try:
        with h5py.File(path, "r") as file:
            return list(numbers_in(file))
    except (OSError, KeyError, ValueError, AttributeError, TypeError, RuntimeError) as error:
        raise InvalidInputError(
            f"file {str(path)!r} is damaged or not a digitStruct ({first_line(error)}); {AGAIN}"
        ) from error


def numbers_in(file: Any) -> Iterator[Number]:
    """Walk through an open digitStruct.

    MATLAB stores the struct array as two data sets of references: to the characters of each name,
    and to a group of the fields of each box, which hold the value itself for one digit and
    references to values for more.

    Args:
        file: Anything indexed as an ``h5py.File`` is, by paths and by references.

    Yields:
        The numbers, in the order of the file.

    Raises:
        ValueError: If two photographs have one name, or a set holds more than it should.
    """
    names, boxes = (_few(file[f"digitStruct/{each}"], _MOST) for each in ("name", "bbox"))
    seen: set[str] = set()
    for reference, box in zip(names.flat, boxes.flat, strict=True):
        name = "".join(chr(int(c)) for c in _few(file[reference]).reshape(-1))
        if name in seen:  # a few bytes could say so a million times
            raise ValueError(f"two photographs are called {name!r}")
        seen.add(name)
        fields = file[box]

        def values(field: str, fields: Any = fields) -> tuple[float, ...]:
            held = _few(fields[field]).reshape(-1)
            if len(held) == 1 and held.dtype != object:
                return (float(held[0]),)
            return tuple(float(_few(file[reference]).reshape(-1)[0]) for reference in held)

        yield Number(
            name=name,
            labels=tuple(int(label) for label in values("label")),
            left=values("left"),
            top=values("top"),
            width=values("width"),
            height=values("height"),
        )


def _few(held: Any, most: int = 1000) -> np.ndarray:
    """Read a set that a handful of bytes could say is huge."""
    if (count := math.prod(held.shape)) > most:
        raise ValueError(f"a set of {count} values where at most {most} are expected")
    return np.asarray(held)


def cut_out(
    folder: Path, numbers: Sequence[Number], progress: Progress | None = None
) -> tuple[UInt8[Tensor, "sample 3 64 64"], Int64[Tensor, "sample 5"], int]:
    """Cut numbers of up to five digits out of their photographs.

    Args:
        folder: Where the photographs lie.
        numbers: What `read_digit_struct` returned.
        progress: Called now and then.

    Returns:
        Images; labels, 10 in the slots after the last digit; and how many numbers were left out
        because they have more than five digits.

    Raises:
        InvalidInputError: If a photograph is missing or damaged, a label is out of range or a box
            is empty.
    """
    kept = [number for number in numbers if len(number.labels) <= SLOTS]
    images = np.empty((len(kept), SIDE, SIDE, 3), dtype=np.uint8)
    labels = np.full((len(kept), SLOTS), NO_DIGIT, dtype=np.int64)
    for i, number in enumerate(kept):
        if Path(number.name).name != number.name or number.name == "..":
            raise InvalidInputError(
                f"{str(folder / 'digitStruct.mat')!r} names a photograph {number.name!r} outside "
                f"its folder; {AGAIN}"
            )
        path = folder / number.name
        labels[i, : len(number.labels)] = _digits(np.array(number.labels), path)
        photograph = read_picture(path, "unpack the archive again").convert("RGB")
        edges = (*number.left, *number.top, *number.width, *number.height)
        known = number.labels and all(map(math.isfinite, edges))
        box = number.crop(*photograph.size) if known else (0.0,) * 4
        if box[2] - box[0] < 1 or box[3] - box[1] < 1:
            raise InvalidInputError(
                f"photograph {str(path)!r}: the box round its digits is empty; {AGAIN}"
            )
        cut = photograph.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=box)
        images[i] = np.asarray(cut)
        if progress is not None and (i + 1) % 100 == 0:
            progress(f"photographs of {folder.name}/", i + 1, len(kept))
    left_out = len(numbers) - len(kept)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    return pixels, torch.from_numpy(labels), left_out


def unpack(archive: Path, folder: str) -> Path:
    """Unpack an archive beside itself; the folder appears only when it is whole.

    Args:
        archive: A ``.tar.gz``.
        folder: What it holds.

    Returns:
        Path of the folder.

    Raises:
        InvalidInputError: If the archive is damaged, holds something else, or there is no space.
    """
    target = archive.parent / folder
    try:
        with tempfile.TemporaryDirectory(dir=archive.parent, prefix=f".{folder}-") as part:
            with tarfile.open(archive) as tar:
                tar.extractall(part, filter="data")
            whole = Path(part) / folder
            if not whole.is_dir():
                raise InvalidInputError(
                    f"archive {str(archive)!r} contains no folder {folder!r}; {AGAIN}"
                )
            whole.replace(target)
    except (tarfile.TarError, EOFError) as error:
        raise InvalidInputError(
            f"archive {str(archive)!r} is damaged or truncated ({error}); {AGAIN}"
        ) from error
    except OSError as error:
        raise InvalidInputError(
            f"archive {str(archive)!r} cannot be unpacked ({error.strerror or error}); make room in"
            f" {str(archive.parent)!r}, or remove and download it again"
        ) from error
    return target
