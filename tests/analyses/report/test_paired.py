"""Contrasts over seeds: intervals, and verdicts corrected for their number."""

import numpy as np
import pytest
from scipy import stats

from analyses.report.paired import (
    CONFIRMED,
    UNDECIDED,
    Said,
    judged,
    paired,
    shares,
    unpaired,
)


def test_every_primary_contrast_of_a_page_is_in_one_family() -> None:
    """A difference that would pass alone does not among many; one that is plain does."""
    rng = np.random.default_rng(0)
    close = [paired(str(number), 0.9 + rng.normal(0, 1, 8), margin=0.01) for number in range(9)]
    alone = [judged([each])[0].word for each in close]
    assert alone.count(CONFIRMED) > [each.word for each in judged(close)].count(CONFIRMED)
    plain = paired("plain", [2.0, 2.1, 1.9, 2.05, 1.95], margin=0.01)
    assert judged([*close, plain])[-1].word == CONFIRMED


def test_false_verdicts_are_as_rare_as_promised() -> None:
    """Of families of six true nulls, few have any confirmed or contradicted contrast."""
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(400):
        family = [paired("", rng.normal(0, 1, 5), margin=1e-3) for _ in range(6)]
        wrong += any(each.word != UNDECIDED for each in judged(family))
    # 5 % of 400, and four standard deviations of such a count
    assert wrong < 20 + 4 * (400 * 0.05 * 0.95) ** 0.5
    assert wrong > 0


def test_an_undecided_contrast_says_how_many_seeds_would_decide() -> None:
    """With so many seeds of the same mean and scatter it is decided, and with one fewer not."""
    values = np.array([0.5, -0.3, 0.6, -0.2])
    (verdict,) = judged([paired("x", values, margin=0.01)])
    assert verdict.word == UNDECIDED
    assert verdict.needed is not None
    for count, decided in ((verdict.needed, True), (verdict.needed - 1, False)):
        scattered = np.resize([1.0, -1.0], count)
        scattered -= scattered.mean()
        more = values.mean() + scattered * values.std(ddof=1) / scattered.std(ddof=1)
        assert (judged([paired("x", more, margin=0.01)])[0].word == CONFIRMED) is decided
    assert "seeds like these would decide" in str(verdict)
    assert judged([paired("x", [1.0], margin=1.0)])[0].needed is None


def test_intervals_are_students() -> None:
    """Against a value from tables: mean 2, standard deviation 1, n = 5: 2 -+ 2.776 / sqrt 5."""
    values = 2 + np.array([-1.2649111, -0.6324555, 0.0, 0.6324555, 1.2649111])
    contrast = paired("a less b", [*values, float("nan")], margin=0.25)
    low, high = contrast.interval()
    assert (high - low) / 2 == pytest.approx(2.7764 / 5**0.5, rel=1e-4)
    assert low + high == pytest.approx(4)
    assert str(contrast) == "a less b: 2 [0.758, 3.24], 5 seeds"
    assert contrast.p_difference() == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    one_sided = stats.ttest_1samp(values, 2.5, alternative="less").pvalue
    assert paired("x", values, margin=2.5).p_equivalence() == pytest.approx(one_sided)


def test_welchs_and_newcombes_intervals_are_those_of_the_books() -> None:
    """Against scipy's Welch interval, and the first example of Newcombe (1998), 56/70 - 48/80."""
    rng = np.random.default_rng(2)
    one, other = rng.normal(1, 1, 6), rng.normal(0, 3, 9)
    test = stats.ttest_ind(one, other, equal_var=False)
    contrast = unpaired("x", one, other, margin=0.1)
    assert contrast.interval() == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert contrast.p_difference() == pytest.approx(test.pvalue)
    counted = shares("x", (56, 70), (48, 80), margin=0.4)
    assert counted.interval() == pytest.approx((0.0524, 0.3339), abs=1e-4)
    level = counted.p_equivalence()
    assert counted.interval(2 * level)[1] == pytest.approx(0.4, abs=1e-6)
    assert shares("x", (0, 0), (1, 2), margin=0.4).needed(0.05) is None


def test_differences_are_told_in_words() -> None:
    """A sentence says which way a difference goes, and an interval over 0 names both ways."""
    said = Said(sentence="a hat costs {} than a cap", more="coins more", less="coins less")
    above = paired("", [1.0, 1.2, 1.4], margin=0.1)
    assert said.of(above) == "a hat costs 1.20 coins more than a cap (95 %: 0.70 to 1.70; 3 seeds)"
    around = paired("", [-0.4, 0.1, 0.0], margin=0.1)
    assert said.of(around) == (
        "a hat costs 0.10 coins less than a cap (95 %: 0.76 coins less to 0.56 coins more; 3 seeds)"
    )
    assert said.of(paired("", [2.0], margin=0.1)) == (
        "a hat costs 2.00 coins more than a cap (no interval; 1 seed)"
    )
    assert "no seeds to compare" in said.of(paired("", [], margin=0.1))


def test_a_difference_of_exactly_0_has_a_sentence_of_its_own() -> None:
    """Nothing is 0.00 larger than something else."""
    said = Said(sentence="hats cost {} than caps", more="more", less="less", same="as much")
    assert said.of(shares("hats", (5, 5), (5, 5), margin=0.25)).startswith("as much (95 %: ")
    lost = shares("hats", (5, 5), (4, 5), margin=0.25)
    assert said.of(lost).startswith("hats cost 0.20 more than caps")
