"""How far a filter is from meeting the linear criterion, and bounds on that from below.

U l = abs(det h) l(h .) is the filter that a linear layer seems to have used once its map is warped
back (`proofs.worlds.gaussians.warped_back`). U keeps the integral of abs(l), and multiplies the L2
norm by abs(det h)^(1/2).
"""

import math

import numpy as np

from proofs.worlds.gaussian_networks import probes
from proofs.worlds.gaussians import GaussianSum, warped_back
from proofs.worlds.plane_maps import Matrix, determinant

LONGEST_ORBIT = 64
"""Powers of h that are tried."""


def pointwise_defect(filter_: GaussianSum, h: Matrix) -> float:
    """How far U l is from l, point by point: 0 to rounding where they are equal.

    Args:
        filter_: l.
        h: invertible 2 x 2 matrix.

    Returns:
        max |U l - l| over probed points and the means, relative to the sum of absolute terms.
    """
    points = np.concatenate([probes(), filter_.means])
    seen = warped_back(filter_, h)
    scale = max(seen.absolute()(points).max(), filter_.absolute()(points).max())
    return float(np.abs(seen(points) - filter_(points)).max() / scale)


def defect(filter_: GaussianSum, h: Matrix) -> float:
    """How far U l is from l in L2, relative to l; exact to the root of rounding.

    Args:
        filter_: l, not 0.
        h: invertible 2 x 2 matrix.

    Returns:
        |U l - l| / |l|.
    """
    return (warped_back(filter_, h) - filter_).merged().norm() / filter_.norm()


def norm_bound(h: Matrix) -> float:
    """What a change of area alone forces: |U l - l| >= abs(|U l| - |l|).

    Args:
        h: invertible 2 x 2 matrix.

    Returns:
        abs(abs(det h)^(1/2) - 1), a lower bound on `defect` for every filter.
    """
    return abs(math.sqrt(abs(determinant(h))) - 1)


def orbit_bound(filter_: GaussianSum, h: Matrix) -> float:
    """What many steps force on one, for a map that keeps areas: |U^n l - l| <= n |U l - l|.

    Args:
        filter_: l, not 0.
        h: 2 x 2 matrix of determinant 1 or -1.

    Returns:
        The largest |U^n l - l| / (n |l|) over n = 2, 3, 4, 6, 8, ...: a lower bound on `defect`.
    """
    squared = filter_.inner(filter_)
    best, step, seen = 0.0, 0, filter_
    for n in (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, LONGEST_ORBIT):
        while step < n:
            seen, step = warped_back(seen, h), step + 1
        distance = math.sqrt(max(0.0, 2 * squared - 2 * seen.inner(filter_)))
        best = max(best, distance / n / math.sqrt(squared))
        if distance**2 >= squared:  # the overlap has died out; more steps only divide by more
            break
    return best
