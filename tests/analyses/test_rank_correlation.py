"""Rank correlations, their intervals and their tests against chance."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from analyses import rank_correlation


def test_intervals_leave_out_seeds_with_all_their_points() -> None:
    """The interval is that of a jackknife written out, which leaves out whole seeds."""
    rng = np.random.default_rng(3)
    seeds = np.repeat(np.arange(4), 3)
    x = rng.normal(size=12) + seeds
    y = rng.normal(size=12) + seeds
    cloud = rank_correlation.Cloud(x=x, y=y, cell=np.tile(np.arange(3), 4), points="all")
    whole = np.arctanh(stats.spearmanr(x, y).statistic)
    pseudo = [
        4 * whole - 3 * np.arctanh(stats.spearmanr(x[seeds != s], y[seeds != s]).statistic)
        for s in range(4)
    ]
    naive = stats.t.interval(0.95, 3, np.mean(pseudo), stats.sem(pseudo))
    assert rank_correlation.interval(cloud, seeds) == pytest.approx(np.tanh(naive))
    assert all(map(math.isnan, rank_correlation.interval(cloud, np.minimum(seeds, 1))))
    constant = replace(cloud, y=0 * y)
    assert all(map(math.isnan, rank_correlation.interval(constant, seeds)))


def test_chance_is_what_random_pairings_give() -> None:
    """Of five points in order, 2 of all 120 pairings correlate as much; disorder is chance."""
    order = np.arange(5.0)
    cell = np.arange(5)
    ordered = rank_correlation.Cloud(x=order, y=order**3, cell=cell, points="cells")
    assert rank_correlation.p_value(ordered, 0) == pytest.approx(2 / 120)
    mixed = rank_correlation.Cloud(
        x=order, y=np.array([1.0, 0, 4, 2, 0.5]), cell=cell, points="cells"
    )
    naive = [
        abs(stats.spearmanr(order, np.array(each)).statistic) >= abs(mixed.rho()) - 1e-12
        for each in itertools.permutations(mixed.y)
    ]
    assert rank_correlation.p_value(mixed, 0) == pytest.approx(np.mean(naive))
    assert math.isnan(rank_correlation.p_value(replace(mixed, y=0 * order), 0))
