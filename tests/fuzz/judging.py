"""What may happen to a call: it returns, or is refused in a line; and memory stays bounded."""

import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from hypothesis import event

from invariance_probe.errors import InvalidInputError

MOST = 10**9
"""Bytes that a call may take at its peak."""
LONGEST = 2000
"""Characters of a line that somebody reads."""
_STATUS = Path("/proc/self/status")


def memory(kind: str) -> int:
    """Bytes of this process in memory, where Linux counts them.

    Args:
        kind: VmRSS, now; VmHWM, at the peak.
    """
    if not _STATUS.exists():
        return 0
    found = re.search(rf"{kind}:\s+(\d+) kB", _STATUS.read_text(encoding="ascii"))
    return 1024 * int(found[1]) if found else 0


def forget_the_peak() -> None:
    """Have the peak counted anew."""
    if _STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


class Judge:
    """Calls, and counts what came of it.

    Attributes:
        counted: How many calls were done, and how many refused.
    """

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()

    def __call__(self, call: Callable[[], object]) -> None:
        """Call something; whatever else than a refusal it raises comes through."""
        forget_the_peak()
        before, said = memory("VmRSS"), None
        try:
            call()
        except InvalidInputError as error:
            said = str(error)
            assert said.isprintable(), f"not one line of text: {said!r}"
            assert 15 < len(said) <= LONGEST, said
        taken = memory("VmHWM") - before
        assert taken < MOST, f"{taken / 1e9:.1f} GB were taken"
        outcome = "done" if said is None else "refused"
        self.counted[outcome] += 1
        event(outcome)

    def saw_both(self, name: str) -> None:
        """Check that good cases were drawn as well as bad ones, and print how many.

        Args:
            name: Of what was tried.
        """
        said = f"fuzz: {name}: {self.counted['done']} done, {self.counted['refused']} refused"
        sys.stdout.write(f"{said}\n")
        assert self.counted["done"] > 0, f"{name}: nothing that was drawn could be used"
        assert self.counted["refused"] > 0, f"{name}: nothing that was drawn was refused"
