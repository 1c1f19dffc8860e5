"""Reads a page as a browser would, for tests."""

from html.parser import HTMLParser

from invariance_probe.report.html import PAGE, PLOTTING

VOID = {"meta", "img", "br", "link", "input", "hr", "use", "path"}


class Reader(HTMLParser):
    """Collects every start tag with its attributes, and the words outside styles and scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self._quiet = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self._quiet = tag in {"style", "script"}

    def handle_endtag(self, tag: str) -> None:
        self._quiet = self._quiet and tag not in {"style", "script"}

    def handle_data(self, data: str) -> None:
        if not self._quiet and data.strip():
            self.words.append(" ".join(data.split()))


def complaints(text: str) -> list[str]:
    """Whatever on a page refers outside it, lacks alternative text or is named twice."""
    read = Reader(text)
    out = []
    for tag, attributes in read.tags:
        for name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
            value = attributes.get(name, "")
            if value and not value.startswith(("#", "data:image/")):
                out.append(f"{tag} {name}={value[:60]}")
        if tag in {"link", "iframe", "object", "embed", "base"}:
            out.append(tag)
        if tag == "img" and not attributes.get("alt"):
            out.append("img without alternative text")
        if tag == "svg" and not (attributes.get("aria-label") and attributes.get("role") == "img"):
            out.append("svg without alternative text")
    # a library names namespaces and its own home in comments, and follows neither
    for name in PLOTTING:
        text = text.replace((PAGE / name).read_text(encoding="utf-8"), "")
    for word in ("http://", "https://", "@import"):
        if word in text:
            out.append(word)
    names = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
    out += [f"{name} twice" for name in sorted(set(names)) if names.count(name) > 1]
    links = [a["href"][1:] for _, a in read.tags if a.get("href", "").startswith("#")]
    out += [f"#{name} leads nowhere" for name in sorted(set(links) - set(names))]
    return out
