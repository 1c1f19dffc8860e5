"""From blocks to one HTML file."""

import base64
import hashlib
from itertools import chain
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from invariance_probe import files
from invariance_probe.errors import InvalidInputError
from invariance_probe.report import inline_figures
from invariance_probe.report.blocks import Page

PAGE = Path(__file__).parent / "page"
"""Folder of the template and its parts."""
LARGEST_PAGE = 5_000_000
"""Bytes of a page."""


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
    drawn = inline_figures.markup(list(chain.from_iterable(s.figures for s in page.sections)))
    left = iter(drawn)
    figures = [
        [(Markup(next(left)), each.caption) for each in section.figures]
        for section in page.sections
    ]
    claims = {item.id for section in page.sections for item in section.items}
    template = environment.get_template("page.html")
    script = (PAGE / "page.js").read_text(encoding="utf-8")
    text = template.render(
        page=page, figures=figures, claims=claims, script=Markup(script), policy=policy(script)
    )
    if (size := len(text.encode())) > LARGEST_PAGE:
        raise InvalidInputError(
            f"the page would take {size / 1e6:.1f} MB, more than {LARGEST_PAGE / 1e6:.0f}; name "
            "fewer folders"
        )
    return text


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
