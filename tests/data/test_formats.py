"""Files of the published formats, whole and damaged."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

import invariance_probe as ip
from invariance_probe.data import datasets, formats, openers
from tests.data.idx_files import MNIST, idx_bytes, needs_mnist, random_images


@needs_mnist
def test_mnist_is_the_same_without_gzip(tmp_path: Path) -> None:
    """Files that were unpacked give the same digits, and one changed pixel is noticed."""
    for path in MNIST.glob("*.gz"):
        (tmp_path / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    unpacked = datasets.open_dataset("mnist", tmp_path)
    packed = datasets.open_dataset("mnist", MNIST)
    assert torch.equal(unpacked.test.images, packed.test.images)
    assert torch.equal(unpacked.train.labels, packed.train.labels)
    path = tmp_path / "t10k-images-idx3-ubyte"
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    with pytest.raises(ip.InvalidInputError, match=r"t10k-images.* not the published one"):
        datasets.open_dataset("mnist", tmp_path)


def _change(content: bytes, at: int, value: int) -> bytes:
    return content[:at] + bytes([value]) + content[at + 1 :]


IMAGES, LABELS = idx_bytes(random_images(12)), idx_bytes(np.arange(12) % 3)


PACKED = gzip.compress(IMAGES, mtime=0)
"""Without the time, which would be part of a test's name."""


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train-images-idx3-ubyte", IMAGES[:200], "is truncated: its header promises 316 bytes"),
        ("train-images-idx3-ubyte", IMAGES + b"\0", r"is too long: .*and it has more"),
        ("train-images-idx3-ubyte", IMAGES[:9], "is truncated"),
        ("train-images-idx3-ubyte", b"", "is not an IDX file: it starts with nothing"),
        (
            "train-images-idx3-ubyte",
            b"PK\3\4" + IMAGES,
            "IDX file: it starts with 50 4b 03 04",
        ),
        (
            "train-images-idx3-ubyte",
            _change(IMAGES, 2, 0x0D),
            "type 0x0d; images and labels",
        ),
        ("train-images-idx3-ubyte", LABELS, "1 axes where 3 are expected; .*swapped"),
        (
            "train-images-idx3-ubyte",
            PACKED[:-12],
            "is damaged or truncated",
        ),
        ("train-images-idx3-ubyte", PACKED[:60], "is damaged or truncated"),
        (
            "train-images-idx3-ubyte",
            _change(PACKED, 150, 7),
            "damaged or truncated",
        ),
        (
            "train-images-idx3-ubyte",
            idx_bytes(random_images(11)),
            "11 images and .*' 12 labels",
        ),
        (
            "train-images-idx3-ubyte",
            idx_bytes(np.zeros((12, 6, 6))),
            "for training, all of one size",
        ),
        (
            "t10k-labels-idx1-ubyte",
            idx_bytes(np.array([0, 1, 3, 2])),
            "label 3 at position 2",
        ),
        ("t10k-labels-idx1-ubyte", idx_bytes(np.zeros(0)), "contains 4 images and .*' 0 labels"),
    ],
)
def test_damaged_idx_files_are_refused(
    idx_folder: Path, name: str, content: bytes, message: str
) -> None:
    """Each way in which an IDX file can be wrong gives one line with the file's name."""
    (idx_folder / name).write_bytes(content)
    with pytest.raises(ip.InvalidInputError, match=message) as caught:
        datasets.open_dataset("idx", idx_folder)
    assert "idx" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_mnist_labels_beyond_nine_are_refused_before_checksums(idx_folder: Path) -> None:
    """A label of 10 in an MNIST file is named, with the classes there are."""
    (idx_folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(np.arange(12))))
    with pytest.raises(ip.InvalidInputError, match=r"label 10 at position 10 .* are 0 to 9"):
        datasets.open_dataset("mnist", idx_folder)


@needs_mnist
def test_the_checksum_of_the_content_does_not_depend_on_compression() -> None:
    """The published checksums are those of the plain files."""
    for part, wanted in zip(openers.MNIST, openers.MNIST_CONTENTS, strict=True):
        assert formats.sha256_of_idx(formats.read_idx(MNIST / part.name)) == wanted
