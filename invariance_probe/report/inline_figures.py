"""Figures inside a page: vectors without what a page does not need, or pixels where those are less.

Every figure is a part of the page: nothing is fetched.
"""

import base64
import io
import math
import re
from collections.abc import Sequence
from html import escape
from xml.etree import ElementTree

from PIL import Image

from invariance_probe.errors import InvalidInputError
from invariance_probe.report.blocks import Drawing

LARGEST_SVG = 400_000
"""Bytes of vectors, beyond which pixels are taken instead where there are any."""
LARGEST_PNG = 120_000
"""Bytes of a PNG, beyond which its pixels are compressed with loss."""
LARGEST_SCALE = 1.6
"""Pixels a point, beyond which a small figure is not blown up."""
WIDEST = 1600
"""Pixels across that a compressed figure keeps."""
QUALITY = 82
"""Of WebP, 0 to 100: no visible ringing about thin lines."""
BUDGET = 6_000_000
"""Bytes of all figures together: the page stays under 8 MB."""

_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_TRANSLATED = re.compile(r"translate\([^)]*\)")
_REFERENCE = re.compile(r"url\(#([\w.-]+)\)")
_SVG, _XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
_DRAWN = frozenset({"d", "x", "y", "points", "width", "height"})
# what matplotlib draws with; whatever else a file holds has no business on a page
_ELEMENTS = frozenset({"g", "defs", "path", "use", "clipPath", "rect", "image"})
_ATTRIBUTES = _DRAWN | {"transform", "clip-path"}
_STYLES = frozenset({"fill", "stroke", "opacity", "fill-opacity", "stroke-opacity"})
_STYLES |= {
    f"stroke-{each}" for each in ("width", "linejoin", "linecap", "dasharray", "dashoffset")
}
_PLAIN = re.compile(r"[\w\s.,#%()+-]*")
"""Values: numbers, colours, paths, calls. Nothing quoted or escaped, no address."""
_PIXELS = re.compile(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=]+")
_THEMED = {"#ffffff": "var(--ground)", "#000000": "currentColor", "#262626": "currentColor"}
"""Colours of paper and ink, as the style of figures has them: the page's own, light or dark."""
_DEEPEST = 50
"""Levels of groups; matplotlib has eight."""


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

    Elements, attributes and styles that are known to draw are taken over, by namespace and letter;
    nothing else is. Names are numbered, and so unique and short (a page of figures refers to
    glyphs some ten thousand times); coordinates are rounded to a hundredth of a point.

    Args:
        drawing: A figure with vectors.
        prefix: Of all names within it.

    Returns:
        An ``svg`` element; empty if the vectors cannot be read.
    """
    try:
        given = ElementTree.fromstring(drawing.svg)
        sides = [re.match(r"[\d.]+", given.get(name, "")) for name in ("width", "height")]
        box = given.get("viewBox") or "0 0 " + " ".join(side.group() for side in sides if side)
        numbers = [float(number) for number in box.split()]
    except (ElementTree.ParseError, ValueError, LookupError):  # LookupError: an unknown encoding
        return ""
    if given.tag != f"{_SVG}svg" or len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        return ""
    root = _taken_over(given, _Names(prefix), 0)
    root.attrib = {
        "viewBox": " ".join(f"{number:g}" for number in numbers),
        "style": f"max-width:{LARGEST_SCALE * numbers[2]:.0f}px",
        "role": "img",
        "aria-label": drawing.alt,
    }
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)


class _Names:
    """New names within a figure for those of its file, the same for the same."""

    def __init__(self, prefix: str) -> None:
        self._prefix, self._numbers = prefix, dict[str, int]()

    def __getitem__(self, name: str) -> str:
        return f"{self._prefix}-{self._numbers.setdefault(name, len(self._numbers))}"

    def referring(self, value: str) -> str:
        """Put new names into a value's references."""
        return _REFERENCE.sub(lambda found: f"url(#{self[found[1]]})", value)


def _taken_over(given: ElementTree.Element, names: _Names, level: int) -> ElementTree.Element:
    """Draw an element, and all in it, anew."""
    kind = given.tag.removeprefix(_SVG)
    out = ElementTree.Element(kind)
    for name, value in given.attrib.items():
        text = " ".join(value.split())
        if name == "id" and kind in {"path", "rect", "clipPath"} and re.fullmatch(r"[\w.-]+", text):
            # names of groups serve nobody, but for references that multiply at each level
            out.set("id", names[text])
        elif name in {"href", f"{_XLINK}href"}:
            if kind == "use" and re.fullmatch(r"#[\w.-]+", text):
                out.set("href", f"#{names[text[1:]]}")
            elif kind == "image" and _PIXELS.fullmatch(joined := text.replace(" ", "")):
                out.set("href", joined)
        elif name == "style":
            out.set("style", _styles(text, names))
        elif name in _ATTRIBUTES and _is_plain(text):
            if name in _DRAWN:
                text = _NUMBER.sub(_rounded, text)
            # factors of a scale may be small numbers
            text = _TRANSLATED.sub(lambda found: _NUMBER.sub(_rounded, found.group()), text)
            out.set(name, names.referring(text))
    for child in given:
        if (
            level < _DEEPEST
            and isinstance(child.tag, str)
            and child.tag.startswith(_SVG)
            and child.tag.removeprefix(_SVG) in _ELEMENTS
        ):
            drawn = _taken_over(child, names, level + 1)
            # a group that says nothing of what is in it is in the way
            out.extend([drawn] if drawn.tag != "g" or drawn.attrib else list(drawn))
    return out


def _styles(text: str, names: _Names) -> str:
    kept = []
    for declared in text.split(";"):
        name, _, value = (part.strip() for part in declared.partition(":"))
        if name in _STYLES and _is_plain(value):
            value = _THEMED.get(value.lower(), value)
            kept.append(f"{name}:{names.referring(value)}")
    return ";".join(kept)


def _is_plain(value: str) -> bool:
    """Whether a value is one that draws, and refers to nothing but what is beside it."""
    return bool(_PLAIN.fullmatch(value)) and "url" not in _REFERENCE.sub("", value).lower()


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
        with Image.open(io.BytesIO(content), formats=["PNG"]) as opened:
            width, height = opened.size
            if len(content) > LARGEST_PNG or width > widest:
                image = opened.convert("RGBA")
                if width > widest:
                    height = round(height * widest / width)
                    width = widest
                    image = image.resize((width, height), Image.Resampling.LANCZOS)
                stream = io.BytesIO()
                image.save(stream, "WEBP", quality=QUALITY)
                kind, content = "webp", stream.getvalue()
    except Exception as error:  # whatever Pillow makes of a damaged or an endless image
        raise InvalidInputError(
            f"a figure cannot be read ({error}); remove its file or draw it again"
        ) from error
    coded = base64.b64encode(content).decode("ascii")
    # ink on paper turns into chalk on a board in the dark
    kinds = "" if drawing.photographic else ' class="ink"'
    return (
        f'<img{kinds} src="data:image/{kind};base64,{coded}" width="{width}" height="{height}" '
        f'decoding="async" '
        f'alt="{escape(drawing.alt)}">'
    )
