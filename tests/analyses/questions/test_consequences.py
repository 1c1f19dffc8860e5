"""What a transformer of maps costs, and which residuals foretell it."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
import torch

from analyses.questions import consequences
from invariance_probe.files import read_tensors
from invariance_probe.training import parallel, runs
from invariance_probe.training.runs import TrainResult
from tests.analyses.trainings import assert_answered


def test_the_tiny_preset_is_answered_and_drawn(frames: dict[ModuleType, pd.DataFrame]) -> None:
    """The trainings give a table, and a figure that says what it rests on."""
    assert_answered(consequences, frames[consequences])


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
