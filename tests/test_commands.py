"""The one way in which the three commands end."""

import warnings
from dataclasses import dataclass

import pytest

from invariance_probe.commands import run_command
from invariance_probe.errors import InvalidInputError


@dataclass(frozen=True, kw_only=True)
class Planted:
    """Do what is planted.

    Attributes:
        end: How it ends.
        least: Checked when it is read.
    """

    end: str = "well"
    least: int = 1

    def __post_init__(self) -> None:
        if self.least < 1:
            raise InvalidInputError(f"least={self.least}: give at least 1")

    def run(self) -> None:
        """End in some way."""
        if self.end == "mistake":
            raise InvalidInputError("end='mistake' cannot be used; give another")
        if self.end == "interrupt":
            raise KeyboardInterrupt
        if self.end == "advice":
            raise KeyboardInterrupt("call again")
        if self.end == "status":
            raise SystemExit(1)
        if self.end == "doubt":
            warnings.warn("perhaps", stacklevel=1)
        if self.end == "defect":
            raise ZeroDivisionError


def called(*words: str) -> None:
    """Run the planted command."""
    run_command(
        Planted, program="it", description="Plants.", arguments=words, interrupted="all is lost"
    )


@pytest.mark.parametrize(
    ("words", "status", "line"),
    [
        (["--end", "mistake"], 2, "it: end='mistake' cannot be used; give another\n"),
        (["--end", "interrupt"], 130, "it: interrupted; all is lost\n"),
        (["--end", "advice"], 130, "it: interrupted; call again\n"),
        (["--end", "status"], 1, ""),
    ],
)
def test_every_end_has_its_status_and_at_most_one_line(
    capsys: pytest.CaptureFixture[str], words: list[str], status: int, line: str
) -> None:
    """A mistake exits with 2, an interrupt with 130, and a command's own status is kept."""
    with pytest.raises(SystemExit) as caught:
        called(*words)
    assert caught.value.code == status
    assert capsys.readouterr().err == line


def test_what_goes_well_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """A command that does what it was asked returns."""
    called()
    assert capsys.readouterr().err == ""


def test_values_that_cannot_be_used_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Refused while it is read, an option exits with 2 and its rule is shown."""
    with pytest.raises(SystemExit) as caught:
        called("--least", "0")
    assert caught.value.code == 2
    assert "least=0: give at least 1" in capsys.readouterr().err


def test_a_defect_is_not_hidden() -> None:
    """An error that is no mistake of the user's keeps its traceback."""
    with pytest.raises(ZeroDivisionError):
        called("--end", "defect")


def test_warnings_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A warning is told like an error, without its place in the code, and ends nothing."""
    before = warnings.showwarning
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        called("--end", "doubt")
        assert capsys.readouterr().err == "it: perhaps\n"
    assert warnings.showwarning is before
