"""Figures inside a page: vectors without what a page does not need, or pixels where those are less.

Every figure is a part of the page: nothing is fetched.
"""

import base64
import io
import re
from collections.abc import Sequence
from html import escape
from xml.etree import ElementTree

from PIL import Image

from invariance_probe.errors import InvalidInputError
from invariance_probe.report.blocks import Drawing

LARGEST_SVG = 220_000
"""Bytes of vectors, beyond which pixels are taken instead where there are any."""
LARGEST_PNG = 120_000
"""Bytes of a PNG, beyond which its pixels are compressed with loss."""
LARGEST_SCALE = 1.6
"""Pixels a point, beyond which a small figure is not blown up."""
WIDEST = 1600
"""Pixels across that a compressed figure keeps."""
QUALITY = 82
"""Of WebP, 0 to 100: no visible ringing about thin lines."""
BUDGET = 4_200_000
"""Bytes of all figures together: the page stays under 5 MB."""

_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_DRAWN = frozenset({"d", "x", "y", "points", "width", "height"})
_LEFT_OUT = frozenset({"metadata", "script", "style", "foreignObject", "title", "desc"})


def markup(drawings: Sequence[Drawing], budget: int = BUDGET) -> list[str]:
    """Write figures as HTML, all of them within a number of bytes.

    Args:
        drawings: The figures.
        budget: Bytes of all together.

    Returns:
        An ``svg`` or an ``img`` element for each, with its alternative text.

    Raises:
        InvalidInputError: If they are too many.
    """
    out = [_best(each, f"f{number}") for number, each in enumerate(drawings)]
    # the largest vectors give way to pixels until all fits
    order = sorted(range(len(out)), key=lambda i: len(out[i]), reverse=True)
    for i in order:
        if sum(map(len, out)) <= budget:
            break
        if drawings[i].png:
            out[i] = min(out[i], pixels(drawings[i], WIDEST // 2), key=len)
    total = sum(map(len, out))
    if total > budget:
        raise InvalidInputError(
            f"{len(out)} figures take {total / 1e6:.1f} MB, and a page at most "
            f"{budget / 1e6:.1f}; name fewer folders"
        )
    return out


def _best(drawing: Drawing, prefix: str) -> str:
    """Vectors unless they are broken or large."""
    drawn = vectors(drawing, prefix) if drawing.svg else ""
    if drawn and (len(drawn) <= LARGEST_SVG or not drawing.png):
        return drawn
    if drawing.png:
        shot = pixels(drawing)
        return shot if not drawn else min(drawn, shot, key=len)
    return f'<p class="missing">{escape(drawing.alt)}</p>'


def vectors(drawing: Drawing, prefix: str) -> str:
    """Write the vectors of a figure as an element of a page.

    Names within it are made unique, coordinates rounded to a hundredth of a point, and whatever
    could run or refer outside is left out.

    Args:
        drawing: A figure with vectors.
        prefix: Of all names within it.

    Returns:
        An ``svg`` element; empty if the vectors cannot be read.
    """
    try:
        root = ElementTree.fromstring(drawing.svg)
    except ElementTree.ParseError:
        return ""
    sides = [re.match(r"[\d.]+", root.get(name, "")) for name in ("width", "height")]
    box = root.get("viewBox")
    if box is None and all(sides):
        box = "0 0 " + " ".join(side.group() for side in sides if side)
    if box is None:
        return ""
    _clean(root, prefix)
    root.attrib.clear()
    root.set("viewBox", box)
    root.set("style", f"max-width:{LARGEST_SCALE * float(box.split()[2]):.0f}px")
    root.set("role", "img")
    root.set("aria-label", drawing.alt)
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)


def _clean(element: ElementTree.Element, prefix: str) -> None:
    """Make an element and all in it part of a page."""
    element.tag = element.tag.rpartition("}")[2]
    for name, value in list(element.attrib.items()):
        del element.attrib[name]
        short = name.rpartition("}")[2]
        if short.lower().startswith("on") or short in {"space", "type"}:
            continue
        if short == "id":
            # names of groups serve nobody here, and the same image twice has one name
            if element.tag not in {"g", "use", "image"}:
                element.set("id", f"{prefix}-{value}")
            continue
        if short == "href":
            if value.startswith("#"):
                element.set("href", f"#{prefix}-{value[1:]}")
            elif value.startswith("data:image/"):
                element.set("href", "".join(value.split()))
            continue
        text = _REFERENCE.sub(rf"url(#{prefix}-\1)", value)
        if "url(" in text and "url(#" not in text:
            continue
        if short in _DRAWN:
            text = _NUMBER.sub(_rounded, text)
        element.set(short, " ".join(text.split()))
    for child in list(element):
        if not isinstance(child.tag, str) or child.tag.rpartition("}")[2] in _LEFT_OUT:
            element.remove(child)
            continue
        _clean(child, prefix)
    element.text = (element.text or "").strip()
    element.tail = None


def _rounded(match: re.Match[str]) -> str:
    return f"{float(match.group()):.2f}".rstrip("0").rstrip(".")


def pixels(drawing: Drawing, widest: int = WIDEST) -> str:
    """Write the pixels of a figure as an element of a page.

    Args:
        drawing: A figure with pixels.
        widest: Pixels across at most, where they are compressed.

    Returns:
        An ``img`` element.

    Raises:
        InvalidInputError: If the image cannot be read.
    """
    kind, content = "png", drawing.png
    try:
        with Image.open(io.BytesIO(content)) as opened:
            width, height = opened.size
            if len(content) > LARGEST_PNG or width > widest:
                image = opened.convert("RGB")
                if width > widest:
                    height = round(height * widest / width)
                    width = widest
                    image = image.resize((width, height), Image.Resampling.LANCZOS)
                stream = io.BytesIO()
                image.save(stream, "WEBP", quality=QUALITY)
                kind, content = "webp", stream.getvalue()
    except OSError as error:
        raise InvalidInputError(
            f"a figure cannot be read ({error}); remove its file or draw it again"
        ) from error
    coded = base64.b64encode(content).decode("ascii")
    return (
        f'<img src="data:image/{kind};base64,{coded}" width="{width}" height="{height}" '
        f'alt="{escape(drawing.alt)}">'
    )
