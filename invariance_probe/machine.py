"""The machine: its cores, threads and memory, and what a result made on it came from."""

import ctypes
import functools
import os
import platform
import subprocess
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import torch

Result = TypeVar("Result")

_PACKAGES = ("invariance-probe", "torch", "numpy", "pandas", "scipy", "numba")
"""Those whose version a number may depend on."""

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
"""Names of options in glibc's malloc.h."""
_KEEPING = ((_MMAP_THRESHOLD, 2**30), (_TRIM_THRESHOLD, 2**31 - 1))
_USUAL = ((_MMAP_THRESHOLD, 2**25), (_TRIM_THRESHOLD, 2**26))
"""Bytes; what glibc raises both to by itself once large memory comes and goes."""


def cores() -> int:
    """Count the cores that this process may use.

    Returns:
        At least 1; less than the machine has where the process is bound to some of them.
    """
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # only Linux tells which cores a process may use
        return os.cpu_count() or 1


@contextmanager
def one_thread() -> Iterator[None]:
    """Have torch compute on one thread within the context.

    Yields:
        Nothing.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def where_numba_is(find: Callable[[], ModuleType]) -> Callable[[], ModuleType | None]:
    """Have a function that imports compiled loops give None where they cannot be had.

    Args:
        find: Imports a module that numba compiles, and returns it.

    Returns:
        The same, called once: None where numba is missing, or finds no folder in which it may keep
        what it compiles.
    """

    @functools.cache
    def found() -> ModuleType | None:
        # what numba raises for want of a folder is a RuntimeError
        try:
            return find()
        except (ImportError, RuntimeError):
            return None

    return found


@functools.cache
def workers(threads: int) -> ThreadPoolExecutor:
    """Keep threads for loops that release the interpreter's lock.

    Args:
        threads: How many.

    Returns:
        The same pool each time.
    """
    return ThreadPoolExecutor(threads)


_THREADS: ContextVar[int | None] = ContextVar("threads of loops", default=None)
"""Set within `loops_alone`."""


def loop_threads() -> int:
    """Say how many threads compiled loops are shared among.

    Returns:
        As many as torch computes with, or computed with outside of `loops_alone`.
    """
    return _THREADS.get() or torch.get_num_threads()


@contextmanager
def loops_alone() -> Iterator[None]:
    """Have compiled loops the cores to themselves in the context: torch computes on one thread.

    Its others wait for work by looking for it, for milliseconds, on the cores that the loops need.

    Yields:
        Nothing.
    """
    token = _THREADS.set(loop_threads())
    try:
        with one_thread():
            yield
    finally:
        _THREADS.reset(token)


def over(count: int, run: Callable[[int], object]) -> None:
    """Call a function that releases the interpreter's lock with each number below a count.

    Args:
        count: How many numbers.
        run: What is called, by as many threads as `loop_threads` says.
    """
    threads = loop_threads()
    several = threads > 1 and count > 1
    list((workers(threads).map if several else map)(run, range(count)))


_MOST = 8
"""Tasks at most that are under way together, as each holds memory of its own."""


def in_order(
    tasks: Iterable[Callable[[], Result]], device: torch.device | None = None
) -> Iterator[Result]:
    """Carry out tasks, on the CPU some at a time, each with torch on one thread.

    What torch does with small tensors is hardly faster on two threads than on one, and the steps
    between, of Python, are not at all: independent tasks are.

    Args:
        tasks: Functions that may run beside each other. They are asked for one by one, and few
            more than are under way.
        device: Where they compute; the CPU by default.

    Yields:
        What they return, in their order.
    """
    threads = min(loop_threads(), _MOST)
    if threads == 1 or (device is not None and device.type != "cpu"):
        yield from (task() for task in tasks)
        return
    graded = torch.is_grad_enabled()
    waiting: deque[Future[Result]] = deque()
    with one_thread():
        try:
            for task in tasks:
                waiting.append(_lone_threads(threads).submit(_with_gradients, graded, task))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            # where one has failed: nothing goes on behind the reader's back
            for each in waiting:
                each.cancel()
            wait(waiting)


def side_by_side(device: torch.device) -> int:
    """Say how many tasks are best done beside each other that torch shares among threads as well.

    Args:
        device: Where they compute.

    Returns:
        1 where each takes the whole machine: on a GPU, and where there are more threads than
        `in_order` has tasks under way.
    """
    return loop_threads() if device.type == "cpu" and loop_threads() <= _MOST else 1


@functools.cache
def _lone_threads(threads: int) -> ThreadPoolExecutor:
    """Keep threads on each of which torch computes alone."""
    return ThreadPoolExecutor(threads, initializer=partial(torch.set_num_threads, 1))


def _with_gradients(graded: bool, task: Callable[[], Result]) -> Result:
    """Call a task where gradients are recorded or not as where it was made: threads have no say."""
    with torch.set_grad_enabled(graded):
        return task()


def keep_memory() -> None:
    """Have the C library keep freed memory for what comes next, from now on: see `memory_kept`."""
    if platform.libc_ver()[0] == "glibc":
        _set_options(ctypes.CDLL(None), _KEEPING)


def _set_options(library: ctypes.CDLL, options: tuple[tuple[int, int], ...]) -> None:
    for option, size in options:
        library.mallopt(option, size)


@contextmanager
def memory_kept() -> Iterator[None]:
    """Have the C library keep freed memory for what comes next, within the context.

    Large tensors otherwise give their memory back to the system one by one, and the next one gets
    it anew, page by page and zeroed, which took half of the time of a network's forward passes.
    It goes back when the context ends. Without effect where the C library is not glibc.

    Yields:
        Nothing.
    """
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    library = ctypes.CDLL(None)
    _set_options(library, _KEEPING)
    try:
        yield
    finally:
        _set_options(library, _USUAL)
        library.malloc_trim(0)


def versions() -> dict[str, str]:
    """List the versions of Python and of the packages that a number may depend on.

    Returns:
        By name; ``not installed`` for numba where it is missing, and for this package where it runs
        from a folder alone.
    """
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def commit() -> tuple[str | None, bool | None]:
    """Say which commit of this package runs.

    Returns:
        The commit, and whether files differ from it; None, None outside a checkout.
    """
    here = Path(__file__).resolve()
    # an installed copy may lie inside somebody else's repository
    if _git("ls-files", "--error-unmatch", here.name) is None:
        return None, None
    status = _git("status", "--porcelain")
    return _git("rev-parse", "HEAD"), None if status is None else bool(status)


def provenance(wall_time: float) -> dict[str, Any]:
    """Describe what a result came from.

    Args:
        wall_time: Seconds that it took.

    Returns:
        Versions, machine, git commit and whether the tree was dirty (None outside a checkout).
    """
    git_commit, git_dirty = commit()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "wall_time_s": round(wall_time, 3),
        "versions": versions(),
        "platform": platform.platform(),
        "processor": platform.machine(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "git_commit": git_commit,
        "git_dirty": git_dirty,
    }


def _git(*arguments: str) -> str | None:
    """What git says of the folder of this package; None where it fails or is missing."""
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).resolve().parent), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
