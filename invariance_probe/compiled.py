"""Loops that numba compiles: whether they can be had, and the threads that run them."""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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


def over(count: int, run: Callable[[int], object]) -> None:
    """Call a function that releases the interpreter's lock with each number below a count.

    Args:
        count: How many numbers.
        run: What is called, by as many threads as torch computes with.
    """
    threads = torch.get_num_threads()
    spread = workers(threads).map if threads > 1 and count > 1 else map
    list(spread(run, range(count)))
