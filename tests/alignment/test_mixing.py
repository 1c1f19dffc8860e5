"""Mixings of channels: planted ones are found, fits are optimal, errors are those of the maps."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from invariance_probe.alignment import mixing as channels
from invariance_probe.alignment.mixing import Linear, Mixing, Moments, Permutation


def _vectors(seed: int, count: int = 60, size: int = 5) -> Tensor:
    """Correlated vectors with unequal means and scales, channel by position, float64."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(size, size, generator=generator, dtype=torch.float64)
    raw = torch.randn(size, count, generator=generator, dtype=torch.float64)
    offsets = torch.randn(size, 1, generator=generator, dtype=torch.float64)
    return mixing @ raw * torch.logspace(-1, 1, size, dtype=torch.float64)[:, None] + offsets


def _left(mixing: Mixing, f: Tensor, g: Tensor) -> float:
    """The squared error, from the vectors themselves."""
    return float((mixing(g) - f).square().sum())


def test_moments_add_up_over_positions() -> None:
    """Moments of two parts add up to those of the whole, and taking one off leaves the other."""
    f, g = _vectors(0), _vectors(1)
    whole = Moments.of(f, g)
    first, second = Moments.of(f[:, :20], g[:, :20]), Moments.of(f[:, 20:], g[:, 20:])
    for name in ("count", "reference", "warped", "power", "cross", "outer"):
        torch.testing.assert_close(getattr(first + second, name), getattr(whole, name))
        torch.testing.assert_close(getattr(whole - first, name), getattr(second, name))


@pytest.mark.parametrize("kind", channels.Kind)
def test_errors_from_moments_are_those_of_the_maps(kind: str) -> None:
    """On vectors outside the fit too, the error from moments is the sum of squared differences."""
    mixing = channels.fit(kind, Moments.of(_vectors(0), _vectors(1)))
    f, g = _vectors(2), _vectors(3)
    assert float(mixing.error(Moments.of(f, g))) == pytest.approx(_left(mixing, f, g), rel=1e-9)


@given(order=st.permutations(range(6)), seed=st.integers(0, 100))
def test_a_planted_permutation_is_found(order: list[int], seed: int) -> None:
    """Channels that only change places are put back exactly, whatever the permutation."""
    f = _vectors(seed, size=6)
    source = torch.tensor(order)
    g = torch.empty_like(f)
    g[source] = f
    found = channels.fit_permutation(Moments.of(f, g))
    assert found.source.tolist() == order
    assert _left(found, f, g) == 0


def test_dead_channels_stay() -> None:
    """Channels that are 0 in both maps are not moved, though any assignment is as good."""
    f = _vectors(0, size=6)
    f[[1, 3, 5]] = 0
    assert channels.fit_permutation(Moments.of(f, f)).source.tolist() == list(range(6))


def test_planted_rotation_and_mixing_are_found() -> None:
    """An orthogonal and a linear map with an offset are recovered."""
    g = _vectors(0)
    turn, _ = torch.linalg.qr(_vectors(5, count=5))
    found = channels.fit_orthogonal(Moments.of(turn @ g, g))
    torch.testing.assert_close(found.matrix, turn)
    matrix, offset = _vectors(6, count=5), torch.arange(5.0, dtype=torch.float64)
    linear = channels.fit_linear(Moments.of(matrix @ g + offset[:, None], g), 1e-12)
    torch.testing.assert_close(linear.matrix, matrix, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(linear.offset, offset, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("prior", [0.0, 1.0])
@pytest.mark.parametrize("ridge", [1e-3, 1.0])
def test_ridge_regression_is_the_textbook_one(ridge: float, prior: float) -> None:
    """The fit minimises error / n + ridge |(matrix - prior) scales|^2, by least squares on rows."""
    f, g = _vectors(0), _vectors(1)
    count = f.shape[1]
    scale = (g - g.mean(1, keepdim=True)).square().mean(1).sqrt()
    design = torch.cat([(g / scale[:, None]).T, torch.ones(count, 1, dtype=g.dtype)], dim=1)
    penalty = torch.diag(torch.tensor([ridge * count] * 5 + [0.0], dtype=g.dtype).sqrt())
    start = torch.cat([prior * torch.diag(scale), torch.zeros(1, 5, dtype=g.dtype)])
    rows = torch.cat([design, penalty])
    wanted = torch.cat([f.T, penalty @ start])
    solution = torch.linalg.lstsq(rows, wanted).solution
    found = channels.fit_linear(Moments.of(f, g), ridge, prior)
    torch.testing.assert_close(found.matrix, solution[:5].T / scale)
    torch.testing.assert_close(found.offset, solution[5])


@pytest.mark.parametrize("seed", range(6))
def test_the_chosen_penalty_predicts_the_other_images_best(seed: int) -> None:
    """No penalty of the list, towards means or no mixing, has a smaller validation error."""
    f, g = _vectors(seed, 14), _vectors(seed + 50, 14)
    if seed % 2:
        f = g + 0.3 * f  # so that both targets of the penalty get their chance
    training, validation = Moments.of(f[:, :8], g[:, :8]), Moments.of(f[:, 8:], g[:, 8:])
    errors = {
        (ridge, prior): float(channels.fit_linear(training, ridge, prior).error(validation))
        for ridge in channels.RIDGES
        for prior in (0.0, 1.0)
    }
    assert len(errors) == 20
    chosen = channels.choose_ridge(training, validation)
    assert errors[chosen] == pytest.approx(min(errors.values()), rel=1e-6)
    assert max(errors.values()) > 1.05 * min(errors.values())


@given(seed=st.integers(0, 1000))
def test_freer_mixings_leave_less_where_they_were_fitted(seed: int) -> None:
    """Without a penalty linear <= orthogonal <= permutation <= no mixing, in the fit itself."""
    f, g = _vectors(seed), _vectors(seed + 1)
    moments = Moments.of(f, g)
    errors = [
        _left(channels.fit_linear(moments, 1e-9), f, g),
        _left(channels.fit_orthogonal(moments), f, g),
        _left(channels.fit_permutation(moments), f, g),
        _left(Permutation(torch.arange(5)), f, g),
    ]
    assert all(a <= b * (1 + 1e-6) for a, b in pairwise(errors))


def test_nothing_is_learnt_from_unrelated_vectors() -> None:
    """On unrelated vectors the linear mixing predicts the means: about 1 of variance is left."""
    f, g = _vectors(0, 4000), _vectors(1, 4000)
    parts = [Moments.of(f[:, rows], g[:, rows]) for rows in torch.arange(4000).split(1000)]
    mixing = channels.fit(channels.Kind("linear"), parts[0] + parts[1], parts[2])
    held_out = f[:, 3000:]
    variance = float((held_out - f[:, :3000].mean(1, keepdim=True)).square().sum())
    assert float(mixing.error(parts[3])) == pytest.approx(variance, rel=0.02)


def test_no_mixing_is_kept_where_there_is_little_to_learn_from() -> None:
    """With more channels than positions the penalty keeps the linear mixing near no mixing."""
    generator = torch.Generator().manual_seed(0)
    f = torch.randn(64, 30, generator=generator, dtype=torch.float64)
    g = f + 0.3 * torch.randn(64, 30, generator=generator, dtype=torch.float64)
    parts = [Moments.of(f[:, rows], g[:, rows]) for rows in torch.arange(30).split(10)]
    mixing = channels.fit(channels.Kind("linear"), parts[0], parts[1])
    alone = Permutation(torch.arange(64)).error(parts[2])
    assert float(mixing.error(parts[2])) < 1.3 * float(alone)
    means = Linear(torch.zeros(64, 64, dtype=torch.float64), f[:, :20].mean(1))
    assert float(mixing.error(parts[2])) < 0.5 * float(means.error(parts[2]))


def test_constant_channels_leave_fits_finite() -> None:
    """A constant channel predicts nothing and breaks nothing."""
    f, g = _vectors(0), _vectors(1)
    g[2], f[3] = 7.0, 0.0
    for kind in channels.Kind:
        mixing = channels.fit(kind, Moments.of(f, g), Moments.of(f, g))
        assert np.isfinite(_left(mixing, f, g))
    linear = channels.fit_linear(Moments.of(f, g), 1e-6)
    assert linear.matrix[:, 2].abs().max() == 0


@settings(max_examples=30)
@given(source=st.permutations(range(8)), times=st.integers(1, 6))
def test_cycles_make_up_the_permutation(source: list[int], times: int) -> None:
    """Each channel lies in one cycle; those whose length divides the number of turns return."""
    found = channels.cycles(np.array(source))
    assert sorted(channel for cycle in found for channel in cycle) == list(range(8))
    length = {}
    for cycle in found:
        for channel, after in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
            assert source[channel] == after
            length[channel] = len(cycle)
    back = channels.returning(np.array(source), times)
    assert back.tolist() == [times % length[channel] == 0 for channel in range(8)]
