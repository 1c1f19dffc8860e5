"""Pairs fit one screen of a terminal, and a cell of a notebook."""

import math

import invariance_probe as ip
from tests.alignment import planted


def test_pairs_fit_one_screen() -> None:
    """Twenty pairs take 15 lines at most, each with what every warp left and how it ended."""
    reference, moved = planted.maps(20, 2, 8, seed=1), planted.maps(20, 2, 8, seed=2)
    found = ip.align(reference, moved)
    lines = repr(found).splitlines()
    assert len(lines) <= 15
    assert max(map(len, lines)) <= 80
    assert "20 pairs of 8 x 8 cells" in lines[0]
    words = lines[2].split()
    assert words[:4] == ["0", *(f"{float(left[0]):.4f}" for left in found.left.values())]
    assert found.outcome[0].value in lines[2]


def test_a_notebook_shows_a_dot_for_each_pair_and_warp() -> None:
    """Pairs without a value have a row and no dot; a flow is one warp more."""
    reference, moved = planted.maps(3, 2, 8, seed=1), planted.maps(3, 2, 8, seed=2)
    reference[0, 0, 0, 0] = math.nan
    page = ip.align(reference, moved)._repr_html_()
    assert page.count("<circle") == 2 * 3
    assert "NaN" in page
    flow = ip.align_flow(reference, moved)
    assert flow._repr_html_().count("<circle") == 2 * 4
    assert repr(flow).startswith("Flow of 3 pairs")
