"""What is known of a data set before and after its files are read."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from invariance_probe.data import downloads
from invariance_probe.data.downloads import RemoteFile
from invariance_probe.data.splits import Split
from invariance_probe.errors import InvalidInputError


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a data set was asked for.

    Attributes:
        source: The data set, with the side that is wanted.
        root: Folder that holds the files.
        download: Whether to fetch what is missing.
        train: Training images; all by default.
        progress: Called while files are fetched, cut up or rendered.
    """

    source: "Source"
    root: Path | None
    download: bool
    train: int | None
    progress: downloads.Progress | None

    @property
    def name(self) -> str:
        """The name of the data set."""
        return self.source.name

    def folder(self) -> Path:
        """The folder that holds the files."""
        if self.root is None:
            raise InvalidInputError(
                f"data set {self.name!r} is read from a folder ({self.source.files}); name it with "
                "--data-root" + (", and missing files are fetched into it" if self.download else "")
            )
        return self.root

    def file(self, remote: RemoteFile, names: tuple[str, ...] = ()) -> Path:
        """A file of the folder, under one of several names; fetched if that is asked for."""
        folder = self.folder()
        places = [folder / name for name in (remote.name, *names)]
        path = next((place for place in places if place.is_file()), None)
        if path is None and self.download and self.source.downloadable:
            return downloads.fetch(remote, folder, progress=self.progress)
        if path is None:
            raise InvalidInputError(
                f"data set {self.name!r}: {' or '.join((remote.name, *names))} is not in "
                f"{str(folder)!r}; put it there, or fetch it from {remote.urls[0]} with --download"
            )
        return path


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What files hold.

    Attributes:
        train: What is learnt from.
        validation: What choices are made by.
        test: What is reported.
        classes: Number of classes of a slot, where the files say it.
        notes: What a reader of results should know, such as how many images were left out.
    """

    train: Split
    validation: Split
    test: Split
    classes: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Source:
    """All that is known of a data set before its files are read; one record is a data set.

    Values are bytes, which training divides by 255; there is no other normalisation.

    Attributes:
        name: As on the command line.
        files: What it is read from, in a few words.
        read: Reads these, and splits them.
        classes: Number of classes of a slot, 11 for numbers, the last of which is "no digit"; None
            where the files say it.
        slots: Labels of an image, all of which must be right.
        channels: 1 for grey, 3 for colour; None where the files say it.
        side: Side of the images, in pixels; None where the files say it.
        background: Value in [0, 1] around the images, as `Perturbation.apply` takes it; None where
            the border is to be continued.
        train_images: There are at least so many to learn from; presets ask for no more.
        synthetic: Whether the images were rendered, not taken.
        downloadable: Whether missing files have an address to be fetched from.
        resizable: Whether images may be read at any side.
        network: Classifier, of `networks.ARCHITECTURES`, unless another is asked for.
        localizer: ``fc`` or ``conv``, unless another is asked for; ``auto``: by the side of the
            perturbed images.
        padding: What transformers read outside images and maps, unless another is asked for.
        perturbation: What is done to the images unless something else is asked for, as on the
            command line.
    """

    name: str
    files: str
    read: Callable[[Request], Parts]
    classes: int | None
    slots: int = 1
    channels: int | None = 1
    side: int | None = 28
    background: float | None = 0.0
    train_images: int = 0
    synthetic: bool = False
    downloadable: bool = False
    resizable: bool = False
    network: str = "mnist"
    localizer: str = "auto"
    padding: str = "border"
    perturbation: str = "rotation"


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set, ready for training.

    Attributes:
        source: What was known before.
        parts: What the files hold.

    Raises:
        InvalidInputError: If the two differ.
    """

    source: Source
    parts: Parts

    def __post_init__(self) -> None:
        held = {
            "classes": self.parts.classes,
            "channels": self.channels,
            "side": self.side,
            "slots": self.train.labels.shape[1],
        }
        for name, value in held.items():
            said = getattr(self.source, name)
            if None not in {said, value} and said != value:
                raise InvalidInputError(
                    f"data set {self.source.name!r}: {name} is {value} in the files and {said} in "
                    "its record; correct one of them"
                )

    @property
    def train(self) -> Split:
        """What is learnt from."""
        return self.parts.train

    @property
    def validation(self) -> Split:
        """What choices are made by."""
        return self.parts.validation

    @property
    def test(self) -> Split:
        """What is reported."""
        return self.parts.test

    @property
    def classes(self) -> int:
        """Number of classes of a slot."""
        classes = self.parts.classes or self.source.classes
        assert classes is not None
        return classes

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return self.train.images.shape[1]

    @property
    def side(self) -> int:
        """Side of the images, in pixels."""
        return self.train.images.shape[2]
