"""Random numbers by purpose; intervals and a test against their naive versions."""

import itertools
import math
from collections.abc import Callable
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from invariance_probe import statistics
from invariance_probe.statistics import Purpose, deming

PURPOSES: tuple[Purpose, ...] = get_args(Purpose)


@given(seed=st.integers(0, 2**64 - 1), number=st.integers(0, 2**40))
def test_stored_runs_can_be_made_again(seed: int, number: int) -> None:
    """Every purpose draws what it drew for the runs that are stored, for any seed of 64 bits."""
    for purpose, place in (("order", 1), ("intervals", 2), ("sign flips", 3)):
        ours = statistics.numpy_generator(seed, purpose).integers(0, 2**62, 4)
        theirs = np.random.default_rng([seed, place]).integers(0, 2**62, 4)
        assert ours.tolist() == theirs.tolist()
    trained = (("order", 1), ("poses", 2), ("clutter", 3), ("dropout", 4), ("weights", 5))
    for purpose, place in trained:
        mixed = np.random.SeedSequence([seed, place, number]).generate_state(1, np.uint64)[0]
        assert statistics.torch_seed(seed, purpose, number) == int(mixed) // 2


def test_seeds_are_these_on_every_machine() -> None:
    """The derivation gives the numbers that it gave when the first runs were stored."""
    assert statistics.torch_seed(0, "weights") == 6102389744414414618
    assert statistics.torch_seed(3, "poses", 1000) == 2927330336057984195
    assert statistics.numpy_generator(0, "order").permutation(8).tolist() == [
        1,
        3,
        7,
        6,
        0,
        4,
        2,
        5,
    ]
    generator = statistics.torch_generator(7, "order", 2)
    assert torch.randperm(8, generator=generator).tolist() == [7, 3, 5, 4, 2, 0, 6, 1]


@pytest.mark.parametrize(
    "draw",
    [
        lambda *which: statistics.numpy_generator(*which).random(),
        lambda *which: torch.rand(1, generator=statistics.torch_generator(*which)).item(),
    ],
)
def test_neighbours_draw_other_numbers(draw: Callable[..., float]) -> None:
    """Seeds, purposes within a probe or a training, and steps next to each other share nothing."""
    for kinds in (("order", "intervals", "sign flips"), ("poses", "clutter", "dropout", "weights")):
        drawn = [draw(*which) for which in itertools.product(range(5), kinds, range(5))]
        assert len(set(drawn)) == len(drawn) == 25 * len(kinds)


def test_drawing_leaves_global_randomness_alone() -> None:
    """Neither torch's nor numpy's global generator is read or moved."""
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002  (the old state is what is asked about)  # is it touched?
    for purpose in PURPOSES:
        statistics.numpy_generator(0, purpose).random()
        torch.rand(1, generator=statistics.torch_generator(0, purpose))
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()  # noqa: NPY002  (the old state is what is asked about)


def test_repeated_measures_of_an_image_are_averaged() -> None:
    """A group has one value an image; groups that do not occur are no rows, unknown ones are."""
    table = pd.DataFrame({
        "layer": ["a", "a", "a", "b"],
        "angle": [10.0, 10.0, 10.0, np.nan],
        "image": [0, 0, 1, 1],
        "value": [1.0, 3.0, 5.0, 7.0],
    })
    wide = statistics.by_image(table, ["layer", "angle"])
    assert wide.index.tolist()[0] == ("a", 10.0)
    assert [name for name, _ in wide.index] == ["a", "b"]
    np.testing.assert_array_equal(wide.to_numpy(), [[2.0, 5.0], [np.nan, 7.0]])


def _covered(values: np.ndarray, truth: float) -> float:
    _, low, high = statistics.mean_interval(values)
    return float(((low <= truth) & (truth <= high)).mean())


@pytest.mark.parametrize("images", [3, 5, 10, 20, 50])
def test_intervals_of_means_cover(images: int) -> None:
    """Of 4000 they hold the mean of normal values 0.93 to 0.97 times, of lognormal ones 0.90."""
    normal = np.random.default_rng(images).standard_normal((4000, images))
    # four standard errors of a share are 0.014
    assert 0.93 <= _covered(normal, 0.0) <= 0.97
    assert _covered(np.exp(0.5 * normal), math.exp(0.125)) >= 0.90
    assert _covered(normal, 0.1 * math.sqrt(100 / images)) < 0.93


def _hall(t: float, bend: float) -> float:
    """Hall's transformation as his paper has it."""
    return t + bend * t**2 + bend**2 * t**3 / 3 + bend / 2


@given(st.lists(st.integers(-1000, 1000), min_size=3, max_size=12))
def test_the_ends_are_where_halls_statistic_has_students_quantiles(numbers: list[int]) -> None:
    """Put back into the transformed t, each end gives the quantile; equal values have no width."""
    values = np.array(numbers, dtype=float)
    count = len(values)
    (mean,), (low,), (high,) = statistics.mean_interval(values[None])
    assert mean == pytest.approx(values.mean())
    if np.ptp(values) == 0:
        assert low == mean == high
        return
    bend = float(stats.skew(values)) / (3 * math.sqrt(count))
    quantile = stats.t.ppf(0.975, count - 1)
    for end, wanted in ((low, quantile), (high, -quantile)):
        t = (values.mean() - end) / stats.sem(values)
        assert _hall(t, bend) == pytest.approx(wanted, abs=1e-4)


def test_what_lies_far_outside_is_marked() -> None:
    """One value at 300 among values about 1 is; none of normal ones, of four, or of what is NaN."""
    values = np.array([0.9, 1.1, np.nan, 1.0, 300.0, 1.05, 0.95])
    assert statistics.far_outside(values).tolist() == [False] * 4 + [True] + [False] * 2
    assert statistics.far_outside(-values).tolist() == [False] * 4 + [True] + [False] * 2
    assert not statistics.far_outside(np.array([0.0, 0.0, 0.0, 9.0])).any()
    normal = np.random.default_rng(0).standard_normal((400, 10))
    normal[::3, 4] = np.nan  # groups of other sizes, beside each other
    normal[1, :7] = np.inf
    marked = statistics.far_outside(normal)
    assert marked.any(1).mean() < 0.1
    assert not marked[1, 7:].any()
    each = [statistics.far_outside(row).tolist() for row in normal]
    assert marked.tolist() == each


def test_symmetric_values_have_students_interval() -> None:
    """Without skewness the interval is Student's, centred on the mean."""
    values = np.array([[1.0, 2.0, 3.0, 4.0, 5.0]])
    found = [float(end[0]) for end in statistics.mean_interval(values)]
    assert found == pytest.approx(statistics.t_interval(values[0]))


def test_an_error_in_common_widens_an_interval() -> None:
    """It adds to the values' own in squares: of values that are equal it is all there is."""
    same, spread = np.full(5, 2.0), np.array([1.0, 2.0, 3.0, 2.0, 2.0])
    common = np.array([0.1, 0.1])
    mean, low, high = statistics.mean_interval(np.stack([same, spread]), common=common)
    half = stats.t.ppf(0.975, 4) * np.array([0.2, np.hypot(0.2, stats.sem(spread))])
    assert mean == pytest.approx([2, 2])
    assert high - mean == pytest.approx(half)
    assert mean - low == pytest.approx(half)
    found, *wide = statistics.statistic_interval(spread[None], lambda m: m, 0, common=common[:1])
    _, *narrow = statistics.statistic_interval(spread[None], lambda m: m, 0)
    assert found == pytest.approx([2])
    wider = float(np.diff(wide, axis=0).item() / np.diff(narrow, axis=0).item())
    assert wider == pytest.approx(np.hypot(0.2, stats.sem(spread)) / stats.sem(spread))


def test_below_three_images_there_is_no_interval() -> None:
    """Nothing is said of images that were not seen: the ends are NaN, and words say why."""
    values = np.array([[2.0, np.nan, np.nan], [np.nan] * 3, [1.0, 3.0, np.nan], [1.0, 3.0, 2.0]])
    mean, low, high = statistics.mean_interval(values)
    np.testing.assert_array_equal(mean, [2.0, np.nan, 2.0, 2.0])
    assert np.isnan(low).tolist() == np.isnan(high).tolist() == [True, True, True, False]
    two = statistics.statistic_interval(values[[0, 3]][:, :1], lambda means: means, seed=0)
    assert two[0].tolist() == [2.0, 1.0]
    assert np.isnan(two[1:]).all()
    assert statistics.interval_words(2) == "no intervals, which need 3 images"
    assert statistics.interval_words(3) == "95 % intervals over images"


def test_a_statistic_of_means_is_drawn_whole() -> None:
    """Of single means it has their intervals; images that lack a group are left out."""
    values = np.random.default_rng(1).gamma(2.0, size=(3, 6))
    one = statistics.mean_interval(values)
    other = statistics.statistic_interval(values, lambda means: means, seed=2)
    np.testing.assert_allclose(one[0], other[0])
    # of 2000 draws an end lies off by about 0.1 of the width (the quantile's standard error is 4 %)
    width = one[2] - one[1]
    assert (np.abs(np.stack(one[1:]) - np.stack(other[1:])) < 0.2 * width).all()
    holed = np.column_stack([values, [1e9, np.nan, 1e9]])
    again = statistics.statistic_interval(holed, lambda means: means, seed=2)
    np.testing.assert_array_equal(again, other)
    # drawn together, a difference of groups that differ by a constant does not vary
    shifted = np.stack([values[0] + 1, values[0]])
    gap = statistics.statistic_interval(shifted, lambda means: means[:1] - means[1:], seed=2)
    np.testing.assert_allclose(gap, 1, atol=1e-12)
    none = statistics.statistic_interval(np.full((2, 3), np.nan), lambda means: means[:1], seed=2)
    assert np.isnan(none).all()


def test_a_part_that_cannot_be_negative_has_no_negative_interval() -> None:
    """An interval keeps to the range of its statistic, and reaches what chance may hide."""
    rng = np.random.default_rng(0)
    values = rng.normal(1, 0.1, size=(2, 8))
    values[1] += 0.02 + values[0].mean() - values[1].mean()

    def gain(means: np.ndarray) -> np.ndarray:
        return np.maximum(means[:1] - means[1:], 0)

    (found,), (low,), (high,) = statistics.statistic_interval(values, gain, seed=0)
    assert found == low == 0
    assert high > 0.02


def _naive_shared_variance(values: np.ndarray, partner: np.ndarray) -> float:
    """All pairs of pairs that share an image, one by one."""
    count = len(values)
    apart = values - values.mean()
    images = [{i, int(partner[i])} for i in range(count)]
    pairs = [(i, j) for i in range(count) for j in range(count) if images[i] & images[j]]
    return sum(apart[i] * apart[j] for i, j in pairs) / (count - len(pairs) / count)


@pytest.mark.parametrize("seed", range(6))
def test_pairs_that_share_images_are_counted_so(seed: int) -> None:
    """The interval widens by what pairs of pairs sharing an image add, and never narrows."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=12)
    partner = np.roll(np.arange(12), 1)
    values = noise + (-1) ** seed * np.roll(noise, 1)
    if seed > 3:  # another pattern of sharing
        partner = np.array([1, 2, 0, 4, 5, 3, 7, 8, 6, 10, 11, 9])
    alone = statistics.mean_interval(values[None])
    shared = statistics.mean_interval(values[None], partner[None])
    wanted = max(1.0, _naive_shared_variance(values, partner) / values.var(ddof=1))
    widths = [float(high[0] - low[0]) for _, low, high in (alone, shared)]
    assert widths[1] / widths[0] == pytest.approx(math.sqrt(wanted))
    assert (wanted > 1) == (widths[1] > widths[0])


def test_shared_images_widen_intervals_enough() -> None:
    """Of pairs correlated by 0.2 the intervals cover 0.93; if sharing is passed over, 0.91."""
    noise = np.random.default_rng(0).standard_normal((4000, 10))
    weight = (1 - math.sqrt(1 - 4 * 0.2**2)) / (2 * 0.2)
    values = noise + weight * np.roll(noise, 1, axis=1)
    partner = np.tile(np.roll(np.arange(10), 1), (4000, 1))
    _, low, high = statistics.mean_interval(values, partner)
    assert float(((low <= 0) & (high >= 0)).mean()) > 0.92 > _covered(values, 0.0)


@pytest.mark.parametrize("count", [3, 10, 50])
def test_intervals_of_shares_cover(count: int) -> None:
    """Of any true share at least 95 % of samples have an interval that holds it, by enumeration."""
    held = np.arange(count + 1)
    low, high = statistics.share_interval(held / count, np.full(count + 1, count))
    for true in np.linspace(0, 1, 101):
        covers = (low <= true + 1e-12) & (true - 1e-12 <= high)
        assert stats.binom.pmf(held, count, true)[covers].sum() >= 0.95
    assert low[0] == 0
    assert high[-1] == 1
    assert low[-1] == pytest.approx(0.025 ** (1 / count))  # all agree: not certain


def test_a_share_of_two_images_has_no_interval() -> None:
    """Too few are NaN, whatever they say."""
    ends = statistics.share_interval(np.array([1.0, np.nan]), np.array([2, 0]))
    assert np.isnan(ends).all()


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=9))
def test_t_intervals_are_scipys(thousandths: list[int]) -> None:
    """Mean and ends are Student's; what is not finite is left out."""
    known = np.array(thousandths) / 1000
    mean, low, high = statistics.t_interval(np.array([*known, math.nan, math.inf]))
    wanted = (mean, mean)
    if np.ptp(known) > 0:
        wanted = stats.t.interval(0.95, len(known) - 1, loc=known.mean(), scale=stats.sem(known))
    # values within 1 round at 1e-16, and the quantile of two values is 13
    assert (mean, low, high) == pytest.approx((known.mean(), *wanted), abs=1e-13)


def test_t_intervals_cover() -> None:
    """Of normal samples of four, 95 % of the intervals hold the true mean."""
    samples = np.random.default_rng(5).normal(loc=3.0, size=(4000, 4))
    ends = np.array([statistics.t_interval(each) for each in samples])
    held = np.mean((ends[:, 1] <= 3) & (ends[:, 2] >= 3))
    assert held == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 4000))


def test_too_few_seeds_have_no_interval() -> None:
    """One seed has a mean and no ends, none has neither."""
    assert statistics.t_interval(np.array([2.0, np.nan]))[0] == 2
    assert np.isnan(statistics.t_interval(np.array([2.0, np.nan]))[1:]).all()
    assert np.isnan(statistics.t_interval(np.array([np.nan]))).all()


def test_gains_are_tested_against_all_signs() -> None:
    """The p value is the share of the 2^n sign patterns that gain as much."""
    gains = np.array([0.3, -0.1, 0.5, 0.2, 0.05, np.nan])
    known = gains[:5]
    sums = [np.dot(signs, known) for signs in itertools.product([-1, 1], repeat=5)]
    share = np.mean(np.array(sums) >= known.sum() - 1e-12)
    assert statistics.gain_p_value(gains, seed=0) == pytest.approx(share)
    assert statistics.gain_p_value(np.arange(1.0, 7.0), seed=0) == pytest.approx(2**-6)
    assert statistics.gain_p_value(np.array([1.0]), seed=0) == 1
    assert statistics.gain_p_value(np.zeros(5), seed=0) == 1
    assert math.isnan(statistics.gain_p_value(np.array([np.nan]), seed=0))


def test_holm_is_the_papers_example() -> None:
    """Four p-values by hand: times 4, 3, 2, 1 in order, never falling, at most 1; NaN stays."""
    adjusted = statistics.holm(np.array([0.01, 0.04, np.nan, 0.03, 0.005]))
    np.testing.assert_allclose(adjusted, [0.03, 0.06, np.nan, 0.06, 0.02])
    np.testing.assert_array_equal(statistics.holm(np.array([0.9, 0.8])), [1, 1])
    assert len(statistics.holm(np.array([]))) == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_step_by_step(values: list[float]) -> None:
    """The adjusted value is at most alpha just where the step-down procedure rejects."""
    p_values, alpha = np.array(values), 0.05
    rejected = np.zeros(len(p_values), dtype=bool)
    for place, index in enumerate(np.argsort(p_values, kind="stable")):
        if (len(p_values) - place) * p_values[index] > alpha:
            break
        rejected[index] = True
    np.testing.assert_array_equal(statistics.holm(p_values) <= alpha, rejected)


@pytest.mark.parametrize("slope", [-3.0, -0.4, 0.0, 0.3, 1.0, 20.0])
def test_deming_recovers_lines_exactly(slope: float) -> None:
    """Points of a line give its slope and intercept."""
    x = np.linspace(-90, 90, 50)
    line = deming(x, slope * x + 7)
    assert line.slope == pytest.approx(slope, abs=1e-9)
    assert line.intercept == pytest.approx(7, abs=1e-6)


def test_deming_takes_noise_in_both_coordinates_evenly() -> None:
    """With equal noise on both axes it finds the slope, where least squares is biased."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(-90, 90, 20_000)
    x, y = (0.6 * t + rng.normal(0, 15, len(truth)) for t in (truth / 0.6, truth))
    assert deming(x, y).slope == pytest.approx(0.6, abs=0.01)
    assert np.polyfit(x, y, 1)[0] < 0.57
    swapped = deming(y, x).slope
    assert swapped == pytest.approx(1 / deming(x, y).slope)


def test_deming_says_when_there_is_no_line() -> None:
    """One point, or a round cloud, determine none; a vertical line has no finite slope."""
    one = np.array([1.0])
    assert math.isnan(deming(one, one).slope)
    square = np.array([0.0, 0, 1, 1]), np.array([0.0, 1, 0, 1])
    assert math.isnan(deming(*square).slope)
    assert math.isinf(deming(np.zeros(3), np.arange(3.0)).slope)
    assert deming(np.arange(4.0), np.array([0, 2.0, np.nan, 6])).slope == pytest.approx(2)


def test_signs_are_tried_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are tried together, so that memory stays flat, the p-value is the same."""
    gains = np.random.default_rng(0).normal(0.1, 1, 40)
    whole = statistics.gain_p_value(gains, 0)
    monkeypatch.setattr(statistics, "_SIGNS_AT_ONCE", 3000)
    assert statistics.gain_p_value(gains, 0) == whole
    assert 0 < whole < 1
