"""Which result folders lie at or below the folders that a user names."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from invariance_probe.errors import InvalidInputError, refusing
from invariance_probe.errors.checks import check_path

DEEPEST = 4
"""Levels of folders that are searched below one that is no result itself."""


class ResultFolder(NamedTuple):
    """A result folder.

    Attributes:
        kind: What it holds.
        path: Where it is.
    """

    kind: str
    path: Path


def find(named: Sequence[Path], signs: Mapping[str, Callable[[Path], bool]]) -> list[ResultFolder]:
    """Find result folders.

    Args:
        named: Result folders, or folders of such.
        signs: By kind, whether a folder is one; the first that says so counts.

    Returns:
        Each folder once, in the order named, then of names.

    Raises:
        InvalidInputError: If one of the folders named is none, or holds no result.
    """
    if not isinstance(named, Sequence) or not named:
        raise InvalidInputError("nothing to report; name one or more result folders")
    out: dict[Path, ResultFolder] = {}
    for top in (check_path("folder", each) for each in named):
        if not top.is_dir():
            raise InvalidInputError(f"{str(top)!r} is not a folder; name result folders")
        below = _below(top, signs, DEEPEST)
        if not below:
            raise InvalidInputError(
                f"folder {str(top)!r} contains nothing to report; name a folder of one of these "
                f"kinds: {', '.join(signs)}"
            )
        for one in below:
            out.setdefault(one.path.resolve(), one)
    return list(out.values())


def _below(
    top: Path, signs: Mapping[str, Callable[[Path], bool]], levels: int
) -> list[ResultFolder]:
    """The folder itself, or those below it."""
    for kind, holds in signs.items():
        if holds(top):
            return [ResultFolder(kind, top)]
    if levels == 0:
        return []
    with refusing(lambda cause: f"folder {str(top)!r} cannot be searched ({cause}); name others"):
        inner = sorted(p for p in top.iterdir() if p.is_dir() and not p.name.startswith("."))
    return [one for path in inner for one in _below(path, signs, levels - 1)]
