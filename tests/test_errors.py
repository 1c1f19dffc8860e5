"""Errors: what is said of another library's."""

import pytest

from invariance_probe.errors import InvalidInputError, first_line, refusing


def test_first_line_is_all_that_is_quoted() -> None:
    """A message of many lines becomes one; one of none stays empty."""
    assert first_line(OSError("truncated\nat byte 7\n")) == "truncated"
    assert first_line(OSError("truncated")) == "truncated"
    assert first_line(OSError()) == ""


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (OSError("truncated\nat byte 7"), "the file is damaged (truncated)"),
        (KeyError(), "the file is damaged (KeyError)"),
        (InvalidInputError("give a file"), "give a file"),
    ],
)
def test_what_others_raise_is_said_in_one_line_of_ours(raised: Exception, said: str) -> None:
    """The cause is quoted, an error without words by its name; a refusal of ours stays."""
    with (
        pytest.raises(InvalidInputError) as refused,
        refusing(lambda cause: f"the file is damaged ({cause})"),
    ):
        raise raised
    assert str(refused.value) == said


def test_an_interrupt_is_no_refusal() -> None:
    """Ctrl-C comes through as it is."""
    with pytest.raises(KeyboardInterrupt), refusing(str):
        raise KeyboardInterrupt
