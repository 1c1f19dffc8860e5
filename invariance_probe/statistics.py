"""Random numbers by purpose, and what numbers of few images or seeds say: intervals and a test.

Images are the sampling unit of a probe (several angles of one image are repeated measures of it),
seeds that of trainings.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from scipy import stats

RESAMPLES = 2000
"""Bootstrap resamples of the images behind each interval."""
SIGN_FLIPS = 9999
"""Random signs tried in a test where all of them would be more."""
CONFIDENCE = 0.95
"""Coverage that every interval is meant to have."""

Purpose = Literal["order", "bootstrap", "sign flips", "poses", "clutter", "dropout", "weights"]
"""What randomness is for: the first three in a probe; the order too, and the others, in a training.

Each has numbers of its own, so that one more draw for one leaves all others as they were.
"""
_PURPOSES: dict[Purpose, int] = {
    "order": 1,
    "bootstrap": 2,
    "sign flips": 3,
    # A training draws neither of the above two, so their numbers may come again; other ones would
    # change what every stored run was made of.
    "poses": 2,
    "clutter": 3,
    "dropout": 4,
    "weights": 5,
}


def numpy_generator(seed: int, purpose: Purpose, number: int = 0) -> np.random.Generator:
    """Derive the random numbers of one purpose from a root seed.

    Args:
        seed: Root seed, 0 or more.
        purpose: What they are for.
        number: Which of several, such as the step or epoch.

    Returns:
        A generator of its own.
    """
    return np.random.default_rng(_sequence(seed, purpose, number))


def torch_generator(seed: int, purpose: Purpose, number: int = 0) -> torch.Generator:
    """Derive the random numbers of one purpose from a root seed, for what torch draws.

    Args:
        seed: Root seed, 0 or more.
        purpose: What they are for.
        number: Which of several, such as the step or epoch.

    Returns:
        A generator of its own, on the CPU whatever the device, so that all draw the same.
    """
    return torch.Generator().manual_seed(torch_seed(seed, purpose, number))


def torch_seed(seed: int, purpose: Purpose, number: int = 0) -> int:
    """Derive a seed for torch, whose generators take one number and no sequence of them.

    Args:
        seed: Root seed, 0 or more.
        purpose: What it is for.
        number: Which of several, such as the step or epoch.

    Returns:
        A seed of 63 bits.
    """
    return int(_sequence(seed, purpose, number).generate_state(1, np.uint64)[0] >> 1)


def _sequence(seed: int, purpose: Purpose, number: int) -> np.random.SeedSequence:
    """The one derivation; its mixing (O'Neill 2015) leaves nothing in common to neighbours."""
    return np.random.SeedSequence([seed, _PURPOSES[purpose], number])


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
    """Average over images, with bootstrap percentile intervals (Efron 1979) of the mean.

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
        drawn = resampled_counts(values.shape[1], seed)
        means = (totals @ drawn.T) / (known @ drawn.T)
    low, high = _ends(means, known.sum(1))
    return mean, low, high


def statistic_interval(
    values: Float[np.ndarray, "group image"],
    statistic: Callable[[Float[np.ndarray, "group resample"]], Float[np.ndarray, "part resample"]],
    seed: int,
) -> tuple[Float[np.ndarray, " part"], Float[np.ndarray, " part"], Float[np.ndarray, " part"]]:
    """Compute something from means over images, with bootstrap percentile intervals.

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
    drawn = resampled_counts(images, seed) / images
    found = statistic(whole.mean(1, keepdims=True))[:, 0]
    low, high = _ends(statistic(whole @ drawn.T), np.full(len(found), images))
    return found, low, high


def t_interval(values: Float[np.ndarray, " seed"]) -> tuple[float, float, float]:
    """Average over seeds, with Student's t interval of the mean.

    Args:
        values: One number a seed; what is not finite is left out.

    Returns:
        The mean, NaN of no values, and the ends, NaN for fewer than two.
    """
    known = values[np.isfinite(values)]
    mean = float(known.mean()) if len(known) else math.nan
    if len(known) < 2:
        return mean, math.nan, math.nan
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(known) - 1) * stats.sem(known))
    return mean, mean - half, mean + half


def welch_interval(
    values: Float[np.ndarray, " seed"], others: Float[np.ndarray, " other_seed"]
) -> tuple[float, float, float]:
    """Compute the difference of two means whose seeds are not paired, with Welch's t interval.

    Args:
        values: One number a seed; what is not finite is left out.
        others: The same of other trainings, whose spread may be another (Welch 1947).

    Returns:
        Mean of `values` less that of `others`, and the ends; NaN as in `t_interval`, for either.
    """
    one, other = (each[np.isfinite(each)] for each in (values, others))
    if not (len(one) and len(other)):
        return math.nan, math.nan, math.nan
    difference = float(one.mean() - other.mean())
    if min(len(one), len(other)) < 2:
        return difference, math.nan, math.nan
    if np.ptp(one) == np.ptp(other) == 0:  # the statistic would be 0 / 0
        return difference, difference, difference
    ends = stats.ttest_ind(one, other, equal_var=False).confidence_interval(CONFIDENCE)
    return difference, float(ends.low), float(ends.high)


def resampled_counts(images: int, seed: int) -> Int[np.ndarray, "resample image"]:
    """Draw bootstrap resamples.

    Args:
        images: How many images there are.
        seed: Root seed; the same images and seed give the same resamples.

    Returns:
        How often each image is in each of `RESAMPLES` resamples; each row sums to `images`.
    """
    chances = np.full(images, 1 / images)
    return numpy_generator(seed, "bootstrap").multinomial(images, chances, size=RESAMPLES)


def _ends(
    resampled: Float[np.ndarray, "group resample"], counts: Int[np.ndarray, " group"]
) -> tuple[Float[np.ndarray, " group"], Float[np.ndarray, " group"]]:
    tail = (1 - CONFIDENCE) / 2
    ends = np.full((2, len(resampled)), np.nan)
    enough: Bool[np.ndarray, " group"] = (counts >= 2) & np.isfinite(resampled).any(1)
    if enough.any():
        ends[:, enough] = np.nanquantile(resampled[enough], [tail, 1 - tail], axis=1)
    return ends[0], ends[1]


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
    test = stats.permutation_test(
        (known,),
        np.mean,
        permutation_type="samples",
        alternative="greater",
        n_resamples=SIGN_FLIPS,
        rng=numpy_generator(seed, "sign flips"),
        axis=0,
        vectorized=True,
    )
    return float(test.pvalue)
