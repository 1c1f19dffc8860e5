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


def _groups(f: Tensor, g: Tensor, count: int) -> Moments:
    """Moments of consecutive positions, in groups of one size."""
    size = f.shape[1] // count
    parts = [x.unflatten(1, (count, size)).transpose(0, 1) for x in (f, g)]
    return Moments.of(parts[0], parts[1])


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
def test_errors_from_moments_are_those_of_the_maps(kind: channels.Kind) -> None:
    """On vectors outside the fit too, the error from moments is the sum of squared differences."""
    mixing = channels.fit(kind, _groups(_vectors(0), _vectors(1), 3))
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


@given(seed=st.integers(0, 100))
def test_a_gain_is_the_best_in_its_range(seed: int) -> None:
    """No other factor in [0, 1] leaves less of a channel; moments of each channel give the same."""
    g = _vectors(seed)
    f = torch.arange(-1, 1.5, 0.5, dtype=torch.float64)[:, None] * g + _vectors(seed + 1000)
    found = channels.fit_gain(Moments.of(f, g))
    mean = f.mean(1, keepdim=True)
    tried = torch.linspace(0, 1, 101, dtype=torch.float64)[:, None, None]
    left = (mean + tried * (g - mean) - f).square().sum(-1)
    # a factor within 0.005 of the best one leaves as much up to the square of that
    most = left.min(0).values + 0.005**2 * (g - mean).square().sum(1)
    assert ((found(g) - f).square().sum(1) <= most).all()
    alone = channels.fit_gain(Moments.of(f[:, None], g[:, None]))
    torch.testing.assert_close(alone.factor, found.factor)
    torch.testing.assert_close(alone.mean, found.mean)


@given(seed=st.integers(0, 100), other=st.integers(0, 100))
def test_a_gain_does_no_harm(seed: int, other: int) -> None:
    """Of vectors outside the fit no channel is left with more than the worse of G and the mean."""
    found = channels.fit_gain(Moments.of(_vectors(seed), _vectors(seed + 1000)))
    f, g = _vectors(other + 2000), _vectors(other + 3000)
    left, stay, steady = ((x - f).square().sum(1) for x in (found(g), g, found.mean[:, None]))
    assert (left <= torch.maximum(stay, steady) * (1 + 1e-12)).all()


def test_dead_channels_have_a_gain() -> None:
    """A channel that never fires is its mean."""
    f, g = _vectors(0), _vectors(1)
    f[2], g[2] = 0, 0
    assert channels.fit_gain(Moments.of(f, g))(g)[2].tolist() == [0] * g.shape[1]


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


@pytest.mark.parametrize("ridge", [1e-3, 1.0])
@pytest.mark.parametrize("related", [0.0, 0.3, -0.3])
def test_ridge_regression_is_the_textbook_one(ridge: float, related: float) -> None:
    """The fit minimises error / n + ridge v |matrix - gain|^2, by least squares on rows."""
    g = _vectors(1)
    f = _vectors(0) + related * g
    count = f.shape[1]
    apart = g - g.mean(1, keepdim=True)
    variance = float(apart.square().mean())
    gain = float((apart * (f - f.mean(1, keepdim=True))).mean()) / variance
    gain = min(max(gain, 0.0), 1.0)
    design = torch.cat([g.T, torch.ones(count, 1, dtype=g.dtype)], dim=1)
    penalty = torch.diag(torch.tensor([ridge * variance * count] * 5 + [0.0]).double().sqrt())
    start = gain * torch.cat([torch.eye(5), torch.zeros(1, 5)]).double()
    rows = torch.cat([design, penalty])
    wanted = torch.cat([f.T, penalty @ start])
    solution = torch.linalg.lstsq(rows, wanted).solution
    found = channels.fit_linear(Moments.of(f, g), ridge)
    torch.testing.assert_close(found.matrix, solution[:5].T)
    torch.testing.assert_close(found.offset, solution[5])


@pytest.mark.parametrize("kind", [channels.Kind.ORTHOGONAL, channels.Kind.LINEAR])
@pytest.mark.parametrize("seed", range(4))
def test_the_chosen_penalty_predicts_the_groups_left_out_best(
    kind: channels.Kind, seed: int
) -> None:
    """No penalty of the list leaves less, summed over the groups, each left out of its fit."""
    f, g = _vectors(seed, 24), _vectors(seed + 50, 24)
    if seed % 2:
        f = g + 0.3 * f
    groups = _groups(f, g, 3)
    one = channels.fit_linear if kind is channels.Kind.LINEAR else channels.fit_orthogonal
    tried = channels.RIDGES if kind is channels.Kind.LINEAR else channels.TURN_RIDGES
    errors = {}
    for ridge in tried:
        fits = [one(groups.sum() - groups[k], ridge) for k in range(3)]
        errors[ridge] = sum(float(fit.error(groups[k])) for k, fit in enumerate(fits))
    chosen = channels.fit(kind, groups)
    assert isinstance(chosen, Linear)
    assert errors[chosen.ridge] == pytest.approx(min(errors.values()), rel=1e-6)
    assert max(errors.values()) > 1.001 * min(errors.values())
    torch.testing.assert_close(chosen.matrix, one(groups.sum(), chosen.ridge).matrix)


@pytest.mark.parametrize("size", [5, 30])
@pytest.mark.parametrize("related", [0.0, 1.0])
def test_trials_are_judged_as_their_fits_are(size: int, related: float) -> None:
    """What is said to be left, in single precision, is what fits leave, less a constant a group.

    Also of fewer positions than channels, and where a group's means lie far from the others'.
    """
    f, g = _vectors(0, 24, size), _vectors(1, 24, size)
    f, g = related * g + 0.5 * f, g
    g[:, 18:] += 30
    groups = _groups(f, g, 4)
    out = torch.tensor([[0, 1], [1, 3], [2, 3]])
    left = channels._judge(channels.Kind.LINEAR, groups)(out).double()
    naive = torch.empty_like(left)
    for trial, (a, b) in enumerate(out.tolist()):
        others = groups[[k for k in range(4) if k not in {a, b}]].sum()
        for place, k in enumerate((a, b)):
            for number, ridge in enumerate(channels.RIDGES):
                naive[trial, place, number] = channels.fit_linear(others, ridge).error(groups[k])
    total = groups.sum()
    mean = total.warped / total.count
    variance = float((total.outer / total.count - torch.outer(mean, mean)).diagonal().mean())
    naive /= variance * float(total.count)
    naive, left = (each - each[:, :, -1:] for each in (naive, left))
    # eigenvalues are right to 1e-7 of the largest, some 30 here, beside the least ridge of 0.01
    torch.testing.assert_close(left, naive, rtol=1e-3, atol=1e-4 * float(naive.abs().max()))


def test_maps_that_are_alike_take_the_least_penalty() -> None:
    """Where all penalties leave nothing, no rounding chooses between them."""
    for size in (5, 30):
        f = _vectors(0, 24, size)
        for one in channels.cross_fit(channels.Kind.LINEAR, _groups(f, f, 4)):
            assert isinstance(one, Linear)
            assert one.ridge == channels.RIDGES[0]


@pytest.mark.parametrize("kind", channels.Kind)
def test_where_channels_lie_in_memory_makes_no_difference(kind: channels.Kind) -> None:
    """Maps are mixed alike with channels first and last, and stay as they lie."""
    one = channels.fit(kind, _groups(_vectors(0), _vectors(1), 3))
    maps = _vectors(2)
    last = one(maps.T.contiguous().T)
    torch.testing.assert_close(last, one(maps))
    assert last.stride() == (1, len(maps))


def test_channels_alone_have_the_sums_that_they_have_together() -> None:
    """Moments of each channel are the diagonals of those of all."""
    f, g = _vectors(0), _vectors(1)
    together, apart = Moments.of(f, g).alone, Moments.by_channel(f, g)
    for name in ("count", "reference", "warped", "power", "cross", "outer"):
        torch.testing.assert_close(getattr(together, name), getattr(apart, name))
        wanted = getattr(Moments.of(f[:, None], g[:, None]), name)
        torch.testing.assert_close(getattr(apart, name), wanted)


@pytest.mark.parametrize("kind", channels.Kind)
@pytest.mark.parametrize("count", [2, 3, 5])
def test_cross_fits_are_the_fits_to_the_other_groups(kind: channels.Kind, count: int) -> None:
    """Sharing the trial fits of two groups changes nothing: each fit is that without its group."""
    groups = _groups(_vectors(0), _vectors(0) + 0.5 * _vectors(1), count)
    for k, found in enumerate(channels.cross_fit(kind, groups)):
        others = [j for j in range(count) if j != k]
        f, g = _vectors(2), _vectors(3)
        if count == 2:
            assert not isinstance(found, Linear) or found.ridge in {
                channels.UNCHECKED_RIDGE,
                channels.TURN_RIDGES[0],
            }
        torch.testing.assert_close(found(g), channels.fit(kind, groups[others])(g))
        assert _left(found, f, g) > 0


@settings(max_examples=50)
@given(
    seed=st.integers(0, 1000),
    ridge=st.sampled_from(channels.RIDGES[:5]),
    scale=st.floats(-6, 2),
)
def test_the_penalty_costs_no_more_than_is_said(seed: int, ridge: float, scale: float) -> None:
    """Of vectors turned by an orthogonal matrix a linear fit leaves at most `ridge`, any scales."""
    g = _vectors(seed, 60, 5)
    g[:2] *= 10**scale
    turn, _ = torch.linalg.qr(_vectors(seed + 1, 5, 5))
    moments = Moments.of(turn @ g, g)
    variance = float((turn @ g - (turn @ g).mean(1, keepdim=True)).square().sum())
    assert _left(channels.fit_linear(moments, ridge), turn @ g, g) <= ridge * variance


@settings(max_examples=50)
@given(
    seed=st.integers(0, 1000),
    ridge=st.sampled_from(channels.RIDGES[:5]),
    fires=st.floats(-6, 1),
    later=st.floats(-2, 2),
)
def test_a_quiet_direction_is_no_lever(seed: int, ridge: float, fires: float, later: float) -> None:
    """What one channel of the fit explains bounds what it adds to another image, however quiet."""
    f, g = _vectors(seed), _vectors(seed + 1)
    g[0] = 0
    g[0, 7] = 10**fires
    fitted = channels.fit_linear(Moments.of(f, g), ridge)
    f, g = (x - x.mean(1, keepdim=True) for x in (f, g))
    v, variance = float(g.square().mean()), float(f.square().mean(1).sum())
    gain = min(max(float((f * g).mean()) / v, 0.0), 1.0)
    lever = fitted.matrix[:, 0] - gain * torch.eye(5, dtype=f.dtype)[0]
    added = float(lever.square().sum()) * 10**later * v
    assert added <= 10**later / (4 * ridge) * variance * (1 + 1e-9)


def test_a_channel_that_fired_once_in_the_fit_does_no_harm_elsewhere() -> None:
    """Where one channel fires once, at 1e-3, and fires in another image, that image is unharmed."""
    f = torch.randn(8, 1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    g = f.clone()
    g[3, :800] = 0
    g[3, 17] = 1e-3  # while the reference channel fires at 1
    f[3, :800], f[3, 17] = 0, 1
    fitted = channels.fit(channels.Kind.LINEAR, _groups(f[:, :800], g[:, :800], 4))
    held = f[:, 800:]
    assert _left(fitted, held, g[:, 800:]) < 1e-3 * float(held.square().sum())
    # what the usual standardised regression would do with it: a gain of 1000
    naive = torch.linalg.lstsq(g[:, :800].T, f[:, :800].T).solution.T
    assert float((naive @ g[:, 800:] - held).square().sum()) > 7000 * float(held.square().sum())


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
    parts = _groups(f, g, 4)
    mixing = channels.fit(channels.Kind.LINEAR, parts[:3])
    held_out = f[:, 3000:]
    variance = float((held_out - f[:, :3000].mean(1, keepdim=True)).square().sum())
    assert float(mixing.error(parts[3])) == pytest.approx(variance, rel=0.02)


def test_no_mixing_is_kept_where_there_is_little_to_learn_from() -> None:
    """With more channels than positions the penalty keeps the linear mixing near no mixing."""
    generator = torch.Generator().manual_seed(0)
    f = torch.randn(64, 30, generator=generator, dtype=torch.float64)
    g = f + 0.3 * torch.randn(64, 30, generator=generator, dtype=torch.float64)
    parts = _groups(f, g, 3)
    mixing = channels.fit(channels.Kind.LINEAR, parts[:2])
    alone = Permutation(torch.arange(64)).error(parts[2])
    assert float(mixing.error(parts[2])) < 1.3 * float(alone)
    means = Linear(torch.zeros(64, 64, dtype=torch.float64), f[:, :20].mean(1))
    assert float(mixing.error(parts[2])) < 0.5 * float(means.error(parts[2]))


def test_constant_channels_leave_fits_finite() -> None:
    """A constant channel predicts nothing and breaks nothing."""
    f, g = _vectors(0), _vectors(1)
    g[2], f[3] = 7.0, 0.0
    for kind in channels.Kind:
        mixing = channels.fit(kind, _groups(f, g, 3))
        assert np.isfinite(_left(mixing, f, g))
    linear = channels.fit_linear(Moments.of(f, g), 0.01)
    others = torch.arange(5) != 2
    assert linear.matrix[others, 2].abs().max() < 1e-9


@pytest.mark.parametrize("value", [0.0, 7.0])
@pytest.mark.parametrize("kind", channels.Kind)
def test_maps_that_are_constant_throughout_leave_fits_finite(
    kind: channels.Kind, value: float
) -> None:
    """Of constants alone nothing is learnt, and no gain is made of rounding noise."""
    constant = torch.full((5, 60), value, dtype=torch.float64)
    for f, g in ((_vectors(0), constant), (constant, _vectors(0)), (constant, constant)):
        mixing = channels.fit(kind, _groups(f, g, 3))
        left = _left(mixing, f, g + 1)
        assert left <= 3 * float(((f - g).square() + f.square() + (g + 1).square()).sum())


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
