"""One picture a claim: the smallest witness, or counterexample to its negative control."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from proofs.gallery import fields, filters, pixels, spectrum

PICTURES: Mapping[str, Callable[[], Figure]] = {
    "P1": pixels.border_breaks_covariance,
    "P2": fields.input_moved_back,
    "P3": fields.warp_found,
    "P4": fields.isotropic_and_oriented,
    "P5": filters.off_centre_and_off_by_one,
    "P6": filters.orbit_of_a_filter,
    "P7": filters.symmetric_filters,
    "P8": pixels.channels_swap,
    "P9": pixels.edge_no_warp_repairs,
    "P10": fields.window_shrinks,
    "P11": fields.innermost_tap,
    "P12": pixels.relative_orientation,
    "P13": spectrum.predicted_and_measured,
    "P14": pixels.centred_or_not,
    "P15": fields.steered_not_moved,
    "P16": pixels.blur_of_steps,
}
"""What draws the picture of each claim."""


def draw(ids: Sequence[str], folder: Path) -> list[Path]:
    """Draw the pictures of some claims.

    Args:
        ids: of the claims.
        folder: where the PNG files go; made if it is not there.

    Returns:
        The files.

    Raises:
        OSError: the folder cannot be written.
    """  # noqa: DOC502 - raised by pathlib
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for id_ in ids:
        picture = PICTURES[id_]
        path = folder / f"{id_.lower()}_{picture.__name__}.png"
        picture().savefig(path, dpi=110, bbox_inches="tight", facecolor="white")
        files.append(path)
    return files
