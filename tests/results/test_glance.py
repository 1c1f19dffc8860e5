"""A run fits one screen of a terminal, and a cell of a notebook."""

import re

import pytest

from invariance_probe.plane.transforms import Rotation, Scaling
from invariance_probe.results import glance
from invariance_probe.results.methods import Method
from tests.results.planted import EXPLAINED, LAYERS, planted, put_back, strip


def test_a_run_fits_one_screen_whatever_its_size() -> None:
    """Forty layers with long names and two families take 24 lines of 80 characters at most."""
    layers = [f"backbone.features.stage{number}.convolution" for number in range(40)]
    result = planted(EXPLAINED, layers=layers, moves=[Rotation(90), Scaling(0.5)])
    lines = repr(result).splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert "40 layers" in lines[0]
    assert any(re.match(r"\s*\.\.\.", line) for line in lines), "what is left out is not said"


def test_what_is_shown_is_what_the_summary_says() -> None:
    """Means, and the interval of the best warp, stand in the table; mixings are left out."""
    shown = glance.table(planted(EXPLAINED)).set_index("layer")
    # Student's interval: 0.9 -+ 4.303 x 0.2 / root(3)
    assert shown.loc["shallow", "affine"] == "0.900 (0.40–1.40)"
    assert shown.loc["deep", "oracle"] == "0.500"
    assert list(shown.index) == list(LAYERS)
    assert not [name for name in shown if "+" in name]
    one = glance.table(planted({Method.ORACLE: [0.25]}))
    assert one["oracle"].tolist() == ["0.250", "0.125"], "one image has no interval"


def test_a_run_in_which_nothing_moves_says_so() -> None:
    """No table is made up, and the way to the rows is named."""
    still = planted(EXPLAINED, moves=[Rotation(0)])
    assert "no transform changes anything" in repr(still)
    assert "no transform changes anything" in still._repr_html_()


def test_a_notebook_shows_the_table_and_a_figure() -> None:
    """The cell has every layer and a picture; a run that put maps back is shown by its metric."""
    page = planted(EXPLAINED)._repr_html_()
    assert all(f"<td>{layer}</td>" in page for layer in LAYERS)
    assert page.count("data:image/png;base64,") == 1
    back = put_back()
    assert "agreement" in repr(back)
    assert back._repr_html_().count("<img") == 1


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a&b\"'"])
def test_names_cannot_break_out_of_a_notebook(name: str) -> None:
    """Names of layers and models are text, whatever characters they hold."""
    result = planted({Method.ORACLE: [0.5]}, layers=[name], strips=[strip(name)])
    result.config["model"] = name
    assert "<script" not in result._repr_html_()
    assert 'a&b"' not in result._repr_html_()


def test_a_terminal_obeys_no_name() -> None:
    """Line breaks and escape sequences in names of layers and models are shown, not sent."""
    result = planted({Method.ORACLE: [0.5]}, layers=["a\n\x1b[2Jb"])
    result.config["model"] = "m\x1b]0;t\x07"
    assert "\x1b" not in repr(result)
    assert "a??[2Jb" in repr(result)
    assert "\x07" not in repr(result)
