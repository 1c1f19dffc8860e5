"""What a page is made of, before it is HTML."""

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd


class Cell(NamedTuple):
    """One cell of a table.

    Attributes:
        text: What is shown.
        key: What is sorted by, if that is a number; else empty.
        answer: A word or two that stands above the text; empty if there is none.
        tone: Of the answer, as of an `Item`.
    """

    text: str
    key: str
    answer: str = ""
    tone: str = "open"


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table that a reader may sort.

    Attributes:
        title: What it shows.
        columns: Headings.
        rows: Cells by row.
        note: How to read it.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    @classmethod
    def of(cls, frame: pd.DataFrame, title: str, note: str = "", most: int = 200) -> "Grid":
        """Lay a frame out.

        Args:
            frame: What to show.
            title: What it shows.
            note: How to read it.
            most: Rows at most; that rows were left out is added to the note.

        Returns:
            The table, numbers to four significant digits.
        """
        rows = tuple(
            tuple(_cell(value) for value in row)
            for row in frame.head(most).itertuples(index=False, name=None)
        )
        if len(frame) > most:
            note = f"{note} The first {most} of {len(frame)} rows.".strip()
        columns = tuple(str(name).replace("_", " ") for name in frame.columns)
        return cls(title=title, columns=columns, rows=rows, note=note)


def _cell(value: object) -> Cell:
    """Show one value."""
    if isinstance(value, bool):
        return Cell("yes" if value else "no", "")
    if isinstance(value, int):
        return Cell(str(value), str(value))
    if isinstance(value, float):
        if math.isnan(value):
            return Cell("–", "")
        return Cell(f"{value:.4g}", repr(float(value)))
    return Cell("–" if pd.isna(value) else str(value), "")


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure as files hold it.

    Attributes:
        alt: What it says, in words, for those who cannot see it.
        caption: What it shows.
        svg: As vectors; empty if there are none.
        png: As pixels; empty if there are none.
        photographic: Whether pictures are in it, whose colours stay as they are in the dark.
    """

    alt: str
    caption: str
    svg: bytes = b""
    png: bytes = b""
    photographic: bool = False


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a page.

    Attributes:
        id: Name within the page, for links.
        title: Heading.
        kind: What it was made from, in a word or two.
        lead: Sentences under the heading.
        meaning: What it means for a network, a sentence each, written by rules.
        figures: Drawings.
        grids: Tables.
        about: Command, versions, machine and so on, by name.
        bears_on: Claims that the section's figures bear on, such as ``"P9"``.
        items: Entries with a heading, a badge and text, such as verdicts.
        shorts: What is said of it first, at the top of the page.
        explorer: What a reader may choose from, as `explorer.data` gives it; empty if nothing.
    """

    id: str
    title: str
    kind: str
    lead: tuple[str, ...] = ()
    meaning: tuple[str, ...] = ()
    figures: tuple[Drawing, ...] = ()
    grids: tuple[Grid, ...] = ()
    about: dict[str, str] = field(default_factory=dict)
    bears_on: tuple[str, ...] = ()
    items: tuple["Item", ...] = ()
    shorts: tuple["Short", ...] = ()
    explorer: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Short:
    """The answer of a section, as somebody reads it who has half a minute.

    Attributes:
        sentence: The answer.
        points: What it rests on, a sentence each.
        figure: One; None if words are enough.
        grids: Tables.
        badge: A verdict in a few words; empty if there is none.
        tone: Of the badge, as of an `Item`.
    """

    sentence: str
    points: tuple[str, ...] = ()
    figure: Drawing | None = None
    grids: tuple[Grid, ...] = ()
    badge: str = ""
    tone: str = "open"


@dataclass(frozen=True, kw_only=True)
class Item:
    """A statement with its verdict.

    Attributes:
        id: Name within the page, for links.
        title: Heading.
        badge: The verdict in a few words.
        tone: ``"yes"``, ``"no"``, or ``"open"``; how the badge is coloured.
        text: Sentences.
        points: What the verdict rests on, one line each.
        links: Places on the page that bear on it: name of the section, words.
        proof: Why it holds, if that is proven; folded away until asked for.
    """

    id: str
    title: str
    badge: str
    tone: str
    text: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    proof: str = ""


@dataclass(frozen=True, kw_only=True)
class Page:
    """A whole page.

    Attributes:
        title: Of the page.
        sections: Its parts, in order; what they mean is gathered at the top.
    """

    title: str
    sections: tuple[Section, ...]


def about(provenance: dict[str, object], command: str = "") -> dict[str, str]:
    """Say where a result came from.

    Args:
        provenance: What `machine.provenance` returned.
        command: What made it.

    Returns:
        Lines by name; only what is known.
    """
    versions = provenance.get("versions")
    dirty = " with uncommitted changes" if provenance.get("git_dirty") else ""
    commit = provenance.get("git_commit")
    lines = {
        "command": command,
        "date": str(provenance.get("date") or ""),
        "seconds": str(provenance.get("wall_time_s") or ""),
        "machine": str(provenance.get("gpu") or provenance.get("platform") or ""),
        "threads": str(provenance.get("threads") or ""),
        "versions": ", ".join(f"{k} {v}" for k, v in versions.items())
        if isinstance(versions, dict)
        else "",
        "commit": f"{commit}{dirty}" if commit else "",
    }
    return {name: text for name, text in lines.items() if text}
