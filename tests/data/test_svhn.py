"""Street View House Numbers, from small files in the official formats."""

import importlib.util
import sys
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

import invariance_probe as ip
from invariance_probe.data import datasets, downloads, svhn
from invariance_probe.data.svhn import Number

needs_h5py = pytest.mark.skipif(
    importlib.util.find_spec("h5py") is None, reason="h5py, which reads MATLAB 7.3, is missing"
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _cropped(path: Path, count: int, **change: np.ndarray) -> None:
    """Write a file of cropped digits: image i is i in red, 2 i in green, its label 1 to 10."""
    pixels = np.zeros((32, 32, 3, count), dtype=np.uint8)
    pixels[:, :, 0], pixels[:, :, 1] = np.arange(count), 2 * np.arange(count)
    pixels[0, 5, 2] = 200
    labels = (np.arange(count) % 10 + 1).astype(np.uint8)[:, None]
    savemat(path, {"X": pixels, "y": labels, **change}, do_compression=True)


def _publish(monkeypatch: pytest.MonkeyPatch, name: str, folder: Path) -> None:
    """Take the files of a folder for the published ones."""
    remotes = {
        part: replace(remote, sha256=downloads.sha256_of(folder / remote.name))
        for part, remote in getattr(svhn, name).items()
        if (folder / remote.name).is_file()
    }
    monkeypatch.setattr(svhn, name, getattr(svhn, name) | remotes)


def test_cropped_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images come channel first, row by row; the label 10 is the digit 0; a tenth is held out."""
    _cropped(tmp_path / "train_32x32.mat", 100)
    _cropped(tmp_path / "test_32x32.mat", 20)
    with pytest.raises(ip.InvalidInputError, match=r"train_32x32.mat' is not the published one"):
        datasets.open_dataset("svhn-cropped", tmp_path)
    _publish(monkeypatch, "CROPPED", tmp_path)
    dataset = datasets.open_dataset("svhn-cropped", tmp_path)
    assert [len(p) for p in (dataset.train, dataset.validation, dataset.test)] == [90, 10, 20]
    assert (dataset.classes, dataset.source.slots, dataset.source.background) == (10, 1, None)
    assert dataset.test.images.shape == (20, 3, 32, 32)
    assert dataset.test.labels[:11, 0].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert dataset.test.images[7, :, 9, 9].tolist() == [7, 14, 0]
    assert dataset.test.images[7, 2, 0, 5] == 200  # row 0, column 5
    for part in (dataset.train, dataset.validation):
        assert torch.equal((part.images[:, 0, 9, 9].long() + 1) % 10, part.labels[:, 0])
    assert sorted(dataset.validation.labels[:, 0].tolist()) == list(range(10))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.zeros((20, 1))}, "label 0 at position 0 is out of range; the 10 classes are 1 t"),
        ({"y": np.full((20, 1), 11)}, "label 11 at position 0 is out of range"),
        ({"y": np.ones((19, 1))}, "contains 20 images and 19 labels"),
        ({"X": np.zeros((32, 32, 3, 20))}, r"X is float64 of shape \(32, 32, 3, 20\)"),
        (
            {"X": np.zeros((28, 28, 3, 20), dtype=np.uint8)},
            r"of shape \(32, 32, 3, samples\)",
        ),
    ],
)
def test_foreign_files_of_cropped_digits(
    tmp_path: Path, change: dict[str, np.ndarray], message: str
) -> None:
    """Other sizes, types, lengths and labels are refused with the file's name."""
    path = tmp_path / "train_32x32.mat"
    _cropped(path, 20, **change)
    with pytest.raises(ip.InvalidInputError, match=message) as caught:
        svhn.read_cropped(path)
    assert str(path) in str(caught.value)


def test_damaged_files_of_cropped_digits(tmp_path: Path) -> None:
    """Files that are broken off, of another kind or missing give one line."""
    path = tmp_path / "train_32x32.mat"
    with pytest.raises(ip.InvalidInputError, match="does not exist"):
        svhn.read_cropped(path)
    _cropped(path, 20)
    content = path.read_bytes()
    spoilt = bytearray(content)
    spoilt[len(content) // 2] ^= 255
    for damaged in (content[:300], content[:-60], bytes(spoilt), b"no file of MATLAB's" * 20, b""):
        path.write_bytes(damaged)
        with pytest.raises(ip.InvalidInputError, match="damaged or not a MATLAB 5 file") as caught:
            svhn.read_cropped(path)
        assert "\n" not in str(caught.value)
    savemat(path, {"Z": np.zeros(3)})
    with pytest.raises(ip.InvalidInputError, match="contains no X and y"):
        svhn.read_cropped(path)


def _number(name: str, digits: str, left: float = 21, top: float = 11) -> Number:
    """Say where digits of 8 x 20 pixels lie side by side; counted from 1, as in the files."""
    count = len(digits)
    return Number(
        name=name,
        labels=tuple(10 if d == "0" else int(d) for d in digits),
        left=tuple(left + 8 * i for i in range(count)),
        top=(top,) * count,
        width=(8.0,) * count,
        height=(20.0,) * count,
    )


def _photograph(folder: Path, number: Number) -> None:
    """Draw grey pavement with a red box where the digits are, its left column blue."""
    pixels = np.full((60, 120, 3), 90, dtype=np.uint8)
    x, y = int(number.left[0]) - 1, int(number.top[0]) - 1
    pixels[y : y + 20, x : x + 8 * len(number.labels)] = (250, 0, 0)
    pixels[y : y + 20, x] = (0, 0, 250)
    folder.mkdir(exist_ok=True, parents=True)
    Image.fromarray(pixels).save(folder / number.name)


def test_numbers_are_cut_out_with_a_margin(tmp_path: Path) -> None:
    """The crop is the box round all digits and 15 % of it on each side, resized to 64 x 64."""
    number = _number("1.png", "305")
    assert number.crop(120, 60) == pytest.approx((20 - 3.6, 10 - 3, 44 + 3.6, 30 + 3))
    assert number.crop(40, 25) == pytest.approx((16.4, 7, 40, 25))  # clipped
    _photograph(tmp_path, number)
    images, labels, left_out = svhn.cut_out(tmp_path, [number])
    assert images.shape == (1, 3, 64, 64)
    assert labels.tolist() == [[3, 0, 5, 10, 10]]
    assert left_out == 0
    red = images[0, 0] > 200
    margin = 0.15 / 1.3 * 64
    rows, columns = torch.nonzero(red.any(1)).flatten(), torch.nonzero(red.any(0)).flatten()
    assert int(rows[0]) == pytest.approx(margin, abs=1.5)
    assert int(rows[-1]) == pytest.approx(63 - margin, abs=1.5)
    assert int(columns[0]) == pytest.approx(margin + 64 / 31.2, abs=1.5)  # after the blue column
    assert int(columns[-1]) == pytest.approx(63 - margin, abs=1.5)


def test_numbers_of_more_than_five_digits_are_counted(tmp_path: Path) -> None:
    """Long numbers are left out, all others keep their place."""
    numbers = [_number("1.png", "12345"), _number("2.png", "123456"), _number("3.png", "7")]
    for number in numbers:
        _photograph(tmp_path, number)
    images, labels, left_out = svhn.cut_out(tmp_path, numbers)
    assert len(images) == 2
    assert left_out == 1
    assert labels.tolist() == [[1, 2, 3, 4, 5], [7, 10, 10, 10, 10]]


def test_photographs_that_cannot_be_cut(tmp_path: Path) -> None:
    """Missing and damaged photographs, impossible labels and empty boxes are named."""
    number = _number("1.png", "12")
    with pytest.raises(ip.InvalidInputError, match=r"1.png' is no file; unpack the archive"):
        svhn.cut_out(tmp_path, [number])
    _photograph(tmp_path, number)
    with pytest.raises(ip.InvalidInputError, match="label 12 at position 1 is out of range"):
        svhn.cut_out(tmp_path, [replace(number, labels=(3, 12))])
    with pytest.raises(ip.InvalidInputError, match="the box round its digits is empty"):
        svhn.cut_out(tmp_path, [replace(number, left=(500, 508))])
    with pytest.raises(ip.InvalidInputError, match="the box round its digits is empty"):
        svhn.cut_out(tmp_path, [replace(number, left=(float("nan"), 508))])
    for outside in ("/etc/hostname", "../1.png", "a/1.png", ".."):
        with pytest.raises(ip.InvalidInputError, match=r"names a photograph .* outside its folder"):
            svhn.cut_out(tmp_path, [replace(number, name=outside)])
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:80])
    with pytest.raises(ip.InvalidInputError, match=r"1.png' cannot be read"):
        svhn.cut_out(tmp_path, [number])


class Reference:
    """What MATLAB's files point with."""

    def __init__(self, value: Any) -> None:
        self.value = value


class FakeFile:
    """A digitStruct in memory, with the layout that h5py shows."""

    def __init__(self, numbers: Sequence[Number]) -> None:
        def objects(values: list[Any]) -> np.ndarray:
            array = np.empty((len(values), 1), dtype=object)
            array[:, 0] = values
            return array

        def field(values: Sequence[float]) -> np.ndarray:
            if len(values) == 1:
                return np.array([values], dtype=np.float64)
            return objects([Reference(np.array([[float(v)]])) for v in values])

        names, boxes = [], []
        for n in numbers:
            names.append(Reference(np.array([[ord(c)] for c in n.name], dtype=np.uint16)))
            fields = {f: getattr(n, f) for f in ("left", "top", "width", "height")}
            fields["label"] = n.labels
            boxes.append(Reference({name: field(v) for name, v in fields.items()}))
        self.held = {"digitStruct/name": objects(names), "digitStruct/bbox": objects(boxes)}

    def __getitem__(self, key: Any) -> Any:
        return key.value if isinstance(key, Reference) else self.held[key]


NUMBERS = [
    _number("1.png", "5"),
    _number("2.png", "210", left=3.5, top=-2),
    _number("3.png", "98", left=40),
]


def test_the_walk_through_a_digit_struct() -> None:
    """Names, labels and boxes come back, whether a field is a value or references to values."""
    assert list(svhn.numbers_in(FakeFile(NUMBERS))) == NUMBERS


def test_h5py_is_asked_for_when_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without h5py the full numbers say what to install, or to use the cropped ones."""
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ip.InvalidInputError, match=r"pip install h5py.*svhn-cropped"):
        svhn.read_digit_struct(tmp_path / "digitStruct.mat")


def _write_digit_struct(path: Path, numbers: Sequence[Number]) -> None:
    """Write an HDF5 file as MATLAB 7.3 lays one out."""
    h5py = importlib.import_module("h5py")
    with h5py.File(path, "w", userblock_size=512) as file:
        count = iter(range(10**6))

        def put(value: np.ndarray) -> Any:
            return file.create_dataset(f"#refs#/{next(count)}", data=value).ref

        def field(values: Sequence[float]) -> np.ndarray:
            if len(values) == 1:
                return np.array([values], dtype=np.float64)
            references = np.empty((len(values), 1), dtype=h5py.ref_dtype)
            references[:, 0] = [put(np.array([[float(v)]])) for v in values]
            return references

        names = np.empty((len(numbers), 1), dtype=h5py.ref_dtype)
        boxes = np.empty((len(numbers), 1), dtype=h5py.ref_dtype)
        for i, n in enumerate(numbers):
            names[i] = put(np.array([[ord(c)] for c in n.name], dtype=np.uint16))
            group = file.create_group(f"#refs#/{next(count)}")
            boxes[i] = group.ref
            for name in ("left", "top", "width", "height"):
                group.create_dataset(name, data=field(getattr(n, name)))
            group.create_dataset("label", data=field(n.labels))
        file.create_dataset("digitStruct/name", data=names)
        file.create_dataset("digitStruct/bbox", data=boxes)


@needs_h5py
def test_a_digit_struct_in_matlabs_layout(tmp_path: Path) -> None:
    """A MATLAB 7.3 file gives back the numbers; damaged and foreign ones are refused."""
    path = tmp_path / "digitStruct.mat"
    with pytest.raises(ip.InvalidInputError, match="does not exist"):
        svhn.read_digit_struct(path)
    _write_digit_struct(path, NUMBERS)
    assert svhn.read_digit_struct(path) == NUMBERS
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"MATLAB 5.0 MAT-file" * 40, b""):
        path.write_bytes(damaged)
        with pytest.raises(ip.InvalidInputError, match="damaged or not a digitStruct") as caught:
            svhn.read_digit_struct(path)
        assert "\n" not in str(caught.value)


def _full_part(folder: Path, digits: Sequence[str]) -> dict[Path, list[Number]]:
    numbers = [_number(f"{i + 1}.png", d) for i, d in enumerate(digits)]
    for number in numbers:
        _photograph(folder, number)
    (folder / "digitStruct.mat").write_bytes(b"stands for MATLAB's")
    return {folder / "digitStruct.mat": numbers}


@pytest.fixture
def structs(monkeypatch: pytest.MonkeyPatch) -> dict[Path, list[Number]]:
    """Boxes by file, read in place of MATLAB's."""
    known: dict[Path, list[Number]] = {}
    read: Callable[[Path], list[Number]] = known.__getitem__
    monkeypatch.setattr(svhn, "read_digit_struct", read)
    return known


def test_full_numbers(tmp_path: Path, structs: dict[Path, list[Number]]) -> None:
    """Train and extra are joined and held out from by length; notes count what was left out."""
    short = [str(i % 9 + 1) for i in range(40)]
    structs |= _full_part(tmp_path / "train", [*short, "123456", "1234567"])
    structs |= _full_part(tmp_path / "test", ["12", "345", "6"])
    dataset = datasets.open_dataset("svhn", tmp_path)
    assert [len(p) for p in (dataset.train, dataset.validation, dataset.test)] == [39, 1, 3]
    assert (dataset.classes, dataset.source.slots, dataset.side) == (11, 5, 64)
    assert dataset.test.labels.tolist()[:2] == [[1, 2, 10, 10, 10], [3, 4, 5, 10, 10]]
    assert "2 numbers of train/ with more than five digits were left out" in dataset.parts.notes
    assert "there is no folder extra/: trained on train/ alone" in dataset.parts.notes
    structs |= _full_part(tmp_path / "extra", ["77"] * 30)
    larger = datasets.open_dataset("svhn", tmp_path)
    assert [len(p) for p in (larger.train, larger.validation)] == [68, 2]
    assert sorted((larger.validation.labels != 10).sum(1).tolist()) == [1, 2]
    assert not any("extra" in note for note in larger.parts.notes)
    structs.clear()  # what was cut out before is not read again
    assert torch.equal(datasets.open_dataset("svhn", tmp_path).train.images, larger.train.images)


def test_archives_of_full_numbers_are_unpacked(
    tmp_path: Path, structs: dict[Path, list[Number]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An archive is checked, unpacked as a whole and then used; a foreign one is refused."""
    for part in ("train", "test"):
        source = tmp_path / "source" / part
        made = _full_part(source, ["1", "2", "3", "4"])
        structs[tmp_path / part / "digitStruct.mat"] = made[source / "digitStruct.mat"]
        with tarfile.open(tmp_path / f"{part}.tar.gz", "w:gz") as tar:
            tar.add(source, part)
    with pytest.raises(ip.InvalidInputError, match=r"train.tar.gz' is not the published one"):
        datasets.open_dataset("svhn", tmp_path)
    _publish(monkeypatch, "FULL", tmp_path)
    dataset = datasets.open_dataset("svhn", tmp_path)
    assert [len(p) for p in (dataset.train, dataset.validation, dataset.test)] == [3, 1, 4]
    assert (tmp_path / "train" / "4.png").is_file()
    assert not list(tmp_path.glob(".*"))


def test_archives_that_cannot_be_unpacked(tmp_path: Path) -> None:
    """A broken archive, one of something else and one that climbs out leave nothing behind."""
    (tmp_path / "1.png").write_bytes(b"x" * 5000)
    archive = tmp_path / "train.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "1.png", "other/1.png")
    with pytest.raises(ip.InvalidInputError, match="contains no folder 'train'"):
        svhn.unpack(archive, "train")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "1.png", "train/../../outside.png")
    with pytest.raises(ip.InvalidInputError, match="is damaged or truncated"):
        svhn.unpack(archive, "train")
    archive.write_bytes(archive.read_bytes()[:60])
    with pytest.raises(
        ip.InvalidInputError, match=r"train.tar.gz' (is damaged|cannot be unpacked)"
    ):
        svhn.unpack(archive, "train")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1.png", "train.tar.gz"]
    assert not (tmp_path.parent / "outside.png").exists()
