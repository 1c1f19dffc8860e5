"""From blocks to one HTML file."""

import base64
import hashlib
import json
from itertools import chain
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from invariance_probe import files
from invariance_probe.errors import InvalidInputError
from invariance_probe.report import inline_figures
from invariance_probe.report.blocks import Page

PAGE = Path(__file__).parent / "page"
"""Folder of the template and its parts."""
LARGEST_PAGE = 8_000_000
"""Bytes of a page."""
PLOTTING = ("vendored/d3.min.js", "vendored/plot.umd.min.js", "explorer.js")
"""What a page needs to let a reader choose: Observable Plot draws vectors in the page's colours and
prints, reads values under the pointer, calls no ``eval``, and is free (ISC), in 0.5 MB."""


def render(page: Page) -> str:
    """Write a page as HTML.

    Args:
        page: What to show.

    Returns:
        A whole document that refers to nothing outside itself.

    Raises:
        InvalidInputError: If it would be larger than `LARGEST_PAGE`.
    """
    loader = FileSystemLoader(PAGE)
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    explorers = [_as_data(section.explorer) for section in page.sections]
    script = _script(explored=any(explorers))
    firsts = [[each.figure for each in s.shorts if each.figure] for s in page.sections]
    drawings = [[*first, *s.figures] for first, s in zip(firsts, page.sections, strict=True)]
    # what a reader chooses from leaves that much less room for figures
    room = LARGEST_PAGE - _WORDS - len(script) - sum(map(len, explorers))
    budget = min(inline_figures.BUDGET, room)
    drawn = iter(inline_figures.markup(list(chain.from_iterable(drawings)), budget))
    figures = [[(Markup(next(drawn)), each.caption) for each in those] for those in drawings]
    claims = {item.id for section in page.sections for item in section.items}
    template = environment.get_template("page.html")
    text = template.render(
        page=page,
        figures=figures,
        firsts=[len(first) for first in firsts],
        explorers=[Markup(each) for each in explorers],
        claims=claims,
        script=Markup(script),
        policy=policy(script),
    )
    if (size := len(text.encode())) > LARGEST_PAGE:
        raise InvalidInputError(
            f"the page would take {size / 1e6:.1f} MB, more than {LARGEST_PAGE / 1e6:.0f}; name "
            "fewer folders"
        )
    return text


_WORDS = 600_000
"""Bytes of a page that are kept for words and tables."""


def _as_data(explorer: dict[str, Any]) -> str:
    """JSON that ends no element and begins none, whatever the texts in it hold."""
    if not explorer:
        return ""
    text = json.dumps(explorer, separators=(",", ":"), allow_nan=False)
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _script(*, explored: bool) -> str:
    """All that a page runs."""
    names = (*(PLOTTING if explored else ()), "page.js")
    return "\n;\n".join((PAGE / name).read_text(encoding="utf-8") for name in names)


def policy(script: str) -> str:
    """Say what a browser may do with a page: run one script, and fetch nothing.

    Args:
        script: Between the tags, to the letter.

    Returns:
        A Content-Security-Policy. Styles cannot be named one by one, as every line of a figure has
        its own; they can fetch nothing either.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def write(page: Page, out: Path) -> Path:
    """Write a page to a file, whole or not at all.

    Args:
        page: What to show.
        out: The file; an older page there is replaced.

    Returns:
        The file.

    Raises:
        InvalidInputError: If it is a folder or not an HTML file.
    """
    if out.is_dir() or out.suffix.lower() not in {".html", ".htm"}:
        raise InvalidInputError(
            f"output {str(out)!r} is not an HTML file; give a name such as a.html"
        )
    text = render(page)
    out.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(out, text)
    return out
