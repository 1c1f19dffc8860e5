"""What a check will do and how long it takes, said before anything slow is imported."""

from collections.abc import Sequence
from itertools import zip_longest

ALL = 16
"""Claims."""
SECONDS = (5.0, 30.0)
"""On two cores: of the imports, and of all claims with `EXAMPLES` cases a setting."""
EXAMPLES = 120


def announcement(words: Sequence[str]) -> str:
    """Say what will be checked, and how long that takes.

    Args:
        words: Those after the command's name.

    Returns:
        A line; empty for help.
    """
    if {"-h", "--help"} & set(words):
        return ""
    given = options(words)
    claims = _before_options(words) or ALL
    first_coq = "Coq checks the formal proofs first (minutes); then " if "--formal" in words else ""
    if "--gallery" in given:
        return f"{first_coq}drawing witnesses: about 20 s on two cores\n"
    asked = given.get("--examples", "")
    examples = int(asked) if asked.isdecimal() else EXAMPLES
    first, rest = SECONDS
    seconds = first + rest * claims / ALL * examples / EXAMPLES
    long = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
    return (
        f"{first_coq}checking {claims} claim{'s' if claims > 1 else ''}, {examples} cases in each "
        f"setting and a negative control: about {long} on two cores\n"
    )


def options(words: Sequence[str]) -> dict[str, str]:
    """Read options without what knows them, which is slow to import.

    Args:
        words: Of a command.

    Returns:
        By option the word after it, whichever way it is written; a flag's says nothing.
    """
    found = {}
    for word, following in zip_longest(words, words[1:], fillvalue=""):
        name, equals, value = word.partition("=")
        if name.startswith("--"):
            found[name] = value if equals else following
    return found


def _before_options(words: Sequence[str]) -> int:
    """How many claims are named: P and a number, in any case."""
    return len({w.upper() for w in words if w[:1] in {"p", "P"} and w[1:].isdecimal()})
