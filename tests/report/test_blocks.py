"""Tables and provenance, as a page shows them."""

import math

import pandas as pd

from invariance_probe.report.blocks import Cell, Grid, about


def test_cells_show_and_sort() -> None:
    """Numbers to four digits, sorted by what they are; what is missing is a dash."""
    frame = pd.DataFrame({
        "a_b": [0.123456, math.nan],
        "n": [3, 12],
        "flag": [True, False],
        "text": ["x", None],
    })
    grid = Grid.of(frame, "title")
    assert grid.columns == ("a b", "n", "flag", "text")
    first, second = grid.rows
    assert first == (
        Cell("0.1235", "0.123456"),
        Cell("3", "3"),
        Cell("yes", ""),
        Cell("x", ""),
    )
    assert second == (Cell("–", ""), Cell("12", "12"), Cell("no", ""), Cell("–", ""))


def test_long_tables_are_cut_and_say_so() -> None:
    """The note tells how many rows there were."""
    frame = pd.DataFrame({"n": range(5)})
    assert Grid.of(frame, "t", "Note.", most=5).note == "Note."
    cut = Grid.of(frame, "t", "Note.", most=2)
    assert len(cut.rows) == 2
    assert cut.note == "Note. The first 2 of 5 rows."


def test_provenance_tells_what_is_known() -> None:
    """Versions in one line, a commit with its changes; nothing about what was not recorded."""
    known = {"versions": {"torch": "2", "numpy": "1"}, "git_commit": "abc", "git_dirty": True}
    assert about(known, "run me") == {
        "command": "run me",
        "versions": "torch 2, numpy 1",
        "commit": "abc with uncommitted changes",
    }
    assert about({"gpu": None, "platform": "Linux"}) == {"machine": "Linux"}
