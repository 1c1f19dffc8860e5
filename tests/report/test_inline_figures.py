"""Figures become parts of a page."""

import io

import numpy as np
import pytest
from PIL import Image

from invariance_probe.errors import InvalidInputError
from invariance_probe.report import Drawing, inline_figures
from tests.report.pages import drawing
from tests.report.parsed import complaints

HOSTILE = b"""<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"
 width="20pt" height="10pt" viewBox="0 0 20 10" onload="alert(1)">
<metadata>https://example.org</metadata><script>alert(2)</script><style>* {fill: red}</style>
<defs><clipPath id="p"><rect x="0" y="0" width="9.123456" height="5"/></clipPath>
<path id="a" d="M 1.23456 2 L 3 4.99999"/></defs>
<image xlink:href="https://example.org/spy.png" width="1" height="1"/>
<g id="figure_1" clip-path="url(#p)" onclick="alert(3)"><use xlink:href="#a"/></g>
<g id="text_1"><path transform="translate(1.23456 2) scale(0.015625)" d="M 0 0"/></g>
<rect style="fill: url(https://example.org/x)"/>
</svg>"""


def test_a_figure_becomes_a_part_of_the_page() -> None:
    """Nothing that runs or refers outside survives, names are numbered, numbers are rounded."""
    text = inline_figures.vectors(Drawing(alt="a < b", caption="", svg=HOSTILE), "f7")
    assert complaints(text) == []
    for word in ("alert", "example.org", "metadata", "fill: red", "figure_1", "onclick"):
        assert word not in text
    assert '<clipPath id="f7-0">' in text
    assert 'clip-path="url(#f7-0)"' in text
    assert '<path id="f7-1"' in text
    assert '<use href="#f7-1"' in text
    assert 'd="M 1.23 2 L 3 5"' in text
    assert 'transform="translate(1.23 2) scale(0.015625)"' in text
    assert text.count("<g") == 1, "a group without attributes is spared"
    assert 'aria-label="a &lt; b"' in text


def test_large_figures_give_way_to_pixels() -> None:
    """Vectors beyond the budget are replaced by pixels; what cannot fit is refused in one line."""
    one = drawing(points=400)
    assert inline_figures.markup([one])[0].startswith("<svg")
    room = len(inline_figures.pixels(one, inline_figures.WIDEST // 2)) + 10
    assert inline_figures.markup([one], room)[0].startswith("<img")
    with pytest.raises(InvalidInputError, match="name fewer folders"):
        inline_figures.markup([one], 100)
    noise = np.random.default_rng(0).integers(0, 255, (900, 2000, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "PNG")
    shot = inline_figures.pixels(Drawing(alt="noise", caption="", png=stream.getvalue()))
    assert 'width="1600" height="720"' in shot
    assert "image/webp" in shot
    assert inline_figures.markup([Drawing(alt="gone & lost", caption="", svg=b"<svg")]) == [
        '<p class="missing">gone &amp; lost</p>'
    ]
