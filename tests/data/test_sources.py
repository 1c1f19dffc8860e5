"""What a data set asks for, and what its files must agree with."""

from dataclasses import replace
from pathlib import Path

import pytest

import invariance_probe as ip
from invariance_probe.data import catalogue, datasets, downloads


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
