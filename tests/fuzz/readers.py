"""Files of every kind that is read, damaged byte by byte."""

import hashlib
import importlib.util
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from invariance_probe import files
from invariance_probe.data import formats, svhn
from invariance_probe.data.datasets import open_dataset
from invariance_probe.data.pictures import load_image
from invariance_probe.network.weights import load_weights
from invariance_probe.report.blocks import Drawing
from invariance_probe.report.inline_figures import markup
from invariance_probe.results.reading import read_csv
from invariance_probe.results.strips import load_strips
from tests.fuzz import judging, samples
from tests.fuzz.judging import Judge
from tests.fuzz.mutations import damaged
from tests.profiles import share

Reader = Callable[[Path], object]


def _pair(path: Path) -> None:
    """Read images whose labels lie beside them."""
    labels = path.with_name("labels")
    labels.write_bytes(samples.idx(7))
    formats.read_idx_pair(path, labels, classes=10)


def _unpacked(path: Path) -> None:
    try:
        svhn.unpack(path, "train")
    finally:
        shutil.rmtree(path.parent / "train", ignore_errors=True)


def _cropped(path: Path) -> None:
    """Read cropped digits; whatever is not what was published is refused before it is parsed."""
    folder = path.parent / "svhn"
    folder.mkdir(exist_ok=True)
    for remote in svhn.CROPPED.values():
        shutil.copy(path, folder / remote.name)
    open_dataset("svhn-cropped", folder)


def _figure(path: Path) -> None:
    markup([Drawing(alt="a", caption="a", svg=b"", png=path.read_bytes())])


def _sources(folder: Path) -> dict[str, tuple[Reader, str, bytes]]:
    """By name: a reader, the suffix that its files have, and one of them that is whole."""
    table = pd.DataFrame({"name": ["a", "b"], "type": ["c", ""], "number": [1.5, 2.0]})
    found: dict[str, tuple[Reader, str, bytes]] = {
        "idx": (formats.read_idx, "", samples.idx(7, 3, 2)),
        "idx pair": (_pair, "", samples.idx(7, 3, 2)),
        "idx.gz": (formats.read_idx, ".gz", samples.gzipped(samples.idx(7, 3, 2))),
        "npz": (load_strips, ".npz", samples.strips(folder)),
        "json": (files.read_json, ".json", samples.json_object()),
        "parquet": (files.read_parquet, ".parquet", table.to_parquet(index=False)),
        "csv": (
            lambda path: read_csv(path, ("name", "type", "number"), ("number",)),
            ".csv",
            table.to_csv(index=False).encode(),
        ),
        "mat": (_cropped, ".mat", samples.matlab(folder)),
        "tar.gz": (_unpacked, ".tar.gz", samples.archive()),
        "figure": (_figure, ".png", samples.images()["png"]),
    }
    for name, content in samples.images().items():
        found[name] = (lambda path: load_image(path, 8), f".{name}", content)
    for name, content in samples.weights().items():
        found[name] = (lambda path: load_weights(samples.net(), path), f".{name}", content)
    if importlib.util.find_spec("h5py") is not None:
        content = samples.digit_struct(folder)
        found["digitStruct"] = (svhn.read_digit_struct, ".mat", content)
    return found


NAMES = [
    *[
        "idx",
        "idx pair",
        "idx.gz",
        "npz",
        "json",
        "parquet",
        "csv",
        "mat",
        "tar.gz",
        "figure",
    ],
    *samples.images(),
    *samples.weights(),
    "digitStruct",
]


def _fuzz(
    judge: Judge, read: Reader, path: Path, content: bytes, how: settings | None = None
) -> None:
    @(how or share(4))
    @given(damaged(content))
    def files_are_read_or_refused(held: bytes) -> None:
        path.write_bytes(held)
        judge(lambda: read(path))

    files_are_read_or_refused()


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Reader, str, bytes]]:
    return _sources(tmp_path_factory.mktemp("samples"))


@pytest.mark.parametrize("name", NAMES)
def test_damaged_files(
    sources: dict[str, tuple[Reader, str, bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """A file is read, or refused in a line, whatever of it is damaged."""
    if name not in sources:
        pytest.skip(f"{name} needs h5py")
    read, suffix, content = sources[name]
    if name == "mat":
        remotes = {
            part: replace(remote, sha256=hashlib.sha256(content).hexdigest())
            for part, remote in svhn.CROPPED.items()
        }
        monkeypatch.setattr(svhn, "CROPPED", remotes)
    judge = Judge()
    _fuzz(judge, read, tmp_path / f"sample{suffix}", content)
    judge.saw_both(name)


def test_a_reader_that_trusts_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that lets others' errors or a gigabyte through fails this very test."""

    def trusting(path: Path) -> object:
        size, content = path.read_bytes()[0], path.read_bytes()[1:]
        return np.frombuffer(content, dtype=np.uint8).reshape(size)

    def greedy(path: Path) -> object:
        return np.ones(2 * 10**7) if path.read_bytes() != b"\x03abc" else None

    monkeypatch.setattr(judging, "MOST", 10**8)
    short = settings(phases=[Phase.generate], report_multiple_bugs=False)
    for reader, raised in ((trusting, (ValueError, IndexError)), (greedy, AssertionError)):
        with pytest.raises(raised):
            _fuzz(Judge(), reader, tmp_path / "sample", b"\x03abc", short)
    judge = Judge()
    _fuzz(judge, Path.read_bytes, tmp_path / "sample", b"abc")
    with pytest.raises(AssertionError, match="nothing that was drawn was refused"):
        judge.saw_both("any bytes")


@given(st.data())
def test_some_files_stay_whole(data: st.DataObject) -> None:
    """Damages leave some files as they are, and stay within a few times their length."""
    content = data.draw(st.binary(max_size=50))
    assert len(data.draw(damaged(content))) <= 4 * len(content) + 64
