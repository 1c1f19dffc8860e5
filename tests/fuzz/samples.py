"""Small real files of every kind that the package reads."""

import gzip
import io
import json
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save
from scipy.io import savemat
from torch import nn

from invariance_probe.results.strips import Strip, save_strips


def net() -> nn.Module:
    """The network whose weights are read."""
    return nn.Sequential(nn.Conv2d(1, 2, 3))


def idx(*shape: int) -> bytes:
    """An IDX file of bytes 0 to 9."""
    values = (np.arange(np.prod(shape)) % 10).astype(np.uint8).tobytes()
    return bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + values


def images() -> dict[str, bytes]:
    """A small image in each format that Pillow writes and reads here, by suffix."""
    numbers = np.random.default_rng(0)
    colour = Image.fromarray(numbers.integers(0, 255, (11, 9, 3)).astype(np.uint8))
    deep = Image.fromarray(numbers.integers(0, 65535, (11, 9)).astype(np.uint16))
    real = Image.fromarray(numbers.random((11, 9)).astype(np.float32))
    found = {}
    for name, image, options in (
        *(
            (suffix, colour, {})
            for suffix in ["png", "gif", "bmp", "jpg", "tif", "webp", "tga", "ppm", "pcx", "ico"]
        ),
        *((suffix, colour, {}) for suffix in ["jp2", "avif", "sgi", "dds", "im", "qoi", "icns"]),
        ("deep.png", deep, {}),
        ("real.tif", real, {}),
        ("clear.png", colour.convert("RGBA"), {}),
        ("palette.gif", colour.convert("P"), {"transparency": 0}),
        ("packed.tif", colour, {"compression": "tiff_lzw"}),
        ("turned.jpg", colour, {"exif": _turned()}),
    ):
        stream = io.BytesIO()
        kind = Image.registered_extensions()[f".{name.rpartition('.')[2]}"]
        image.save(stream, kind, **options)
        found[name] = stream.getvalue()
    return found


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def weights() -> dict[str, bytes]:
    """The weights of `net` in every format that is read, by suffix."""
    state = net().state_dict()
    found = {"safetensors": save(dict(state))}
    for name, legacy in (("pt", False), ("old.pt", True)):
        stream = io.BytesIO()
        torch.save(state, stream, _use_new_zipfile_serialization=not legacy)
        found[name] = stream.getvalue()
    return found


def _written(write: Callable[[Path], object], folder: Path) -> bytes:
    path = folder / "sample"
    write(path)
    content = path.read_bytes()
    path.unlink()
    return content


def strips(folder: Path) -> bytes:
    """Maps of an image, as a run folder keeps them."""
    numbers = np.random.default_rng(0)
    one = Strip(
        layer="a",
        transform=0,
        channels=[0, 1],
        maps=numbers.random((4, 2, 5, 5)),
        region=np.ones((5, 5), dtype=bool),
        images=numbers.random((2, 3, 6, 6)),
    )
    return _written(lambda path: save_strips(path, [one]), folder)


def matlab(folder: Path) -> bytes:
    """Cropped digits, as SVHN publishes them."""
    held = {"X": np.zeros((32, 32, 3, 20), np.uint8), "y": np.ones((20, 1), np.uint8)}

    def write(path: Path) -> None:
        with path.open("wb") as file:
            savemat(file, held, do_compression=True)

    return _written(write, folder)


def digit_struct(folder: Path) -> bytes:
    """Boxes of full numbers, as SVHN publishes them; needs h5py."""
    import h5py

    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            held = file.create_group("held")

            def keep(name: str, values: Any) -> Any:
                return held.create_dataset(name, data=np.asarray(values).reshape(-1, 1)).ref

            names, boxes = [], []
            for number in range(2):
                names.append(keep(f"n{number}", [ord(c) for c in f"{number + 1}.png"]))
                group = held.create_group(f"b{number}")
                for field in ("label", "left", "top", "width", "height"):
                    parts = [keep(f"{field}{number}{i}", [4.0]) for i in range(2)]
                    if number:
                        kept = np.array(parts, dtype=h5py.ref_dtype)
                        group.create_dataset(field, data=kept.reshape(-1, 1))
                    else:
                        group.create_dataset(field, data=np.array([[4.0]]))
                boxes.append(group.ref)
            for name, kept in (("name", names), ("bbox", boxes)):
                whole = np.array(kept, dtype=h5py.ref_dtype).reshape(-1, 1)
                file.create_dataset(f"digitStruct/{name}", data=whole)

    return _written(write, folder)


def archive() -> bytes:
    """A packed folder of photographs."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name in ("train/1.png", "train/2.png"):
            entry = tarfile.TarInfo(name)
            entry.size = 9
            tar.addfile(entry, io.BytesIO(b"unchanged"))
    return stream.getvalue()


def gzipped(content: bytes) -> bytes:
    """Pack bytes, the same ones the same way."""
    return gzip.compress(content, mtime=0)


def json_object() -> bytes:
    """An object of JSON."""
    return json.dumps({"format": 2, "numbers": [1, 2.5, None], "names": {"a": "b"}}).encode()
