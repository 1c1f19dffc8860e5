"""Loops that numba compiles: whether they can be had, and the threads that run them."""

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType

import torch


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
"""Set within `alone`."""


def threads() -> int:
    """Say how many threads loops are shared among.

    Returns:
        As many as torch computes with, or computed with outside of `alone`.
    """
    return _THREADS.get() or torch.get_num_threads()


@contextmanager
def alone() -> Iterator[None]:
    """Have loops the cores to themselves within the context: torch computes on one thread.

    Its others wait for work by looking for it, for milliseconds, on the cores that the loops need:
    a search takes a third longer beside them.

    Yields:
        Nothing.
    """
    before = torch.get_num_threads()
    token = _THREADS.set(threads())
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        _THREADS.reset(token)


def over(count: int, run: Callable[[int], object]) -> None:
    """Call a function that releases the interpreter's lock with each number below a count.

    Args:
        count: How many numbers.
        run: What is called, by as many `threads` as there are.
    """
    several = threads() > 1 and count > 1
    list((workers(threads()).map if several else map)(run, range(count)))
