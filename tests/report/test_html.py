"""A page stands alone, in any browser."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from invariance_probe import report
from invariance_probe.errors import InvalidInputError
from invariance_probe.report import Drawing, Grid, Page, Section, html
from tests.report.pages import drawing
from tests.report.parsed import Reader, complaints


def page(*figures: Drawing) -> Page:
    """A page with figures and a table."""
    frame = pd.DataFrame({"layer": ["b10", "b9"], "fvu": [0.25, float("nan")], "n": [3, 12]})
    return Page(
        title="A <title>",
        sections=(
            Section(
                id="one",
                title="One & only",
                kind="probe",
                meaning=("Do <this>.",),
                figures=figures,
                grids=(Grid.of(frame, "A table"),),
            ),
        ),
    )


def test_the_reader_of_pages_can_complain() -> None:
    """Each defect that the tests look for is found when it is there."""
    bad = (
        '<img src="x.png"><svg role="img"></svg><a href="#no">a</a><p id="a"><p id="a">'
        '<link href="https://example.org/a.css">'
    )
    assert len(complaints(bad)) == 8


def test_a_page_stands_alone() -> None:
    """Two figures, a table and words that look like markup give one self-contained document."""
    text = html.render(page(drawing("one"), drawing("two")))
    assert complaints(text) == []
    tags = Reader(text).tags
    assert [tag for tag, _ in tags].count("svg") == 2
    assert "Do <this>." in Reader(text).words
    keys = [attributes.get("data-key") for tag, attributes in tags if tag == "td"]
    assert keys == [None, "0.25", "3", None, None, "12"]
    assert "–" in Reader(text).words
    for need in ("prefers-color-scheme: dark", "@media print", "width=device-width"):
        assert need in text


def test_a_page_is_an_html_file(tmp_path: Path) -> None:
    """Another ending, or a folder, is refused; an older page is replaced."""
    for bad in (tmp_path / "a.txt", tmp_path):
        with pytest.raises(InvalidInputError, match="is not an HTML file; give a name such as"):
            report.write(page(), bad)
    out = tmp_path / "a.html"
    out.write_text("old", encoding="utf-8")
    assert "A table" in report.write(page(), out).read_text(encoding="utf-8")


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian: chromium)")
def test_a_browser_shows_it_at_any_width_and_sorts(tmp_path: Path) -> None:
    """In Chromium, at phone width too, the page is no wider than the window, and a click sorts."""
    text = html.render(page(drawing("one")))
    script = """<script>
    const th = document.querySelectorAll("th button");
    th[0].click();
    const first = document.querySelector("tbody tr td").textContent;
    th[2].click(); th[2].click();
    const last = document.querySelector("tbody tr td").textContent;
    document.title = ["fits", document.documentElement.scrollWidth <= window.innerWidth,
      first, last].join(" ");
    </script>"""
    path = tmp_path / "page.html"
    path.write_text(text.replace("</body>", script + "</body>"), encoding="utf-8")
    assert CHROMIUM is not None
    common = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    common += [f"--user-data-dir={tmp_path / 'profile'}"]
    dom = [*common, "--window-size=500,900", "--dump-dom", path.as_uri()]
    done = subprocess.run(dom, capture_output=True, text=True, timeout=55, check=True)
    assert "<title>fits true b9 b9</title>" in done.stdout
    shot = tmp_path / "shot.png"
    look = [*common, "--window-size=900,900", f"--screenshot={shot}", path.as_uri()]
    subprocess.run(look, capture_output=True, timeout=55, check=True)
    with Image.open(shot) as picture:
        assert len(np.unique(np.asarray(picture.convert("L")))) > 20
