"""Rank correlations of points that come in cells and clusters, with bootstrap intervals."""

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from invariance_probe.statistics import CONFIDENCE, RESAMPLES

PAIRINGS = 9999
"""Random pairings tried in a test where all of them would be more."""
_DECIMALS = 10


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """Points to correlate.

    Attributes:
        x: One number a point.
        y: The other.
        cell: Number of the cell, from 0, that a point lies in.
        points: ``cells`` correlates the cells' means, ``within cells`` what is left when these are
            taken off; anything else the points themselves.
    """

    x: Float[np.ndarray, " point"]
    y: Float[np.ndarray, " point"]
    cell: Int[np.ndarray, " point"]
    points: str

    def take(self, index: Int[np.ndarray, " taken"]) -> "Cloud":
        """Take some of the points, some of them perhaps twice.

        Args:
            index: Their numbers.

        Returns:
            A cloud of these.
        """
        return replace(self, x=self.x[index], y=self.y[index], cell=self.cell[index])

    def correlated(self) -> tuple[np.ndarray, np.ndarray]:
        """Say what is correlated.

        Returns:
            The points, their means by cell, or what is left without these.
        """
        if self.points not in {"cells", "within cells"}:
            return self.x, self.y
        counts = np.bincount(self.cell)
        held = np.maximum(counts, 1)
        means = [np.bincount(self.cell, weights=each) / held for each in (self.x, self.y)]
        if self.points == "cells":
            return means[0][counts > 0], means[1][counts > 0]
        left = (self.x - means[0][self.cell], self.y - means[1][self.cell])
        # what rounding makes of equal values must not decide their order
        return left[0].round(_DECIMALS), left[1].round(_DECIMALS)

    def rho(self) -> float:
        """Compute Spearman's rank correlation.

        Returns:
            From -1 to 1; NaN for fewer than three points or a constant.
        """
        x, y = (stats.rankdata(each) for each in self.correlated())
        if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
            return math.nan
        return float(np.corrcoef(x, y)[0, 1])


def p_value(cloud: Cloud, seed: int) -> float:
    """Test whether a rank correlation is chance: a permutation test over pairings.

    Args:
        cloud: The points, which must be exchangeable.
        seed: Root of the pairings that are tried where all of them are too many.

    Returns:
        How often random pairings correlate as much either way, at least 2 / n! for n points; NaN
        where there is no correlation.
    """
    if math.isnan(cloud.rho()):
        return math.nan
    x, y = (stats.rankdata(each) - (len(each) + 1) / 2 for each in cloud.correlated())
    test = stats.permutation_test(
        (x,),
        lambda each, axis: (each * y).sum(axis),
        permutation_type="pairings",
        n_resamples=PAIRINGS,
        rng=np.random.default_rng(seed),
        vectorized=True,
    )
    return float(test.pvalue)


def interval(cloud: Cloud, clusters: Int[np.ndarray, " point"], seed: int) -> tuple[float, float]:
    """Resample clusters of points with all that they hold.

    Args:
        cloud: The points.
        clusters: Which cluster each belongs to.
        seed: Root of the bootstrap.

    Returns:
        Ends of the interval of `Cloud.rho`; NaN for fewer than three clusters.
    """
    members = [np.flatnonzero(clusters == one) for one in np.unique(clusters)]
    if len(members) < 3:
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    drawn = np.sort(rng.integers(len(members), size=(RESAMPLES, len(members))), axis=1)
    # of few clusters there are far fewer multisets than resamples
    kinds, inverse = np.unique(drawn, axis=0, return_inverse=True)
    found = np.array([
        cloud.take(np.concatenate([members[i] for i in each])).rho() for each in kinds
    ])[inverse.reshape(-1)]
    if not np.isfinite(found).any():
        return math.nan, math.nan
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(found, [tail, 1 - tail])
    return float(low), float(high)
