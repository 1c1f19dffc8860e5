"""Trainings that are found, kept and left out."""

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest

from analyses import training_plan
from analyses.questions import depth, iterations, placement
from analyses.training_plan import Setup, TrainingPlan, keep
from invariance_probe.errors import InvalidInputError
from invariance_probe.training import runs
from invariance_probe.training.configuration import TrainConfig
from invariance_probe.training.runs import TrainResult


@dataclass(frozen=True, kw_only=True)
class Plan(TrainingPlan):
    """Two networks."""

    preset: str = "tiny"
    data: str = "mnist-5k"
    seeds: int = 2

    def setups(self) -> tuple[Setup, ...]:
        return (Setup(perturbations=("rotation",), variants=("cnn", "c0")),)


def finished(config: TrainConfig, error: float) -> TrainResult:
    """What a training of this configuration might have found."""
    images = pd.DataFrame({
        "image": range(3),
        "label": "1",
        "applied_degrees": [1.0, 2.0, 3.0],
        "predicted_degrees": [-1.0, -2.0, -2.5],
    })
    return TrainResult(
        config=config.as_dict(),
        numbers={"outcome": "finished", "error": error},
        curve=pd.DataFrame({"step": [1], "error": [0.5]}),
        images=images,
        provenance={},
    )


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A plan of four runs, of which the first is at hand and the second among the kept."""
    monkeypatch.setattr(training_plan, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(training_plan, "KEPT_IMAGES", 2)
    made = Plan(trainings=tmp_path / "own", missing="omit")
    first, second, *_ = made.configs()
    finished(first, 0.1).save(made.root / first.name)
    assert made.kept == tmp_path / "kept" / "tiny"
    keep(finished(second, 0.2), made.kept / second.name)
    return made


def test_kept_runs_are_read_and_unfinished_ones_left_out(plan: Plan) -> None:
    """A run is found in its own folder or among the kept; the rest is no part of the answer."""
    assert [config.seed for config in plan.unfinished()] == [1, 1]
    assert [result.numbers["error"] for result in plan.results()] == [0.1, 0.2]
    with pytest.raises(InvalidInputError, match=r"2 of 4 trainings are not in .*cnn-seed1"):
        list(replace(plan, missing="refuse").results())


def test_an_answer_needs_at_least_one_run(plan: Plan, tmp_path: Path) -> None:
    """Where nothing is finished there is nothing to leave the rest out of."""
    empty = replace(plan, trainings=tmp_path / "empty", width=0.5)
    with pytest.raises(InvalidInputError, match="4 of 4 trainings are not in"):
        list(empty.results())


def test_what_is_kept_is_numbers_curve_and_some_poses(plan: Plan) -> None:
    """Weights, labels and further images stay behind; what is kept once is not written again."""
    assert plan.kept is not None
    config = plan.configs()[1]
    folder = plan.kept / config.name
    read = TrainResult.load(folder)
    assert not config.difference(read.config)
    assert read.images.columns.tolist() == ["image", "applied_degrees", "predicted_degrees"]
    assert read.images["predicted_degrees"].tolist() == [-1.0, -2.0]
    assert not (folder / runs.MODEL).exists()
    keep(finished(config, 0.9), folder)
    assert TrainResult.load(folder).numbers["error"] == 0.2


def test_kept_runs_belong_to_a_preset_of_today() -> None:
    """Every kept run is one that today's presets would train, by name and configuration."""
    plans = [
        question.PRESETS[preset]
        for question in (placement, depth, iterations)
        for preset in question.PRESETS
        if preset.startswith("two-cores")
    ]
    wanted = {(plan.kept, config.name): config for plan in plans for config in plan.configs()}
    kept = [path.parent for path in training_plan.KEPT.glob("*/*/result.json")]
    assert kept
    for folder in kept:
        config = wanted[folder.parent, folder.name]
        assert not config.difference(TrainResult.load(folder).config), folder.name
