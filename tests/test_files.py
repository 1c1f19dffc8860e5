"""Tensors kept between runs."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from invariance_probe import files


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own, not yet made."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "invariance-probe"


class Maker:
    """Makes tensors and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> dict[str, Tensor]:
        self.calls += 1
        return {"x": torch.arange(6).view(2, 3).T}  # not contiguous


def test_tensors_are_made_once(cache: Path) -> None:
    """The second call loads what the first one kept; another key makes its own."""
    make = Maker()
    first = files.cached("name", "key", make)
    again = files.cached("name", "key", make)
    assert make.calls == 1
    assert torch.equal(first["x"], again["x"])
    files.cached("name", "other key", make)
    assert make.calls == 2
    names = [path.name for path in cache.iterdir()]
    assert len(names) == 2
    assert all(name.startswith("name-") and name.endswith(".safetensors") for name in names)


@pytest.mark.parametrize("content", [b"", b"\x10\0\0\0\0\0\0\0{}", b"\xff" * 100])
def test_a_damaged_file_is_made_anew(cache: Path, content: bytes) -> None:
    """A half-written or foreign file in the cache costs time and nothing else."""
    make = Maker()
    files.cached("name", "key", make)
    (path,) = cache.iterdir()
    path.write_bytes(content)
    assert torch.equal(files.cached("name", "key", make)["x"], make()["x"])
    assert make.calls == 3
    files.cached("name", "key", make)
    assert make.calls == 3


def test_without_room_tensors_are_made_each_time(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full or read-only disk keeps nothing, leaves nothing behind and is no error."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "save_file", full)
    make = Maker()
    assert files.cached("name", "key", make).keys() == {"x"}
    assert list(cache.iterdir()) == []
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache / "file"))
    (cache / "file").write_bytes(b"")
    assert files.cached("name", "key", make).keys() == {"x"}
    assert make.calls == 2


def test_the_folder_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without XDG_CACHE_HOME the cache lies in ~/.cache."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files.cache_folder() == tmp_path / ".cache" / "invariance-probe"
