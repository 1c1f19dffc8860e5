"""Readers of the files that data sets are published in: IDX, MATLAB, digitStruct.

Each reader takes nothing on trust: magic numbers, sizes, lengths and ranges are checked, and what
does not fit is refused in one line that names the file and the way out.
"""

import gzip
import hashlib
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from invariance_probe.errors import InvalidInputError, refusing
from invariance_probe.files import refuse_explosion

_UNSIGNED_BYTE = 0x08
AGAIN = "remove it and download or copy it again"
"""The way out of a damaged file."""


def read_idx(path: Path) -> UInt8[np.ndarray, "..."]:
    """Read an IDX file of bytes, gzipped or not (LeCun, "The MNIST database", file formats).

    Args:
        path: The file; whether it is gzipped is seen from its content.

    Returns:
        The array it holds.

    Raises:
        InvalidInputError: If the file is missing, not an IDX file of bytes, or longer or shorter
            than its header says.
    """
    try:
        if not path.is_file() and path.exists():  # a pipe would be waited for for ever
            raise InvalidInputError(f"{str(path)!r} is no file; {AGAIN}")
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            content = file.read(4)
            if len(content) == 4 and content[:3] == bytes([0, 0, _UNSIGNED_BYTE]):
                content += file.read(4 * content[3])
                axes = np.frombuffer(content[4 : len(content) // 4 * 4], dtype=">u4")
                promised = math.prod(map(int, axes))
                refuse_explosion(path, promised)
                # no more than is promised, and a byte that tells that there is more
                content += file.read(promised + 1)
    except FileNotFoundError as error:
        raise InvalidInputError(f"file {str(path)!r} does not exist") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InvalidInputError(
            f"file {str(path)!r} is damaged or truncated ({error}); {AGAIN}"
        ) from error
    except OSError as error:
        raise InvalidInputError(f"file {str(path)!r} cannot be read ({error.strerror})") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[3] == 0:
        raise InvalidInputError(
            f"file {str(path)!r} is not an IDX file: it starts with "
            f"{content[:4].hex(' ') or 'nothing'} instead of 00 00, a type and a number of axes; "
            f"{AGAIN}"
        )
    if content[2] != _UNSIGNED_BYTE:
        raise InvalidInputError(
            f"file {str(path)!r} contains numbers of type 0x{content[2]:02x}; images and labels "
            "are unsigned bytes (0x08)"
        )
    start = 4 + 4 * content[3]
    sizes = content[4 : min(start, len(content) - len(content) % 4)]
    shape = tuple(int(n) for n in np.frombuffer(sizes, dtype=">u4"))
    expected = start + math.prod(shape)
    if len(content) != expected:
        raise InvalidInputError(
            f"file {str(path)!r} is {'truncated' if len(content) < expected else 'too long'}: its "
            f"header promises {expected} bytes ({' x '.join(map(str, shape))} values), and it has "
            f"{'more' if len(content) > expected else len(content)}; {AGAIN}"
        )
    with refusing(lambda cause: f"file {str(path)!r} holds no array ({cause}); {AGAIN}"):
        return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def sha256_of_idx(array: UInt8[np.ndarray, "..."]) -> str:
    """Compute the checksum of the IDX file, not gzipped, that holds an array.

    Args:
        array: What `read_idx` returned.

    Returns:
        SHA-256, in hexadecimal digits: the same however the file was compressed.
    """
    header = bytes([0, 0, _UNSIGNED_BYTE, array.ndim])
    header += b"".join(n.to_bytes(4, "big") for n in array.shape)
    return hashlib.sha256(header + array.tobytes()).hexdigest()


def read_idx_pair(
    images_path: Path,
    labels_path: Path,
    *,
    classes: int,
    published: tuple[str, str] | None = None,
) -> tuple[UInt8[Tensor, "sample 1 height width"], Int64[Tensor, "sample 1"]]:
    """Read grey images and their labels from two IDX files.

    Args:
        images_path: File of three axes: image, row, column.
        labels_path: File of one axis.
        classes: Labels must be below this.
        published: Checksums that the two must have, as of `sha256_of_idx`.

    Returns:
        Images and labels.

    Raises:
        InvalidInputError: If a file cannot be used, they differ in length, a label is too large,
            or they are not the published files.
    """
    images, labels = read_idx(images_path), read_idx(labels_path)
    for path, array, axes in ((images_path, images, 3), (labels_path, labels, 1)):
        if array.ndim != axes:
            raise InvalidInputError(
                f"file {str(path)!r} contains an array of {array.ndim} axes where {axes} are "
                "expected; were images and labels swapped?"
            )
    if len(images) != len(labels):
        raise InvalidInputError(
            f"{str(images_path)!r} contains {len(images)} images and {str(labels_path)!r} "
            f"{len(labels)} labels; the two must come from the same release"
        )
    check_labels(labels, classes, labels_path)
    for path, array, wanted in zip(
        (images_path, labels_path), (images, labels), published or (), strict=False
    ):
        if sha256_of_idx(array) != wanted:
            raise InvalidInputError(
                f"file {str(path)!r} is a valid IDX file but not the published one (its SHA-256 "
                f"is not {wanted[:12]}...); {AGAIN}, or open other data of this format with --data "
                "idx"
            )
    return (
        torch.from_numpy(images.copy())[:, None],
        torch.from_numpy(labels.astype(np.int64))[:, None],
    )


def check_labels(labels: np.ndarray, classes: int, path: Path, first: int = 0) -> None:
    """Refuse labels that name no class.

    Args:
        labels: Labels as they stand in the file.
        classes: How many there are.
        path: File to name.
        first: The smallest label.

    Raises:
        InvalidInputError: If there is no label, or one lies outside its range.
    """
    if len(labels) == 0:
        raise InvalidInputError(f"file {str(path)!r} contains no labels; {AGAIN}")
    bad = np.flatnonzero((labels < first) | (labels >= first + classes))
    if len(bad):
        raise InvalidInputError(
            f"file {str(path)!r}: label {labels[bad[0]]} at position {bad[0]} is out of range; the "
            f"{classes} classes are {first} to {first + classes - 1}"
        )
