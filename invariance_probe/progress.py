"""What moves on stderr while something runs, and nothing at all where that is no terminal."""

import sys
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.text import Text

# typing.Self is refused by the type checker of the tests where methods are checked one by one
_S = TypeVar("_S", bound="_Shown")


class _Shown:
    """A context that begins and ends with what is drawn, if anything is."""

    def __init__(self, drawn: RichProgress | Live | None) -> None:
        self._drawn = drawn

    def __enter__(self: _S) -> _S:
        """Begin."""
        if self._drawn is not None:
            self._drawn.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End, also after an error, and leave the terminal clean."""
        if self._drawn is not None:
            self._drawn.__exit__(kind, error, trace)


class Progress(_Shown):
    """A bar that counts what is done, with the time left; use it as a context.

    Args:
        shown: Whether to show it, if stderr is a terminal.
        doing: What is under way.
        units: What is counted.
    """

    def __init__(self, shown: bool, *, doing: str = "probing", units: str = "images") -> None:
        self._doing = doing
        self._task: TaskID | None = None
        self._bar = RichProgress(
            TextColumn(doing),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(f"{units}, elapsed"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not _visible(shown),
        )
        super().__init__(self._bar)

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


class LiveLine(_Shown):
    """One line that is written anew, and gone at the end; use it as a context.

    Args:
        shown: Whether to show it, if stderr is a terminal.
    """

    def __init__(self, shown: bool) -> None:
        self._live: Live | None = None
        if _visible(shown):
            self._live = Live(console=Console(stderr=True), transient=True, refresh_per_second=4)
        super().__init__(self._live)

    @property
    def visible(self) -> bool:
        """Whether anybody sees the line: what is only for it need not be computed if not."""
        return self._live is not None

    def show(self, line: str) -> None:
        """Write the line anew.

        Args:
            line: Without a line break; what is wider than the terminal is cut off.
        """
        if self._live is not None:
            self._live.update(Text(line, no_wrap=True, overflow="ellipsis"))


def _visible(shown: bool) -> bool:
    return shown and sys.stderr.isatty()
