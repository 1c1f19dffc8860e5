"""The site: guide, reference and claims as pages of HTML, made by pdoc."""

from pathlib import Path

from invariance_probe.errors import InvalidInputError

THEME = Path(__file__).parent / "theme"
PAGES = (
    "invariance_probe",
    "invariance_probe.guide",
    "invariance_probe.controls",
    "invariance_probe.operators",
    "invariance_probe.training",
    "invariance_probe.results.tables",
    "proofs",
    # what these rooms show stands on their own pages; of the proofs, claims are to be read
    r"!invariance_probe\.(controls|operators|training)\..*",
    r"!proofs\.(?!claims).*",
)
"""Modules with all that is below them, and those that are left out, as pdoc reads them."""


def build(out: Path) -> Path:
    """Make the site.

    Args:
        out: Folder for the pages; older pages in it are replaced.

    Returns:
        The first page.

    Raises:
        InvalidInputError: If pdoc is not installed.
    """
    try:
        import pdoc  # of the extra `docs`, which no other command needs
    except ModuleNotFoundError as error:
        raise InvalidInputError("the site needs pdoc; pip install -e '.[docs]'") from error
    pdoc.render.configure(
        docformat="google", template_directory=THEME, footer_text="invariance-probe"
    )
    pdoc.pdoc(*PAGES, output_directory=out)
    return out / "index.html"
