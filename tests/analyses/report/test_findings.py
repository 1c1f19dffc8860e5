"""Each finding is confirmed, refuted or left open by planted trainings that call for it."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analyses.report import answers, findings, paired
from analyses.report.findings import Task
from analyses.report.paired import CONFIRMED, NOT_CONFIRMED, UNDECIDED

NOISE = (0.001, -0.001, 0.002, -0.002, 0.0)
"""Of the seeds, the same for all variants: only pairing takes it away."""
JITTER = (0.0001, 0.0, -0.0001, 0.0001, -0.0001)
"""What pairing leaves."""


def trained(
    errors: dict[str, float],
    perturbation: str = "rotation",
    slopes: dict[str, float] | None = None,
    spread: float = 0.0,
    diverged: Sequence[tuple[str, int]] = (),
    seeds: int = 5,
) -> pd.DataFrame:
    """Trainings with planted errors; `spread` spoils the pairing of every second variant."""
    rows = []
    for place, (variant, error) in enumerate(errors.items()):
        for seed in range(seeds):
            lost = (variant, seed) in diverged
            noise = NOISE[seed] + (place + 1) * JITTER[seed] / 2
            noise += spread * (-1) ** seed * (place % 2)
            slope = (slopes or {}).get(variant, float("nan"))
            rows.append({
                "data": "mnist",
                "perturbation": perturbation,
                "variant": variant,
                "alignment": "predicted",
                "seed": seed,
                "width": 0.5,
                "error": float("nan") if lost else error + noise,
                "outcome": "diverged" if lost else "finished",
                "slope_degrees": slope + noise,
                "spread_degrees": 50 * (1 - slope) + noise,
                "seconds": 1.0,
            })
    return pd.DataFrame(rows)


def judged(judge: Callable[..., tuple[list, list]], *tables: pd.DataFrame) -> str:  # type: ignore[type-arg]  # shared by four judges
    """The verdict of a finding on some trainings."""
    contrasts, missing = judge(findings.tasks(findings.gathered(tables)))
    return paired.together(contrasts, complete=not missing)


USUAL = {"c0": 0.02, "c1": 0.05, "sl1": 0.02}
ALIKE = {"c0": 0.045, "c1": 0.05, "sl1": 0.045}


@pytest.mark.parametrize(
    ("rotation", "translation", "spread", "scaling", "verdict"),
    [
        (USUAL, ALIKE, 0.0, True, CONFIRMED),
        (USUAL, ALIKE, 0.0, False, UNDECIDED),
        (USUAL, ALIKE, 0.2, True, UNDECIDED),
        (ALIKE, USUAL, 0.0, True, NOT_CONFIRMED),
        ({"c0": 0.06, "c1": 0.05, "sl1": 0.02}, ALIKE, 0.0, True, NOT_CONFIRMED),
    ],
)
def test_finding_1(
    rotation: dict[str, float],
    translation: dict[str, float],
    spread: float,
    scaling: bool,
    verdict: str,
) -> None:
    """Moving the input must win for sure, under both, and by less under translation."""
    tables = [trained(rotation, spread=spread), trained(translation, "translation")]
    if scaling:
        tables.append(trained(rotation, "scaling"))
    assert judged(findings.input_beats_map, *tables) == verdict


DEEP = {"dl1": 0.03, "dl2": 0.05, "dl3": 0.08, "sl1": 0.03, "sl2": 0.028, "sl3": 0.026}


@pytest.mark.parametrize(
    ("change", "diverged", "verdict"),
    [
        ({}, (), CONFIRMED),
        ({"dl2": 0.025, "dl3": 0.02}, (), NOT_CONFIRMED),
        ({"sl3": 0.05}, (), NOT_CONFIRMED),
        ({"dl3": 0.026}, (("dl3", 0),), UNDECIDED),
        ({"dl3": 0.026}, tuple(("dl3", seed) for seed in range(5)), CONFIRMED),
    ],
)
def test_finding_2(
    change: dict[str, float], diverged: tuple[tuple[str, int], ...], verdict: str
) -> None:
    """The gap must grow, and the shared localizer stay; a run that diverged counts as all wrong."""
    table = trained({**DEEP, **change}, diverged=diverged)
    assert judged(findings.depth_needs_sharing, table) == verdict


def test_one_depth_is_not_enough_for_finding_2() -> None:
    """With one depth nothing is said of growth."""
    table = trained({"dl1": 0.05, "sl1": 0.03})
    assert judged(findings.depth_needs_sharing, table) == UNDECIDED
    # beside a task that does say it, it is one more difference
    deep = trained(DEEP, "scaling")
    assert judged(findings.depth_needs_sharing, table, deep) == CONFIRMED


STEPS = {"c0": 0.06, "c0x2": 0.045, "sl1": 0.03, "sl1x2": 0.029}


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, CONFIRMED),
        ({"c0x2": 0.07}, NOT_CONFIRMED),
        ({"sl1x2": 0.01}, NOT_CONFIRMED),
        ({"sl1": 0.05, "sl1x2": 0.049}, NOT_CONFIRMED),
    ],
)
def test_finding_3(change: dict[str, float], verdict: str) -> None:
    """C0 must gain, more than SLX, and still fall short of it."""
    assert judged(findings.iterating_helps, trained({**STEPS, **change})) == verdict
    without = {name: value for name, value in STEPS.items() if name != "sl1x2"}
    assert judged(findings.iterating_helps, trained(without)) == UNDECIDED


@pytest.mark.parametrize(
    ("slopes", "perturbation", "verdict"),
    [
        ({"c0": 0.9, "c1": 0.1, "sl1": 0.8}, "rotation=30", CONFIRMED),
        ({"c0": 0.9, "c1": 0.85, "sl1": 0.8}, "rotation=30", NOT_CONFIRMED),
        ({"c0": 0.9, "c1": 0.1, "sl1": 0.8}, "translation", UNDECIDED),
    ],
)
def test_finding_4(slopes: dict[str, float], perturbation: str, verdict: str) -> None:
    """The slope must be smaller and the spread larger; translation says nothing of it."""
    table = trained(USUAL, perturbation, slopes=slopes)
    assert judged(findings.maps_compensate_less, table) == verdict


def test_a_report_without_trainings_decides_nothing() -> None:
    """All four findings are there, undecided, and say what is missing."""
    made = findings.section(pd.DataFrame())
    assert [item.badge for item in made.items] == [UNDECIDED] * 4
    assert all("Not in this report" in item.points[0] for item in made.items)


def test_setups_are_not_mixed_and_runs_count_once() -> None:
    """A table that repeats a run adds nothing; another width makes another task."""
    one = trained(USUAL)
    wide = one.assign(width=1.0, error=one["error"] / 2)
    true = one.assign(alignment="true", error=0.0)
    assert len(findings.gathered([one, one.drop(columns="width"), true])) == len(one)
    assert len(findings.tasks(findings.gathered([one, wide]))) == 2


def test_another_classifier_is_another_task_and_named() -> None:
    """Runs of two classifiers are never compared, and lines of the second say which it is."""
    one = trained(USUAL).assign(network="auto")
    other = trained({"c0": 0.3, "c5": 0.2}).assign(network="plankton")
    found = findings.tasks(findings.gathered([one, other]))
    assert [task.words for task in found] == [
        "mnist under rotation",
        "mnist under rotation (plankton network)",
    ]
    contrasts, _ = findings.input_beats_map(found)
    assert {each.words for each in contrasts if "plankton" in each.words} == {
        "mnist under rotation (plankton network), error of c5 less that of c0"
    }


def test_tables_of_analyses_give_their_runs_and_no_more(tmp_path: Path) -> None:
    """Rows of single images, which have no outcome, are no trainings."""
    runs = trained(USUAL)
    poses = runs.assign(error=float("nan"), outcome=None)
    pd.concat([runs, poses]).to_parquet(tmp_path / "results.parquet", index=False)
    (found,) = answers.trainings([tmp_path])
    assert len(found) == len(runs)
    assert len(findings.gathered([found])) == len(runs)


def test_intervals_are_students() -> None:
    """Against a value from tables: mean 2, standard deviation 1, n = 5: 2 -+ 2.776 / sqrt 5."""
    values = 2 + np.array([-1.2649111, -0.6324555, 0.0, 0.6324555, 1.2649111])
    found = paired.contrast("a less b", [*values, float("nan")])
    assert found.seeds == 5
    assert found.high - found.mean == pytest.approx(2.7764 / 5**0.5, rel=1e-4)
    assert found.low + found.high == pytest.approx(4)
    assert str(found) == "a less b: 2 [0.758, 3.24], 5 seeds: confirmed"
    assert paired.contrast("x", [1.0]).verdict == UNDECIDED
    assert paired.contrast("x", [0.0, 0.0]).verdict == NOT_CONFIRMED
    welch = paired.unpaired("x", values, values[:3] - 3)
    assert welch.low < welch.mean < welch.high
    assert paired.unpaired("x", [2.0, 2.0], [1.0, 1.0]).verdict == CONFIRMED


def test_tasks_know_their_networks() -> None:
    """Several transformers or steps are no plain CX."""
    (task,) = findings.tasks(
        findings.gathered([trained(dict.fromkeys(("c0", "c1", "c0+c1", "sl1x2", "c2"), 0.1))])
    )
    assert isinstance(task, Task)
    assert task.plain("c") == {1: "c1", 2: "c2"}
    assert task.plain("sl") == {}
