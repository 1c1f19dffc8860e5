"""The questions that need no training: their tiny presets answer, and their judges can say no."""

from functools import cache
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from analyses.questions import channel_shift, law, residual_by_layer, trained_against_random
from proofs.worlds import spectral

QUESTIONS = (residual_by_layer, channel_shift, trained_against_random, law)


@cache
def measured(question: ModuleType) -> pd.DataFrame:
    """What the tiny preset measures."""
    frame: pd.DataFrame = question.measure(question.PRESETS["tiny"])
    return frame


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda each: each.__name__.split(".")[-1])
def test_a_question_is_asked_answered_and_drawn(question: ModuleType) -> None:
    """The first line asks; the frame gives a table without blanks, and a figure with panels."""
    assert (question.__doc__ or "").splitlines()[0].endswith("?")
    assert set(question.PRESETS) >= {"quick", "tiny"}
    frame = measured(question)
    table = question.summary(frame)
    numbers = table.select_dtypes("number")
    permuted = [column for column in numbers if str(column).startswith(tuple(channel_shift.MOVES))]
    assert not numbers.drop(columns=permuted).isna().any(axis=None)
    assert len(question.plot(frame).axes) >= 4


def test_residuals_keep_their_order() -> None:
    """On every map, any-warp <= affine <= min(oracle, identity), and no row lacks a value."""
    frame = measured(residual_by_layer)
    keys = ["layer", "transform", "parameter", "image"]
    wide = frame.pivot(index=keys, columns="method", values="value")
    assert not wide.isna().any(axis=None)
    assert (wide["any-warp"] <= wide["affine"] + 1e-5).all()
    assert (wide["affine"] <= wide[["oracle", "identity"]].min(axis=1) + 1e-5).all()


def test_what_changes_nothing_is_left_out_of_the_means() -> None:
    """A rotation by 0 degrees does not lower a mean."""
    frame = measured(residual_by_layer)
    table = residual_by_layer.summary(frame)
    moved = frame[frame["parameter"] != 0]
    pd.testing.assert_frame_equal(table, residual_by_layer.summary(moved))
    assert len(moved) < len(frame)


def test_the_quarter_turn_of_the_control_stands_out() -> None:
    """The permutation of a C4 network is exact at 90 degrees alone, and is found by all folds."""
    table = channel_shift.summary(measured(channel_shift))
    permuted = table[table["kind"] == "permutation"].set_index("network")
    control = permuted.loc[channel_shift.CONTROL]
    assert (control["verdict"] == "stands out").all()
    np.testing.assert_allclose(control["share"], 1, atol=1e-5)
    assert (control["agreement"] == 1).all()
    assert (control["moved"] == 1).all()
    assert (control["share_unrelated"] < 0.2).all()
    assert (permuted.loc[[channel_shift.ON_GRID], "share"] < 0.5).all()


def test_a_quarter_turn_like_its_neighbours_does_not_stand_out() -> None:
    """With the values at 90 degrees put at its neighbours too, nothing stands out."""
    frame = measured(channel_shift)
    quarter = frame[frame["parameter"] == 90]
    flat = pd.concat([quarter.assign(parameter=float(angle)) for angle in (75, 90, 105)])
    table = channel_shift.summary(flat)
    assert set(table["verdict"]) <= {"undecided", "removes nothing"}
    np.testing.assert_allclose(table["difference"], 0, atol=1e-9)


def test_a_verdict_needs_both_intervals() -> None:
    """Standing out is to remove something, more than nearby, and not for want of interpolation."""
    assert channel_shift.verdict(0.1, (0.1, 0.1), (0.2, 0.2)) == "stands out"
    assert channel_shift.verdict(-0.1, (0.1, 0.1), (0.2, 0.2)) == "removes nothing"
    assert channel_shift.verdict(0.1, (0.1, -0.1), (0.2, 0.2)) == "undecided"
    assert channel_shift.verdict(0.1, (-0.2, -0.2), (-0.1, -0.1)) == "falls behind"
    assert channel_shift.verdict(0.1, (-0.2, -0.2), (-0.1, 0.1)) == "undecided"


def small_network() -> nn.Module:
    """A network with a batch norm, in evaluation mode."""
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5)
    )
    return network.eval()


def test_shuffling_keeps_the_entries_and_loses_their_order() -> None:
    """Each parameter holds the same numbers elsewhere, and the network given is as it was."""
    network = small_network()
    before = [weights.clone() for weights in network.parameters()]
    changed = trained_against_random.shuffled(network, torch.Generator().manual_seed(1))
    for old, kept, new in zip(before, network.parameters(), changed.parameters(), strict=True):
        assert torch.equal(old, kept)
        assert torch.equal(old.flatten().sort().values, new.flatten().sort().values)
    assert not torch.equal(before[0], next(changed.parameters()))


def test_weights_drawn_anew_are_those_of_the_seed_and_the_global_generator_is_left_alone() -> None:
    """One seed gives one network, another seed another."""
    network = small_network()
    state = torch.get_rng_state()
    one, same, other = (trained_against_random.drawn_anew(network, seed) for seed in (1, 1, 2))
    assert torch.equal(state, torch.get_rng_state())
    weights = [next(each.parameters()) for each in (one, same, other, network)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[3])


def test_statistics_anew_normalise_on_the_images_given() -> None:
    """In evaluation mode each channel then has mean 0 and variance 1 on these images, at depth."""
    images = 3 * torch.randn(6, 3, 20, 20, generator=torch.Generator().manual_seed(0)) + 5
    network = small_network()
    changed = trained_against_random.recalibrated(network, images)
    assert not any(module.training for module in changed.modules())
    with torch.no_grad():
        maps, usual = changed(images), network(images)
    torch.testing.assert_close(maps.mean((0, 2, 3)), torch.zeros(5), atol=2e-3, rtol=0)
    torch.testing.assert_close(maps.var((0, 2, 3)), torch.ones(5), atol=1e-2, rtol=0)
    assert float(usual.mean((0, 2, 3)).abs().max()) > 0.1


def test_places_lie_between_floor_and_chance() -> None:
    """A residual at the floor is at 0, one at chance is at 1, and gaps are differences."""
    rows = [
        {
            "network": network,
            "draw": 0,
            "layer": "a",
            "transform": "rotation",
            "parameter": 90.0,
            "image": image,
            "method": method,
            "value": value,
        }
        for network, oracle in zip(
            trained_against_random.NETWORKS, (0.2, 0.4, 1.2, 2.2), strict=True
        )
        for image in ("x", "y", "z")
        for method, value in {
            "oracle": oracle,
            "affine": 0.2,
            "floor": 0.2,
            "unrelated": 2.2,
        }.items()
    ]
    table = trained_against_random.summary(pd.DataFrame(rows))
    oracle = table[table["warp"] == "oracle"]
    np.testing.assert_allclose(oracle["place"], [0, 0.1, 0.5, 1], atol=1e-12)
    np.testing.assert_allclose(oracle["trained_less_this"], [0.1, 0, -0.4, -0.9], atol=1e-12)
    np.testing.assert_allclose(table[table["warp"] == "affine"]["place"], 0, atol=1e-12)


def test_the_law_holds_for_noise_and_a_wrong_prediction_is_seen() -> None:
    """The law explains noise of either spectrum; predictions of another channel do not."""
    frame = measured(law)
    table = law.summary(frame)
    noise = table[(table["images"] != law.PHOTOGRAPHS) & (table["transform"] == "all")]
    assert (noise["r_squared"] > 0.99).all()
    # at the stem's own stride the law without sampling fails
    assert (noise.loc[noise["stride"] == 2, "unsampled"] < 0.9).all()
    keys = ["images", "stride", "image", "kind", "transform", "parameter"]
    wrong = frame.assign(predicted=frame.groupby(keys, sort=False)["predicted"].shift(1))
    wrong = wrong.assign(predicted=wrong["predicted"].fillna(0.0))
    assert (law.summary(wrong)["r_squared"] < 0.8).all()


def test_the_points_are_those_of_all_images_at_once() -> None:
    """Summed errors over summed energies are what measuring the images together gives."""
    config = law.PRESETS["tiny"]
    images = [spectral.noise(law.SIDE, law.CUT, seed) for seed in range(config.images)]
    together = spectral.measured_residuals(
        images,
        law.stem_kernels(),
        [law.plane_maps.rotation(90)],
        negatives=True,
        radius=law.RADIUS,
        step=law.STEP,
    )
    points = law.points(measured(law))
    points = points[(points["images"] == law.NOISE) & (points["parameter"] == 90)]
    points = points[points["stride"] == 1]
    for row, kind in enumerate(law.KINDS):
        found = points[points["kind"] == kind].sort_values("channel")
        np.testing.assert_allclose(found["measured"], together[row, 0], rtol=1e-4)


def test_shaped_noise_has_the_spectrum_that_it_is_given() -> None:
    """The mean power of many draws is proportional to the spectrum."""
    side = 32
    power = spectral.noise_power(spectral.frequency_grid(side), 0.3)
    draws = [np.abs(np.fft.fft2(spectral.shaped_noise(power, seed))) ** 2 for seed in range(400)]
    found = np.mean(draws, axis=0).ravel()
    kept = power > 0
    ratio = found[kept] / found.sum() / (power[kept] / power.sum())
    assert abs(ratio.mean() - 1) < 0.02
    assert ratio.std() < 0.12
    assert found[~kept].max() < 1e-12 * found.max()
