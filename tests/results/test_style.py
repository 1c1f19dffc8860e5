"""The style of figures touches nothing else, and files depend on the figure alone."""

from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure
from PIL import Image

from invariance_probe.results.methods import Method
from invariance_probe.results.style import apart, caption, figure_style, save, svg
from tests.results.planted import planted


def _figure() -> Figure:
    with figure_style():
        figure = Figure(figsize=(2, 1))
        figure.subplots().plot([0, 1], [0, 1])
    return figure


def test_the_style_ends_with_its_block() -> None:
    """Inside the block settings differ from before, after it they are as before."""
    before = dict(mpl.rcParams)
    with figure_style():
        inside = dict(mpl.rcParams)
        mpl.rcParams["lines.linewidth"] = 77
    assert dict(mpl.rcParams) == before
    assert inside != before


def test_one_figure_gives_one_file() -> None:
    """Vectors hold no date and no random names: the same bytes twice, others by another name."""
    first, second, other = svg(_figure(), "a"), svg(_figure(), "a"), svg(_figure(), "b")
    assert first == second
    assert first != other
    assert b"<dc:date>" not in first
    assert first.lstrip().startswith(b"<?xml")


def test_a_figure_is_saved_as_vectors_and_pixels(tmp_path: Path) -> None:
    """Both files are there, under the stem's name."""
    save(_figure(), tmp_path / "drawn")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drawn.png", "drawn.svg"]
    (tmp_path / "again").mkdir()
    save(_figure(), tmp_path / "again" / "drawn")
    again = (tmp_path / "again" / "drawn.svg").read_bytes()
    assert (tmp_path / "drawn.svg").read_bytes() == again
    assert again.startswith(b"<?xml")
    with Image.open(tmp_path / "drawn.png") as picture:
        assert picture.width > 200


def test_a_caption_names_model_images_and_intervals() -> None:
    """Fewer than three images have no interval, and that is said."""
    several = planted({Method.ORACLE: [0.1, 0.2, 0.3]})
    assert caption(several) == "planted, 3 images; ribbons: 95 % intervals over images"
    assert caption(several, "bars").endswith("; bars: 95 % intervals over images")
    one = planted({Method.ORACLE: [0.1]})
    assert caption(one) == "planted, 1 image; no intervals, which need 3 images"


def test_labels_move_apart_no_further_than_needed() -> None:
    """Labels that collide share the way, those with room stay; their order is kept."""
    assert apart([1.0, 0.0, 5.0], 0.5) == [1.0, 0.0, 5.0]
    moved = apart([0.1, 0.0, 0.2], 0.5)
    assert moved == pytest.approx([0.1, -0.4, 0.6], abs=1e-3)  # a thousandth of a label is no gap
