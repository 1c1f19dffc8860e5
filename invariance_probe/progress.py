"""What is said while something runs: a bar, a line in a notebook, or plain lines in a log."""

import html
import sys
import time
from collections.abc import Callable
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

PAUSE_SECONDS = 30.0
"""Time between two lines of a log at least: a night's run stays readable."""

# typing.Self is refused by the type checker of the tests where methods are checked one by one
_S = TypeVar("_S", bound="_Shown")


class _Log:
    """A file instead of a terminal: whole lines, now and then."""

    def __init__(self) -> None:
        self._next = time.monotonic() + PAUSE_SECONDS

    def __enter__(self) -> None:
        """Nothing is drawn yet."""

    def __exit__(self, *failure: object) -> None:
        """Nothing has to be taken off."""

    @property
    def due(self) -> bool:
        """Whether it is time for a line."""
        return time.monotonic() >= self._next

    def update(self, line: Callable[[], str]) -> None:
        """Write a line if it is time."""
        if self.due:
            self._next = time.monotonic() + PAUSE_SECONDS
            self.note(line())

    def note(self, line: str) -> None:
        """Write a line now."""
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


class _Cell(_Log):
    """The output of a notebook's cell: one line that is replaced."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 0.0
        display = sys.modules["IPython.display"]
        self._html = display.HTML
        self._line = display.display(self._html(""), display_id=True)
        self._latest: Callable[[], str] | None = None

    def __exit__(self, *failure: object) -> None:
        """Leave the last line, which may have come too soon after another."""
        if self._latest is not None:
            self._show(self._latest)

    def update(self, line: Callable[[], str]) -> None:
        """Replace the line, twice a second at most."""
        self._latest = line
        if self.due:
            self._next = time.monotonic() + 0.5
            self._show(line)

    def _show(self, line: Callable[[], str]) -> None:
        self._line.update(self._html(f"<pre>{html.escape(line())}</pre>"))


class _Shown:
    """A context that begins and ends with what is drawn, if anything is."""

    def __init__(self, drawn: RichProgress | Live | _Log | None) -> None:
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
    """Counts what is done, with the time left; use it as a context.

    A terminal shows a bar, a notebook a line that is replaced, a log a line every `PAUSE_SECONDS`.

    Args:
        shown: Whether to show it.
        doing: What is under way.
        units: What is counted.
    """

    def __init__(self, shown: bool, *, doing: str = "probing", units: str = "images") -> None:
        self._doing, self._units = doing, units
        self._task: TaskID | None = None
        self._told = False
        self._done, self._total, self._began = 0, 0, time.monotonic()
        drawn = _place(shown, self._bar)
        self._rich = drawn if isinstance(drawn, RichProgress) else None
        self._log = drawn if isinstance(drawn, _Log) else None
        super().__init__(drawn)

    def _bar(self) -> RichProgress:
        """A bar for a terminal."""
        return RichProgress(
            TextColumn(self._doing),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(f"{self._units}, elapsed"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )

    def start(self, total: int) -> None:
        """Say how much there is to do.

        Args:
            total: Number of units.
        """
        self._total, self._began = total, time.monotonic()
        if self._rich is not None:
            self._task = self._rich.add_task(self._doing, total=total)

    def advance(self, count: int) -> None:
        """Say how much was done.

        Args:
            count: Units since the last call.
        """
        self._done += count
        if self._rich is not None and self._task is not None:
            self._rich.advance(self._task, count)
        if self._log is not None and self._total:
            self._log.update(self._line)

    def note(self, line: str) -> None:
        """Say something that stays, above the bar.

        Args:
            line: Without a line break.
        """
        if self._rich is not None:
            self._rich.console.print(line, markup=False, highlight=False)
        if self._log is not None:
            self._log.note(line)

    def first(self, line: Callable[[], str]) -> None:
        """Say the first result, for who waits; of several calls the first one counts.

        Args:
            line: Makes the line, which has no line break; it is called once at most.
        """
        if not self._told and (self._rich is not None or self._log is not None):
            self._told = True
            self.note(line())

    def _line(self) -> str:
        """What a log says."""
        elapsed = time.monotonic() - self._began
        left = elapsed * (self._total - self._done) / max(self._done, 1)
        return (
            f"{self._doing}: {self._done} of {self._total} {self._units}, {_clock(elapsed)} "
            f"elapsed, about {_clock(left)} left"
        )


class LiveLine(_Shown):
    """One line that is written anew, and gone at the end; use it as a context.

    Args:
        shown: Whether to show it; in a log it is written every `PAUSE_SECONDS`.
    """

    def __init__(self, shown: bool) -> None:
        drawn = _place(shown, self._live)
        self._terminal = drawn if isinstance(drawn, Live) else None
        self._log = drawn if isinstance(drawn, _Log) else None
        super().__init__(drawn)

    def _live(self) -> Live:
        """A line for a terminal."""
        return Live(console=Console(stderr=True), transient=True, refresh_per_second=4)

    @property
    def visible(self) -> bool:
        """Whether anybody would see a line now: what is only for it need not be computed if not."""
        return self._terminal is not None or (self._log is not None and self._log.due)

    def show(self, line: str) -> None:
        """Write the line anew.

        Args:
            line: Without a line break; what is wider than the terminal is cut off.
        """
        if self._terminal is not None:
            self._terminal.update(Text(line, no_wrap=True, overflow="ellipsis"))
        if self._log is not None:
            self._log.update(lambda: line)


def _place(
    shown: bool, terminal: Callable[[], RichProgress | Live]
) -> RichProgress | Live | _Log | None:
    """Where something is shown: on a terminal, in a notebook, in a log, or nowhere."""
    if not shown:
        return None
    if sys.stderr.isatty():
        return terminal()
    return _Cell() if _in_notebook() else _Log()


def _in_notebook() -> bool:
    """Whether a notebook's kernel runs this, without importing what it is made of."""
    asked = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)
    return hasattr(asked(), "kernel") and "IPython.display" in sys.modules


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
