"""Result folders are found where a user points, each once."""

from pathlib import Path

import pytest

from invariance_probe.errors import InvalidInputError
from invariance_probe.report.folders import DEEPEST, ResultFolder, find

SIGNS = {
    "apple": lambda folder: (folder / "apple").is_file(),
    "any": lambda folder: any(folder.glob("*.txt")),
}


def _folder(path: Path, *files: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name in files:
        (path / name).touch()
    return path


def test_folders_are_found_below_those_named(tmp_path: Path) -> None:
    """In the order of names, by the first sign that fits, and no deeper than a result."""
    b = _folder(tmp_path / "b", "apple", "a.txt")
    _folder(tmp_path / "b" / "inside", "apple")
    a = _folder(tmp_path / "a" / "deep", "a.txt")
    _folder(tmp_path / ".hidden", "apple")
    assert find([tmp_path], SIGNS) == [ResultFolder("any", a), ResultFolder("apple", b)]


def test_a_folder_named_twice_is_found_once(tmp_path: Path) -> None:
    """By another path, too; the order is that of the names given."""
    b, a = _folder(tmp_path / "b", "apple"), _folder(tmp_path / "a", "apple")
    found = find([b, tmp_path, b / ".." / "a"], SIGNS)
    assert [one.path for one in found] == [b, a]


def test_the_search_ends_at_a_depth(tmp_path: Path) -> None:
    """A result so many levels down is found, one level further is not."""
    levels = [str(level) for level in range(DEEPEST)]
    _folder(tmp_path.joinpath("near", *levels), "apple")
    assert len(find([tmp_path / "near"], SIGNS)) == 1
    _folder(tmp_path.joinpath("far", *levels, "more"), "apple")
    with pytest.raises(InvalidInputError, match="contains nothing to report"):
        find([tmp_path / "far"], SIGNS)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ([], "nothing to report; name one or more result folders"),
        (["none"], "none' is not a folder; name result folders"),
        (["empty"], "empty' contains nothing to report; name a folder of one of .*: apple, any"),
    ],
)
def test_what_cannot_be_found_is_named(tmp_path: Path, named: list[str], message: str) -> None:
    """No name, no folder, an empty folder: each is told in one line."""
    _folder(tmp_path / "empty")
    with pytest.raises(InvalidInputError, match=message):
        find([tmp_path / name for name in named], SIGNS)
