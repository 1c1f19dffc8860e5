"""Claims are checked side by side, and give the same verdicts."""

import pytest

from proofs import runner


def test_same_command_same_verdicts() -> None:
    """Verdicts do not change from run to run."""
    assert runner.run(["P6"], 20, 1) == runner.run(["P6"], 20, 1)


def test_no_workers() -> None:
    """At least one process is needed."""
    with pytest.raises(ValueError, match="workers = 0"):
        runner.run(["P1"], 10, 0)
