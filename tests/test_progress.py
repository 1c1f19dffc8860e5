"""The bar and the live line, on a terminal and where there is none."""

import io
import re
import sys
from types import SimpleNamespace

import pytest

from invariance_probe import progress
from invariance_probe.progress import LiveLine, Progress


class Terminal(io.StringIO):
    """Keeps what is written to it, and says whether it is a terminal."""

    def __init__(self, *, is_one: bool) -> None:
        super().__init__()
        self._is_one = is_one

    def isatty(self) -> bool:
        """Say so."""
        return self._is_one


def attached(monkeypatch: pytest.MonkeyPatch, *, is_one: bool) -> Terminal:
    """Put a terminal, or a file, of 60 columns in the place of stderr."""
    for name, value in (("TERM", "xterm"), ("COLUMNS", "60"), ("LINES", "20")):
        monkeypatch.setenv(name, value)
    for name in ("TTY_COMPATIBLE", "TTY_INTERACTIVE", "FORCE_COLOR"):  # rich would believe them
        monkeypatch.delenv(name, raising=False)
    terminal = Terminal(is_one=is_one)
    monkeypatch.setattr(sys, "stderr", terminal)
    return terminal


def use_both(*, shown: bool) -> bool:
    """Count two of five, and write a line; say whether the line was visible."""
    with Progress(shown, doing="training", units="networks") as bar:
        bar.start(5)
        bar.advance(2)
    with LiveLine(shown) as line:
        line.show("step 3 of 10" + 100 * "." + "end")
        return line.visible


def test_a_terminal_shows_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is counted stands in the bar; a line wider than the terminal is cut off."""
    terminal = attached(monkeypatch, is_one=True)
    assert use_both(shown=True)
    text = terminal.getvalue()
    assert "training" in text
    assert "2/5" in text
    assert "networks" in text
    assert "step 3 of 10" in text
    assert "end" not in text
    assert text.endswith("\x1b[1A\x1b[2K")  # up and cleared: the line is gone


@pytest.mark.parametrize("is_one", [True, False])
def test_who_asks_for_none_gets_none(monkeypatch: pytest.MonkeyPatch, is_one: bool) -> None:
    """Not one character is written, to a terminal or to a log."""
    terminal = attached(monkeypatch, is_one=is_one)
    assert not use_both(shown=False)
    assert terminal.getvalue() == ""


def test_a_log_gets_plain_lines_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing before the pause is over; then whole lines without control characters."""
    log = attached(monkeypatch, is_one=False)
    assert not use_both(shown=True)
    assert log.getvalue() == ""
    monkeypatch.setattr(progress, "PAUSE_SECONDS", 0.0)
    assert use_both(shown=True)
    counted, line = log.getvalue().splitlines()
    assert re.fullmatch(r"training: 2 of 5 networks, 0:0\d elapsed, about 0:\d\d left", counted)
    assert line.startswith("step 3 of 10")
    assert line.endswith("end"), "a log is as wide as its lines"


def test_what_stays_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A note is written to a log without a pause, and above the bar of a terminal."""
    for is_one in (True, False):
        terminal = attached(monkeypatch, is_one=is_one)
        with Progress(True) as bar:
            bar.start(3)
            bar.note("first: [0.5]")
        assert "first: [0.5]\n" in terminal.getvalue()


class Cell:
    """What a notebook shows of a line."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def update(self, text: str) -> None:
        """Replace the line."""
        self.texts.append(text)


def test_a_notebook_replaces_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a kernel the count stands in the cell's output, escaped, and stderr stays empty."""
    stderr, cell = attached(monkeypatch, is_one=False), Cell()
    kernel = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object()))
    display = SimpleNamespace(HTML=str, display=lambda _text, display_id: cell)
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    with Progress(True, doing="a<b") as bar:
        bar.start(4)
        bar.advance(1)
        bar.advance(1)  # within half a second: shown at the end
        assert len(cell.texts) == 1
    assert [text.partition(" images")[0] for text in cell.texts] == [
        "<pre>a&lt;b: 1 of 4",
        "<pre>a&lt;b: 2 of 4",
    ]
    assert stderr.getvalue() == ""


@pytest.mark.parametrize("kind", [Progress, LiveLine])
def test_the_cursor_comes_back_after_an_error(
    monkeypatch: pytest.MonkeyPatch, kind: type[Progress | LiveLine]
) -> None:
    """Whatever was hidden while it ran is shown again when what ran has failed."""
    terminal = attached(monkeypatch, is_one=True)

    def fail() -> None:
        with kind(True):
            raise KeyError("column")

    with pytest.raises(KeyError, match="column"):
        fail()
    text = terminal.getvalue()
    hidden, back = text.rfind("\x1b[?25l"), text.rfind("\x1b[?25h")
    assert 0 <= hidden < back


def test_progress_before_the_start_counts_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who advances before it is known how much there is to do makes no error."""
    terminal = attached(monkeypatch, is_one=True)
    with Progress(True) as bar:
        bar.advance(3)
    assert "3/" not in terminal.getvalue()
