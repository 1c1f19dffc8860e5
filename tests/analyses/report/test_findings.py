"""Each finding gets the verdict that planted trainings call for."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from analyses.report import answers, findings
from analyses.report.findings import Finding, Task
from analyses.report.paired import (
    CONFIRMED,
    CONTRADICTED,
    EQUIVALENT,
    UNDECIDED,
    judged,
    paired,
)

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
            noise = NOISE[seed % 5] + (place + 1) * JITTER[seed % 5] / 2
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


def verdicts(finding: Finding) -> list[str]:
    """The words of its primary contrasts, judged as a family of their own."""
    return [verdict.word for verdict in judged(finding.primary)]


def found(*tables: pd.DataFrame) -> list[Task]:
    """Tasks of some trainings."""
    return findings.tasks(findings.gathered(tables))


USUAL = {"c0": 0.02, "c1": 0.05, "sl1": 0.02}


ALIKE = {"c0": 0.05, "c1": 0.05, "sl1": 0.05}


WORSE = {"c0": 0.06, "c1": 0.05, "sl1": 0.02}


@pytest.mark.parametrize(
    ("rotation", "spread", "words"),
    [
        (USUAL, 0.0, [CONFIRMED, CONFIRMED]),
        (ALIKE, 0.0, [EQUIVALENT, EQUIVALENT]),
        (WORSE, 0.0, [CONTRADICTED, CONTRADICTED]),
        (USUAL, 0.2, [UNDECIDED, UNDECIDED]),
    ],
)
def test_finding_1(rotation: dict[str, float], spread: float, words: list[str]) -> None:
    """Under rotation and scaling C0 alone is set against C1; SLX and CNN are description."""
    tables = [trained(rotation, kind, spread=spread) for kind in ("rotation", "scaling")]
    finding = findings.input_beats_map(found(*tables))
    assert verdicts(finding) == words
    assert any("1 shared layer" in line for line in finding.described)
    assert finding.missing == [
        "transformer on the map after layer 1 beside transformer on the image under translation"
    ]


@pytest.mark.parametrize(
    ("translation", "word"), [(ALIKE, CONFIRMED), (USUAL, EQUIVALENT), (WORSE, CONFIRMED)]
)
def test_finding_1_under_translation(translation: dict[str, float], word: str) -> None:
    """What moving the image saves there is set against what it saves under rotation."""
    tasks = found(trained(USUAL), trained(translation, "translation"))
    assert verdicts(findings.input_beats_map(tasks)) == [CONFIRMED, word]


DEEP = {"dl1": 0.03, "dl3": 0.03, "sl1": 0.03, "sl3": 0.03}


ALL = dict.fromkeys(DEEP, 0.9)


@pytest.mark.parametrize(
    ("slopes", "diverged", "seeds", "word"),
    [
        (ALL | {"dl3": 0.1}, (), 10, CONFIRMED),
        (ALL | {"sl3": 0.1}, (), 10, CONTRADICTED),
        (ALL, (), 40, EQUIVALENT),
        (ALL, (), 5, UNDECIDED),
        (ALL, tuple(("dl3", seed) for seed in range(10)), 10, CONFIRMED),
        (ALL | {"dl1": 0.1}, (), 10, EQUIVALENT),
    ],
)
def test_finding_2(
    slopes: dict[str, float], diverged: tuple[tuple[str, int], ...], seeds: int, word: str
) -> None:
    """Seeds that diverged or stayed where they were are counted at the deepest layer alone."""
    tasks = found(trained(DEEP, slopes=slopes, diverged=diverged, seeds=seeds))
    assert verdicts(findings.depth_needs_sharing(tasks)) == [word]


def test_the_first_layer_is_not_enough_for_finding_2() -> None:
    """It says nothing of depth; a deeper one is asked also where it stands alone."""
    deep = found(trained({"dl5": 0.03, "sl5": 0.03}, slopes={"dl5": 0.1, "sl5": 0.9}, seeds=10))
    assert verdicts(findings.depth_needs_sharing(deep)) == [CONFIRMED]
    finding = findings.depth_needs_sharing(found(trained({"dl1": 0.05, "sl1": 0.03})))
    assert not finding.primary
    assert finding.missing


STEPS = {"c0": 0.06, "c0x2": 0.045, "c0x3": 0.08, "sl1": 0.03, "sl1x2": 0.029}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({}, CONFIRMED),
        ({"c0x2": 0.07}, CONTRADICTED),
        ({"c0x2": 0.06}, EQUIVALENT),
        ({"sl1x2": 0.01}, CONFIRMED),
    ],
)
def test_finding_3(change: dict[str, float], word: str) -> None:
    """The second step of the transformer on the image decides, and nothing else."""
    assert verdicts(findings.iterating_helps(found(trained({**STEPS, **change})))) == [word]


@pytest.mark.parametrize(
    ("slopes", "perturbation", "words"),
    [
        ({"c0": 0.9, "c1": 0.1, "sl1": 0.8}, "rotation=30", [CONFIRMED]),
        ({"c0": 0.9, "c1": 0.88, "sl1": 0.2}, "rotation=30", [CONFIRMED]),
        ({"c0": 0.9, "c1": 0.9, "sl1": 0.2}, "rotation=30", [EQUIVALENT]),
        ({"c0": 0.1, "c1": 0.9, "sl1": 0.8}, "scaling", [CONTRADICTED]),
        ({"c0": 0.9, "c1": 0.1, "sl1": 0.8}, "translation", []),
    ],
)
def test_finding_4(slopes: dict[str, float], perturbation: str, words: list[str]) -> None:
    """The slope of C0 less that of C1 decides; translation says nothing of it."""
    tasks = found(trained(USUAL, perturbation, slopes=slopes))
    assert verdicts(findings.maps_compensate_less(tasks)) == words


def test_tasks_that_disagree_are_counted() -> None:
    """A finding that holds on one task and not on another says so."""
    one, other = (paired("x", [1.0, 1.1, sign], margin=0.1) for sign in (0.9, -9.0))
    assert findings.together(judged([one, other])) == "1 confirmed, 1 undecided of 2 tasks"
    assert findings.together(judged([one])) == CONFIRMED
    assert findings.together([]) == UNDECIDED


def test_the_widest_network_decides() -> None:
    """Of two setups of a task the wider gives the verdict, the narrower is described."""
    narrow = trained(WORSE).assign(width=0.25, seconds=0.5)
    finding = findings.input_beats_map(found(narrow, trained(USUAL)))
    assert verdicts(finding) == [CONFIRMED]
    assert "width 0.5" in finding.primary[0].words
    assert any("width 0.25" in line for line in finding.described)


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
    tasks = found(one, other)
    assert [task.words for task in tasks] == [
        "mnist under rotation",
        "mnist under rotation (plankton network)",
    ]
    finding = findings.input_beats_map(tasks)
    assert [contrast.words for contrast in finding.primary] == [
        "mnist under rotation, error of the transformer on the map after layer 1 less that of the "
        "transformer on the image"
    ]
    assert any("plankton" in line for line in finding.described)


def test_tables_of_analyses_give_their_runs_and_no_more(tmp_path: Path) -> None:
    """Rows of single images, which have no outcome, are no trainings."""
    runs = trained(USUAL)
    poses = runs.assign(error=float("nan"), outcome=None)
    pd.concat([runs, poses]).to_parquet(tmp_path / "results.parquet", index=False)
    (table,) = answers.trainings([tmp_path])
    assert len(table) == len(runs)
    assert len(findings.gathered([table])) == len(runs)


def test_tasks_know_their_networks() -> None:
    """Several transformers or steps are no plain CX."""
    (task,) = findings.tasks(
        findings.gathered([trained(dict.fromkeys(("c0", "c1", "c0+c1", "sl1x2", "c2"), 0.1))])
    )
    assert isinstance(task, Task)
    assert task.plain("c") == {1: "c1", 2: "c2"}
    assert task.plain("sl") == {}


def test_each_finding_begins_the_page_in_plain_words() -> None:
    """Statement, verdict, a sentence a contrast and a figure; what was not asked says so."""
    made = findings.section(findings.gathered([trained(USUAL)]))
    first, second, *_ = made.shorts
    assert len(made.shorts) == 4
    assert first.sentence.startswith("1. Transforming the input beats")
    assert first.badge == made.items[0].badge
    assert first.points[0].startswith(first.badge.capitalize())
    assert first.figure is not None
    assert first.figure.svg.startswith(b"<?xml")
    assert (second.badge, second.figure) == ("not asked", None)
    assert findings.section(pd.DataFrame()).shorts == ()
