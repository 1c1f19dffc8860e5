"""Whole or not at all: files, JSON, tensors, folders, and the cache in the user's home."""

import errno
import json
import os
import pickle
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from invariance_probe import files
from invariance_probe.errors import InvalidInputError

WRITERS: dict[str, Callable[[Path], None]] = {
    "text": lambda path: files.write_text(path, "new"),
    "json": lambda path: files.write_json(path, {"new": 1}),
    "tensors": lambda path: files.write_tensors(path, {"new": torch.ones(3)}),
}


def full(*_: object, **__: object) -> None:
    """Stands in for a disk without any space left."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("name", list(WRITERS))
def test_an_older_file_is_replaced_and_nothing_else_is_left(tmp_path: Path, name: str) -> None:
    """Every writer replaces what was there, with the rights of any other file."""
    path = tmp_path / "a"
    path.write_bytes(b"old")
    WRITERS[name](path)
    assert b"new" in path.read_bytes()
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert {each.name for each in tmp_path.iterdir()} == {"a", "plain"}


@pytest.mark.parametrize("name", list(WRITERS))
def test_a_full_disk_is_one_line_and_the_older_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Out of space once all is written but not flushed, every writer keeps what was there."""
    path = tmp_path / "a"
    path.write_bytes(b"old")
    monkeypatch.setattr(files, "_flush", full)
    with pytest.raises(InvalidInputError, match=r"no space left on the disk of '.*a'") as caught:
        WRITERS[name](path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_real_full_file_system_is_one_line(tmp_path: Path) -> None:
    """A device that is always full (/dev/full) gives the same line."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")

    def write(partial: Path) -> None:
        partial.write_text("")
        with Path("/dev/full").open("wb", buffering=0) as file:
            file.write(b"x")

    with pytest.raises(InvalidInputError, match="no space left on the disk"):
        files.write_file(tmp_path / "a", write)
    assert not list(tmp_path.iterdir())


def test_other_errors_pass_and_leave_nothing(tmp_path: Path) -> None:
    """What fails for another reason than space is raised as it is, and nothing is half written."""

    def fail(partial: Path) -> None:
        partial.write_text("half", encoding="utf-8")
        raise KeyError("column")

    with pytest.raises(KeyError, match="column"):
        files.write_file(tmp_path / "a", fail)
    with pytest.raises(FileNotFoundError):
        files.write_text(tmp_path / "nowhere" / "a", "x")
    assert list(tmp_path.iterdir()) == []


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    """While one writer is half through, another writes the same file; each was whole in its turn.

    Two processes that make the same entry of the cache do so.
    """
    path, half, done = tmp_path / "a", threading.Event(), threading.Event()

    def slowly(partial: Path) -> None:
        partial.write_text("slow ", encoding="utf-8")
        half.set()
        assert done.wait(30)
        with partial.open("a", encoding="utf-8") as file:
            file.write("and whole")

    slow = threading.Thread(target=files.write_file, args=(path, slowly))
    slow.start()
    assert half.wait(30)
    files.write_text(path, "quick")
    assert path.read_text(encoding="utf-8") == "quick"
    done.set()
    slow.join()
    assert path.read_text(encoding="utf-8") == "slow and whole"
    assert list(tmp_path.iterdir()) == [path]


def test_json_never_holds_nan(tmp_path: Path) -> None:
    """NaN and infinities are written as null, which every reader of JSON understands."""
    files.write_json(tmp_path / "a.json", {"x": [float("nan"), 1.0], "y": float("inf")})
    strict = json.loads(
        (tmp_path / "a.json").read_text(encoding="utf-8"), parse_constant=lambda name: 1 / 0
    )
    assert strict == {"x": [None, 1.0], "y": None}


def test_tensors_come_back_bit_for_bit(tmp_path: Path) -> None:
    """Values, types and shapes survive, also of what is not contiguous or needs a gradient."""
    written = {
        "turned": torch.arange(6.0).view(2, 3).T,
        "learnt": torch.rand(3, dtype=torch.float64, requires_grad=True),
        "counts": torch.tensor(7),
        "odd": torch.tensor([float("nan"), float("-inf"), -0.0]),
    }
    files.write_tensors(tmp_path / "a.safetensors", written)
    read = files.read_tensors(tmp_path / "a.safetensors")
    assert read.keys() == written.keys()
    for name, tensor in written.items():
        assert read[name].dtype == tensor.dtype
        assert read[name].shape == tensor.shape
        assert read[name].numpy().tobytes() == tensor.detach().contiguous().numpy().tobytes()


class Payload:
    """A pickle that would leave a trace if it were opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("weights.pt", "pickles can run code and are refused"),
        (
            "weights.safetensors",
            r"not a complete safetensors file \(pickles can run code",
        ),
    ],
)
def test_pickles_are_refused_and_not_run(tmp_path: Path, name: str, message: str) -> None:
    """Neither a pickle by name nor one in disguise is opened, by either reader."""
    (tmp_path / name).write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    with pytest.raises(InvalidInputError, match=message):
        files.read_tensors(tmp_path / name)
    with pytest.raises(InvalidInputError, match="code"):
        files.read_state_dict(tmp_path / name)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "checkpoint.pt"])
def test_state_dicts_are_read_as_published(tmp_path: Path, name: str) -> None:
    """A safetensors file, a plain state dict and one among other things give the same weights."""
    weights = nn.Conv2d(2, 3, 3).state_dict()
    if name == "w.safetensors":
        files.write_tensors(tmp_path / name, weights)
    else:
        torch.save(
            weights if name == "w.pt" else {"state_dict": weights, "epoch": 3}, tmp_path / name
        )
    read = files.read_state_dict(tmp_path / name)
    assert read.keys() == weights.keys()
    assert all(torch.equal(read[key], weights[key]) for key in weights)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_weights_that_cannot_be_read_are_named(tmp_path: Path, name: str) -> None:
    """A missing file, a truncated one and one of something else are one line each."""
    path = tmp_path / name
    with pytest.raises(InvalidInputError, match=rf"'.*{name}' does not exist; check the path"):
        files.read_state_dict(path)
    path.write_bytes(b"\x10\x00\x00")
    with pytest.raises(InvalidInputError, match="damaged"):
        files.read_state_dict(path)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(InvalidInputError, match="contains no state dict"):
        files.read_state_dict(tmp_path / "list.pt")


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_appears_with_all_that_is_in_it(tmp_path: Path, there: bool) -> None:
    """Until the end nothing has the folder's name; then it holds all files, also below folders."""
    path = tmp_path / "deep" / "run"
    if there:
        path.mkdir(parents=True)
    with files.new_folder(path) as partial:
        (partial / "figures").mkdir()
        (partial / "figures" / "a.svg").write_text("drawn", encoding="utf-8")
        assert not path.exists() or not files.held_by(path)
    assert (path / "figures" / "a.svg").read_text(encoding="utf-8") == "drawn"
    (tmp_path / "plain").mkdir()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_cannot_be_filled_does_not_appear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an error, and on a full disk, neither the folder nor a partial one is there."""

    def fill(*, fails: bool) -> None:
        with files.new_folder(tmp_path / "run") as partial:
            (partial / "a").touch()
            if fails:
                raise KeyError("column")

    with pytest.raises(KeyError, match="column"):
        fill(fails=True)
    monkeypatch.setattr(files, "_flush", full)
    with pytest.raises(InvalidInputError, match="no space left on the disk"):
        fill(fails=False)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_never_replaces_another(tmp_path: Path) -> None:
    """What somebody put there in the meantime stays, and the new folder does not appear."""

    def fill() -> None:
        with files.new_folder(tmp_path / "run") as partial:
            (partial / "a").touch()
            (tmp_path / "run").mkdir()
            (tmp_path / "run" / "thesis.txt").touch()

    with pytest.raises(OSError, match="not empty"):
        fill()
    assert [path.name for path in tmp_path.rglob("*")] == ["run", "thesis.txt"]


def test_what_a_kill_left_half_written_is_swept_away(tmp_path: Path) -> None:
    """Partial files and folders go, everything else stays."""
    with files.new_folder(tmp_path / "run") as partial:
        scratch = partial.parent
    scratch.mkdir()  # as a killed process would have left it
    (scratch / "model").touch()
    (tmp_path / f"{scratch.name}.json").touch()
    (tmp_path / "kept.json").touch()
    files.discard_partial(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept.json", "run"]


def test_folders_that_hold_something_are_refused(tmp_path: Path) -> None:
    """A new or empty folder may be written to; a file, another run and other files may not."""
    assert files.check_out(None) is None
    assert files.check_out(str(tmp_path / "new")) == tmp_path / "new"
    assert files.check_out(tmp_path) == tmp_path
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(InvalidInputError, match=r"'.*thesis.txt' is a file; give a folder"):
        files.check_out(tmp_path / "thesis.txt")
    with pytest.raises(InvalidInputError, match="contains other files; give a new one"):
        files.check_out(tmp_path)
    (tmp_path / "config.json").touch()
    with pytest.raises(InvalidInputError, match="contains another run; give a new one"):
        files.check_out(tmp_path)


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
