"""How well predicted motions undo those that were applied: the papers' pose statistics.

Convention:
    Motions and pull-backs are those of `invariance_probe.plane.coordinates`.
    The *predicted* pose is that of the motion which the network performs, so that full compensation
    has ``applied + predicted`` constant within each class (its sum is what is *left*). Source:
    Finnveden, Jansson, Lindeberg (ICPR 2020), the section on MNIST and its supplement.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from invariance_probe.plane import motions

_FULL_TURN = 360.0


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
    performed = motions.performed_moves(pull_backs, height, width)
    predicted = motions.poses_of(performed, names)
    left = motions.poses_of(performed @ applied_moves.to(performed), names)
    for column, name in enumerate(names):
        if name in {"x", "y"}:
            predicted[:, column] = left[:, column] - applied[:, column].to(left)
    return predicted


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
