"""The command ``report``."""

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated

import tyro


@dataclass(frozen=True, kw_only=True)
class ReportCommand:
    """Make one HTML page from the run folders of probes and trainings."""

    folders: Annotated[
        tuple[Path, ...],
        tyro.conf.Positional,
        tyro.conf.arg(help="Result folders, or folders of such.", metavar="DIR [DIR ...]"),
    ]
    out: Annotated[Path, tyro.conf.arg(help="The page; an older one is replaced.")] = Path(
        "report.html"
    )

    def run(self) -> None:
        """Read, write, and say where."""
        from invariance_probe.report import find, write  # only this command needs the templates

        pages = self.pages()
        path = write(pages.page(find(self.folders, pages.SIGNS)), self.out)
        print(f"Page: {path} ({path.stat().st_size / 1e6:.1f} MB)")

    def pages(self) -> ModuleType:
        """Import what tells result folders and puts them on a page.

        Returns:
            A module with ``SIGNS`` and ``page``.
        """
        from invariance_probe import report

        return report
