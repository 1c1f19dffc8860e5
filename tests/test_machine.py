"""Cores, threads, memory, and what a result came from."""

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest
import torch

from invariance_probe import machine
from tests.conftest import ROOT
from tests.threads import on_threads


def test_cores_are_those_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process bound to some cores counts those; where that is unknown, all of the machine."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7}, raising=False)
    assert machine.cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert machine.cores() == os.cpu_count()


def test_the_commit_is_that_of_the_checkout() -> None:
    """In a checkout the commit is git's HEAD, and a clean tree is told from a dirty one."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not run from a checkout")

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    assert machine.commit() == (git("rev-parse", "HEAD"), git("status", "--porcelain") != "")


def test_outside_a_checkout_there_is_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy inside somebody else's repository does not pass their commit off as its own."""
    if shutil.which("git") is None:
        pytest.skip("git is missing")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "site-packages").mkdir()
    copy = tmp_path / "site-packages" / "machine.py"
    copy.touch()
    monkeypatch.setattr(machine, "__file__", str(copy))
    assert machine.commit() == (None, None)
    monkeypatch.setenv("PATH", str(tmp_path))  # where there is no git
    assert machine.commit() == (None, None)


def test_provenance_says_where_the_numbers_come_from() -> None:
    """Versions, machine, commit and time are there, and survive JSON."""
    about = machine.provenance(12.34567)
    assert json.loads(json.dumps(about)) == about
    assert about["wall_time_s"] == 12.346
    assert about["versions"]["python"] == platform.python_version()
    assert about["versions"]["torch"] == metadata.version("torch")
    assert about["threads"] == torch.get_num_threads()
    assert (about["git_commit"], about["git_dirty"]) == machine.commit()


def test_a_package_that_is_not_installed_is_said_to_be_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A checkout on the path that was never installed has no version, and that is no error."""

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert machine.versions()["invariance-probe"] == "not installed"


HELD = """
import os
import torch
from invariance_probe.machine import memory_kept

def held():
    torch.ones(2**24)  # 64 MB, beyond what the C library keeps by itself
    with open("/proc/self/statm") as sizes:
        return int(sizes.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

held()
print(held())
try:
    with memory_kept():
        print(held())
        raise ZeroDivisionError
except ZeroDivisionError:
    print(held())
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or not Path("/proc/self/statm").exists(),
    reason="only glibc can be told, and Linux says what it holds",
)
def test_memory_is_kept_within_the_context_and_goes_back_after_an_error() -> None:
    """What a tensor took stays with the process until the context ends, however it ends."""
    # a process of its own: which memory is free decides what is used again
    done = subprocess.run(
        [sys.executable, "-c", HELD], capture_output=True, text=True, check=True, timeout=120
    )
    before, within, after = map(float, done.stdout.split())
    assert within > before + 48
    assert after < before + 16


@pytest.mark.parametrize("error", [ImportError, RuntimeError])
def test_without_numba_there_are_no_loops(error: type[Exception]) -> None:
    """Numba is missing, or has no folder to keep what it compiles: told once, then remembered."""
    calls = []

    def find() -> ModuleType:
        calls.append(1)
        raise error

    found = machine.where_numba_is(find)
    assert found() is None
    assert found() is None
    assert len(calls) == 1


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """Torch on one thread, and on three."""
    with on_threads(request.param):
        yield request.param


def test_each_number_has_its_turn(threads: int) -> None:
    """Every number below the count once, on one thread or several; what is raised is not lost."""
    assert torch.get_num_threads() == threads
    seen: list[int] = []
    machine.over(20, seen.append)
    assert sorted(seen) == list(range(20))
    with pytest.raises(ZeroDivisionError):
        machine.over(4, lambda number: 1 // (number - 2))


def test_loops_alone_have_the_threads_that_torch_had() -> None:
    """Torch computes on one thread within the context, nested too, and on its own after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with machine.loops_alone():
            with machine.loops_alone():
                assert (torch.get_num_threads(), machine.loop_threads()) == (1, 3)
            assert (torch.get_num_threads(), machine.loop_threads()) == (1, 3)
        assert (torch.get_num_threads(), machine.loop_threads()) == (3, 3)
        with pytest.raises(ZeroDivisionError), machine.loops_alone():
            _ = 1 // 0
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_tasks_are_done_in_order(threads: int) -> None:
    """What they return comes in their order, though the first ones take longest."""

    def task(number: int) -> tuple[int, int, int]:
        time.sleep(0.02 if number < 3 else 0)
        return number, torch.get_num_threads(), machine.loop_threads()

    done = list(machine.in_order(partial(task, number) for number in range(12)))
    assert done == [(number, 1, 1) for number in range(12)]
    assert torch.get_num_threads() == threads


def test_few_tasks_are_asked_for_ahead(threads: int) -> None:
    """What tasks hold is held for few of them at a time."""
    asked = []

    def tasks() -> Iterator[Callable[[], int]]:
        for number in range(20):
            asked.append(number)
            yield partial(int, number)

    for number in machine.in_order(tasks()):
        assert len(asked) <= number + 1 + threads


def test_tasks_record_gradients_where_their_caller_does(threads: int) -> None:
    """Threads know nothing of `torch.no_grad` outside of them."""
    for graded in (True, False):
        with torch.set_grad_enabled(graded):
            assert list(machine.in_order([torch.is_grad_enabled] * 4)) == [graded] * 4


def test_a_failing_task_ends_them_all(threads: int) -> None:
    """Its error comes in its turn, after what was done before it; nothing goes on after it."""
    begun = []

    def task(number: int) -> int:
        begun.append(number)
        return 1 // (number - 2)

    done = machine.in_order(partial(task, number) for number in range(50))
    assert [next(done), next(done)] == [-1, -1]
    with pytest.raises(ZeroDivisionError):
        next(done)
    count = len(begun)
    assert 3 <= count <= 3 + threads
    time.sleep(0.02)
    assert len(begun) == count
    assert torch.get_num_threads() == threads
