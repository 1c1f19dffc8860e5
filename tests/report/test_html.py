"""A page stands alone, in any browser."""

import hashlib
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markupsafe import escape
from PIL import Image

from invariance_probe import report
from invariance_probe.errors import InvalidInputError
from invariance_probe.plane.transforms import Scaling
from invariance_probe.report import Drawing, Grid, Page, ResultFolder, Section, html, inline_figures
from invariance_probe.results.result import ProbeResult
from tests.report import hostile
from tests.report.pages import drawing
from tests.report.parsed import Reader, complaints
from tests.results.planted import EXPLAINED, LAYERS, QUARTER, planted, strip


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


RELEASED = {
    "d3.min.js": "f2094bbf6141b359722c4fe454eb6c4b0f0e42cc10cc7af921fc158fceb86539",
    "plot.umd.min.js": "4358086467740777dd788d6b27a95cebdbaefdd50c730a3060117073bd7134cb",
}
"""Hashes of d3 7.9.0 and Observable Plot 0.6.17 as released."""


def test_libraries_are_as_released_with_their_licences() -> None:
    """What a page embeds is what its authors published, and may be given away."""
    for name, digest in RELEASED.items():
        path = html.PAGE / "vendored" / name
        assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
        licence = path.with_name(f"{name.partition('.')[0]}.LICENSE")
        assert "Permission to use, copy, modify" in licence.read_text(encoding="utf-8")


def test_a_page_is_an_html_file(tmp_path: Path) -> None:
    """Another ending, or a folder, is refused; an older page is replaced."""
    for bad in (tmp_path / "a.txt", tmp_path):
        with pytest.raises(InvalidInputError, match="is not an HTML file; give a name such as"):
            report.write(page(), bad)
    out = tmp_path / "a.html"
    out.write_text("old", encoding="utf-8")
    assert "A table" in report.write(page(), out).read_text(encoding="utf-8")


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


def _browser(folder: Path) -> list[str]:
    assert CHROMIUM is not None
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    return [CHROMIUM, *quiet, f"--user-data-dir={folder / 'profile'}"]


def _shown(path: Path, folder: Path, *options: str) -> str:
    """What a browser makes of a page, once its scripts have run."""
    words = [*_browser(folder), *options, "--dump-dom", path.as_uri()]
    return subprocess.run(words, capture_output=True, text=True, timeout=55, check=True).stdout


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian: chromium)")
def test_a_browser_shows_it_at_any_width_and_sorts(tmp_path: Path) -> None:
    """In Chromium, at phone width too, the page is no wider than the window, and a click sorts."""
    text = html.render(page(drawing("one")))
    script = """
    const th = document.querySelectorAll("th button");
    th[0].click();
    const first = document.querySelector("tbody tr td").textContent;
    th[2].click(); th[2].click();
    const last = document.querySelector("tbody tr td").textContent;
    document.title = ["fits", document.documentElement.scrollWidth <= window.innerWidth,
      first, last].join(" ");
    """
    path = tmp_path / "page.html"
    own = text.partition("<script>")[2].partition("</script>")[0]
    allowed = html.policy(own).replace(
        "; style-src", html.policy(script).split(";")[1][11:] + "; style-src"
    )
    text = text.replace(escape(html.policy(own)), escape(allowed))
    path.write_text(text.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    shown = _shown(path, tmp_path, "--window-size=500,900")
    assert "<title>fits true b9 b9</title>" in shown
    shot = tmp_path / "shot.png"
    subprocess.run(
        [*_browser(tmp_path), "--window-size=900,900", f"--screenshot={shot}", path.as_uri()],
        capture_output=True,
        timeout=55,
        check=True,
    )
    with Image.open(shot) as picture:
        assert len(np.unique(np.asarray(picture.convert("L")))) > 20


@pytest.fixture
def spy() -> Iterator[tuple[str, list[str]]]:
    """An address on this machine, and what was fetched from there."""
    fetched: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fetched.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", fetched
        server.shutdown()


RUN = "document.documentElement.classList.add(String.fromCharCode(82,65,78,45)+%d)"
"""Leaves the class RAN-N behind; the word itself stands nowhere in the text."""


def _hostile(address: str) -> list[bytes]:
    """Hostile figures, each with a trace of its own."""
    count = len(hostile.figures("", address))
    return [hostile.figures(RUN % n, f"{address}/{n}")[n] for n in range(count)]


def _raw(address: str) -> str:
    text = "\n".join(content.decode() for content in _hostile(address))
    # a page that is left says nothing of what it did, and no policy forbids to leave it
    return text.replace("http-equiv", "http-unlike")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian: chromium)")
def test_figures_can_be_hostile(tmp_path: Path, spy: tuple[str, list[str]]) -> None:
    """Put on a bare page as they are, many of the figures run a script or fetch something."""
    address, fetched = spy
    path = tmp_path / "page.html"
    path.write_text(f"<!DOCTYPE html><body>{_raw(address)}", encoding="utf-8")
    ran = set(re.findall(r"RAN-\d+", _shown(path, tmp_path, "--virtual-time-budget=3000")))
    assert len(ran) >= 5
    assert len(fetched) >= 4


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian: chromium)")
@pytest.mark.parametrize("cleaned", [True, False])
def test_a_page_of_hostile_figures_runs_and_fetches_nothing(
    tmp_path: Path, spy: tuple[str, list[str]], cleaned: bool
) -> None:
    """Neither do the figures as they are taken over, nor as they are, held by the policy alone."""
    address, fetched = spy
    contents = _hostile(address)
    drawn = [Drawing(alt=f"figure {n}", caption="", svg=svg) for n, svg in enumerate(contents)]
    text = html.render(page(*drawn if cleaned else ()))
    if cleaned:
        assert complaints(text) == []
    else:
        text = text.replace("<main>", f"<main>{_raw(address)}")
    path = tmp_path / "page.html"
    path.write_text(text, encoding="utf-8")
    shown = _shown(path, tmp_path, "--virtual-time-budget=3000")
    assert "<button" in shown  # the page's own script ran
    assert "RAN-" not in shown
    assert fetched == []


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian: chromium)")
def test_hostile_names_are_shown_as_names(tmp_path: Path, spy: tuple[str, list[str]]) -> None:
    """Layers, images and a model that are called like scripts: the page shows them, runs none."""
    address, fetched = spy
    bad = [f"</script><script>{RUN % 1}</script>", f'"><img src="{address}/1" onerror="{RUN % 2}">']
    strips = [strip(name, 0, seed=1) for name in bad]
    tables = planted(EXPLAINED, layers=bad, moves=QUARTER, strips=strips)
    tables.config["model"] = "<!--<script>"
    section = _probed(tables, tmp_path)
    path = report.write(Page(title=bad[0], sections=(section,)), tmp_path / "page.html")
    shown = _shown(path, tmp_path, "--virtual-time-budget=3000")
    assert "<canvas" in shown  # maps were drawn
    assert 'aria-pressed="false">&lt;/script&gt;' in shown
    assert not re.search(r'class="[^"]*RAN-', shown)
    assert fetched == []


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian: chromium)")
def test_nothing_sticks_out(tmp_path: Path) -> None:
    """On a phone and a desk nothing but what scrolls on its own is wider than the window."""
    strips = [strip(name, 0, seed=1) for name in LAYERS]
    tables = planted(EXPLAINED, moves=[*QUARTER, Scaling(0.7)], strips=strips)
    report.write(Page(title="A", sections=(_probed(tables, tmp_path),)), tmp_path / "page.html")
    script = """
    onload = () => setTimeout(() => {
      document.title = [...document.querySelectorAll("iframe")].map((frame) => {
        const inside = frame.contentDocument, root = inside.documentElement;
        const out = [...inside.querySelectorAll("body *")].filter(
          (one) => !one.closest(".grid, .pair, svg") &&
            one.getBoundingClientRect().right > root.clientWidth + 1).map((one) => one.tagName);
        const drawn = inside.querySelectorAll("canvas").length;
        return `${root.scrollWidth - root.clientWidth} ${out} ${drawn > 5}`;
      }).join("; ");
    }, 700);
    """
    frames = "".join(f'<iframe src="page.html" width="{w}" height="800"></iframe>' for w in WIDTHS)
    (tmp_path / "frame.html").write_text(f"{frames}<script>{script}</script>", encoding="utf-8")
    options = ("--allow-file-access-from-files", "--virtual-time-budget=4000")
    shown = _shown(tmp_path / "frame.html", tmp_path, "--window-size=1600,900", *options)
    assert "<title>0  true; 0  true</title>" in shown


WIDTHS = (390, 1400)
"""Pixels across a phone and a desk."""


def _probed(tables: ProbeResult, folder: Path) -> Section:
    """The part of a page that a probe makes, without its figures."""
    (folder / "run").mkdir()
    tables.write(folder / "run")
    return report.page([ResultFolder("probe", folder / "run")]).sections[0]


def test_hostile_figures_leave_nothing_that_runs() -> None:
    """In the text of the page there is neither a trace of the scripts nor an address."""
    for number, content in enumerate(hostile.figures("trace()", "http://spy.example")):
        text = inline_figures.markup([Drawing(alt="a", caption="", svg=content)])[0]
        for word in ("trace", "spy", "script", "href", "url", "on"):
            assert word not in text.lower(), (number, text)


def test_exploding_figures_are_passed_over() -> None:
    """Entities, references and groups that multiply, and boxes that are none, are small or gone."""
    for content in hostile.exploding():
        text = inline_figures.markup([Drawing(alt="a", caption="", svg=content)])[0]
        assert len(text) < 10_000
