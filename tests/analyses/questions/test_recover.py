"""What comes back once maps are put back, and whether residuals foretell it."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

import invariance_probe as ip
from analyses.questions import recover


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """What the tiny preset measures."""
    folder: Path = tmp_path_factory.mktemp("upright")
    return recover.measure(replace(recover.PRESETS["tiny"], trainings=folder))


def test_the_tiny_preset_is_answered_and_drawn(frame: pd.DataFrame) -> None:
    """Three CNNs of either kind, three photographs, four rules, and a row a network drawn."""
    for network in recover.CNNS:
        assert set(frame[frame["network"] == network]["unit"]) == {"0", "1", "2"}
    assert frame[frame["network"] == "efficientnet-lite0"]["unit"].nunique() == 3
    assert set(frame["outside"]) == {"reference", "mean", "moved", "disc"}
    table = recover.summary(frame)
    assert {"all", *recover.CNNS, "efficientnet-lite0"} == set(table["network"])
    assert set(table["target"].dropna()) == set(recover.TARGETS)
    figure = recover.plot(frame)
    assert isinstance(figure, Figure)
    assert len(figure.axes) == 3 * 3
    figure.canvas.draw()  # type: ignore[attr-defined]  # of the default canvas


def test_networks_that_know_rotations_are_no_part_of_the_correlation(frame: pd.DataFrame) -> None:
    """They are asked about rotations alone, and counted apart."""
    turned = frame[frame["network"] == recover.TURNED]
    assert turned["motion"].str.startswith("Rotation").all()
    table = recover.summary(frame).query("target == 'kl' and predictor == 'oracle'")
    points = table.set_index("network")["points"]
    assert points["all"] == points[recover.DIGITS] + points["efficientnet-lite0"]
    assert points[recover.TURNED] == 2 * 5


def test_a_warp_of_the_image_loses_nothing_of_itself(frame: pd.DataFrame) -> None:
    """The loss of `input` is 0, and shifts by whole cells lose nothing at the first layer."""
    found = recover.cells(frame)
    assert (found["answers input"] == 0).all()
    assert (found["kl input"] == 0).all()
    shifts = found["motion"].str.startswith("Translation") & (found["layer"] == "layers.0")
    assert shifts.sum() == 3
    assert (found[shifts]["fvu oracle"] < 1e-9).all()
    assert (found[shifts]["answers oracle"] == 0).all()


@pytest.mark.parametrize(
    ("move", "distance"),
    [
        (ip.Translation(3, -4), 5 / 40),
        (ip.Rotation(180), 2 * math.sqrt(1 / 6)),
        (ip.Scaling(2), math.sqrt(1 / 6)),
        (ip.Rotation(0), 0.0),
    ],
)
def test_distances_are_those_of_a_grid_of_points(move: ip.Transform, distance: float) -> None:
    """Root mean square of how far the content of a square moves, over its side."""
    assert recover._distance(move, 40) == pytest.approx(distance)
    line = torch.linspace(-20, 20, 401, dtype=torch.float64)
    y, x = torch.meshgrid(line, line, indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)]).flatten(1)
    moved = (move.matrix @ points - points)[:2].square().sum(0).mean().sqrt() / 40
    assert float(moved) == pytest.approx(distance, abs=0.01)


def planted(noise: float, seed: int = 0) -> pd.DataFrame:
    """Losses that follow the oracle's residual, by six motions, four layers and five CNNs."""
    generator = np.random.default_rng(seed)
    residual = generator.uniform(0, 2, (6, 4))
    rows = []
    for (motion, layer), left in np.ndenumerate(residual):
        for unit in "abcde":
            right = max(0.0, 0.9 - 0.3 * left + noise * generator.standard_normal())
            values = {
                ("fvu", "oracle"): left,
                ("fvu", "identity"): generator.uniform(0, 2),
                **{(m, "input"): 0.9 for m in ("agreement", "accuracy")},
                **{(m, "oracle"): right for m in ("agreement", "accuracy")},
                ("kl", "input"): 0.1,
                ("kl", "oracle"): 0.1 + left**2,
            }
            rows += [
                {
                    "network": recover.DIGITS,
                    "unit": unit,
                    "layer": f"layers.{layer}",
                    "depth": layer / 3,
                    "motion": f"motion {motion}",
                    "distance": 0.1 * motion,
                    "outside": "reference",
                    "method": method,
                    "metric": metric,
                    "value": value,
                }
                for (metric, method), value in values.items()
            ]
    return pd.DataFrame(rows)


def test_what_foretells_the_loss_is_told_from_what_does_not() -> None:
    """A residual that decides has rho 1 and a small p-value; depth and chance have neither."""
    table = recover.summary(planted(noise=0.0))
    found = table[table["target"].notna()].set_index(["target", "predictor"])
    for target in recover.TARGETS:
        assert found.loc[(target, "oracle"), "rho"] == pytest.approx(1)
        assert found.loc[(target, "oracle"), "rho_low"] > 0.9
        assert found.loc[(target, "oracle"), "p_value"] < 0.001
        for other in ("identity", "depth", "motion"):
            assert abs(found.loc[(target, other), "rho"]) < 0.6
            assert found.loc[(target, other), "p_value"] > 0.005
    assert (found["points"] == 24).all()


def test_noise_widens_the_interval() -> None:
    """With noisy losses rho falls, and its interval over CNNs holds less certainty."""
    (sure,), (unsure,) = (
        recover
        .summary(planted(noise))
        .query("target == 'answers' and predictor == 'oracle'")
        .to_dict("records")
        for noise in (0.0, 0.3)
    )
    assert unsure["rho"] < sure["rho"]
    assert unsure["units_high"] - unsure["units_low"] > sure["units_high"] - sure["units_low"]


def test_right_answers_are_listed_with_intervals_over_units() -> None:
    """Digits' accuracies have a t interval over CNNs, in per cent."""
    frame = planted(noise=0.05)
    table = recover.answers(frame, ("motion", "layer"))
    assert len(table) == 24
    one = frame[(frame["motion"] == "motion 2") & (frame["layer"] == "layers.1")]
    values = one[(one["metric"] == "accuracy") & (one["method"] == "oracle")]["value"]
    row = table[(table["motion"] == "motion 2") & (table["layer"] == "layers.1")].iloc[0]
    assert row["oracle"] == pytest.approx(100 * values.mean())
    half = 2.776 * 100 * values.std() / math.sqrt(5)
    assert row["oracle_high"] - row["oracle"] == pytest.approx(half, rel=1e-3)
    assert row["input"] == pytest.approx(90)
