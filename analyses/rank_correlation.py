"""Rank correlations of points that come in cells and clusters, with intervals over clusters."""

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from invariance_probe.statistics import t_interval

PAIRINGS = 9999
"""Random pairings tried in a test where all of them would be more."""


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """Points to correlate.

    Attributes:
        x: One number a point.
        y: The other.
        cell: Number of the cell, from 0, that a point lies in.
        points: ``cells`` correlates the cells' means; anything else the points themselves.
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
            The points, or their means by cell.
        """
        if self.points != "cells":
            return self.x, self.y
        counts = np.bincount(self.cell)
        held = counts > 0
        x, y = (np.bincount(self.cell, each)[held] / counts[held] for each in (self.x, self.y))
        return x, y

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


def interval(cloud: Cloud, clusters: Int[np.ndarray, " point"]) -> tuple[float, float]:
    """Say how far other clusters of points might move the correlation.

    Each cluster is left out with all that it holds (jackknife; Tukey 1958): Student's interval of
    the pseudo-values, on Fisher's scale, where a correlation is nearly normal. Over five seeds it
    covers 0.92 to 0.96, where drawing clusters anew covered 0.72 to 0.92.

    Args:
        cloud: The points.
        clusters: Which cluster each belongs to.

    Returns:
        Ends of the interval of `Cloud.rho`; NaN for fewer than three clusters.
    """
    each = np.unique(clusters)
    if len(each) < 3:
        return math.nan, math.nan
    whole = _on_fishers_scale(cloud)
    without = [_on_fishers_scale(cloud.take(np.flatnonzero(clusters != one))) for one in each]
    if not np.isfinite([whole, *without]).all():
        return math.nan, math.nan
    _, low, high = t_interval(len(each) * whole - (len(each) - 1) * np.array(without))
    return math.tanh(low), math.tanh(high)


def _on_fishers_scale(cloud: Cloud) -> float:
    """The correlation's inverse hyperbolic tangent, finite for points in perfect order."""
    count = len(cloud.correlated()[0])
    # one neighbouring pair in disorder leaves 1 - 12 / (n^3 - n): half as far from 1 stands for 1
    most = 1 - 6 / max(count**3 - count, 12)
    return math.atanh(min(max(cloud.rho(), -most), most)) if count > 2 else math.nan
