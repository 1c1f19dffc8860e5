"""Plans of trainings: what they ask for, find, share, keep and refuse, and their table."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
from scipy import stats

from analyses import command, training_plan
from analyses.questions import depth, iterations, placement, price
from analyses.training_plan import Setup, TrainingPlan, keep, keep_numbers, kept_numbers
from invariance_probe.errors import InvalidInputError
from invariance_probe.training import runs
from invariance_probe.training.command import TrainCommand
from invariance_probe.training.configuration import TrainConfig
from invariance_probe.training.presets import Choices, PresetName
from invariance_probe.training.runs import TrainResult
from tests.analyses.trainings import QUESTIONS, planted_runs


@dataclass(frozen=True, kw_only=True)
class Plan(TrainingPlan):
    """Two networks."""

    preset: str = "tiny"
    data: str = "mnist-5k"
    seeds: int = 2

    def setups(self) -> tuple[Setup, ...]:
        return (Setup(perturbations=("rotation",), variants=("cnn", "c0")),)


TIMES = ("seconds", "images_per_second")


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
        # as every run tells them
        numbers={"outcome": "finished", "error": error} | dict.fromkeys(TIMES, 1.0),
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


def test_of_many_runs_the_numbers_alone_are_kept(plan: Plan) -> None:
    """They are found like others, added to, written once, and refused if of another plan."""
    assert plan.kept is not None
    *_, third, last = plan.configs()
    keep_numbers({third.name: finished(third, math.nan)}, plan.kept)
    keep_numbers({third.name: finished(third, 0.9), last.name: finished(last, 0.4)}, plan.kept)
    again = replace(plan, missing="refuse")
    errors = [result.numbers["error"] for result in again.results()]
    assert errors == pytest.approx([0.1, 0.2, math.nan, 0.4], nan_ok=True)
    first = plan.configs()[0]
    keep_numbers({first.name: finished(replace(first, steps=7), 0.5)}, plan.kept)
    assert next(plan.results()).numbers["error"] == 0.1
    with pytest.raises(InvalidInputError, match=r"keeps a .*cnn-seed0 of another .*steps"):
        list(replace(again, trainings=plan.root / "none").results())


def test_the_command_keeps_many_runs_in_a_table_and_few_in_folders(
    plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder's name says which; kept again, nothing is added."""
    config = plan.configs()[2]
    for preset in ("brief", "tiny"):
        finished(config, 0.3).save(tmp_path / "runs" / preset / config.name)
    for _ in range(2):
        command.main(["keep", *(str(tmp_path / "runs" / preset) for preset in ("brief", "tiny"))])
        assert capsys.readouterr().out.count(": 1 runs") == 2
    assert [path.name for path in (tmp_path / "kept" / "brief").iterdir()] == ["numbers.parquet"]
    assert list(kept_numbers(tmp_path / "kept" / "brief")) == [config.name]
    assert TrainResult.load(tmp_path / "kept" / "tiny" / config.name).numbers["error"] == 0.3


def test_kept_runs_belong_to_a_preset_of_today() -> None:
    """Every kept run is one that today's presets would train, by name and configuration."""
    plans = [
        question.PRESETS[preset]
        for question in (placement, depth, iterations, price)
        for preset in question.PRESETS
        if preset.startswith("two-cores")
    ]
    wanted = {(plan.kept, config.name): config for plan in plans for config in plan.configs()}
    kept = [path.parent for path in training_plan.KEPT.glob("*/*/result.json")]
    assert kept
    for folder in kept:
        config = wanted[folder.parent, folder.name]
        assert not config.difference(TrainResult.load(folder).config), folder.name
    for table in training_plan.KEPT.glob(f"*/{training_plan.NUMBERS}"):
        for name, result in kept_numbers(table.parent).items():
            assert not wanted[table.parent, name].difference(result.config), name


FILES = ("result.json", "curve.parquet", "images.parquet", "model.safetensors")


def test_questions_share_their_trainings(
    folder: Path, frames: dict[ModuleType, pd.DataFrame]
) -> None:
    """One folder holds each training once, and asking again trains nothing."""
    plans = [replace(question.PRESETS["tiny"], trainings=folder) for question in QUESTIONS]
    wanted = {config.name for plan in plans for config in plan.configs()}
    assert wanted == {path.name for path in folder.iterdir()}
    assert len(wanted) < sum(len(plan.configs()) for plan in plans)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    again = replace(depth.PRESETS["tiny"], trainings=folder, missing="refuse")
    pd.testing.assert_frame_equal(depth.measure(again), frames[depth])
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert before == after


def test_only_what_is_missing_is_trained(
    folder: Path, frames: dict[ModuleType, pd.DataFrame], tmp_path: Path
) -> None:
    """Of a plan with one run gone, that run alone is missing, and comes back as it was."""
    plan = replace(iterations.PRESETS["tiny"], trainings=tmp_path)
    gone = plan.configs()[-1].name
    for config in plan.configs()[:-1]:
        (tmp_path / config.name).mkdir()
        for name in FILES:
            (tmp_path / config.name / name).write_bytes((folder / config.name / name).read_bytes())
    assert [config.name for config in plan.unfinished()] == [gone]
    errors = [result.numbers["error"] for result in plan.results()]
    assert errors == frames[iterations]["error"].tolist()
    assert (tmp_path / gone / runs.MODEL).is_file()


def test_missing_trainings_are_an_error_where_none_may_be_trained(tmp_path: Path) -> None:
    """The message counts them and names the first; nothing is written."""
    config = replace(placement.PRESETS["tiny"], trainings=tmp_path / "none", missing="refuse")
    with pytest.raises(InvalidInputError, match=r"8 of 8 .*mnist-5k-rotation-cnn-seed0"):
        placement.measure(config)
    assert not (tmp_path / "none").exists()


def test_trainings_of_another_preset_are_refused(
    folder: Path, frames: dict[ModuleType, pd.DataFrame]
) -> None:
    """A folder of tiny trainings is no answer to a longer question."""
    config = replace(placement.PRESETS["quick"], data="mnist-5k", trainings=folder)
    with pytest.raises(InvalidInputError, match="another configuration"):
        placement.measure(config)


def _commanded(
    *perturbations: str,
    variants: str,
    preset: PresetName = "quick",
    seeds: int = 5,
    **more: Any,
) -> list[TrainConfig]:
    """What ``invariance-probe train`` trains, by default ``--preset quick``."""
    command = TrainCommand(
        data=("mnist",),
        perturbation=perturbations,
        variant=tuple(variants.split()),
        preset=preset,
        seeds=seeds,
        training=Choices(**more),
    )
    return command.configs()


def test_quick_presets_ask_for_the_runs_of_the_command_line() -> None:
    """Names and configurations are those of `train --preset quick`, so that none is made twice."""
    papers = ("rotation", "translation", "scaling=-1:1")
    eight: dict[str, Any] = {"network": "mnist-deep", "steps": 940}
    deep = "c1 sl1 c3 sl3 c5 sl5"
    wanted = {
        placement: _commanded(*papers, variants="cnn c0 c1 dl1 sl1"),
        depth: _commanded("rotation", variants=f"cnn c0 {deep} dl1 dl3 dl5", **eight),
        iterations: _commanded("rotation", variants="c0 c0x2 dl1 dl1x2 sl1 sl1x2"),
    }
    for question, configs in wanted.items():
        _same(question.PRESETS["quick"], configs)


def _same(plan: TrainingPlan, wanted: list[TrainConfig]) -> None:
    asked = replace(plan, data="mnist").configs()
    assert {each.name: each for each in asked} == {each.name: each for each in wanted}
    assert len({each.name for each in asked}) == len(asked)


def test_two_cores_asks_for_the_runs_of_its_plan() -> None:
    """Seeds, widths and true poses are those that commands of the plan train."""
    ten: dict[str, Any] = {"preset": "two-cores", "seeds": 10}
    _same(
        placement.PRESETS["two-cores"],
        _commanded("rotation", variants="cnn c0 c1 dl1 sl1", **ten)
        + _commanded("rotation", variants="c0 c1 c2", alignment="true", **ten)
        + _commanded("translation", "scaling=-1:1", variants="cnn c0 c1 sl1", **ten | {"seeds": 8}),
    )
    _same(
        placement.PRESETS["two-cores-narrow"],
        _commanded("rotation", variants="cnn c0 c1 dl1 sl1", width=0.25, **ten),
    )
    _same(
        depth.PRESETS["two-cores-harder"],
        _commanded("rotation=180", variants="dl1 sl1 dl5 sl5", network="mnist-deep", **ten),
    )
    # other widths have a folder of their own
    roots = {placement.PRESETS[name].root for name in ("two-cores", "two-cores-narrow")}
    assert len(roots) == 2


def test_environment_and_arguments_say_where_files_lie(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An argument goes before the variable, the variable before the default."""
    monkeypatch.chdir(tmp_path)
    for name in (training_plan.FOLDER, training_plan.MNIST):
        monkeypatch.delenv(name, raising=False)
    config = placement.PRESETS["quick"]
    assert replace(config).root == Path("runs/trainings/quick")
    assert replace(config).source == "mnist-5k"
    monkeypatch.setenv(training_plan.FOLDER, "elsewhere")
    monkeypatch.setenv(training_plan.MNIST, "digits")
    elsewhere = replace(config)
    assert (elsewhere.root, elsewhere.files) == (Path("elsewhere"), Path("digits"))
    assert elsewhere.source == "mnist"
    said = replace(config, trainings=Path("here"), data_root=Path("there"))
    assert (said.root, said.files) == (Path("here"), Path("there"))


def test_tables_pair_runs_by_seed() -> None:
    """Differences are taken seed by seed, with Student's interval, where both runs finished."""
    frame = planted_runs({"c1": [0.30, 0.10, 0.20], "sl1": [0.25, 0.06, math.nan]})
    table = training_plan.table(frame.sample(frac=1, random_state=0), "c1", ()).set_index("variant")
    lost = table.loc["sl1"]
    assert (lost["seeds"], lost["diverged"]) == (3, 1)
    assert lost["error"] == pytest.approx(0.155)
    assert lost["difference"] == pytest.approx(-0.045)
    expected = stats.t.interval(0.95, 1, loc=-0.045, scale=stats.sem([-0.05, -0.04]))
    assert (lost["difference_low"], lost["difference_high"]) == pytest.approx(expected)
    assert math.isnan(table.loc["c1", "difference"])
