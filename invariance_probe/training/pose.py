"""How well predicted motions undo those that were applied: the papers' pose statistics.

Convention:
    Motions and pull-backs are those of `invariance_probe.plane.coordinates`.
    The *predicted* pose is that of the motion which the network performs, so that full compensation
    has ``applied + predicted`` constant within each class (its sum is what is *left*). Angles are
    read from the polar factor of the linear part and sizes from its determinant, so that both add
    up exactly, for any affine prediction of positive determinant. Source: Finnveden, Jansson,
    Lindeberg (ICPR 2020), the section on MNIST and its supplement.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from invariance_probe.errors import InvalidInputError
from invariance_probe.plane import coordinates

_FULL_TURN = 360.0


def true_pull_backs(
    moves: Float[Tensor, "sample 3 3"], height: int, width: int
) -> Float[Tensor, "sample 3 3"]:
    """List the pull-backs that undo motions: what a perfect localizer predicts.

    Args:
        moves: Motions of the content, in centred pixels.
        height: Height of the images, in pixels.
        width: Width of the images, in pixels.

    Returns:
        Pull-backs in normalised coordinates, in the dtype of `moves`.
    """
    to_normalised = coordinates.normalised_from_centred(height, width).to(moves)
    return to_normalised @ moves @ to_normalised.inverse()


def performed_moves(
    pull_backs: Float[Tensor, "sample 3 3"], height: int, width: int
) -> Float[Tensor, "sample 3 3"]:
    """List how pull-backs move the content.

    Args:
        pull_backs: In normalised coordinates.
        height: Height of the images, in pixels.
        width: Width of the images, in pixels.

    Returns:
        Motions of the content in centred pixels, float64; NaN where a matrix has no inverse.
    """
    matrices = pull_backs.double()
    to_normalised = coordinates.normalised_from_centred(height, width).to(matrices)
    inverse, failed = torch.linalg.inv_ex(matrices)
    inverse = torch.where((failed != 0)[:, None, None], torch.nan, inverse)
    return to_normalised.inverse() @ inverse @ to_normalised


def poses_of(
    moves: Float[Tensor, "sample 3 3"], names: Sequence[str]
) -> Float[Tensor, "sample pose"]:
    """Read poses from motions.

    Args:
        moves: Motions of the content, in centred pixels.
        names: Which numbers: ``degrees`` (counter-clockwise, in (-180, 180]), ``log2_factor``,
            ``x``, ``y`` (pixels).

    Returns:
        A column for each name, float64.

    Raises:
        InvalidInputError: If a name is unknown.
    """
    m = moves.double()
    columns = []
    for name in names:
        if name == "degrees":
            sine, cosine = m[:, 0, 1] - m[:, 1, 0], m[:, 0, 0] + m[:, 1, 1]
            columns.append(torch.rad2deg(torch.atan2(sine, cosine)))
        elif name == "log2_factor":
            determinant = m[:, 0, 0] * m[:, 1, 1] - m[:, 0, 1] * m[:, 1, 0]
            columns.append(determinant.abs().log2() / 2)
        elif name in {"x", "y"}:
            columns.append(m[:, "xy".index(name), 2])
        else:
            raise InvalidInputError(
                f"pose {name!r} is unknown; choose from degrees, log2_factor, x, y"
            )
    return torch.stack(columns, dim=1) if columns else m.new_zeros(len(m), 0)


def predicted_poses(
    applied: Float[Tensor, "sample pose"],
    applied_moves: Float[Tensor, "sample 3 3"],
    pull_backs: Float[Tensor, "sample 3 3"],
    names: Sequence[str],
    *,
    height: int,
    width: int,
) -> Float[Tensor, "sample pose"]:
    """Read the poses that the network performed.

    Angles and sizes are those of the performed motion. Positions are the displacement of the
    content's centre from where it was put to where the network leaves it.

    Args:
        applied: The poses that were applied.
        applied_moves: The same as motions.
        pull_backs: What was predicted.
        names: What the numbers of a pose are.
        height: Height of the images, in pixels.
        width: Width of the images, in pixels.

    Returns:
        Poses, in float64, which `applied` plus makes what is left.
    """
    performed = performed_moves(pull_backs, height, width)
    predicted = poses_of(performed, names)
    left = poses_of(performed @ applied_moves.to(performed), names)
    for column, name in enumerate(names):
        if name in {"x", "y"}:
            predicted[:, column] = left[:, column] - applied[:, column].to(left)
    return predicted


@dataclass(frozen=True, kw_only=True)
class Line:
    """A straight line.

    Attributes:
        slope: Of compensated (minus predicted) against applied pose: 1 is full compensation.
        intercept: Compensated pose where none was applied.
    """

    slope: float
    intercept: float


def deming(x: Float[np.ndarray, " sample"], y: Float[np.ndarray, " sample"]) -> Line:
    """Fit a line by orthogonal regression (Deming, both coordinates equally uncertain).

    Args:
        x: Abscissae.
        y: Ordinates.

    Returns:
        The line of least squared distances; NaN where it is not determined, for fewer than two
        finite points or points of no preferred direction. A vertical line has an infinite slope.
    """
    kept = np.isfinite(x) & np.isfinite(y)
    if kept.sum() < 2:
        return Line(slope=float("nan"), intercept=float("nan"))
    x, y = x[kept].astype(float), y[kept].astype(float)
    sxx, syy = x.var(), y.var()
    sxy = float(((x - x.mean()) * (y - y.mean())).mean())
    gap = float(syy - sxx)
    root = float(np.hypot(gap, 2 * sxy))
    if root == 0:
        return Line(slope=float("nan"), intercept=float("nan"))
    # the form whose numerator and denominator do not cancel
    if gap < 0:
        slope = 2 * sxy / (root - gap)
    elif sxy != 0:
        slope = (gap + root) / (2 * sxy)
    else:
        return Line(slope=float("inf"), intercept=float("nan"))
    return Line(slope=slope, intercept=float(y.mean() - slope * x.mean()))


def within_class_spread(
    left: Float[np.ndarray, " sample"], classes: Int[np.ndarray, " sample"], *, circular: bool
) -> float:
    """Pool the standard deviation of what is left (applied + predicted pose) within each class.

    Args:
        left: What is left.
        classes: Class of each sample; each class may have a pose of its own.
        circular: Whether values are angles in degrees: deviations are then taken from the circular
            mean of a class, the short way round.

    Returns:
        Root of the summed squared deviations from class means over (samples less classes); NaN
        where no class has two finite samples.
    """
    deviations = deviations_within(left, classes, circular=circular)
    kept = np.isfinite(deviations)
    freedom = int(kept.sum()) - len(np.unique(classes[kept]))
    return float(np.sqrt((deviations[kept] ** 2).sum() / freedom)) if freedom > 0 else float("nan")


def deviations_within(
    left: Float[np.ndarray, " sample"], classes: Int[np.ndarray, " sample"], *, circular: bool
) -> Float[np.ndarray, " sample"]:
    """Subtract class means.

    Args:
        left: What is left.
        classes: Class of each sample.
        circular: Whether values are angles in degrees.

    Returns:
        Deviations, of angles the short way round; NaN where the value is not finite.
    """
    out = np.full(len(left), np.nan)
    finite = np.isfinite(left)
    for label in np.unique(classes[finite]):
        members = finite & (classes == label)
        values = left[members]
        if not circular:
            out[members] = values - values.mean()
            continue
        centre = np.degrees(np.angle(np.exp(1j * np.radians(values)).mean()))
        around = _short_way(values - centre)
        out[members] = around - around.mean()
    return out


def _short_way(degrees: np.ndarray) -> np.ndarray:
    turned: np.ndarray = (degrees + _FULL_TURN / 2) % _FULL_TURN - _FULL_TURN / 2
    return turned


def determinants(pull_backs: Float[Tensor, "sample 3 3"]) -> Float[Tensor, " sample"]:
    """List how many times the area of the image each pull-back reads.

    Args:
        pull_backs: In normalised coordinates.

    Returns:
        Determinants of the linear parts: above 1 the content shrinks, below 0 it is mirrored.
    """
    m = pull_backs
    return m[:, 0, 0] * m[:, 1, 1] - m[:, 0, 1] * m[:, 1, 0]


def out_of_frame(
    pull_backs: Float[Tensor, "sample 3 3"], height: int, width: int
) -> Float[Tensor, " sample"]:
    """List the shares of output positions that read from outside the image.

    Args:
        pull_backs: In normalised coordinates.
        height: Height of the images, in pixels.
        width: Width of the images, in pixels.

    Returns:
        Shares in [0, 1]; NaN where a matrix is not finite.
    """
    m = pull_backs.double()
    across, down = coordinates.cell_centres(width, m), coordinates.cell_centres(height, m)
    x, y = coordinates.mapped(m, across, down)
    share = (torch.maximum(x.abs(), y.abs()) > 1 + 1e-6).double().mean((1, 2))
    finite = torch.isfinite(m).all(-1).all(-1)
    return torch.where(finite, share, torch.nan)
