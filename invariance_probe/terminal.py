"""Progress with time left, on stderr, and nothing at all where that is no terminal."""

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress


class Progress:
    """A bar that counts what is done; use it as a context.

    Args:
        shown: Whether to show it, if stderr is a terminal.
        doing: What is under way.
        units: What is counted.
    """

    def __init__(self, shown: bool, *, doing: str = "probing", units: str = "images") -> None:
        self._doing = doing
        self._bar = RichProgress(
            TextColumn(doing),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(f"{units}, elapsed"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not (shown and sys.stderr.isatty()),
        )
        self._task: TaskID | None = None

    def __enter__(self) -> "Progress":
        """Begin."""
        self._bar.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End, and leave the terminal clean."""
        self._bar.__exit__(kind, error, trace)

    def start(self, total: int) -> None:
        """Say how much there is to do.

        Args:
            total: Number of units.
        """
        self._task = self._bar.add_task(self._doing, total=total)

    def advance(self, count: int) -> None:
        """Say how much was done.

        Args:
            count: Units since the last call.
        """
        if self._task is not None:
            self._bar.advance(self._task, count)
