"""Differences over seeds, what they say alone, and what a family of them says together.

A contrast is a difference that a finding says is positive. It is judged twice: whether it is 0, and
whether it lies within a margin that no reader would care about (two one-sided tests; Schuirmann
1987). Each of the two is corrected over the family by Holm's method.
"""

import math
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import optimize, stats

from invariance_probe.statistics import holm

ALPHA = 0.05
"""Chance of any false verdict in a family of contrasts; 1 - ALPHA is the coverage of intervals."""
CONFIRMED, CONTRADICTED = "confirmed", "contradicted"
EQUIVALENT, UNDECIDED = "equivalent", "undecided"
MOST_SEEDS = 1000
"""How many seeds are tried when it is asked how many would decide."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """How a difference is told to somebody who does not know the variants' names.

    Attributes:
        sentence: With ``{}`` where the difference stands.
        more: After a difference above 0.
        less: After the size of one below 0.
        same: The sentence of a difference of exactly 0, without a place for it.
    """

    sentence: str
    more: str
    less: str
    same: str = ""

    def of(self, contrast: "Contrast") -> str:
        """Tell a difference, with its interval.

        Args:
            contrast: The difference.

        Returns:
            A sentence without its full stop.
        """
        value = contrast.estimate
        if math.isnan(value):
            return self.sentence.format("an unknown amount") + ": no seeds to compare"
        low, high = contrast.interval()
        ends = f"95 %: {self._amount(low)} to {self._amount(high)}"
        if min(value, low) > 0:
            ends = f"95 %: {low:.2f} to {high:.2f}"
        ends = "no interval" if math.isnan(low) else ends
        plain = self.same if self.same and value == 0 else self.sentence
        return f"{plain.format(self._amount(value))} ({ends}; {contrast.counted})"

    def _amount(self, value: float) -> str:
        return f"{abs(value):.2f} {self.less if value < 0 else self.more}"


@dataclass(frozen=True, kw_only=True)
class Contrast(ABC):
    """A difference that a finding says is positive.

    Attributes:
        words: Which difference.
        unit: After the numbers.
        margin: A difference of less than this is none.
        said: How it is told in plain words; None where it is description.
    """

    words: str
    unit: str = ""
    margin: float
    said: Said | None = None

    @property
    @abstractmethod
    def estimate(self) -> float:
        """The difference; NaN where nothing is known."""

    @property
    @abstractmethod
    def counted(self) -> str:
        """How many seeds it rests on, in words."""

    @abstractmethod
    def interval(self, alpha: float = ALPHA) -> tuple[float, float]:
        """Compute an interval of coverage 1 - alpha; NaN where there is none."""

    @abstractmethod
    def p_difference(self) -> float:
        """Test that the difference is 0, two-sided; NaN where nothing can be said."""

    @abstractmethod
    def p_equivalence(self) -> float:
        """Test that the difference lies on or beyond the margin, on either side."""

    @abstractmethod
    def decides_with(self, seeds: int, alpha: float) -> bool:
        """Say whether so many seeds would decide, if they brought what these brought."""

    def needed(self, alpha: float) -> int | None:
        """Count the seeds that would decide.

        Args:
            alpha: Level of each test.

        Returns:
            The fewest, at most `MOST_SEEDS`; None if no number up to there does.
        """
        tried = range(2, MOST_SEEDS + 1)
        # what so many seeds decide, more decide too (shares, up to the rounding of their counts)
        place = bisect_left(tried, True, key=lambda seeds: self.decides_with(seeds, alpha))
        return tried[place] if place < len(tried) else None

    def __str__(self) -> str:
        low, high = self.interval()
        ends = "no interval" if math.isnan(low) else f"[{low:.3g}, {high:.3g}]"
        return f"{self.words}: {self.estimate:.3g}{self.unit} {ends}, {self.counted}"


@dataclass(frozen=True, kw_only=True)
class _Means(Contrast):
    """A difference of means with Student's intervals.

    Attributes:
        mean: The difference.
        error: Its standard error.
        freedom: Degrees of freedom of that.
        seeds: How many it rests on.
    """

    mean: float
    error: float
    freedom: float
    seeds: int

    @property
    def estimate(self) -> float:
        return self.mean

    @property
    def counted(self) -> str:
        return f"{self.seeds} seed{'s' if self.seeds != 1 else ''}"

    def interval(self, alpha: float = ALPHA) -> tuple[float, float]:
        half = self.error * float(stats.t.ppf(1 - alpha / 2, self.freedom))
        return self.mean - half, self.mean + half

    def p_difference(self) -> float:
        return 2 * self._tail(abs(self.mean))

    def p_equivalence(self) -> float:
        return self._tail(self.margin - abs(self.mean))

    def _tail(self, distance: float) -> float:
        """Chance of a mean so far above the true one."""
        if self.error == 0:
            return 0.5 if distance == 0 else float(distance < 0)
        return float(stats.t.sf(distance / self.error, self.freedom))

    def decides_with(self, seeds: int, alpha: float) -> bool:
        # as many in either group; the fewest degrees of freedom that they can have
        error = self.error * math.sqrt(self.seeds / seeds)
        apart = abs(self.mean) > error * float(stats.t.ppf(1 - alpha / 2, seeds - 1))
        within = self.margin - abs(self.mean) > error * float(stats.t.ppf(1 - alpha, seeds - 1))
        return not math.isnan(error) and (apart or within)


def paired(words: str, differences: Iterable[float], *, margin: float, unit: str = "") -> Contrast:
    """Contrast networks of the same seeds.

    Args:
        words: Which difference.
        differences: One a seed; what is not finite is left out.
        margin: A difference of less than this is none.
        unit: After the numbers.

    Returns:
        Their mean, with Student's interval.
    """
    known = _finite(differences)
    count = len(known)
    return _Means(
        words=words,
        unit=unit,
        margin=margin,
        mean=float(known.mean()) if count else math.nan,
        error=float(known.std(ddof=1)) / math.sqrt(count) if count > 1 else math.nan,
        freedom=count - 1,
        seeds=count,
    )


def unpaired(
    words: str, one: Iterable[float], other: Iterable[float], *, margin: float, unit: str = ""
) -> Contrast:
    """Contrast two means of trainings whose seeds mean different things.

    Args:
        words: Which difference.
        one: One number a seed.
        other: The same, which is taken off.
        margin: A difference of less than this is none.
        unit: After the numbers.

    Returns:
        The difference, with Welch's interval.
    """
    left, right = _finite(one), _finite(other)
    count = min(len(left), len(right))
    error, freedom = math.nan, math.nan
    if count > 1:
        parts = [float(each.var(ddof=1)) / len(each) for each in (left, right)]
        error = math.sqrt(sum(parts))
        lost = sum(
            part**2 / (len(each) - 1) for part, each in zip(parts, (left, right), strict=True)
        )
        freedom = error**4 / lost if lost > 0 else count - 1
    return _Means(
        words=words,
        unit=unit,
        margin=margin,
        mean=float(left.mean() - right.mean()) if count else math.nan,
        error=error,
        freedom=freedom,
        seeds=count,
    )


def _finite(values: Iterable[float]) -> Float[np.ndarray, " value"]:
    known: np.ndarray = np.array(list(values), dtype=float)
    finite: np.ndarray = known[np.isfinite(known)]
    return finite


@dataclass(frozen=True, kw_only=True)
class _Shares(Contrast):
    """A difference of shares.

    Attributes:
        one: How many of how many.
        other: The same, whose share is taken off.
    """

    one: tuple[int, int]
    other: tuple[int, int]

    @property
    def estimate(self) -> float:
        if 0 in {self.one[1], self.other[1]}:
            return math.nan
        return self.one[0] / self.one[1] - self.other[0] / self.other[1]

    @property
    def counted(self) -> str:
        return " against ".join(f"{some} of {all_} seeds" for some, all_ in (self.one, self.other))

    def interval(self, alpha: float = ALPHA) -> tuple[float, float]:
        if math.isnan(self.estimate):
            return math.nan, math.nan
        ends = []
        for some, among in (self.one, self.other):
            test = stats.binomtest(some, among)
            ends.append(test.proportion_ci(confidence_level=1 - alpha, method="wilson"))
        (a, b), (c, d) = ends
        p, q = self.one[0] / self.one[1], self.other[0] / self.other[1]
        return (
            p - q - math.hypot(p - a, d - q),
            p - q + math.hypot(b - p, q - c),
        )

    def p_difference(self) -> float:
        if math.isnan(self.estimate):
            return math.nan
        table = [[some, among - some] for some, among in (self.one, self.other)]
        return float(stats.fisher_exact(table).pvalue)

    def p_equivalence(self) -> float:
        if math.isnan(self.estimate):
            return math.nan

        def beyond(alpha: float) -> float:
            low, high = self.interval(2 * alpha)
            return max(-low, high) - self.margin

        least, most = 1e-9, 0.5 - 1e-9
        if beyond(least) < 0:
            return least
        return 1.0 if beyond(most) >= 0 else float(optimize.brentq(beyond, least, most))

    def decides_with(self, seeds: int, alpha: float) -> bool:
        if math.isnan(self.estimate):
            return False
        grown = [(round(seeds * some / among), seeds) for some, among in (self.one, self.other)]
        more = _Shares(words="", margin=self.margin, one=grown[0], other=grown[1])
        low, high = more.interval(2 * alpha)
        return more.p_difference() <= alpha or max(-low, high) < self.margin


def shares(words: str, one: tuple[int, int], other: tuple[int, int], *, margin: float) -> Contrast:
    """Contrast how many seeds did something.

    Args:
        words: Which difference.
        one: How many of how many.
        other: The same, whose share is taken off.
        margin: A difference of less than this is none.

    Returns:
        The difference of the shares, with Newcombe's interval (1998, method 10), tested exactly
        (Fisher).
    """
    return _Shares(words=words, margin=margin, one=one, other=other)


class Verdict(NamedTuple):
    """What a family says of one of its contrasts.

    Attributes:
        contrast: The difference.
        word: `CONFIRMED` above 0, `CONTRADICTED` below, `EQUIVALENT` where neither and it lies
            within the margin, else `UNDECIDED`.
        p_value: That it is 0, corrected.
        needed: Seeds that would decide; None where it is decided, or no number would.
    """

    contrast: Contrast
    word: str
    p_value: float
    needed: int | None

    def __str__(self) -> str:
        said = f"{self.contrast}: {self.word}"
        if not math.isnan(self.p_value):
            said += f" (p {self.p_value:.2g}, corrected)"
        if self.word == UNDECIDED and not math.isnan(self.p_value):
            more = f"{self.needed}" if self.needed else f"more than {MOST_SEEDS}"
            said += f"; {more} seeds like these would decide"
        return said


def judged(family: Sequence[Contrast]) -> list[Verdict]:
    """Judge contrasts together.

    Args:
        family: All that were planned.

    Returns:
        A verdict for each; the chance that any `CONFIRMED` or `CONTRADICTED` is wrong is at most
        `ALPHA`, and so is that of any `EQUIVALENT`.
    """
    apart = holm(np.array([each.p_difference() for each in family], dtype=float))
    alike = holm(np.array([each.p_equivalence() for each in family], dtype=float))
    alpha = ALPHA / max(1, int(np.isfinite(apart).sum()))
    out = []
    for contrast, differs, close in zip(family, apart, alike, strict=True):
        if differs <= ALPHA:
            word = CONFIRMED if contrast.estimate > 0 else CONTRADICTED
        else:
            word = EQUIVALENT if close <= ALPHA else UNDECIDED
        needed = contrast.needed(alpha) if word == UNDECIDED else None
        out.append(Verdict(contrast, word, float(differs), needed))
    return out
