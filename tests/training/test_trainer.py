"""The trainer: what it learns, what it records, and what it does where training fails."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from invariance_probe.perturbations.parsing import parse_perturbation
from invariance_probe.training import evaluation, factory, runs
from invariance_probe.training.batches import TEST, StoredBatches
from invariance_probe.training.runs import TrainResult
from invariance_probe.training.trainer import train
from tests.training import tiny


def test_it_learns_and_records(tmp_path: Path) -> None:
    """A short training halves the error of chance, and all that a run should record is there."""
    config = tiny.config(steps=120, batch=32, evaluate_every=40, rate=5e-3)
    result = train(config, tmp_path / "run", dataset=tiny.dataset(), execution=tiny.ON_CPU)
    assert result.outcome == "finished"
    assert result.numbers["error"] < 0.33
    assert list(result.curve["step"]) == [40, 80, 120]
    assert result.curve["training_loss"].is_monotonic_decreasing
    assert (result.curve["localizer_gradient"] > 0).all()
    assert len(result.images) == 60
    wanted = {"label", "predicted", "wrong", "applied_degrees", "predicted_degrees"}
    assert wanted <= set(result.images)
    assert result.numbers["error"] == result.images["wrong"].mean()
    for name in ("slope_degrees", "intercept_degrees", "spread_degrees", "out_of_frame"):
        assert math.isfinite(result.numbers[name])
    assert result.numbers["parameters"] > result.numbers["localizer_parameters"] > 0
    assert result.numbers["images_per_second"] > 0
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"result.json", "curve.parquet", "images.parquet", "model.safetensors"}


def test_results_are_read_back_and_not_trained_again(tmp_path: Path) -> None:
    """A finished folder gives the same result, whatever data is at hand, and is left as it is."""
    config = tiny.config()
    first = train(config, tmp_path / "run", dataset=tiny.dataset(), execution=tiny.ON_CPU)
    written = (tmp_path / "run" / "result.json").stat().st_mtime_ns
    again = train(config, tmp_path / "run", dataset=tiny.dataset(train=20), execution=tiny.ON_CPU)
    assert (tmp_path / "run" / "result.json").stat().st_mtime_ns == written
    assert again.numbers == pytest.approx(first.numbers, nan_ok=True)
    pd.testing.assert_frame_equal(again.curve, first.curve)
    pd.testing.assert_frame_equal(again.images, first.images)


def test_the_same_seed_gives_the_same_numbers(tmp_path: Path) -> None:
    """Seeds alone decide: the same one gives the same test images' numbers, another does not."""
    runs_of = [
        train(
            tiny.config(seed=seed), tmp_path / str(i), dataset=tiny.dataset(), execution=tiny.ON_CPU
        )
        for i, seed in enumerate((3, 3, 4))
    ]
    pd.testing.assert_frame_equal(runs_of[0].images, runs_of[1].images)
    assert not np.allclose(runs_of[0].images["loss"], runs_of[2].images["loss"])
    applied = [run.images["applied_degrees"] for run in runs_of]
    pd.testing.assert_series_equal(applied[0], applied[2])


def test_global_randomness_is_left_alone(tmp_path: Path) -> None:
    """Training neither reads nor moves torch's global generator."""
    torch.manual_seed(1)
    before = torch.get_rng_state()
    train(tiny.config(steps=2), tmp_path / "a", dataset=tiny.dataset(), execution=tiny.ON_CPU)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "sgd", "rate": 1e6, "momentum": 0.9, "schedule": "constant"},
        {"optimizer": "sgd", "rate": 1e30, "schedule": "constant", "variant": "sl1"},
    ],
)
def test_divergence_is_a_result(tmp_path: Path, changes: dict[str, object]) -> None:
    """A run that explodes stops early and is recorded as diverged, without an exception."""
    config = tiny.config(steps=200, evaluate_every=10, **changes)
    result = train(config, tmp_path / "run", dataset=tiny.dataset(), execution=tiny.ON_CPU)
    assert result.outcome == "diverged"
    assert result.numbers["last_step"] < 200
    assert math.isnan(result.numbers["error"])
    loaded = TrainResult.load(tmp_path / "run")
    assert loaded.outcome == "diverged"
    assert math.isnan(loaded.numbers["error"])
    assert loaded.images.empty
    table = runs.table(runs.read_runs(tmp_path))
    assert table["diverged"].tolist() == [1]


@pytest.mark.parametrize(
    "variant", ["cnn", "c0", "c1", "c2", "dl1", "sl2", "c0x2", "sl1x2", "c0+c1"]
)
def test_every_variant_trains(tmp_path: Path, variant: str) -> None:
    """Each variant takes steps and is evaluated; the CNN moves nothing."""
    config = tiny.config(variant=variant, steps=3)
    result = train(config, tmp_path / "run", dataset=tiny.dataset(), execution=tiny.ON_CPU)
    assert result.outcome == "finished"
    if variant != "c2":  # whose map of one cell cannot be moved
        moved = (result.images["predicted_degrees"] != 0).any()
        assert moved == (variant != "cnn")
    assert math.isnan(result.curve["localizer_gradient"].iloc[-1]) == (variant == "cnn")


@pytest.mark.parametrize("perturbation", ["none", "translation", "scaling=-1:1"])
def test_every_perturbation_trains(tmp_path: Path, perturbation: str) -> None:
    """Canvases, clutter and poses of each kind pass through, also none at all."""
    config = tiny.config(perturbation=perturbation, steps=2)
    result = train(config, tmp_path / "run", dataset=tiny.dataset(), execution=tiny.ON_CPU)
    names = parse_perturbation(perturbation).pose_names
    assert {f"slope_{name}" for name in names} <= set(result.numbers)


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "bf16"},
        {"optimizer": "sgd", "rate": 0.01},
        {"parametrisation": "rotation"},
        {"localizer": "conv", "padding": "zeros"},
        {"network": "svhn", "width": 0.02},
        {"alignment": "true"},
        {"perturbation": "translation", "output_share": 0.5},
        {"variant": "dl1", "trunk": "copy", "gradient_scale": 0.1},
    ],
)
def test_options_train(tmp_path: Path, changes: dict[str, object]) -> None:
    """Each option takes steps to finite numbers."""
    config = tiny.config(steps=2, **changes)
    result = train(config, tmp_path / "run", dataset=tiny.dataset(), execution=tiny.ON_CPU)
    assert math.isfinite(result.numbers["error"])


def test_bf16_is_the_same_but_for_noise(tmp_path: Path) -> None:
    """Half precision changes losses of the same network by a per cent or so."""
    data, config = tiny.dataset(), tiny.config()
    network = factory.build_network(config, data)
    stored = StoredBatches(
        data.test, data, config.perturbation, which=TEST, size=50, device=tiny.CPU
    )
    full, half = (
        evaluation.evaluate(network, stored, tiny.config(precision=precision))["loss"]
        for precision in ("float32", "bf16")
    )
    assert (full != half).any()
    np.testing.assert_allclose(half, full, rtol=0.03)


def test_true_poses_leave_nothing(tmp_path: Path) -> None:
    """With the inverse of the applied motion in place of predictions, slope is 1 and spread 0."""
    config = tiny.config(alignment="true", variant="sl1", steps=1)
    numbers = train(config, tmp_path / "run", dataset=tiny.dataset(), execution=tiny.ON_CPU).numbers
    assert numbers["slope_degrees"] == pytest.approx(1, abs=1e-4)
    assert numbers["spread_degrees"] < 1e-3


def test_true_poses_reach_the_unperturbed_problem_at_the_input_only(tmp_path: Path) -> None:
    """Trained with true poses, C0 is as good as on images that were never moved; C1 is not."""
    errors = {}
    for variant, perturbation, alignment in (
        ("cnn", "none", "predicted"),
        ("c0", "rotation", "true"),
        ("c1", "rotation", "true"),
    ):
        config = tiny.config(
            variant=variant,
            perturbation=perturbation,
            alignment=alignment,
            steps=60,
            batch=32,
            evaluate_every=60,
            rate=5e-3,
        )
        run = train(config, tmp_path / f"{variant}-{alignment}", dataset=tiny.dataset())
        errors[variant] = float(run.images["loss"].mean())
    assert errors["c0"] < 2 * errors["cnn"] + 0.02, errors
    assert errors["c1"] > 1.5 * errors["c0"], errors


def test_no_rate_for_localizers_leaves_them_alone(tmp_path: Path) -> None:
    """With a multiplier of 0 a transformer stays the identity."""
    config = tiny.config(localizer_rate=0.0, weight_decay=0.0)
    images = train(config, tmp_path / "run", dataset=tiny.dataset(), execution=tiny.ON_CPU).images
    assert (images["theta_00"] == 1).all()
    assert (images["theta_01"] == 0).all()
