"""Errors: what is said of another library's."""

from invariance_probe.errors import first_line


def test_first_line_is_all_that_is_quoted() -> None:
    """A message of many lines becomes one; one of none stays empty."""
    assert first_line(OSError("truncated\nat byte 7\n")) == "truncated"
    assert first_line(OSError("truncated")) == "truncated"
    assert first_line(OSError()) == ""
