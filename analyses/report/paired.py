"""Differences over seeds, and what an interval says of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from invariance_probe.statistics import t_interval, welch_interval

CONFIRMED, NOT_CONFIRMED, UNDECIDED = "confirmed", "not confirmed", "undecided"


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """A difference that a finding says is positive.

    Attributes:
        words: Which difference.
        mean: Over seeds.
        low: Lower end of its interval; NaN for fewer than two seeds.
        high: Upper end.
        seeds: How many pairs.
        unit: After the numbers.
        above: What the finding says it exceeds.
    """

    words: str
    mean: float
    low: float
    high: float
    seeds: int
    unit: str = ""
    above: float = 0.0

    @property
    def verdict(self) -> str:
        """Confirmed above, not confirmed at or below, undecided where the interval holds it."""
        if math.isnan(self.low):
            return UNDECIDED
        if self.low > self.above:
            return CONFIRMED
        return NOT_CONFIRMED if self.high <= self.above else UNDECIDED

    def __str__(self) -> str:
        ends = "no interval" if math.isnan(self.low) else f"[{self.low:.3g}, {self.high:.3g}]"
        more = f", to exceed {self.above:g}" if self.above else ""
        return (
            f"{self.words}: {self.mean:.3g}{self.unit} {ends}, {self.seeds} "
            f"seed{'s' if self.seeds != 1 else ''}{more}: {self.verdict}"
        )


def contrast(
    words: str, differences: Sequence[float], unit: str = "", above: float = 0.0
) -> Contrast:
    """Judge paired differences.

    Args:
        words: Which difference.
        differences: One a seed; what is not finite is left out.
        unit: After the numbers.
        above: What the finding says it exceeds.

    Returns:
        Their mean with its interval.
    """
    paired = np.asarray(differences, dtype=float)
    mean, low, high = t_interval(paired)
    seeds = int(np.isfinite(paired).sum())
    return Contrast(words=words, mean=mean, low=low, high=high, seeds=seeds, unit=unit, above=above)


def unpaired(words: str, one: Sequence[float], other: Sequence[float], unit: str = "") -> Contrast:
    """Judge the difference of two means.

    Args:
        words: Which difference.
        one: One number a seed.
        other: The same of other trainings, whose seeds mean something else.
        unit: After the numbers.

    Returns:
        The difference with Welch's interval.
    """
    left, right = (np.asarray(each, dtype=float) for each in (one, other))
    mean, low, high = welch_interval(left, right)
    seeds = min(int(np.isfinite(each).sum()) for each in (left, right))
    return Contrast(words=words, mean=mean, low=low, high=high, seeds=seeds, unit=unit)


def together(contrasts: Sequence[Contrast], *, complete: bool) -> str:
    """Judge a finding that says that several differences are positive.

    All must be confirmed, each at its own level: such a conjunction needs no correction (an
    intersection-union test; Berger 1982).

    Args:
        contrasts: All that there are.
        complete: Whether they are all that the finding needs.

    Returns:
        `CONFIRMED`, `NOT_CONFIRMED` if one of them is not, else `UNDECIDED`.
    """
    verdicts = {each.verdict for each in contrasts}
    if NOT_CONFIRMED in verdicts:
        return NOT_CONFIRMED
    return CONFIRMED if complete and verdicts == {CONFIRMED} else UNDECIDED
