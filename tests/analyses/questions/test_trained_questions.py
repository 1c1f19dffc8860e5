"""Questions to trainings: what they ask for, share and refuse, and what they make of numbers."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from scipy import stats

import invariance_probe as ip
from analyses import trained_maps, training_plan
from analyses.questions import consequences, depth, iterations, placement
from analyses.training_plan import TrainingPlan
from invariance_probe.errors import InvalidInputError
from invariance_probe.files import read_tensors
from invariance_probe.perturbations.parsing import parse_perturbation
from invariance_probe.training import parallel, runs
from invariance_probe.training.batches import TEST, stored_clutter
from invariance_probe.training.command import TrainCommand
from invariance_probe.training.configuration import TrainConfig
from invariance_probe.training.presets import Choices, PresetName
from invariance_probe.training.runs import TrainResult

QUESTIONS = (consequences, placement, depth, iterations)
FILES = ("result.json", "curve.parquet", "images.parquet", "model.safetensors")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Trainings as small as these are slower on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all questions of this file look for their trainings."""
    return tmp_path_factory.mktemp("trainings")


@pytest.fixture(scope="module")
def frames(folder: Path) -> dict[ModuleType, pd.DataFrame]:
    """What the tiny preset of each question measures."""
    return {
        question: question.measure(replace(question.PRESETS["tiny"], trainings=folder))
        for question in QUESTIONS
    }


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda each: each.__name__)
def test_every_tiny_preset_ends_in_a_table_and_a_figure(
    question: ModuleType, frames: dict[ModuleType, pd.DataFrame]
) -> None:
    """Each question's frame gives a summary and a figure that names preset, seeds and machine."""
    table = question.summary(frames[question])
    assert len(table) > 0
    figure = question.plot(frames[question])
    assert isinstance(figure, Figure)
    figure.canvas.draw()  # type: ignore[attr-defined]  # of the default canvas
    said = figure.get_suptitle()
    for word in ("tiny preset, 2 seeds", "mnist-5k", "CPU"):
        assert word in said


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
    turned = ("rotation=30", "rotation", "rotation=180")
    eight: dict[str, Any] = {"network": "mnist-deep", "steps": 940}
    deep = "c1 sl1 c3 sl3 c5 sl5"
    wanted = {
        placement: _commanded(*papers, variants="cnn c0 c1 dl1 sl1"),
        depth: _commanded("rotation", variants=f"cnn c0 {deep} dl1 dl3 dl5", **eight),
        iterations: _commanded("rotation", variants="c0 c0x2 dl1 dl1x2 sl1 sl1x2"),
        consequences: _commanded(*turned, variants="cnn c1 sl1 c2 sl2")
        + _commanded("translation", "scaling=-1:1", variants="cnn c1 sl1")
        + _commanded("rotation", variants=f"cnn {deep}", **eight),
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


def test_quick_consequences_rest_on_thirty_points() -> None:
    """Networks, perturbations and depths, times seeds, make at least 30."""
    config = consequences.PRESETS["quick"]
    cells = sum(len(each.perturbations) * len(each.depths) for each in config.networks)
    assert cells * config.seeds >= 30


def test_costs_are_differences_of_the_stored_errors(
    folder: Path, frames: dict[ModuleType, pd.DataFrame]
) -> None:
    """Each cost is what CX got wrong less what another network of the same seed got wrong."""
    frame = frames[consequences]
    # C0 was not there when the question was first asked, and is now
    config = replace(consequences.PRESETS["tiny"], trainings=folder, images=2)
    now = consequences.measure(config)
    assert frame["over_c0"].isna().all()
    assert len(now) == 4

    def error(variant: str, seed: int) -> float:
        run = folder / f"mnist-5k-rotation-{variant}-seed{seed}"
        return float(TrainResult.load(run).numbers["error"])

    for line in now.to_dict("records"):
        moved = error(f"c{line['depth']}", line["seed"])
        shared = error(f"sl{line['depth']}", line["seed"])
        assert line["over_sl"] == pytest.approx(moved - shared)
        assert line["over_cnn"] == pytest.approx(moved - error("cnn", line["seed"]))
        assert line["over_c0"] == pytest.approx(moved - error("c0", line["seed"]))


def test_residuals_are_those_of_the_trained_network_at_the_layer(tmp_path: Path) -> None:
    """For quarter turns, residuals without a warp and under the oracle are as found by hand."""
    # whose two motions are quarter turns
    probed = consequences.Probed(perturbations=("rotation=180",), depths=(1, 2))
    config = replace(
        consequences.PRESETS["tiny"], networks=(probed,), seeds=1, images=5, trainings=tmp_path
    )
    run = config.config(probed.setup(), "rotation=180", "cnn", 0)
    parallel.train_all([run], tmp_path, processes=1)
    found = consequences._probe(config, probed, "rotation=180", 0)
    network = config.trained(run)
    stored = read_tensors(tmp_path / run.name / runs.MODEL)
    torch.testing.assert_close(dict(network.state_dict()), stored, rtol=0, atol=0)
    classifier = network.classifier
    images = config.dataset.test.images[:5].float() / 255
    for layers in (1, 2):

        def maps(batch: torch.Tensor, layers: int = layers) -> torch.Tensor:
            with torch.no_grad():
                for layer in classifier.layers[:layers]:
                    batch = layer(batch)
            return batch.double()

        reference = maps(images)
        spread = (reference - reference.mean((0, 2, 3), keepdim=True)).square().sum((1, 2, 3))
        identity, oracle = [], []
        for quarters in (-1, 1):
            moved = maps(torch.rot90(images, quarters, (2, 3)))
            back = torch.rot90(moved, -quarters, (2, 3))
            identity.append((moved - reference).square().sum((1, 2, 3)) / spread)
            oracle.append((back - reference).square().sum((1, 2, 3)) / spread)
        line = found[layers]
        assert line["region_frac"] == 1
        assert line["identity"] == pytest.approx(float(torch.cat(identity).mean()), rel=1e-4)
        assert line["oracle"] == pytest.approx(float(torch.cat(oracle).mean()), rel=1e-4)
        assert line["affine"] <= min(line["oracle"], line["identity"]) + 1e-6


@pytest.mark.parametrize("name", ["rotation=30", "rotation", "translation=clean", "scaling=clean"])
def test_motions_lie_in_the_range_and_show_nothing_invented(name: str) -> None:
    """No motion goes beyond the perturbation's range, and the canvas covers the crop under all."""
    perturbation = parse_perturbation(name)
    moves = perturbation.sweep(6)
    assert len({move.matrix.numpy().tobytes() for move in moves}) == 6
    canvas = trained_maps.on_canvas(torch.ones(1, 1, 28, 28), perturbation, background=1.0)
    crop = perturbation.canvas(28)
    assert (canvas.shape[-1] - crop) % 2 == 0
    extreme = {
        "rotation": ip.Rotation(45),  # of all turns the one that reaches farthest
        "translation": ip.Translation(16, -16),
        "scaling": ip.Scaling(0.5),
    }[perturbation.name]
    for move in [*moves, extreme]:
        if isinstance(move, ip.Rotation) and move is not extreme:
            assert abs(move.degrees) < perturbation.limit  # type: ignore[attr-defined]
        if isinstance(move, ip.Scaling):
            assert 0.5 <= move.factor < 4
        if isinstance(move, ip.Translation):
            assert max(abs(move.dx), abs(move.dy)) <= 16
        shown = move(canvas, crop=crop, fill=0.0)
        torch.testing.assert_close(shown, torch.ones_like(shown), atol=2e-3, rtol=0)


@pytest.mark.parametrize("name", ["translation", "scaling=-1:1", "rotation"])
def test_maps_are_probed_on_what_was_tested(name: str) -> None:
    """The middle of the canvas is the test image that nothing moves, with its clutter."""
    perturbation = parse_perturbation(name)
    images = torch.rand(5, 1, 28, 28)
    canvas = trained_maps.on_canvas(images, perturbation, background=0.0)
    crop = perturbation.canvas(28)
    edge = (canvas.shape[-1] - crop) // 2
    middle = canvas[..., edge : edge + crop, edge : edge + crop]
    margin = (crop - 28) // 2
    wanted = F.pad(images, (margin,) * 4)
    if perturbation.pieces:
        choices = stored_clutter(perturbation, 5, 28, TEST)
        assert choices is not None
        wanted = (wanted + perturbation.clutter_layer(choices, images)).clamp(max=1)
        assert float(wanted[..., :margin, :].max()) > 0
    torch.testing.assert_close(middle, wanted, atol=1e-5, rtol=0)
    assert float(canvas.sum() - middle.sum()) == pytest.approx(0, abs=1e-3)


def _points(cells: int, seeds: int, within: float) -> pd.DataFrame:
    """Costs that rise with the residual from cell to cell, and by `within` inside each."""
    rows = []
    for cell in range(cells):
        for seed in range(seeds):
            residual = cell + 0.1 * seed
            cost = 10 * cell + within * seed
            rows.append(
                {"network": "auto", "perturbation": f"rotation={30 * (cell // 2 + 1)}"}
                | {"depth": 1 + cell % 2, "seed": seed}
                | dict.fromkeys(("affine", "oracle", "identity", "floor"), residual)
                | dict.fromkeys(("over_sl", "over_cnn", "over_c0"), cost)
            )
    return pd.DataFrame(rows)


def test_correlations_tell_cells_from_what_is_within_them() -> None:
    """Costs that rise with the residual between cells and fall within them are told apart."""
    table = consequences.summary(_points(cells=5, seeds=4, within=-1.0))
    rho = table[(table["cost"] == "over_sl") & (table["residual"] == "affine")]
    rho = rho.set_index("points")
    assert rho.loc["cells", "rho"] == pytest.approx(1)
    assert rho.loc["cells", "n"] == 5
    assert rho.loc["within cells", "rho"] == pytest.approx(-1)
    # of a third range there is one layer, and of networks one: no groups of their own
    assert set(rho.index) == {
        *("all", "cells", "within cells", "depth 1", "depth 2"),
        *("perturbation rotation=30", "perturbation rotation=60"),
    }
    assert rho.loc["perturbation rotation=60", "n"] == 8
    assert 0.5 < rho.loc["all", "rho"] < 1
    assert (rho["clusters"] == 4).all()
    rising = consequences.summary(_points(cells=3, seeds=3, within=1.0))
    assert rising.loc[rising["points"] == "all", ["rho", "low", "high"]].to_numpy() == (
        pytest.approx(1, abs=0.01)
    )


def _runs(errors: dict[str, list[float]]) -> pd.DataFrame:
    """Rows of trainings with given errors; NaN diverged."""
    return pd.DataFrame([
        {
            "preset": "quick",
            "machine": "CPU",
            "data": "mnist",
            "perturbation": "rotation",
            "network": "auto",
            "alignment": "predicted",
            "variant": variant,
            "kind": variant.rstrip("0123456789x"),
            "depth": int(variant[-1]) if variant != "cnn" else 0,
            "seed": seed,
            "outcome": "finished" if np.isfinite(error) else "diverged",
            "error": error,
            "gradient": 1.0 + error,
        }
        for variant, values in errors.items()
        for seed, error in enumerate(values)
    ])


def test_tables_pair_runs_by_seed() -> None:
    """Differences are taken seed by seed, with Student's interval, where both runs finished."""
    frame = _runs({"c1": [0.30, 0.10, 0.20], "sl1": [0.25, 0.06, math.nan]})
    table = training_plan.table(frame.sample(frac=1, random_state=0), "c1", ()).set_index("variant")
    lost = table.loc["sl1"]
    assert (lost["seeds"], lost["diverged"]) == (3, 1)
    assert lost["error"] == pytest.approx(0.155)
    assert lost["difference"] == pytest.approx(-0.045)
    expected = stats.t.interval(0.95, 1, loc=-0.045, scale=stats.sem([-0.05, -0.04]))
    assert (lost["difference_low"], lost["difference_high"]) == pytest.approx(expected)
    assert math.isnan(table.loc["c1", "difference"])


def test_runs_with_true_poses_are_a_row_and_a_mark_of_their_own(
    frames: dict[ModuleType, pd.DataFrame],
) -> None:
    """They are never averaged with runs that predict poses, and open marks show them."""
    frame = frames[placement]
    runs = frame[(frame["level"] == "run") & (frame["variant"] == "c0")]
    told = runs.assign(alignment="true", error=runs["error"] / 2)
    table = placement.summary(pd.concat([frame, told])).set_index(["alignment", "variant"])
    alone = placement.summary(frame).set_index(["alignment", "variant"])
    mean = alone.loc[("predicted", "c0"), "error"]
    assert table.loc[("predicted", "c0"), "error"] == pytest.approx(mean)
    assert table.loc[("true", "c0"), "error"] == pytest.approx(mean / 2)
    assert placement.plot(frame).axes[0].get_legend() is None
    legend = placement.plot(pd.concat([frame, told])).axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["poses given"]


def test_diverged_runs_are_counted_on_the_figure_of_depth() -> None:
    """A run that diverged is neither drawn nor passed over."""
    frame = _runs({"cnn": [0.2, 0.3], "dl1": [0.1, 0.2], "dl2": [math.nan, 0.4]})
    figure = depth.plot(frame)
    assert "diverged: 1 of DL2" in figure.axes[0].get_title()
    table = depth.summary(frame).set_index("variant")
    assert table.loc["dl2", "error"] == pytest.approx(0.4)
    assert table["diverged"].tolist() == [0, 0, 1]


def test_steps_are_compared_with_one_step(frames: dict[ModuleType, pd.DataFrame]) -> None:
    """The difference of two steps is to one step of the same network, not to another network."""
    frame = frames[iterations]
    table = iterations.summary(frame).set_index("variant")
    means = frame.groupby("variant")["error"].mean()
    assert table["steps"].to_dict() == {"c0": 1, "c0x2": 2}
    assert table.loc["c0x2", "difference"] == pytest.approx(means["c0x2"] - means["c0"])


def test_a_pose_that_is_undone_lies_on_the_diagonal() -> None:
    """Predicting the negative of what was applied fills the diagonal; predicting nothing, a row."""
    applied = np.linspace(-90, 90, 4001)
    undone = pd.DataFrame({"applied": applied, "predicted": -applied})
    across, up = placement.bins(undone)
    assert np.array_equal(across, up)
    assert np.diag(placement.density(undone, across, up)) == pytest.approx(np.ones(len(up) - 1))
    still = placement.density(undone.assign(predicted=0.0), across, up)
    assert still.sum(1) == pytest.approx(np.ones(len(still)))
    assert (still.max(0) == 1).sum() == 1


def test_whole_pixels_and_far_poses_have_bins_of_their_own() -> None:
    """Each whole pixel has its bin, and a network's own canonical pose stays in the window."""
    applied = np.repeat(np.arange(-16.0, 17.0), 20)
    poses = pd.DataFrame({"applied": applied, "predicted": -applied + 9.5})
    across, up = placement.bins(poses)
    assert len(across) == 34
    share = placement.density(poses, across, up)
    assert (share.sum(1) == 1).all()
    assert (share.max(1) == 1).all()
    # nothing but the outermost hundredth is gathered at the lower end
    assert share[:, 0].sum() <= 1
    assert up[0] <= -25
    assert up[-1] == across[-1]


def test_poses_kept_are_those_of_the_runs(
    folder: Path, frames: dict[ModuleType, pd.DataFrame]
) -> None:
    """The frame of poses holds the first test images of each run with a transformer, as stored."""
    poses = frames[placement].query("level == 'pose' and variant == 'sl1' and seed == 1")
    stored = TrainResult.load(folder / "mnist-5k-rotation-sl1-seed1").images.head(50)
    assert poses["applied"].to_numpy() == pytest.approx(stored["applied_degrees"].to_numpy())
    assert poses["predicted"].to_numpy() == pytest.approx(
        stored["predicted_degrees"].to_numpy(), abs=1e-4
    )
    assert "cnn" not in set(frames[placement].query("level == 'pose'")["variant"])
