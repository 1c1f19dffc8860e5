"""A probe that is stopped goes on where it was, and ends as one that was not."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe import files
from invariance_probe.probing import journal, passes, probe
from invariance_probe.probing.journal import Journal
from invariance_probe.results import reading, store
from tests.probing.runs import assert_same

PLAIN = ("identity", "input", "oracle", "affine", "floor", "unrelated")
MIXED = ("oracle+permutation", "affine+linear", "joint+orthogonal", "unrelated+linear", "any-warp")


class _Stop(BaseException):
    """As an interrupt: nothing catches it."""


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 5, padding=2), nn.ReLU(), nn.Conv2d(6, 5, 3, padding=1, stride=2)
    )


def _images(count: int = 9) -> Tensor:
    """Some, two of which are the same, so that the order is not the shuffled one."""
    images = torch.rand(count, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    images[4] = images[1]
    return images


def _probe(
    out: Path | str | None = None, images: Tensor | None = None, **changes: object
) -> ip.ProbeResult:
    options = {"methods": PLAIN, "crop": 17, "batch_size": 4, "seed": 0} | changes
    return ip.probe(
        _net(),
        _images() if images is None else images,
        layers=["0", "2"],
        transforms=[ip.Rotation(0), ip.Rotation(90), ip.Scaling(0.7)],
        out=out,
        **options,  # type: ignore[arg-type]  # as a caller's keywords
    )


@pytest.fixture(autouse=True)
def _every_step_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "PAUSE", 0.0)
    monkeypatch.setattr(journal, "SHARE", np.inf)
    monkeypatch.setattr(journal, "LOSS", 0.0)
    monkeypatch.setattr(passes, "PAIRS_AT_ONCE", 8)
    monkeypatch.setattr(probe, "JOINT_ROUNDS", 2)


@lru_cache
def _whole(methods: tuple[str, ...] = PLAIN) -> ip.ProbeResult:
    """What a run finds that nothing disturbs."""
    return _probe(methods=methods)


def _stopped_each_time(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str, after: Callable[[int], bool]
) -> None:
    """Have a function stop the run, once it has done its work, at some of its calls."""
    original, calls = getattr(owner, name), [0]

    def stopping(*given: object, **named: object) -> object:
        done = original(*given, **named)
        calls[0] += 1
        if after(calls[0]):
            raise _Stop
        return done

    monkeypatch.setattr(owner, name, stopping)


def _until_done(out: Path, **changes: object) -> tuple[ip.ProbeResult, int]:
    stops = 0
    while True:
        try:
            return _probe(out, **changes), stops
        except _Stop:
            stops += 1
            assert stops < 200


@pytest.mark.parametrize("methods", [PLAIN, PLAIN + MIXED], ids=["plain", "mixed"])
def test_a_probe_stopped_after_every_step_ends_the_same(
    methods: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process does one step; table, maps and permutations are an undisturbed run's bits."""
    whole = _whole(methods)
    _stopped_each_time(monkeypatch, Journal, "_commit", lambda call: True)
    got, stops = _until_done(tmp_path / "run", methods=methods)
    # originals: 3 batches and their end; looking: 5 chunks and the end
    assert stops >= 4 + 6 + (10 if len(methods) > len(PLAIN) else 0)
    assert_same(got, whole)
    assert_same(ip.ProbeResult.load(tmp_path / "run"), whole)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert files.UNFINISHED not in names
    assert "config.json" in names


def test_a_probe_stopped_amid_writing_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows without their sums do not count; nor does what was renamed last at the very end."""
    whole = _whole(PLAIN + MIXED)
    _stopped_each_time(monkeypatch, files, "_flush", lambda call: call % 61 == 0)
    got, stops = _until_done(tmp_path / "run", methods=PLAIN + MIXED)
    assert stops > 0
    assert_same(got, whole)
    held = [path.name for path in (tmp_path / "run").rglob("*") if path.name.startswith(".")]
    assert held == []


def test_where_maps_are_not_kept_they_are_made_again_to_the_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The cache decides on time, and on no digit."""
    whole = _whole(PLAIN + MIXED)
    monkeypatch.setattr(passes, "CACHE_BYTES", 0)
    assert_same(_probe(methods=PLAIN + MIXED), whole)


def test_a_finished_run_is_read_and_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same call returns what lies there; model, pixels or options of another run are named."""
    first = _probe(tmp_path / "run")
    with monkeypatch.context() as patched:
        patched.delattr(Journal, "follow")
        assert_same(_probe(tmp_path / "run"), first)
    with pytest.raises(ip.InvalidInputError, match=r"another run \(seed=0 there, 1 here\); give"):
        _probe(tmp_path / "run", seed=1)
    with pytest.raises(ip.InvalidInputError, match="the same names and other pixels; give a new"):
        _probe(tmp_path / "run", images=_images().flip(0))
    monkeypatch.setitem(
        globals(), "_net", lambda: nn.Sequential(*(nn.Conv2d(3, 3, 3) for _ in "123"))
    )
    with pytest.raises(ip.InvalidInputError, match=r"another run \(weights="):
        _probe(tmp_path / "run")


def test_a_stopped_run_of_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other options before anything is computed; other pixels when the first image is read."""
    with monkeypatch.context() as patched:
        _stopped_each_time(patched, Journal, "_commit", lambda call: call == 6)
        with pytest.raises(_Stop):
            _probe(tmp_path / "run")
    before = sorted(path.name for path in (tmp_path / "run" / files.UNFINISHED).iterdir())
    assert before
    with pytest.raises(ip.InvalidInputError, match=r"already contains another run \(batch_size=4"):
        _probe(tmp_path / "run", batch_size=5)
    with pytest.raises(ip.InvalidInputError, match="another one than when it was first read"):
        _probe(tmp_path / "run", images=_images().flip(0))
    with pytest.raises(ip.InvalidInputError, match="holds a run that was stopped; run the same"):
        ip.ProbeResult.load(tmp_path / "run")
    with pytest.raises(ip.InvalidInputError, match="already contains another run"):
        _whole().save(tmp_path / "run")
    after = sorted(path.name for path in (tmp_path / "run" / files.UNFINISHED).iterdir())
    assert after == before
    assert_same(_probe(tmp_path / "run"), _whole())


def test_images_that_change_are_refused() -> None:
    """Random augmentation would have references and moved maps of different images."""

    class Augmented:
        names = ("a", "b")

        def __len__(self) -> int:
            return 2

        def __getitem__(self, number: int) -> Tensor:
            return torch.rand(3, 24, 24)

    with pytest.raises(ip.InvalidInputError, match=r"image '[ab]' is another one than when"):
        ip.probe(_net(), Augmented(), layers="0", transforms=[ip.Rotation(90)])


def test_two_processes_do_not_write_to_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second is told in one line."""
    monkeypatch.setattr(files, "_PATIENCE", 0.2)
    script = (
        "import sys, time; from invariance_probe.probing.journal import Journal\n"
        f"with Journal.opened({str(tmp_path / 'run')!r}): print('mine', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "mine\n"
        with pytest.raises(ip.InvalidInputError, match="another process is writing to folder"):
            _probe(tmp_path / "run")
    finally:
        other.kill()
        other.communicate()
    # a lease ends with its process, however that ends
    assert_same(_probe(tmp_path / "run"), _whole())


@pytest.mark.parametrize("there", [False, True])
def test_what_is_refused_early_leaves_nothing(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error in the first seconds leaves no folder, and a folder that was there empty."""
    monkeypatch.setattr(journal, "PAUSE", 60.0)
    out = tmp_path / "deep" / "run"
    if there:
        out.mkdir(parents=True)
    broken = _images()
    broken[7] = torch.nan
    with pytest.raises(ip.InvalidInputError, match="image '7' gives NaN"):
        _probe(out, images=broken)
    assert [path for path in tmp_path.rglob("*") if path.name not in {"deep", "run"}] == []
    assert out.exists() == there


def test_empty_folders_and_links_to_them_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the current one; it is filled and stays what it was."""
    whole = _whole()
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    _probe(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert_same(ip.ProbeResult.load(tmp_path / "disk"), whole)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    _probe(Path())
    assert_same(ip.ProbeResult.load(tmp_path / "here"), whole)
    (tmp_path / "saved").mkdir()
    whole.save(tmp_path / "saved")
    assert_same(ip.ProbeResult.load(tmp_path / "saved"), whole)


def _unusable(top: Path) -> dict[str, tuple[Path | str, str]]:
    (top / "file").write_text("x", encoding="utf-8")
    (top / "full").mkdir()
    (top / "full" / "thesis.txt").write_text("x", encoding="utf-8")
    (top / "locked").mkdir()
    (top / "loop").symlink_to(top / "loop")
    return {
        "a file": (top / "file", "is a file; give a folder"),
        "below a file": (top / "file" / "run", "cannot lie in the file"),
        "other files": (top / "full", "already contains other files"),
        "nothing": ("", "give the path of a folder"),
        "NUL": (f"{top}/a\0b", "give the path of a folder"),
        "too long": (top / ("x" * 300), r"cannot be written to \(File name too long"),
        "far too long": (top / "/".join(["y" * 200] * 30), r"cannot be written to \(File name"),
        "a loop of links": (top / "loop" / "run", "cannot"),
        "the system's": ("/proc/invariance", "cannot be written to"),
    }


@pytest.mark.parametrize(
    "kind",
    [
        *("a file", "below a file", "other files", "nothing", "NUL", "too long", "far too long"),
        *("a loop of links", "the system's"),
    ],
)
def test_an_unusable_folder_is_refused_before_anything_is_computed(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line that names it."""
    out, said = _unusable(tmp_path)[kind]
    monkeypatch.delattr(passes.ForwardPasses, "__init__")
    with pytest.raises(ip.InvalidInputError, match=said) as refused:
        _probe(out)
    assert "\n" not in str(refused.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    """Before anything is computed."""
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(ip.InvalidInputError, match=r"cannot be written to \(no permission"):
        _probe(tmp_path / "locked" / "run")


def test_a_full_disk_is_seen_before_and_during_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before: with what is needed. During: what was saved stays, and the same call goes on."""
    with monkeypatch.context() as patched:
        patched.setattr(files.shutil, "disk_usage", lambda _: _Usage(free=3_000_000))
        with pytest.raises(ip.InvalidInputError, match=r"has 3 MB left, and this run may take 20"):
            _probe(tmp_path / "run")
        assert not (tmp_path / "run").exists()
    with monkeypatch.context() as patched:
        full = OSError(28, "No space left on device")
        calls = [0]
        flush = files._flush

        def flushing(path: Path) -> None:
            calls[0] += 1
            if calls[0] > 60:
                raise full
            flush(path)

        patched.setattr(files, "_flush", flushing)
        with pytest.raises(
            ip.InvalidInputError, match=r"no space left.*run the same command again"
        ):
            _probe(tmp_path / "run")
    assert (tmp_path / "run" / files.UNFINISHED / "run.json").is_file()
    assert_same(_probe(tmp_path / "run"), _whole())


class _Usage:
    def __init__(self, free: int) -> None:
        self.free = free


def test_damaged_parts_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever file of a stopped run is cut in half, the line names it or its folder."""
    with monkeypatch.context() as patched:
        _stopped_each_time(patched, Journal, "_commit", lambda call: call == 9)
        with pytest.raises(_Stop):
            _probe(tmp_path / "run", methods=PLAIN + MIXED)
    work = tmp_path / "run" / files.UNFINISHED
    whole = {path: path.read_bytes() for path in work.rglob("*") if path.is_file()}
    assert {path.suffix for path in whole} == {".json", ".parquet", ".npz", ".safetensors"}
    for path, held in whole.items():
        path.write_bytes(held[: len(held) // 2])
        with pytest.raises(ip.InvalidInputError, match="damaged") as refused:
            _probe(tmp_path / "run", methods=PLAIN + MIXED)
        assert "\n" not in str(refused.value)
        assert files.UNFINISHED in str(refused.value)
        path.write_bytes(held)
    state = next(work.glob("state-*/state.json"))
    state.write_text(json.dumps({"stage": "look", "done": "x", "seconds": 1}), encoding="utf-8")
    with pytest.raises(ip.InvalidInputError, match="damaged"):
        _probe(tmp_path / "run", methods=PLAIN + MIXED)


def test_a_table_larger_than_memory_stays_in_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written block by block from the parts of the run; without a folder it is refused."""
    whole = _whole()
    for module in (journal, reading):
        monkeypatch.setattr(module, "MOST_ROWS", 100)
    monkeypatch.setattr(store, "BLOCK_ROWS", 60)
    got = _probe(tmp_path / "run")
    assert isinstance(got.rows, store.InFile)
    assert got.rows.path == tmp_path / "run" / "results.parquet"
    pd.testing.assert_frame_equal(got.summary(), whole.summary(), check_exact=True)
    keys = ["layer", "transform_number", "image", "method", "metric"]
    rows = got.frame().sort_values(keys, ignore_index=True)
    want = whole.frame().sort_values(keys, ignore_index=True)
    pd.testing.assert_frame_equal(rows, want.astype({"outcome": rows["outcome"].dtype}))
    assert {path.name for path in (tmp_path / "run" / "figures").iterdir()}
    assert not (tmp_path / "run" / files.UNFINISHED).exists()
    with pytest.raises(ip.InvalidInputError, match=r"972 rows, which do not go into memory"):
        _probe(None)
