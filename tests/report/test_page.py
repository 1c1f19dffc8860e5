"""A page refers to nothing outside itself, and everybody can read it."""

import io
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from invariance_probe import report
from invariance_probe.errors import InvalidInputError
from invariance_probe.plane.transforms import Rotation, Scaling
from invariance_probe.report import Drawing, Grid, Page, Section, html, inline_figures
from invariance_probe.training.runs import TrainResult
from tests.report.parsed import Reader, complaints
from tests.results.planted import EXPLAINED, planted

HOSTILE = b"""<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"
 width="20pt" height="10pt" viewBox="0 0 20 10" onload="alert(1)">
<metadata>https://example.org</metadata><script>alert(2)</script><style>* {fill: red}</style>
<defs><clipPath id="p"><rect x="0" y="0" width="9.123456" height="5"/></clipPath>
<path id="a" d="M 1.23456 2 L 3 4.99999"/></defs>
<image xlink:href="https://example.org/spy.png" width="1" height="1"/>
<g id="figure_1" clip-path="url(#p)" onclick="alert(3)"><use xlink:href="#a"/></g>
<rect style="fill: url(https://example.org/x)"/>
</svg>"""


def drawing(name: str = "a line", points: int = 3) -> Drawing:
    """A figure as matplotlib writes it."""
    figure = Figure(figsize=(3, 2))
    values = np.random.default_rng(0).normal(size=(points, 2))
    figure.subplots().plot(*values.T, ".")
    svg, png = io.BytesIO(), io.BytesIO()
    figure.savefig(svg, format="svg")
    figure.savefig(png, format="png")
    return Drawing(alt=f'<{name}> "rising"', caption=name, svg=svg.getvalue(), png=png.getvalue())


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


def training(folder: Path, variant: str, seed: int, error: float, **other: object) -> None:
    """A finished training's folder with planted numbers."""
    config = {"data": "mnist", "perturbation": "rotation", "variant": variant, "seed": seed}
    config |= {"network": "auto", "alignment": "predicted", "width": 0.5, "steps": 10, "batch": 64}
    config |= other
    numbers = {"outcome": "finished", "error": error, "slope_degrees": 0.5, "spread_degrees": 9.0}
    TrainResult(
        config=config,
        numbers={**numbers, "out_of_frame": 0.1, "images_per_second": 9.0, "seconds": error},
        curve=pd.DataFrame({"step": [1]}),
        images=pd.DataFrame({"image": [0]}),
        provenance={},
    ).save(folder / f"{variant}-{seed}-{other.get('width', 0.5)}")


@pytest.fixture(scope="module")
def probe_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A probe of three images with its explanation, as a run folder."""
    result = planted(EXPLAINED, moves=[Rotation(90), Scaling(0.7)])
    return result.save(tmp_path_factory.mktemp("probe") / "run")


def test_a_figure_becomes_a_part_of_the_page() -> None:
    """Nothing that runs or refers outside survives, names are prefixed, numbers are rounded."""
    text = inline_figures.vectors(Drawing(alt="a < b", caption="", svg=HOSTILE), "f7")
    assert complaints(text) == ["#f7-a leads nowhere"] or complaints(text) == []
    for word in ("alert", "example.org", "metadata", "fill: red", "figure_1", "onclick"):
        assert word not in text
    assert 'id="f7-a"' in text
    assert 'href="#f7-a"' in text
    assert 'clip-path="url(#f7-p)"' in text
    assert 'd="M 1.23 2 L 3 5"' in text
    assert 'aria-label="a &lt; b"' in text


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


def test_a_probe_and_trainings_make_a_page(probe_folder: Path, tmp_path: Path) -> None:
    """Both stand on one page under 5 MB, a probe and its copy once."""
    for seed in range(3):
        training(tmp_path / "runs", "c0", seed, 0.02 + 0.001 * seed)
        training(tmp_path / "runs", "c1", seed, 0.05 + 0.001 * seed)
        training(tmp_path / "runs", "c1", seed, 0.9, width=1.0)
    shutil.copytree(probe_folder, tmp_path / "copy")
    out = tmp_path / "new" / "page.html"
    found = report.find([probe_folder, tmp_path], report.SIGNS)
    assert report.write(report.page(found), out) == out
    text = out.read_text(encoding="utf-8")
    assert complaints(text) == []
    assert out.stat().st_size < html.LARGEST_PAGE
    words = Reader(text).words
    said = [w for w in words if w.startswith("On mnist under rotation")]
    assert said == [
        "On mnist under rotation, c0 has the lowest error: 2.10 % [1.85, 2.35] over 3 seeds; "
        "c1 5.10 % [4.85, 5.35]. Its interval overlaps no other."
    ]
    assert sum("probe, 3 images" in w for w in words) == 2  # contents and heading
    alts = [a["aria-label"] for tag, a in Reader(text).tags if tag == "svg"]
    assert any("oracle" in alt and "floor" in alt for alt in alts)
    assert any("c1 under rotation 5.10 %" in alt for alt in alts)


def test_a_condensed_probe_is_enough(probe_folder: Path, tmp_path: Path) -> None:
    """Summary, configuration and a figure beside them make a section; the table is not needed."""
    for name in ("config.json", "summary.csv"):
        shutil.copy(probe_folder / name, tmp_path)
    shutil.copy(probe_folder / "figures" / "depth.png", tmp_path)
    made = report.page(report.find([tmp_path], report.SIGNS))
    assert [len(section.figures) for section in made.sections] == [1]
    assert made.sections[0].meaning
    both = report.page(report.find([tmp_path, probe_folder], report.SIGNS))
    assert [len(section.figures) > 1 for section in both.sections] == [True]


def test_bad_folders_are_refused(tmp_path: Path) -> None:
    """A broken probe and a broken training are named, each in one line, with the way out."""
    broken = tmp_path / "broken"
    broken.mkdir()
    about = {"moves": [], "methods": [], "model": "m"}
    (broken / "config.json").write_text(json.dumps(about), encoding="utf-8")
    (broken / "summary.csv").write_text("a\n1\n", encoding="utf-8")
    (tmp_path / "halted").mkdir()
    (tmp_path / "halted" / "result.json").write_text("{", encoding="utf-8")
    for folder, expected in (
        (broken, "contains no probe that can be read .* probe again, or leave it out"),
        (tmp_path / "halted", "contains no finished training"),
    ):
        with pytest.raises(InvalidInputError, match=expected) as caught:
            report.page(report.find([folder], report.SIGNS))
        assert "\n" not in str(caught.value)


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
