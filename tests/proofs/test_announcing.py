"""A check says what it does before it imports what does it."""

import pytest

from proofs import announcing
from proofs.claims import CLAIMS
from proofs.command import ProveCommand


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "checking 16 claims, 120 cases in each setting and a negative control: about 35 s"),
        (["p3", "P8", "--examples", "12"], "checking 2 claims, 12 cases"),
        (
            ["P1", "--examples=12000"],
            "1 claim, 12000 cases in each setting and a negative control: about 3 min",
        ),
        (["--formal"], "Coq checks the formal proofs first (minutes); then checking 16"),
        (["--gallery", "g"], "drawing witnesses"),
    ],
)
def test_what_was_asked_for_is_announced(words: list[str], said: str) -> None:
    """Claims, cases and an estimate, in one line."""
    line = announcing.announcement(words)
    assert said in line
    assert line.count("\n") == 1


def test_help_is_not_announced() -> None:
    """It speaks for itself."""
    assert announcing.announcement(["--help"]) == ""


def test_the_numbers_are_those_of_the_command() -> None:
    """Claims and default cases, restated because theirs take seconds to import, agree."""
    assert len(CLAIMS) == announcing.ALL
    assert ProveCommand().examples == announcing.EXAMPLES
