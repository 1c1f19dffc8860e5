"""Small files whose content would fill the memory are refused by what their headers tell."""

import gzip
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet
from scipy.io import savemat

import invariance_probe as ip
from invariance_probe import files
from invariance_probe.data import formats, svhn
from invariance_probe.network.weights import load_weights
from invariance_probe.results.strips import load_strips

HUGE = 1_200_000_000


def _idx(path: Path) -> object:
    with gzip.open(path, "wb") as file:
        file.write(bytes([0, 0, 8, 1]) + struct.pack(">I", HUGE))
    return lambda: formats.read_idx(path)


def _weights(path: Path) -> object:
    path = path.with_suffix(".pt")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        _zeros(archive, "archive/data/0")
    return lambda: load_weights(torch.nn.Conv2d(1, 1, 1), path)


def _strips(path: Path) -> object:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        _zeros(archive, "maps/0.npy")
    return lambda: load_strips(path)


def _zeros(archive: zipfile.ZipFile, name: str) -> None:
    """An entry that says that it holds more than it does: nothing has to be packed for the test."""
    archive.writestr(name, b"")
    archive.getinfo(name).file_size = HUGE


def _table(path: Path) -> object:
    with parquet.ParquetWriter(path, pa.schema([("a", pa.int8())])) as writer:
        batch = pa.table({"a": np.zeros(10_000_000, dtype=np.int8)})
        for _ in range(13):
            writer.write_table(batch)
    return lambda: files.read_parquet(path)


@pytest.mark.parametrize("make", [_idx, _weights, _strips, _table])
def test_the_limit_is_said_and_can_be_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Callable[[], object]]
) -> None:
    """One line with the file, what it would take, the limit, and the variable that moves it."""
    read = make(tmp_path / "small")
    said = r"of 0\.\d MB would take 1\.\d GB, more than the limit of 1 GB .* set INVARIANCE_PROBE_"
    with pytest.raises(ip.InvalidInputError, match=said):
        read()
    monkeypatch.setenv(files.LIMIT, "0.5")
    with pytest.raises(ip.InvalidInputError, match=r"limit of 0\.5 GB"):
        read()


def test_what_is_meant_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file within the limit, or within one that was moved, is read as ever."""
    values = np.zeros(5000, dtype=np.uint8)
    with gzip.open(tmp_path / "a", "wb") as file:
        file.write(bytes([0, 0, 8, 1]) + struct.pack(">I", 5000) + values.tobytes())
    monkeypatch.setenv(files.LIMIT, "0.000001")
    with pytest.raises(ip.InvalidInputError, match="more than the limit of 1e-06 GB"):
        formats.read_idx(tmp_path / "a")
    monkeypatch.setenv(files.LIMIT, "0.00001")
    assert np.array_equal(formats.read_idx(tmp_path / "a"), values)


def test_compressed_matlab_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cropped digits are read only if what they unpack to is within the limit."""
    pixels = np.zeros((32, 32, 3, 20), dtype=np.uint8)
    labels = np.ones((20, 1), dtype=np.uint8)
    savemat(tmp_path / "a.mat", {"X": pixels, "y": labels}, do_compression=True)
    assert len(svhn.read_cropped(tmp_path / "a.mat")[0]) == 20
    monkeypatch.setenv(files.LIMIT, "0.00001")
    with pytest.raises(ip.InvalidInputError, match=r"a\.mat' of .* would take"):
        svhn.read_cropped(tmp_path / "a.mat")


@pytest.mark.parametrize("skip", [False, True])
def test_images_of_too_many_pixels(tmp_path: Path, skip: bool) -> None:
    """Whether an image is large, or its shorter side makes it so on the canvas, it is refused."""
    (tmp_path / "large.png").write_bytes(_png(50_000, 50_000))
    Image.new("L", (1, 180_000)).save(tmp_path / "thin.png")
    if skip:
        Image.new("L", (9, 9)).save(tmp_path / "good.png")
        images, bad = ip.open_images(tmp_path, 64, skip_bad=True)
        assert (images.names, bad) == (("good",), ["large.png", "thin.png"])
        return
    images, _ = ip.open_images(tmp_path, 64)
    for number, said in ((0, "large.png' cannot be read .*exceeds limit"), (1, "89 million; if")):
        with pytest.raises(ip.InvalidInputError, match=said):
            images[number]


def _png(width: int, height: int) -> bytes:
    """A PNG that says how large it is, and holds nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_boxes_of_too_many_values() -> None:
    """A name of a million characters, or a list of boxes of a billion, is not unpacked."""
    blown = np.broadcast_to(np.uint16(65), (10**9,))
    with pytest.raises(ValueError, match="a set of 1000000000 values where at most 1000000"):
        list(svhn.numbers_in({"digitStruct/name": blown, "digitStruct/bbox": blown}))
