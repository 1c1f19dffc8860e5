"""Pictures of filters, and of what a warp makes of them."""

import numpy as np
from matplotlib.figure import Figure

from proofs.gallery.panels import Panel, figure, of_plane
from proofs.worlds import defects, plane_maps
from proofs.worlds.gaussians import GaussianSum, gaussian, total, warped_back
from proofs.worlds.plane_maps import Matrix, Vector


def seen_row(filter_: GaussianSum, h: Matrix, b: Vector, name: str) -> list[Panel]:
    """A filter, the filter it seems to be after the warp, and the difference.

    Args:
        filter_: l.
        h: linear map.
        b: shift of the warp.
        name: what the filter is.

    Returns:
        Three panels.
    """
    seen = warped_back(filter_, h, b)
    return [
        of_plane(filter_, name, 1.0),
        of_plane(seen, "as it seems once the map is warped back", 1.0),
        of_plane(lambda p: seen(p) - filter_(p), "difference", 1.0),
    ]


def off_centre_and_off_by_one() -> Figure:
    """P5: what meets the criterion, and what barely does not.

    Returns:
        The picture.
    """
    h, centre = plane_maps.rotation(60), np.array([1.2, 0.6])
    isotropic = (gaussian(1.0, (0, 0), 1.0) - gaussian(0.9, (0, 0), 0.3)).shifted(centre)
    spoilt = isotropic + gaussian(0.4, (2.2, 0.6), 0.1)
    b = centre - h @ centre
    return figure(
        "P5. Rotation by 60 degrees: an isotropic filter meets the criterion about its own "
        "centre (the warp has a shift b); one Gaussian too many, and no warp aligns it.",
        [
            seen_row(isotropic, h, b, "isotropic about a point off the origin"),
            seen_row(spoilt, h, b, "one Gaussian too many"),
        ],
    )[0]


def orbit_of_a_filter() -> Figure:
    """P6: what repeated warps make of a filter.

    Returns:
        The picture.
    """
    filter_ = gaussian(1.0, (0, 0), 0.5) - gaussian(0.6, (0.8, 0.3), 0.3)
    rows = []
    for name, h in (
        ("scaling by 1.4", plane_maps.scaling(1.4)),
        ("shear by 0.7", plane_maps.shear(0.7)),
        ("rotation by 45 degrees", plane_maps.rotation(45)),
    ):
        row, seen = [], filter_
        for n in range(5):
            title = f"{name}: l" if n == 0 else f"U^{n} l"
            row.append(of_plane(seen, title))
            seen = warped_back(seen, h)
        rows.append(row)
    return figure(
        "P6. A filter that met the criterion would stay as it is in every row. Scaling shrinks "
        "it, shear smears it out, each to something with no room left; only a rotation returns.",
        rows,
    )[0]


def symmetric_filters() -> Figure:
    """P7: filters of increasing symmetry, and the angles that they survive.

    Returns:
        The picture.
    """
    blob = gaussian(1.0, (1.5, 0.3), np.diag([0.5, 0.1]))
    angles = (0, 180, 120, 90, 30, 17)
    rows = []
    for fold in (1, 2, 4):
        filter_ = total([blob.moved(g) for g in plane_maps.cyclic_group(fold)])
        rows.append([(filter_, f"{fold}-fold")])
    rows.append([(gaussian(1.0, (0, 0), 1.5) - gaussian(1.0, (0, 0), 0.4), "isotropic")])
    panels = []
    for ((filter_, name),) in rows:
        row = []
        for angle in angles:
            h = plane_maps.rotation(angle)
            missed = defects.pointwise_defect(filter_, h)
            verdict = "same" if missed < 1e-12 else f"off by {missed:.2f}"
            title = name if angle == 0 else f"turned by {angle}: {verdict}"
            row.append(of_plane(filter_.moved(h), title))
        panels.append(row)
    return figure(
        "P7. A filter meets the criterion for a rotation exactly if the rotation leaves it as it "
        "is: 2-fold for 180 degrees, 4-fold for 90, isotropic for any angle.",
        panels,
    )[0]
