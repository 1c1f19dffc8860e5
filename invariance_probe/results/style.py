"""One style for every figure: colours, labels, captions, files."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from invariance_probe.results.methods import METHODS, warp_and_kind
from invariance_probe.results.result import ProbeResult
from invariance_probe.statistics import FEWEST, interval_words

_WARPS = {
    "identity": ("#767676", "no warp"),
    "oracle": ("#E69F00", "oracle warp"),
    "affine": ("#0072B2", "best affine warp"),
    "joint": ("#56B4E9", "warp and mixing in turns"),
    "any-warp": ("#000000", "any warp (certified bound)"),
    "floor": ("#009E73", "interpolation floor"),
    "unrelated": ("#CC79A7", "unrelated images (chance)"),
}
_KINDS = {
    "": ("-", ""),
    "permutation": ("--", ", channels permuted"),
    "orthogonal": ("-.", ", channels turned"),
    "linear": (":", ", channels mixed"),
}
METHOD_COLOURS = {method: _WARPS[warp_and_kind(method)[0]][0] for method in METHODS}
"""One colour a warp in every figure: Okabe and Ito's palette, safe for colour-blind readers."""
METHOD_LINES = {method: _KINDS[warp_and_kind(method)[1]][0] for method in METHODS}
"""One line style a kind of mixing."""
METHOD_LABELS = {
    method: _WARPS[warp_and_kind(method)[0]][1] + _KINDS[warp_and_kind(method)[1]][1]
    for method in METHODS
}
AXIS_LABELS = {
    "rotation": "rotation of the input (degrees)",
    "scaling": "scaling of the input (factor)",
    "shear": "horizontal shear of the input",
    "translation": "shift of the input (pixels)",
    "reflection": "axis of the reflection (degrees)",
    "affine": "transform (number)",
}
RESIDUAL = "fraction of variance unexplained"


def caption(result: ProbeResult, intervals: str = "ribbons") -> str:
    """Say what a figure shows.

    Args:
        result: A probe's result.
        intervals: How its intervals are drawn.

    Returns:
        Model, number of images, what the intervals are.
    """
    images = len(result.config["images"])
    where = f"{intervals}: " if images >= FEWEST else ""
    said = f"{images} image{'s' if images > 1 else ''}; {where}{interval_words(images)}"
    return f"{result.config['model']}, {said}"


def save(figure: Figure, stem: Path) -> None:
    """Write a figure as PNG and SVG.

    Args:
        figure: What to write.
        stem: Path without suffix.
    """
    # without date and random identifiers the same figure gives the same file
    with mpl.rc_context({"svg.hashsalt": stem.name}):
        figure.savefig(stem.with_suffix(".png"), dpi=150, bbox_inches="tight")
        figure.savefig(stem.with_suffix(".svg"), bbox_inches="tight", metadata={"Date": None})
