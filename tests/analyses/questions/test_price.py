"""The price of the map, and what upright networks foretell of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analyses.questions import price
from invariance_probe.errors import InvalidInputError
from invariance_probe.perturbations.parsing import parse_perturbation
from invariance_probe.training.runs import TrainResult
from tests.analyses.trainings import assert_answered


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the trainings lie."""
    return tmp_path_factory.mktemp("prices")


@pytest.fixture(scope="module")
def frame(folder: Path) -> pd.DataFrame:
    """What the tiny preset measures."""
    return price.measure(replace(price.PRESETS["tiny"], trainings=folder))


def test_the_tiny_preset_is_answered_and_drawn(frame: pd.DataFrame) -> None:
    """The trainings give a table, and a figure that says what it rests on."""
    assert_answered(price, frame)
    assert len(frame) == 2 * 3 * 2
    assert frame[["residual", "lost", "kl", "price"]].notna().all(axis=None)


def test_prices_are_differences_of_the_stored_errors(folder: Path, frame: pd.DataFrame) -> None:
    """Each is what CX got wrong less what C0 got wrong, both with the true pose, in points."""
    for line in frame.to_dict("records"):
        motion = str(price._FIVE.on_canvas(line["motion"])).replace("=", "-").replace(":", "-")
        errors = [
            TrainResult.load(
                folder / f"mnist-5k-{motion}-{name}-true-poses-mnist-five-seed{line['seed']}"
            ).numbers["error"]
            for name in (f"c{line['depth']}", "c0")
        ]
        assert line["price"] == pytest.approx(100 * (errors[0] - errors[1]))


def test_a_seed_of_which_a_run_is_missing_is_no_part_of_an_interim_answer(
    folder: Path, frame: pd.DataFrame, tmp_path: Path
) -> None:
    """The rest is the same numbers; what upright CNNs said is read again, not measured again."""
    tiny = replace(price.PRESETS["tiny"], trainings=tmp_path, missing="omit")
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / tiny.configs()[-1].name).unlink()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    found = price.measure(tiny)
    pd.testing.assert_frame_equal(found, frame[frame["seed"] == 0].reset_index(drop=True))
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    (tmp_path / tiny.configs()[0].name).unlink()
    with pytest.raises(InvalidInputError, match="22 trainings are there, of no seed all"):
        price.measure(tiny)


def test_seeds_come_one_after_the_other() -> None:
    """Stopped at any time, the seeds before the last that was begun are whole."""
    seeds = [run.seed for run in price.PRESETS["two-cores"].configs()]
    assert seeds == sorted(seeds)
    assert len(seeds) == 10 * 10 * (7 + 5 + 4)


def test_two_cores_prices_a_hundred_cells_on_one_canvas_a_network() -> None:
    """Motions, networks and layers make 100, and no motion asks for a canvas of its own."""
    config = price.PRESETS["two-cores"]
    assert len(config.motions) * sum(len(each.depths) for each in config.networks) == 100
    for each in config.networks:
        for motion in config.motions:
            assert parse_perturbation(each.on_canvas(motion)).canvas(28) == each.canvas


def test_the_harder_set_is_the_same_motions_under_clutter() -> None:
    """All of them, on the same canvas, as are the upright digits; no run has another's name."""
    easy, hard = price.PRESETS["two-cores"], price.PRESETS["two-cores-harder"]
    (network,) = hard.networks
    assert len(hard.motions) == len(easy.motions) == 10
    for motion, clean in zip((hard.still, *hard.motions), ("none", *easy.motions), strict=True):
        cluttered = parse_perturbation(network.on_canvas(motion))
        assert cluttered.pieces == 6
        assert replace(cluttered, pieces=0) == parse_perturbation(network.on_canvas(clean))
    assert not {run.name for run in hard.configs()} & {run.name for run in easy.configs()}


def test_upright_networks_see_nothing_of_the_motions(folder: Path, frame: pd.DataFrame) -> None:
    """They were trained on digits as they are, from seeds that nothing else has."""
    del frame
    found = sorted(path.name for path in folder.glob("upright/*none*"))
    assert found == [f"mnist-5k-none-on-40-cnn-mnist-five-seed{seed}" for seed in (50, 51)]


def test_a_shift_by_whole_cells_leaves_nothing_at_the_first_layer(frame: pd.DataFrame) -> None:
    """Whole-pixel shifts of a layer without a stride are undone exactly."""
    shifts = frame[(frame["motion"] == "translation=6,clean") & (frame["depth"] == 1)]
    assert len(shifts) == 2
    assert (shifts["residual"] < 1e-9).all()
    assert (shifts["lost"] == 0).all()


def planted(predictor: np.ndarray, noise: float, seed: int = 0) -> pd.DataFrame:
    """Prices that follow the predictor, with noise by seed; six motions, five layers, ten seeds."""
    generator = np.random.default_rng(seed)
    rows = []
    for (motion, depth), value in np.ndenumerate(predictor):
        rows += [
            {
                "network": "mnist-five",
                "motion": f"rotation={10 + motion}",
                "depth": depth + 1,
                "share": (depth + 1) / 5,
                "seed": one,
                "price": value**2 + noise * generator.standard_normal(),
                "residual": value,
                "lost": -value,
                "kl": generator.standard_normal(),
                "images_seen": 25_600,
                "error_cnn": 0.1 + 0.01 * motion,
                "error_image": 0.02,
            }
            for one in range(10)
        ]
    return pd.DataFrame(rows)


def test_a_predictor_that_knows_is_told_from_chance() -> None:
    """One that ranks prices exactly has rho 1 and foretells motions; chance has neither."""
    values = np.random.default_rng(1).uniform(0, 3, (6, 5))
    table = price.summary(planted(values, noise=0.0)).set_index("predictor")
    assert table.loc["residual", ["rho", "within", "least", "ceiling"]].tolist() == pytest.approx([
        1,
        1,
        1,
        1,
    ])
    assert table.loc["residual", "partial"] > 0.8
    assert table.loc["lost", "rho"] == pytest.approx(-1)
    assert table.loc["residual", "away"] < 0.3 * table.loc["residual", "away_mean"]
    assert abs(table.loc["kl", "rho"]) < 0.5
    assert table.loc["kl", "away"] > 0.8 * table.loc["kl", "away_mean"]
    assert (table["cells"] == 30).all()


def test_the_ceiling_is_what_noise_leaves_to_a_perfect_predictor() -> None:
    """With noisy prices the true values correlate as the two halves of the seeds foretell."""
    rho, ceiling = [], []
    for seed in range(20):
        values = np.random.default_rng(100 + seed).uniform(0, 3, (6, 5))
        row = price.summary(planted(values, noise=8.0, seed=seed)).set_index("predictor")
        rho.append(row.loc["residual", "rho"])
        ceiling.append(row.loc["residual", "ceiling"])
    assert np.mean(rho) < 0.95
    assert np.mean(rho) == pytest.approx(np.mean(ceiling), abs=0.05)
