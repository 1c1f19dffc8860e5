"""The site: whole, linked, and shown without a network."""

import pkgutil
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pandas as pd
import pytest

import invariance_probe as ip
from analyses import command, site
from invariance_probe import controls, guide, operators
from invariance_probe.guide import tutorial
from proofs import claims
from tests.analyses.planting import refused
from tests.conftest import ROOT


class Page(HTMLParser):
    """What a page links to, what it fetches, and where it can be linked."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag points to."""
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            if name == "href" and value and tag == "a":
                self.links.append(value)
            if value and (name == "src" or (name == "href" and tag == "link")):
                self.fetched.append(value)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    """All pages of the site, by path."""
    pytest.importorskip("pdoc", reason="the site needs the extra docs")
    out = tmp_path_factory.mktemp("site")
    command.main(["site", str(out)])
    return {path.resolve(): Page(path) for path in out.rglob("*.html")}


def _named(pages: dict[Path, Page], end: str) -> Page:
    (found,) = [page for path, page in pages.items() if path.as_posix().endswith(end)]
    return found


def test_links_lead_somewhere(pages: dict[Path, Page]) -> None:
    """Every link within the site meets a page, and every anchor is there; others are https."""
    broken, checked = [], 0
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                assert parts.scheme == "https", link
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            checked += 1
            there = target in pages and (
                not parts.fragment or unquote(parts.fragment) in pages[target].anchors
            )
            if not there:
                broken.append(f"{path.name}: {link}")
    assert not broken, broken[:10]
    assert checked > 500


def test_pages_bring_what_they_show(pages: dict[Path, Page]) -> None:
    """Pictures lie in the pages, the search beside them; nothing is fetched from elsewhere."""
    for path, page in pages.items():
        for source in page.fetched:
            assert source.startswith("data:") or (path.parent / source).is_file(), source
    figures = [each for each in _named(pages, "guide/tutorial.html").fetched if "image/png" in each]
    assert len(figures) == 3


def test_every_public_name_and_every_claim_has_its_place(pages: dict[Path, Page]) -> None:
    """Names stand in the reference, claims on pages of their own, which the theory links to."""
    for room in (ip, controls, operators):
        page = _named(pages, f"/{room.__name__.replace('.', '/')}.html")
        assert set(room.__all__) <= page.anchors
    linked = {Path(link).stem for link in _named(pages, "/proofs.html").links}
    modules = {module.name for module in pkgutil.iter_modules(claims.__path__)}
    assert len(modules) == len(claims.CLAIMS)
    assert modules <= linked


def test_the_guide_links_to_all_of_its_pages(pages: dict[Path, Page]) -> None:
    """Who opens the guide finds each page, the reference and the theory."""
    linked = {Path(urlsplit(link).path).stem for link in _named(pages, "/guide.html").links}
    written = {module.name for module in pkgutil.iter_modules(guide.__path__)}
    assert written | {"invariance_probe", "proofs", "controls"} <= linked


def test_without_pdoc_the_way_out_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The extra is named in one line, and nothing is written."""
    monkeypatch.setitem(sys.modules, "pdoc", None)
    assert re.search(r"needs pdoc; pip install -e '\.\[docs\]'", refused(["site", "s"], capsys))
    assert not list(tmp_path.iterdir())
    assert site.THEME.is_dir()


def test_the_tutorial_shows_the_numbers_of_the_demo() -> None:
    """Its table is that of the stored demo, digit by digit."""
    summary = pd.read_csv(ROOT / "analyses" / "results" / "demo" / "summary.csv")
    known = summary.query("metric == 'fvu' and transform == 'rotation'")
    known = known.set_index(["layer", "method"])[["mean", "low", "high"]]
    head, _, *rows = re.findall(r"^\|.*\|$", str(tutorial.__doc__), flags=re.MULTILINE)
    methods = re.findall(r"`(\w+)`", head)
    assert len(methods) == 4
    for row in rows:
        layer, *cells = [cell.strip(" `") for cell in row.strip("|").split("|")]
        for method, cell in zip(methods, cells, strict=True):
            mean, low, high = known.loc[(layer, method)]
            assert cell == f"{mean:.2f} ({low:.2f}–{high:.2f})"
    assert len(rows) == 6
