"""Random numbers by purpose, and what numbers of few images or seeds say: intervals, tests, a line.

Images are the sampling unit of a probe (several angles of one image are repeated measures of it),
seeds that of trainings.

The interval of a mean m of n images with standard deviation s is Student's, corrected for skewness
(Hall, "On the removal of skewness by transformation", Journal of the Royal Statistical Society B
54, 1992): with g the sample skewness and t = n^(1/2) (m - mean) / s, the monotone

    T(t) = t + a t^2 + a^2 t^3 / 3 + a / 2,    a = g / (3 n^(1/2)),

follows Student's distribution of n - 1 degrees of freedom up to terms of order 1 / n. For normal
values a is small and the interval is Student's; residuals are skewed. How often such intervals
cover is the question ``coverage`` of the analyses.

Unrelated pairs share images: image i is compared with p(i), which is the reference of another pair.
With r the deviations from the mean, the variance of a mean is then estimated from all pairs of
pairs that share an image (Fafchamps and Gubert, "The formation of risk sharing networks", Journal
of Development Economics 83, 2007, section 4; Aronow, Samii and Assenova, "Cluster-robust variance
estimation for dyadic data", Political Analysis 23, 2015), but never below that of unshared pairs:
of few images the estimate is too noisy to be believed where it is the smaller one.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import scipy
import torch
from jaxtyping import Bool, Float, Int

DRAWS = 2000
"""Draws of the means behind the interval of a statistic of several means."""
SIGN_FLIPS = 9999
"""Random signs tried in a test where all of them would be more."""
_SIGNS_AT_ONCE = 2**21
"""Signs that are tried together: 16 MB."""
CONFIDENCE = 0.95
"""Coverage that every interval is meant to have."""
_AT_ONCE = 1000
"""Images for which numbers are drawn at a time: 16 MB."""
FEWEST = 3
"""Images below which there is no interval: of two, Student's would be 13 standard deviations wide,
and nothing is known of their skewness."""

Purpose = Literal["order", "intervals", "sign flips", "poses", "clutter", "dropout", "weights"]
"""What randomness is for: the first three in a probe; the order too, and the others, in a training.

Each has numbers of its own, so that one more draw for one leaves all others as they were.
"""
_PURPOSES: dict[Purpose, int] = {
    "order": 1,
    "intervals": 2,
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
    return by_image_of([table], keys)


def by_image_of(pieces: Iterable[pd.DataFrame], keys: Sequence[str]) -> pd.DataFrame:
    """Lay out values of a table that comes in pieces: see `by_image`.

    Args:
        pieces: Tidy tables, one at least, with the same categories of names.
        keys: Columns that make a group.

    Returns:
        As of the whole table: to the last bit, if all values of an image in a group lie in one
        piece.
    """
    by = [*keys, "image"]
    sums = [
        piece.groupby(by, observed=True, dropna=False, sort=True)["value"].agg(["sum", "count"])
        for piece in pieces
    ]
    total = sums[0]
    if len(sums) > 1:
        total = pd.concat(sums).groupby(level=by, observed=True, dropna=False, sort=True).sum()
    # of no value: 0 / 0
    wide: pd.DataFrame = (total["sum"] / total["count"]).unstack("image")
    return wide


def far_outside(values: Float[np.ndarray, "*group image"]) -> Bool[np.ndarray, "*group image"]:
    """Mark values that lie far outside the others of their group.

    Args:
        values: One value an image, not finite where there is none.

    Returns:
        True beyond three interquartile ranges from the quartiles (Tukey, "Exploratory Data
        Analysis", 1977, section 2D: "far out"); of fewer than five values none is.
    """
    ordered = np.sort(np.where(np.isfinite(values), values, np.nan), axis=-1)  # NaN comes last
    known = np.isfinite(ordered).sum(-1)
    low, high = (np.full(known.shape, np.nan) for _ in range(2))
    for count in np.unique(known[known >= 5]):
        rows = known == count
        quartiles = np.quantile(ordered[rows][:, :count], [0.25, 0.75], axis=-1)
        reach = 3 * (quartiles[1] - quartiles[0])
        low[rows], high[rows] = quartiles[0] - reach, quartiles[1] + reach
    outside: np.ndarray = (values < low[..., None]) | (values > high[..., None])
    return outside


def interval_words(images: int) -> str:
    """Say what intervals there are.

    Args:
        images: Number of images.

    Returns:
        What they are, or why there are none.
    """
    if images >= FEWEST:
        return f"{100 * CONFIDENCE:.0f} % intervals over images"
    return f"no intervals, which need {FEWEST} images"


def mean_interval(
    values: Float[np.ndarray, "group image"],
    partner: Int[np.ndarray, "group image"] | None = None,
    common: Float[np.ndarray, " group"] | None = None,
) -> tuple[Float[np.ndarray, " group"], Float[np.ndarray, " group"], Float[np.ndarray, " group"]]:
    """Average over images, with intervals of the mean.

    Args:
        values: One value an image, NaN where there is none.
        partner: For values of pairs, the column of the other image; -1 where there is none.
        common: Standard error that all values of a group have in common, relative to their mean.

    Returns:
        Means and the ends of the intervals; the ends are NaN below `FEWEST` images.
    """
    spread = _Spread.of(values, partner, common)
    enough = spread.count >= FEWEST
    tail = np.where(enough, (1 - CONFIDENCE) / 2, np.nan)
    freedom = np.maximum(spread.count - 1, 1)
    quantiles = scipy.stats.t.ppf([tail, 1 - tail], freedom)
    low, high = spread.means_at(quantiles.T).T
    return spread.mean, low, high


def share_interval(
    mean: Float[np.ndarray, " group"], count: Int[np.ndarray, " group"]
) -> tuple[Float[np.ndarray, " group"], Float[np.ndarray, " group"]]:
    """Bound the share of images of which something holds (Clopper and Pearson 1934).

    Values that are all equal have no variance, yet ten of ten is no certainty: where one image in
    ten differs it happens one time in three. Where an image gives a share itself (several angles),
    the interval is too wide rather than too narrow: values in [0, 1] vary no more than zeros and
    ones of the same mean.

    Args:
        mean: The shares found.
        count: Numbers of images.

    Returns:
        The ends; NaN below `FEWEST` images.
    """
    tail, known = (1 - CONFIDENCE) / 2, count >= FEWEST
    total = np.where(known, count, FEWEST)
    held = np.where(known, mean, 0.5) * total
    low = np.where(
        held > 0, scipy.stats.beta.ppf(tail, np.maximum(held, 1e-9), total - held + 1), 0.0
    )
    rest = np.maximum(total - held, 1e-9)
    high = np.where(held < total, scipy.stats.beta.ppf(1 - tail, held + 1, rest), 1.0)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def statistic_interval(
    values: Float[np.ndarray, "group image"],
    statistic: Callable[[Float[np.ndarray, "group draw"]], Float[np.ndarray, "part draw"]],
    seed: int,
    partner: Int[np.ndarray, "group image"] | None = None,
    common: Float[np.ndarray, " group"] | None = None,
) -> tuple[Float[np.ndarray, " part"], Float[np.ndarray, " part"], Float[np.ndarray, " part"]]:
    """Compute something from means over images, with its intervals.

    Means are drawn together from the distribution that `mean_interval` gives each of them, with
    the correlations of the images' values: so the statistic of a single mean has the interval of
    that mean, and one that cannot leave a range (a share, the best of several) keeps to it.

    Args:
        values: One value an image; images with a NaN in any group are left out.
        statistic: From the groups' means to what is asked for, many draws at a time.
        seed: Root seed.
        partner: As in `mean_interval`.
        common: As in `mean_interval`.

    Returns:
        The statistic of the means over all images, and the ends of its intervals; these are NaN
        below `FEWEST` images.
    """
    whole = np.isfinite(values).all(0)
    images = int(whole.sum())
    if images == 0:
        blank = np.full(len(statistic(np.full((len(values), 1), np.nan))), np.nan)
        return blank, blank, blank
    found = statistic(values[:, whole].mean(1, keepdims=True))[:, 0]
    if images < FEWEST:
        return found, np.full(len(found), np.nan), np.full(len(found), np.nan)
    rng = numpy_generator(seed, "intervals")
    kept = None if partner is None else _within(partner, whole)
    spread = _Spread.of(values[:, whole], kept, common)
    # one normal number an image, the same for all groups, and one length a draw: a multivariate t
    deviates = np.zeros((len(values), DRAWS))
    for some in np.array_split(np.arange(images), math.ceil(images / _AT_ONCE)):
        deviates += spread.direction[:, some] @ rng.standard_normal((len(some), DRAWS))
    deviates *= np.sqrt((images - 1) / rng.chisquare(images - 1, DRAWS))
    tail = (1 - CONFIDENCE) / 2
    drawn = statistic(spread.means_at(deviates))
    low, high = np.full((2, len(found)), np.nan)
    some = np.isfinite(drawn).any(1)
    low[some], high[some] = np.nanquantile(drawn[some], [tail, 1 - tail], axis=1)
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
    half = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, len(known) - 1) * scipy.stats.sem(known))
    return mean, mean - half, mean + half


def _within(
    partner: Int[np.ndarray, "group image"], whole: Bool[np.ndarray, " image"]
) -> Int[np.ndarray, "group kept"]:
    """Partners by their columns among those that are kept; -1 for one that is not."""
    column = np.where(whole, np.cumsum(whole) - 1, -1)
    kept: np.ndarray = np.where(partner >= 0, column[partner], -1)[:, whole]
    return kept


@dataclass(frozen=True)
class _Spread:
    """Where the means of populations may lie, given some values of each.

    Attributes:
        count: Number of values.
        mean: Their mean; NaN of none.
        error: Its standard error.
        direction: Deviations from the mean, of length 1 together; 0 where all values are equal.
        bend: Hall's a.
    """

    count: Int[np.ndarray, " group"]
    mean: Float[np.ndarray, " group"]
    error: Float[np.ndarray, " group"]
    direction: Float[np.ndarray, "group image"]
    bend: Float[np.ndarray, " group"]

    @classmethod
    def of(
        cls,
        values: Float[np.ndarray, "group image"],
        partner: Int[np.ndarray, "group image"] | None,
        common: Float[np.ndarray, " group"] | None,
    ) -> "_Spread":
        """Find means and their errors, of images or of pairs that share them."""
        known = np.isfinite(values)
        count = known.sum(1)
        total = np.where(known, values, 0.0)
        mean = np.where(count > 0, total.sum(1) / np.maximum(count, 1), np.nan)
        apart = np.where(known, values - mean[:, None], 0.0)
        length = np.linalg.norm(apart, axis=1)
        # equal values, up to their rounding, have neither direction nor skewness
        varied = length > 1e-12 * np.linalg.norm(total, axis=1)
        direction = np.where(varied[:, None], apart, 0.0) / np.where(varied, length, 1.0)[:, None]
        variance = length**2 / np.maximum(count - 1, 1)
        if partner is not None:
            for group in np.flatnonzero((partner >= 0).any(1)):
                shared = _shared_variance(apart[group], known[group], partner[group])
                variance[group] = max(variance[group], shared)
        # the skewness is the sum of the cubes times the root of the number
        bend = (direction**3).sum(1) / 3
        error = np.sqrt(variance / np.maximum(count, 1))
        if common is not None:
            error = np.hypot(error, common * np.abs(mean))
        return cls(count, mean, error, direction, bend)

    def means_at(
        self, deviates: Float[np.ndarray, "group draw"]
    ) -> Float[np.ndarray, "group draw"]:
        """Say where the means lie, if Student's deviates are these: increasing in them."""
        bend = self.bend[:, None]
        straight = np.abs(bend) < 1e-6
        curved = np.where(straight, 1.0, bend)
        # Hall's transformation undone: 1 + 3 a (T - a / 2) is a cube
        bent = (1 - np.cbrt(1 - 3 * curved * (deviates + curved / 2))) / curved
        shift = np.where(straight, deviates + bend / 2, bent)
        means: np.ndarray = self.mean[:, None] + self.error[:, None] * shift
        return means


def _shared_variance(
    apart: Float[np.ndarray, " image"],
    known: Bool[np.ndarray, " image"],
    partner: Int[np.ndarray, " image"],
) -> float:
    """Variance of values of pairs with what pairs that share an image add to that of their mean."""
    count = int(known.sum())
    used = known & (partner >= 0)
    # an image's sum over its pairs, squared: each pair of pairs once for each image that they share
    sums, pairs = apart.copy(), known.astype(float)
    np.add.at(sums, partner[used], apart[used])
    np.add.at(pairs, partner[used], 1.0)
    again = float((apart[used] ** 2).sum())
    sharing = (float((pairs**2).sum()) - int(used.sum())) / count
    if sharing >= count:
        return 0.0  # every pair shares an image with every other: nothing can be learnt
    # about their own mean the squares are too small by this factor
    return (float((sums**2).sum()) - again) / (count - sharing)


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
    test = scipy.stats.permutation_test(
        (known,),
        np.mean,
        permutation_type="samples",
        alternative="greater",
        n_resamples=SIGN_FLIPS,
        # all signs at once would be 80 KB an image, several times over
        batch=max(1, _SIGNS_AT_ONCE // len(known)),
        rng=numpy_generator(seed, "sign flips"),
        axis=0,
        vectorized=True,
    )
    return float(test.pvalue)


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


@dataclass(frozen=True, kw_only=True)
class Line:
    """A straight line.

    Attributes:
        slope: Of the ordinates against the abscissae.
        intercept: Ordinate at abscissa 0.
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
