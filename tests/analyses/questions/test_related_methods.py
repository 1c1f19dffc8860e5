"""What methods leave is measured as the docstring says, and judged by what the theory says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analyses.questions import related_methods
from analyses.related.methods import METHODS, Motions
from tests.analyses.trainings import assert_answered

TINY = related_methods.PRESETS["tiny"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the trainings lie."""
    return tmp_path_factory.mktemp("related")


@pytest.fixture(scope="module")
def frame(folder: Path) -> pd.DataFrame:
    """What the tiny preset measures."""
    return related_methods.measure(replace(TINY, trainings=folder))


def test_the_tiny_preset_is_answered_and_drawn(frame: pd.DataFrame) -> None:
    """Networks give a table, and a figure that says what it rests on."""
    assert_answered(related_methods, frame)
    assert set(frame["method"]) == set(TINY.methods)
    assert frame[["left", "left_true", "floor_input", "chance", "error"]].notna().all(axis=None)
    assert (frame["error"].between(0, 1) & frame["agreement"].between(0, 1)).all()


def test_few_steps_change_no_answer_that_needs_no_training(frame: pd.DataFrame) -> None:
    """After four batches, quarter turns are exact by a roll, a matrix and at the input alone."""
    turns = related_methods.summary(frame).set_index(["motions", "method"])
    turns = turns.loc[str(Motions.QUARTERS)]
    exact = turns.index[turns["left_true"] < 1e-6]
    assert set(exact) == {
        "RiRoIAlign, C4 network",
        "a matrix each turn, C4 network",
        "rotated RoIAlign of the image",
        "canonicalizer, any angle",
        "C0",
    }
    assert (turns.loc[exact, "verdict"].str.startswith("aligned")).all()
    assert (turns.loc[exact, "theory"] == "aligns").all()


def test_what_was_measured_is_not_measured_again(folder: Path, frame: pd.DataFrame) -> None:
    """Parts that are there are read; the one that is not is made again, to the same numbers."""
    again = replace(TINY, trainings=folder)
    parts = sorted((folder / "related").glob("*/measured-*"))
    parts[0].unlink()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")}
    pd.testing.assert_frame_equal(related_methods.measure(again), frame)
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")}
    assert set(after) - set(before) == {parts[0]}
    assert before.items() <= after.items()


def planted(true: float, own: float, floor: float = 0.1, seeds: int = 5) -> pd.DataFrame:
    """Two methods' rows at quarter turns, with noise of a twenty-fifth of the floor by seed."""
    noise = np.random.default_rng(0).normal(0, 0.04 * floor, seeds)
    frame = pd.DataFrame({
        "seed": range(seeds),
        "motions": str(Motions.QUARTERS),
        "left": own + noise,
        "left_true": true + noise,
        "floor_input": floor,
        "floor_map": floor / 2,
        "chance": 1.2,
        **dict.fromkeys(("error", "error_upright", "agreement", "slope", "spread"), 0.5),
    })
    return pd.concat([frame.assign(method=name) for name in ("C0", "rotated RoIAlign, C4 network")])


@pytest.mark.parametrize(
    ("true", "own", "verdicts"),
    [
        (
            0.11,
            0.11,
            (
                "aligned as far as interpolation allows: the theory holds",
                "undecided",
            ),
        ),
        (
            0.11,
            0.9,
            (
                "aligned as far as interpolation allows by the true pose, by its own 0.90 of 1.20 "
                "left: the theory holds",
                "undecided",
            ),
        ),
        (
            0.9,
            0.9,
            ("leaves 0.90 of 1.20: against the theory", "leaves 0.90 of 1.20: the theory holds"),
        ),
        (0.155, 0.155, ("undecided", "undecided")),
    ],
)
def test_verdicts_say_no_too(true: float, own: float, verdicts: tuple[str, str]) -> None:
    """Of a method that should align and of one that should not, each finding is told."""
    table = related_methods.summary(planted(true, own)).set_index("method")
    assert tuple(table.loc[["C0", "rotated RoIAlign, C4 network"], "verdict"]) == verdicts


def test_without_interpolation_a_little_is_something() -> None:
    """Where the floor is 0, a rest of 2 % is one, and none is none: both are told of the theory."""
    found = []
    for rest in (0.0, 0.024):
        table = related_methods.summary(planted(rest, rest, floor=0.0)).set_index("method")
        found.append(table.loc["rotated RoIAlign, C4 network", "verdict"])
    assert found == [
        "aligned as far as interpolation allows: against the theory",
        "leaves 0.024 of 1.20, which is little: the theory holds",
    ]


def test_a_training_that_died_is_left_out_and_counted() -> None:
    """What is the same for all digits decides nothing, and no interval rests on it."""
    frame = planted(0.9, 0.9)
    frame.loc[frame["seed"] == 2, ["left", "left_true", "floor_input", "chance"]] = 0.0
    table = related_methods.summary(frame)
    assert table["seeds"].tolist() == [4, 4]
    assert table["died"].tolist() == [1, 1]
    assert (table["chance"] == 1.2).all()


def test_one_seed_decides_nothing() -> None:
    """Without an interval there is no verdict."""
    table = related_methods.summary(planted(0.9, 0.9, seeds=1))
    assert (table["verdict"] == "undecided").all()


def test_two_cores_asks_all_of_them() -> None:
    """Five seeds of every method on all of MNIST."""
    config = related_methods.PRESETS["two-cores"]
    assert config.methods == tuple(method.name for method in METHODS)
    assert (config.seeds, config.source) == (5, "mnist")
