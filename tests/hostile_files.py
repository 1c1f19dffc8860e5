"""Gives 200 damaged or hostile files to whatever reads such files, and says what came of each.

Run as a program. Each file is read in a process of its own, a fork of one that has imported all, so
that one that crashes, hangs or fills the memory is seen.
"""

# ruff: noqa: E731  (a name for how a file is made, in the loop that varies it)

import gzip
import io
import json
import math
import os
import pickle
import signal
import socket
import struct
import sys
import tarfile
import tempfile
import time
import traceback
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from PIL import Image
from pyarrow import parquet
from scipy.io import savemat

import invariance_probe as ip
from invariance_probe import cli, files
from invariance_probe.data import svhn
from invariance_probe.errors import InvalidInputError
from invariance_probe.training import trainer
from invariance_probe.training.runs import TrainResult
from tests.fuzz import samples
from tests.fuzz.judging import MOST, forget_the_peak, memory
from tests.report import hostile
from tests.training import tiny

LONGEST = 30
"""Seconds that a file may take."""

Reader = Callable[[Path], object]
"""Is given a folder with the file in it."""
Damage = Callable[[Path], object]
Content = bytes | Callable[[], bytes]


class Case(NamedTuple):
    """A hostile file and its reader.

    Attributes:
        name: What it is.
        make: Makes it, in a folder that is there.
        read: Reads the folder.
    """

    name: str
    make: Damage
    read: Reader


class Seen(NamedTuple):
    """What came of a file.

    Attributes:
        outcome: refused, in one line; read; or raw, silent, crashed, hung.
        said: The last line, or what else was said.
        gigabytes: At the peak, beyond what the process had before.
        seconds: It took.
    """

    outcome: str
    said: str
    gigabytes: float
    seconds: float


def net() -> torch.nn.Module:
    """The model whose weights are read."""
    return torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU())


def _command(*words: str) -> Reader:
    return lambda folder: cli.main([word.replace("{}", str(folder)) for word in words])


def _layers(name: str) -> Reader:
    model = ("--model", "tests.hostile_files:net", "--channels", "1", "--crop", "16")
    return _command("layers", *model, "--weights", "{}/" + name)


_PROBE = _command(
    *("probe", "--model", "tests.hostile_files:net", "--channels", "1", "--crop", "16"),
    *("--layers", "0", "--transform", "rotation=90", "--methods", "oracle", "--no-progress"),
    *("--images", "{}/images", "--out", "{}/out"),
)
_REPORT = _command("report", "{}/run", "--out", "{}/page.html")


def _train(data: str) -> Reader:
    settings = ("--preset", "tiny", "--no-progress", "--perturbation", "none", "--variant", "cnn")
    return _command(*(
        "train",
        "--data",
        data,
        "--data-root",
        "{}/data",
        "--out",
        "{}/out",
        *settings,
    ))


def _load(folder: Path) -> None:
    ip.ProbeResult.load(folder / "run").summary()


def _load_training(folder: Path) -> None:
    TrainResult.load(folder / "run")


def _go_on(folder: Path) -> None:
    trainer.train(tiny.config(), folder / "run", dataset=tiny.dataset())


def _read_digits(folder: Path) -> None:
    svhn.read_digit_struct(folder / "digitStruct.mat")


def _write(path: Path, content: Content) -> None:
    """Write a file; what is large is made at last, and not kept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content())


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # names of sockets are short
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


def no_files() -> dict[str, Damage]:
    """What has a file's name and is none."""
    return {
        "missing": lambda path: None,
        "a folder": lambda path: path.mkdir(),
        "a pipe": lambda path: os.mkfifo(path),
        "a socket": _socket,
        "a link to itself": lambda path: path.symlink_to(path.name),
        "a link to nothing": lambda path: path.symlink_to("nothing"),
        "endless zeros": lambda path: path.symlink_to("/dev/zero"),
        "a device": lambda path: path.symlink_to("/dev/null"),
    }


def damages(content: bytes) -> dict[str, bytes]:
    """What no reader can make sense of."""
    half = content[: len(content) // 2]
    return {
        "empty": b"",
        "half of it": half,
        "zeros": bytes(len(content)),
        "noise": np.random.default_rng(0).bytes(len(content)),
        "a text": b"No file of this kind.\n" * 20,
        "swapped halves": content[len(content) // 2 :] + half,
        "packed": gzip.compress(b"x" + content),
    }


def _replaced(place: str, make: Damage) -> Damage:
    """Put something in the place of a file."""

    def change(folder: Path) -> None:
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        make(path)

    return change


def _each(
    place: str,
    content: bytes,
    read: Reader,
    before: Damage = lambda folder: None,
    *,
    optional: bool = False,
) -> Iterator[Case]:
    """All that can be in the place of a file."""
    makes: dict[str, Damage] = no_files()
    if optional:
        makes = {name: make for name, make in makes.items() if name not in _ABSENT}
    for name, held in damages(content).items():
        makes[name] = lambda path, held=held: path.write_bytes(held)
    for name, make in makes.items():

        def put(folder: Path, make: Damage = make) -> None:
            before(folder)
            _replaced(place, make)(folder)

        yield Case(f"{place}: {name}", put, read)


_ABSENT = ("missing", "a link to itself", "a link to nothing")


def _png(width: int, height: int, *, bits: int = 8, colour: int = 0, whole: bool = False) -> bytes:
    """A PNG that says how large it is; perhaps it is."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    values = {0: 1, 2: 3, 6: 4}[colour]
    row = 1 + width * values * bits // 8
    pack = zlib.compressobj(9)
    held = b"".join(pack.compress(bytes(row)) for _ in range(height if whole else 1)) + pack.flush()
    head = chunk(b"IHDR", struct.pack(">2I5B", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", held) + chunk(b"IEND", b"")


def _gif_bomb() -> bytes:
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", 65535, 65535, 0xF7, 0, 0)
        + bytes(768)
        + (b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x08\x02\x4c\x01\x00;")
    )


def _picture(kind: str, size: tuple[int, int], **options: object) -> bytes:
    stream = io.BytesIO()
    Image.new("L", size).save(stream, kind, **options)
    return stream.getvalue()


def _endless_eps() -> bytes:
    return b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n{} loop\n%%EOF\n"


def _pictures() -> dict[str, Content]:
    huge = struct.pack("<I", 60_000)
    bmp = bytearray(_picture("BMP", (9, 9)))
    bmp[18:26] = huge + huge
    return {
        "a PNG of 50 000 x 50 000.png": _png(50_000, 50_000),
        "a PNG of 2^31 pixels across.png": _png(2**31 - 1, 1),
        "a PNG of no pixel.png": _png(0, 0),
        "a thin PNG.png": _png(1, 180_000, whole=True),
        "a flat PNG.png": _png(180_000, 1, whole=True),
        "a GIF of 65 535 x 65 535.gif": _gif_bomb(),
        "a TIFF of 1 x 180 000.tif": _picture("TIFF", (1, 180_000), compression="tiff_lzw"),
        "a BMP of 60 000 x 60 000.bmp": bytes(bmp),
        "a PPM of 99 999 x 99 999.ppm": b"P6\n99999 99999\n255\n" + bytes(100),
        "a PPM of text.ppm": b"P3\n30000 30000\n255\n" + b"1 " * 50,
        "a program.png": _endless_eps(),
        "a program.eps": _endless_eps(),
        "an SVG.png": hostile.figures("x()", "http://127.0.0.1:1")[0],
        "a page.jpg": b"<html><script>alert(1)</script></html>",
        "a JPEG of 65 500 x 65 500.jpg": _large_jpeg(),
        "an icon of a PNG of 2^15.ico": _icon(_png(2**15, 2**15)),
        "NaN.tif": _float_image(math.nan),
        "infinity.tif": _float_image(math.inf),
        "endless layers.psd": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 30000, 30000, 8, 3),
        "a text of two gigabytes.png": _png_with_text,
    }


def _large_jpeg() -> bytes:
    held = bytearray(_picture("JPEG", (16, 16)))
    at = held.index(b"\xff\xc0") + 5
    held[at : at + 4] = struct.pack(">HH", 65_500, 65_500)
    return bytes(held)


def _icon(png: bytes) -> bytes:
    return struct.pack("<3H4B2H2I", 0, 1, 1, 0, 0, 0, 0, 1, 32, len(png), 22) + png


def _float_image(value: float) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((9, 9), value, dtype=np.float32)).save(stream, "TIFF")
    return stream.getvalue()


def _png_with_text() -> bytes:
    packed = zlib.compress(bytes(10**8), 9)
    content = b"a\0\0" + packed
    check = struct.pack(">I", zlib.crc32(b"zTXt" + content))
    chunk = struct.pack(">I", len(content)) + b"zTXt" + content + check
    whole = _png(9, 9, whole=True)
    return whole[:33] + chunk * 20 + whole[33:]


class Runs:
    """Run folders that are whole, kept as bytes.

    Args:
        folder: Where they are made.
    """

    def __init__(self, folder: Path) -> None:
        torch.manual_seed(0)
        moves = [ip.Rotation(90), ip.Rotation(30)]
        methods = ["oracle", "oracle+permutation"]
        model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
        options = {"layers": "0", "transforms": moves, "methods": methods}
        ip.probe(model, torch.rand(3, 3, 16, 16), out=folder / "probe", **options)  # type: ignore[arg-type]  # (by name)
        trainer.train(tiny.config(), folder / "training", dataset=tiny.dataset())
        self.probe, self.training = (_held(folder / name) for name in ("probe", "training"))
        weights = {"0.weight": torch.zeros(2)}
        state = {"step": 8, "config": tiny.config().as_dict(), "state": {"curve": [], "seconds": 1}}
        files.write_tensors(folder / "weights", weights)
        held = (folder / "weights").read_bytes()
        inside = "checkpoint-000000008/"
        self.begun = {
            f"{inside}state.json": json.dumps(state).encode(),
            f"{inside}model.safetensors": held,
            f"{inside}optimizer.safetensors": held,
        }


def _held(folder: Path) -> dict[str, bytes]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def _poured(held: dict[str, bytes], **changes: Content) -> Damage:
    def make(folder: Path) -> None:
        for name, content in (held | changes).items():
            _write(folder / "run" / name, content)

    return make


def _zip(**entries: int) -> bytes:
    """An archive whose entries are zeros; they need not be packed for that."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, size in entries.items():
            with archive.open(name, "w", force_zip64=True) as entry:
                for start in range(0, size, 2**24):
                    entry.write(bytes(min(2**24, size - start)))
    return stream.getvalue()


class _Running:
    """Would run a program if it were unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/invariance-probe-was-run",)


def _table_of_zeros(columns: int, rows: int, kind: pa.DataType) -> bytes:
    stream = io.BytesIO()
    schema = pa.schema([(f"c{number}", kind) for number in range(columns)])
    with parquet.ParquetWriter(stream, schema, compression="zstd", use_dictionary=False) as writer:
        if kind == pa.string():
            one = pa.array(["\0" * 10**8] * rows)
        else:
            one = pa.array(np.zeros(rows, dtype=np.int8))
        for _ in range(4):
            writer.write_table(pa.table([one] * columns, schema=schema))
    return stream.getvalue()


def _json_bombs(whole: bytes) -> dict[str, Content]:
    about = json.loads(whole)
    return {
        "deep": lambda: b"[" * 10**6,
        "deep objects": lambda: b'{"a":' * 10**6,
        "many lists": lambda: b'{"a": [' + b"[]," * 2 * 10**7 + b"[]]}",
        "a huge integer": b'{"format": ' + b"9" * 10**5 + b"}",
        "NaN": b'{"format": NaN}',
        "a later format": json.dumps(about | {"format": 99}).encode(),
        "names twice": b'{"format": 2, "format": "x"}',
        "surrogates": json.dumps(about | {"model": "\ud800", "layers": 3}).encode(),
        "not UTF-8": b'{"a": "\xff"}',
        "a list": b"[]",
    }


def _archive(**names: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in names.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def _idx_set(folder: Path, **other: Content) -> None:
    held = {
        "train-images-idx3-ubyte": samples.idx(300, 8, 8),
        "train-labels-idx1-ubyte": samples.idx(300),
        "t10k-images-idx3-ubyte": samples.idx(50, 8, 8),
        "t10k-labels-idx1-ubyte": samples.idx(50),
    }
    for name, content in (held | other).items():
        _write(folder / "data" / name, content)


def _classes(folder: Path) -> None:
    for name in ("a", "b"):
        for number in range(4):
            content = _picture("PNG", (9 + number, 9))
            _write(folder / "data" / name / f"{number}.png", content)


def _weights(runs: Runs) -> Iterator[Case]:
    del runs
    state = net().state_dict()
    held = {"w.safetensors": samples.save(dict(state))}
    for name, legacy in (("w.pt", False), ("old.pt", True)):
        stream = io.BytesIO()
        torch.save(state, stream, _use_new_zipfile_serialization=not legacy)
        held[name] = stream.getvalue()
    for name, content in held.items():
        yield from _each(name, content, _layers(name))
    stream = io.BytesIO()
    torch.save({"0.weight": _Running()}, stream)
    head = json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}})
    special = {
        "pickled program.pt": stream.getvalue(),
        "pickled program.pkl": pickle.dumps(_Running()),
        "pickled program.safetensors": pickle.dumps(_Running()),
        "bomb.pt": lambda: _zip(**{"archive/data.pkl": 10, "archive/data/0": 3 * 10**9}),
        "huge head.safetensors": struct.pack("<Q", 2**62) + b"{}",
        "huge tensor.safetensors": struct.pack("<Q", len(head)) + head.encode(),
        "slip.pt": _zip(**{"../../escaped": 10, "archive/data.pkl": 10}),
        "a list.pt": _saved([1, 2]),
        "complex.pt": _saved({n: v.to(torch.complex64) for n, v in state.items()}),
        "sparse.pt": _saved({n: v.to_sparse() for n, v in state.items()}),
        "other shape.pt": _saved({n: v[:1] for n, v in state.items()}),
        "NaN.pt": _saved({n: v * math.nan for n, v in state.items()}),
        "a huge view.pt": _saved({"0.weight": torch.zeros(1).expand(10**11)}),
        "a name\nof lines.pt": b"",
    }
    for name, content in special.items():
        make = lambda folder, n=name, c=content: _write(folder / n, c)
        yield Case(f"weights: {name}", make, _layers(name))


def _saved(held: object) -> bytes:
    stream = io.BytesIO()
    torch.save(held, stream)
    return stream.getvalue()


def _images(runs: Runs) -> Iterator[Case]:
    del runs
    for name, make in no_files().items():
        if name not in ("missing", "a folder"):  # without an image there is no folder of images
            yield Case(f"image: {name}", _replaced("images/x.png", make), _PROBE)
    for kind, content in (("png", samples.images()["png"]), ("jpg", samples.images()["jpg"])):
        for name, held in damages(content).items():
            change = _replaced(f"images/x.{kind}", lambda path, held=held: path.write_bytes(held))
            yield Case(f"image.{kind}: {name}", change, _PROBE)
    for name, content in _pictures().items():
        make = lambda folder, n=name, c=content: _write(folder / "images" / n, c)
        yield Case(f"image: {name}", make, _PROBE)
    named = os.fsdecode(b"\xff\xfe.png")
    good = samples.images()["png"]
    yield Case("a name not UTF-8", lambda f: _write(f / "images" / named, good), _PROBE)
    yield Case("no image", lambda f: _write(f / "images" / "a.txt", b""), _PROBE)
    yield Case("images is a file", lambda f: _write(f / "images", b""), _PROBE)
    yield Case("images is missing", lambda f: None, _PROBE)
    yield Case("a class of a pipe", _class_of_a_pipe, _train("folder"))
    for name in ("a program.png", "a PNG of 50 000 x 50 000.png", "NaN.tif"):

        def put(folder: Path, name: str = name) -> None:
            _classes(folder)
            _write(folder / "data" / "a" / name, _pictures()[name])

        yield Case(f"a class with {name}", put, _train("folder"))
    yield Case("one class", lambda f: _write(f / "data" / "a" / "1.png", good), _train("folder"))
    yield Case("an empty class", _empty_class, _train("folder"))
    yield Case("an empty class of plankton", _empty_class, _train("plankton"))


def _class_of_a_pipe(folder: Path) -> None:
    _classes(folder)
    os.mkfifo(folder / "data" / "a" / "x.png")


def _empty_class(folder: Path) -> None:
    _classes(folder)
    (folder / "data" / "c\n<script>").mkdir()


def _data(runs: Runs) -> Iterator[Case]:
    del runs
    content = samples.idx(300, 8, 8)
    yield from _each("data/train-images-idx3-ubyte", content, _train("idx"), _idx_set)
    big = struct.pack(">I", 2**32 - 1)
    heads = {
        "2^32 images": bytes([0, 0, 8, 3]) + big * 3,
        "255 axes": bytes([0, 0, 8, 255]) + struct.pack(">I", 1) * 255 + b"\1",
        "65 axes": bytes([0, 0, 8, 65]) + struct.pack(">I", 1) * 65 + b"\1",
        "none of 2^96": bytes([0, 0, 8, 4]) + bytes(4) + big * 3,
        "no axis": bytes([0, 0, 8, 0]),
        "floats": bytes([0, 0, 13, 1]) + struct.pack(">I", 1) + bytes(4),
        "no pixels": bytes([0, 0, 8, 3]) + struct.pack(">3I", 300, 0, 0),
        "a head cut short": content[:9],
        "one image": samples.idx(1, 8, 8),
        "other labels": samples.idx(299, 8, 8),
    }
    for name, held in heads.items():
        for packed in (False, True):
            part = gzip.compress(held) if packed else held
            make = lambda f, p=part: _idx_set(f, **{"train-images-idx3-ubyte": p})
            yield Case(f"idx{'.gz' * packed}: {name}", make, _train("idx"))
    bombed = lambda f: _idx_set(f, **{"train-labels-idx1-ubyte": _packed_zeros})
    yield Case("idx.gz: a bomb", bombed, _train("idx"))
    yield Case("idx taken for mnist", _idx_set, _train("mnist"))
    for name, held in damages(samples.archive()).items():
        make = lambda f, h=held: _write(f / "data" / "train.tar.gz", h)
        yield Case(f"svhn archive: {name}", make, _train("svhn"))
    slip = _archive(**{"../../../escaped": b"x", "/tmp/escaped": b"x"})
    yield Case("svhn slip", lambda f: _write(f / "data/train.tar.gz", slip), _train("svhn"))
    for name, held in _matlab().items():
        make = lambda f, h=held: _write(f / "data" / "train_32x32.mat", h)
        yield Case(f"svhn-cropped: {name}", make, _train("svhn-cropped"))
    with suppress(ImportError):
        with tempfile.TemporaryDirectory() as folder:
            whole = samples.digit_struct(Path(folder))
        yield from _each("digitStruct.mat", whole, _read_digits)
        for name, make in _digit_structs().items():
            change = lambda f, m=make: m(f / "digitStruct.mat")
            yield Case(f"digitStruct: {name}", change, _read_digits)


def _packed_zeros() -> bytes:
    stream = io.BytesIO()
    with gzip.open(stream, "wb") as file:
        file.write(bytes([0, 0, 8, 1]) + struct.pack(">I", 3 * 10**9))
        for _ in range(180):
            file.write(bytes(2**24))
    return stream.getvalue()


def _matlab() -> dict[str, Content]:
    def held(**values: object) -> bytes:
        stream = io.BytesIO()
        savemat(stream, values, do_compression=True)
        return stream.getvalue()

    return {
        "numbers of eight bytes": lambda: held(X=np.zeros((32, 32, 3, 10**3)), y=np.ones((1, 1))),
        "a cell": lambda: held(X=np.array([np.zeros(10**5)], dtype=object), y=1),
        "nothing": b"",
    }


def _digit_structs() -> dict[str, Damage]:
    import h5py

    def names_that_explode(path: Path) -> None:
        with h5py.File(path, "w") as file:
            for name in ("name", "bbox"):
                options = {"compression": "gzip", "chunks": (10**6,), "fillvalue": 65}
                file.create_dataset(f"digitStruct/{name}", (10**10,), "u2", **options)

    def one_name_for_all(path: Path) -> None:
        with h5py.File(path, "w") as file:
            name = file.create_dataset("held/n", data=np.array([[65]], dtype="u2")).ref
            box = file.create_group("held/b")
            for field in ("label", "left", "top", "width", "height"):
                box.create_dataset(field, data=np.array([[1.0]]))
            for part, ref in (("name", name), ("bbox", box.ref)):
                refs = np.full((500_000, 1), ref, dtype=h5py.ref_dtype)
                file.create_dataset(f"digitStruct/{part}", data=refs, compression="gzip")

    def a_circle(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["digitStruct"] = h5py.SoftLink("/digitStruct")

    def elsewhere(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["digitStruct"] = h5py.ExternalLink("/dev/zero", "/")

    return {
        "names that explode": names_that_explode,
        "one name for all": one_name_for_all,
        "a circle": a_circle,
        "elsewhere": elsewhere,
    }


def _run_folders(runs: Runs) -> Iterator[Case]:
    whole = _poured(runs.probe)
    for name, read, optional in (
        ("config.json", _load, False),
        ("results.parquet", _load, False),
        ("layers.csv", _load, False),
        ("maps.npz", _load, True),
        ("channels.parquet", _load, True),
        ("summary.csv", _REPORT, False),
    ):
        yield from _each(f"run/{name}", runs.probe[name], read, whole, optional=optional)
    for name in ("result.json", "curve.parquet", "images.parquet"):
        yield from _each(f"run/{name}", runs.training[name], _load_training, _poured(runs.training))
    for name, content in runs.begun.items():
        yield from _each(f"run/{name}", content, _go_on, _poured(runs.begun))
    for name, content in _json_bombs(runs.probe["config.json"]).items():
        make = _poured(runs.probe, **{"config.json": content})
        yield Case(f"config.json: {name}", make, _load)
        yield Case(f"config.json in a report: {name}", make, _REPORT)
    for name, content in {
        "columns of zeros": lambda: _table_of_zeros(9, 10_000_000, pa.int8()),
        "long texts": lambda: _table_of_zeros(9, 1, pa.string()),
        "other columns": pd.DataFrame({"a": [1]}).to_parquet(),
        "no row": pd.DataFrame({"a": []}).to_parquet(),
    }.items():
        make = _poured(runs.probe, **{"results.parquet": content})
        yield Case(f"results.parquet: {name}", make, _load)
    for name, content in {
        "columns without end": lambda: b"," * 2 * 10**7,
        "quotes without end": lambda: b'"' + b"a\n" * 10**7,
        "other columns": b"a,b\n1,2\n",
    }.items():
        yield Case(f"layers.csv: {name}", _poured(runs.probe, **{"layers.csv": content}), _load)
        make = _poured(runs.probe, **{"summary.csv": content})
        yield Case(f"summary.csv: {name}", make, _REPORT)
    for name, content in {
        "a bomb": lambda: _zip(**{"about/0.npy": 10, "maps/0.npy": 3 * 10**9}),
        "an object": _npz(np.array([{}], dtype=object)),
        "a huge array": _npz_head("(1000000000000,)"),
        "a head that is code": _npz_head("__import__('os').getcwd()"),
    }.items():
        yield Case(f"maps.npz: {name}", _poured(runs.probe, **{"maps.npz": content}), _load)


def _npz(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **{"about/0": array})
    return stream.getvalue()


def _npz_head(shape: str) -> bytes:
    head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    npy = b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head.encode() + b"\0" * 9
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("about/0.npy", npy)
    return stream.getvalue()


def cases(runs: Runs) -> list[Case]:
    """List them all; each is to be refused."""
    return [case for part in (_weights, _images, _data, _run_folders) for case in part(runs)]


def _read(case: Case, folder: Path, told: Path) -> None:
    """Read a file, in a process that ends with it, and tell what came of it."""
    out, err = io.StringIO(), io.StringIO()
    forget_the_peak()
    before, began = memory("VmRSS"), time.monotonic()
    outcome, said = "read", ""
    with redirect_stdout(out), redirect_stderr(err):
        try:
            case.read(folder)
        except InvalidInputError as error:
            outcome, said = "refused", str(error)
        except SystemExit as error:
            outcome, said = "refused" if error.code == 2 else "raw", err.getvalue().strip()
        except BaseException:
            outcome, said = "raw", traceback.format_exc()
    if outcome == "refused" and not (said.isprintable() and 20 < len(said) < 2000):
        outcome = "raw"
    peak = (memory("VmHWM") - before) / 1e9
    seen = Seen(outcome, said[-1500:], peak, time.monotonic() - began)
    told.write_text(json.dumps(seen), encoding="utf-8")


def judge(case: Case) -> Seen:
    """Make a file and have it read by a process of its own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder, told = Path(name, "in"), Path(name, "told")
        folder.mkdir()
        os.waitpid(_forked(lambda: case.make(folder)), 0)
        began = time.monotonic()
        child = _forked(lambda: _read(case, folder, told))
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            if time.monotonic() - began > LONGEST:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return Seen("hung", "", math.nan, LONGEST)
            time.sleep(0.01)
        if not told.exists():
            return Seen("crashed", "", math.nan, time.monotonic() - began)
        return Seen(*json.loads(told.read_text(encoding="utf-8")))


def _forked(call: Callable[[], object]) -> int:
    """Have a process of its own do something, whatever memory that takes; returns its number."""
    child = os.fork()
    if child == 0:
        try:
            call()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    return child


def main() -> None:
    """Judge every so manieth case, and print what was seen, by name."""
    step, wanted = int(sys.argv[1]), sys.argv[2:]
    torch.set_num_threads(1)
    for name in cli.COMMANDS:  # imported once, and not by each fork
        cli.load(name)
    with tempfile.TemporaryDirectory() as folder:
        every = cases(Runs(Path(folder)))
    assert len({case.name for case in every}) == len(every)
    chosen = [c for c in every if any(w in c.name for w in wanted)] if wanted else every[::step]
    seen = {}
    for case in chosen:
        seen[case.name] = judge(case)._asdict()
        sys.stderr.write(f"{seen[case.name]['outcome']}: {case.name}\n")
    sys.stdout.write(json.dumps({"cases": len(every), "most": MOST, "seen": seen}))


if __name__ == "__main__":
    main()
