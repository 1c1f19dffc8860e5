"""The list of architectures."""

from analyses.architectures import ARCHITECTURES, Architecture


def test_there_are_forty() -> None:
    """Of four libraries, none twice."""
    assert len({str(each) for each in ARCHITECTURES}) == 40
    assert len({each.library for each in ARCHITECTURES}) == 4


def test_a_library_that_is_not_there_is_missing() -> None:
    """One that is installed is there, and a name is as the command line would have it."""
    here = Architecture("torch", "none", {"a": 1})
    assert not here.missing()
    assert Architecture("no_such_library", "none", {"a": 1}).missing()
    assert str(here) == "torch:none"
