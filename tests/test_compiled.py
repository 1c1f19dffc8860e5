"""Where compiled loops cannot be had, and how threads share what there is to do."""

from types import ModuleType

import pytest
import torch

from invariance_probe import compiled


@pytest.mark.parametrize("error", [ImportError, RuntimeError])
def test_without_numba_there_are_no_loops(error: type[Exception]) -> None:
    """Numba is missing, or has no folder to keep what it compiles: told once, then remembered."""
    calls = []

    def find() -> ModuleType:
        calls.append(1)
        raise error

    found = compiled.where_numba_is(find)
    assert found() is None
    assert found() is None
    assert len(calls) == 1


@pytest.mark.parametrize("threads", [1, 3])
def test_each_number_has_its_turn(threads: int) -> None:
    """Every number below the count once, on one thread or several; what is raised is not lost."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        seen: list[int] = []
        compiled.over(20, seen.append)
        assert sorted(seen) == list(range(20))
        with pytest.raises(ZeroDivisionError):
            compiled.over(4, lambda number: 1 // (number - 2))
    finally:
        torch.set_num_threads(before)


def test_loops_alone_have_the_threads_that_torch_had() -> None:
    """Torch computes on one thread within the context, nested too, and on its own after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with compiled.alone():
            with compiled.alone():
                assert (torch.get_num_threads(), compiled.threads()) == (1, 3)
            assert (torch.get_num_threads(), compiled.threads()) == (1, 3)
        assert (torch.get_num_threads(), compiled.threads()) == (3, 3)
        with pytest.raises(ZeroDivisionError), compiled.alone():
            _ = 1 // 0
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
