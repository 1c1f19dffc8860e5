"""The trainer: what it learns, what it records, and what it does where training fails."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from invariance_probe.errors import InvalidInputError
from invariance_probe.perturbations.kinds import NoPerturbation, RandomRotation
from invariance_probe.perturbations.parsing import parse_perturbation
from invariance_probe.stn.variants import parse_variant
from invariance_probe.training import evaluation, factory, presets, runs
from invariance_probe.training.batches import TEST, StoredBatches, TrainingBatches
from invariance_probe.training.configuration import TrainConfig
from invariance_probe.training.runs import TrainResult
from invariance_probe.training.trainer import train
from tests.training import tiny

CPU = torch.device("cpu")


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
    network = factory.build_network(tiny.config(), tiny.dataset())
    perturbation = tiny.config().perturbation
    stored = StoredBatches(
        tiny.dataset().test, tiny.dataset(), perturbation, which=TEST, size=50, device=CPU
    )
    full, half = (
        evaluation.evaluate(network, stored, perturbation, precision=precision)["loss"]
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


def test_localizers_have_a_rate_of_their_own() -> None:
    """The multiplier scales the rate of what only predicts motions, and of nothing shared."""
    config = tiny.config(variant="sl1", localizer_rate=0.1)
    network = factory.build_network(config, tiny.dataset())
    rest, own = factory.build_optimizer(config, network).param_groups
    assert (rest["factor"], own["factor"]) == (1.0, 0.1)
    assert {id(p) for p in own["params"]} == {id(p) for p in network.localizer_parameters()}
    both = {id(p) for group in (rest, own) for p in group["params"]}
    assert both == {id(p) for p in network.parameters()}


def test_no_rate_for_localizers_leaves_them_alone(tmp_path: Path) -> None:
    """With a multiplier of 0 a transformer stays the identity."""
    config = tiny.config(localizer_rate=0.0, weight_decay=0.0)
    images = train(config, tmp_path / "run", dataset=tiny.dataset(), execution=tiny.ON_CPU).images
    assert (images["theta_00"] == 1).all()
    assert (images["theta_01"] == 0).all()


def test_schedules() -> None:
    """Step: a tenth after each third. One-cycle: up over the first 15 %, then down to 0.1 %."""
    step = tiny.config(schedule="step", steps=300, rate=1.0)
    rates = [step.rate_at(k) for k in (0, 99, 100, 199, 200, 299)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    cycle = tiny.config(schedule="one-cycle", steps=1000, rate=1.0)
    rates = [cycle.rate_at(k) for k in range(1000)]
    assert int(np.argmax(rates)) == 150
    assert max(rates) == pytest.approx(1)
    assert rates[0] == pytest.approx(0.04)
    assert rates[-1] < 0.0011
    assert tiny.config(schedule="constant", rate=0.3).rate_at(7) == 0.3


def test_every_image_comes_once_before_any_twice() -> None:
    """Epochs are permutations, also where a batch spans two of them."""
    batches = TrainingBatches(tiny.dataset(train=50), RandomRotation(), seed=0, size=20, device=CPU)
    samples = torch.cat([batches.samples(step) for step in range(5)])
    for epoch in range(2):
        part = samples[50 * epoch : 50 * (epoch + 1)]
        assert sorted(part.tolist()) == list(range(50))
    assert samples[:50].tolist() != samples[50:].tolist()
    again = TrainingBatches(tiny.dataset(train=50), RandomRotation(), seed=0, size=20, device=CPU)
    assert torch.equal(again.batch(3).images, batches.batch(3).images)
    assert not torch.equal(batches.batch(3).poses, batches.batch(4).poses)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps=0: give at least 1"),
        ({"width": -1.0}, "width=-1: give a positive number"),
        ({"rate": math.nan}, "rate=nan: give a positive"),
        ({"localizer_rate": -0.5}, "localizer_rate=-0.5: give 0 or more"),
        ({"output_share": 0.0}, "output_share=0: give a share in"),
        ({"seed": -1}, "seed=-1: give at least 0"),
    ],
)
def test_bad_configurations_are_refused(changes: dict[str, object], message: str) -> None:
    """Each value out of range is named, with the rule."""
    with pytest.raises(InvalidInputError, match=message):
        tiny.config(**changes)


def test_what_an_older_run_does_not_say_was_the_default() -> None:
    """A stored run without an option of today is the run with its default, and no other."""
    stored = {key: v for key, v in tiny.config().as_dict().items() if key != "trunk"}
    assert not tiny.config().difference(stored)
    assert tiny.config(trunk="copy").difference(stored) == "trunk=anew there, copy here"


def test_the_papers_presets_halve_translated_digits() -> None:
    """In them transformers of translated digits return half of the side, and of no others."""
    for name, wanted in (("paper", 0.5), ("standard", 0.5), ("two-cores", 1.0)):
        for perturbation, share in (("translation", wanted), ("scaling", 1.0), ("rotation", 1.0)):
            made = presets.configured(
                name,
                data="mnist",
                perturbation=parse_perturbation(perturbation),
                variant=parse_variant("c0"),
                seed=0,
                choices={},
            )
            assert made.output_share == share


def test_runs_over_seeds_are_summarised(tmp_path: Path) -> None:
    """Mean, standard deviation and t interval over seeds are those of the runs' errors."""
    frame = pd.DataFrame({
        "data": "d",
        "perturbation": "p",
        "network": ["auto", "auto", "auto", "mnist-deep"],
        "variant": ["a", "a", "a", "b"],
        "alignment": "predicted",
        "outcome": ["finished", "finished", "diverged", "finished"],
        "error": [0.02, 0.04, np.nan, 0.5],
        "slope_degrees": [1.0, 0.5, np.nan, 0.0],
        "out_of_frame": 0.0,
        "images_per_second": 1.0,
        "seconds": 1.0,
    })
    table = runs.table(frame).set_index("variant")
    row = table.loc["a"]
    assert row["error"] == pytest.approx(0.03)
    assert row["error_std"] == pytest.approx(math.sqrt(2) * 0.01)
    half = 12.706 * 0.01  # Student's quantile for one degree of freedom, over the standard error
    assert [row["error_low"], row["error_high"]] == pytest.approx(
        [0.03 - half, 0.03 + half], abs=1e-4
    )
    assert row["slope_degrees"] == 0.75
    assert (row["seeds"], row["diverged"]) == (3, 1)
    assert math.isnan(table.loc["b", "error_low"])
    # runs of two networks are never averaged
    assert len(runs.table(frame.assign(variant="a"))) == 2


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    """Reading runs where there are none says so."""
    with pytest.raises(InvalidInputError, match="contains no finished training; train one first"):
        runs.read_runs(tmp_path)
    with pytest.raises(InvalidInputError, match="contains no finished training"):
        TrainResult.load(tmp_path)


@pytest.mark.parametrize("name", presets.PRESETS)
def test_presets_are_valid_and_ask_for_no_more_than_there_is(name: str) -> None:
    """Every preset makes configurations for all its data, and takes all of small data sets."""
    for data, perturbation in presets.PRESETS[name].data:
        for variant in presets.PRESETS[name].variants:
            made = presets.configured(
                name,
                data=data,
                perturbation=parse_perturbation(perturbation),
                variant=parse_variant(variant),
                seed=0,
                choices={},
            )
            assert isinstance(made, TrainConfig)
    few = presets.configured(
        name,
        data="mnist-5k",
        perturbation=NoPerturbation(),
        variant=parse_variant("c0"),
        seed=0,
        choices={"steps": 3},
    )
    assert few.train_images is None or few.train_images <= 4000
    assert few.steps == 3
