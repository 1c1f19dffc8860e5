"""Random numbers by purpose, and bootstrap intervals over images."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.stats import permutation_test

RESAMPLES = 2000
"""Bootstrap resamples of the images behind each interval."""
SIGN_FLIPS = 9999
"""Random signs tried in a test where all of them would be more."""
CONFIDENCE = 0.95
"""Coverage of the intervals (percentile bootstrap; Efron 1979)."""
_PURPOSES = {"order": 1, "bootstrap": 2, "sign flips": 3}


def generator(seed: int, purpose: str) -> np.random.Generator:
    """Derive the random numbers of one purpose from the root seed.

    Args:
        seed: Root seed.
        purpose: ``"order"``, ``"bootstrap"`` or ``"sign flips"``.

    Returns:
        A generator of its own.
    """
    return np.random.default_rng([seed, _PURPOSES[purpose]])


def by_image(table: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Lay out values with a row a group and a column an image.

    Several values of one image in one group are repeated measures of it, and are averaged.

    Args:
        table: A tidy table with columns ``image`` and ``value``.
        keys: Columns that make a group.

    Returns:
        The groups that occur, in their natural order.
    """
    keys = list(keys)
    wide = table.pivot_table(
        index=keys,
        columns="image",
        values="value",
        aggfunc="mean",
        observed=True,
        sort=True,
        dropna=False,
    )
    # pivoting keeps combinations that never occurred
    occurring = table.groupby(keys, observed=True, dropna=False).size().index
    return wide.loc[wide.index.isin(occurring)]


def mean_interval(
    values: Float[np.ndarray, "group image"], seed: int
) -> tuple[Float[np.ndarray, " group"], Float[np.ndarray, " group"], Float[np.ndarray, " group"]]:
    """Average over images, with percentile intervals of the mean.

    Args:
        values: One value an image, NaN where there is none.
        seed: Root seed; all groups see the same resamples.

    Returns:
        Means and the ends of the intervals; the ends are NaN for fewer than two images.
    """
    known = np.isfinite(values)
    totals = np.where(known, values, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = totals.sum(1) / known.sum(1)
        drawn = _draws(values.shape[1], seed)
        means = (totals @ drawn.T) / (known @ drawn.T)
    low, high = _ends(means, known.sum(1))
    return mean, low, high


def statistic_interval(
    values: Float[np.ndarray, "group image"],
    statistic: Callable[[Float[np.ndarray, "group resample"]], Float[np.ndarray, "part resample"]],
    seed: int,
) -> tuple[Float[np.ndarray, " part"], Float[np.ndarray, " part"], Float[np.ndarray, " part"]]:
    """Compute something from means over images, with percentile intervals.

    Args:
        values: One value an image; images with a NaN in any group are left out.
        statistic: From the groups' means to what is asked for, many resamples at a time.
        seed: Root seed.

    Returns:
        The statistic of the means over all images, and the ends of its intervals.
    """
    whole = values[:, np.isfinite(values).all(0)]
    images = whole.shape[1]
    if images == 0:
        blank = np.full(len(statistic(np.full((len(values), 1), np.nan))), np.nan)
        return blank, blank, blank
    drawn = _draws(images, seed) / images
    found = statistic(whole.mean(1, keepdims=True))[:, 0]
    low, high = _ends(statistic(whole @ drawn.T), np.full(len(found), images))
    return found, low, high


def gain_p_value(gains: Float[np.ndarray, " image"], seed: int) -> float:
    """Test whether a gain, one value an image, is chance: a sign-flip permutation test of its mean.

    Args:
        gains: What each image gained; NaN is left out.
        seed: Root seed, for more images than can be permuted exhaustively.

    Returns:
        How often random signs give as much: at least 2^-n for n images. NaN without any.
    """
    known = gains[np.isfinite(gains)]
    if len(known) == 0:
        return math.nan
    if len(known) == 1 or not known.any():
        return 1.0
    test = permutation_test(
        (known,),
        np.mean,
        permutation_type="samples",
        alternative="greater",
        n_resamples=SIGN_FLIPS,
        rng=generator(seed, "sign flips"),
        axis=0,
        vectorized=True,
    )
    return float(test.pvalue)


def _draws(images: int, seed: int) -> Int[np.ndarray, "resample image"]:
    """How often each image is in each resample."""
    chances = np.full(images, 1 / images)
    return generator(seed, "bootstrap").multinomial(images, chances, size=RESAMPLES)


def _ends(
    resampled: Float[np.ndarray, "group resample"], counts: Int[np.ndarray, " group"]
) -> tuple[Float[np.ndarray, " group"], Float[np.ndarray, " group"]]:
    tail = (1 - CONFIDENCE) / 2
    ends = np.full((2, len(resampled)), np.nan)
    enough: Bool[np.ndarray, " group"] = (counts >= 2) & np.isfinite(resampled).any(1)
    if enough.any():
        ends[:, enough] = np.nanquantile(resampled[enough], [tail, 1 - tail], axis=1)
    return ends[0], ends[1]


def holm(p_values: Float[np.ndarray, " test"]) -> Float[np.ndarray, " test"]:
    """Correct p-values for their number: Holm's step-down method.

    Rejecting where the result is at most alpha keeps the chance of any false rejection at alpha,
    whatever the tests depend on. Source: Holm, "A simple sequentially rejective multiple test
    procedure" (1979).

    Args:
        p_values: One a test; NaN is no test and stays NaN.

    Returns:
        Adjusted p-values, in the same order.
    """
    out = np.full(len(p_values), np.nan)
    known = np.flatnonzero(np.isfinite(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    out[order] = np.minimum(1, np.maximum.accumulate(factors * p_values[order]))
    return out
