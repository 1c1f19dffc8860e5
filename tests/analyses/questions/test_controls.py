"""The analysis of the controls: its tiny preset runs, and its judge can say no."""

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest

from analyses import command
from analyses.questions import controls as analysis
from invariance_probe import controls


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the tiny preset."""
    path = tmp_path_factory.mktemp("controls") / "run"
    command.main(["run", "controls", "--preset", "tiny", "--out", str(path)])
    return path


def test_the_tiny_preset_is_measured_and_written(folder: Path) -> None:
    """Frame, summary, provenance and both figures are there, with every stated answer judged."""
    names = {path.name for path in folder.iterdir()}
    expected = {"results.parquet", "summary.csv", "config.json", "controls.png", "controls.svg"}
    assert names == expected
    config = analysis.PRESETS["tiny"]
    about = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert about["config"]["networks"] == list(config.networks)
    table = pd.read_csv(folder / "summary.csv")
    stated = {pair for pair, answer in analysis.ANSWERS.items() if answer}
    judged = set(zip(table["network"], table["moves"], strict=True))
    assert judged == {pair for pair in stated if pair[0] in config.networks}
    assert set(table["answer"]) == {"exact", "floor", "grid", "permutation", "residual"}


def test_every_known_answer_holds(folder: Path) -> None:
    """For each pair of maps the engine gives the known answer, and the permutation is recovered."""
    table = pd.read_csv(folder / "summary.csv")
    assert (table["holds"] == 1).all()
    assert (table["recovered"][table["answer"] == "permutation"] == 1).all()
    assert table["recovered"][table["answer"] != "permutation"].isna().all()


@pytest.mark.parametrize(
    ("impostor", "network", "broken"),
    [
        (
            controls.random_network,
            "pointwise",
            {"quarter turns", "other rotations", "reflections", "scalings"},
        ),
        (controls.c4_pooled_network, "C4", {"quarter turns"}),
        (controls.strided_network, "anti-aliased", {"shifts by 1 px"}),
    ],
)
def test_an_impostor_is_found_out(
    impostor: object, network: str, broken: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another network under a control's name fails just the answers that are not its own."""
    monkeypatch.setitem(analysis.NETWORKS, network, impostor)
    config = dataclasses.replace(analysis.PRESETS["tiny"], networks=(network,))
    table = analysis.summary(analysis.measure(config))
    assert set(table["moves"][table["holds"] < 1]) == broken


def test_the_judge_reads_each_answer_its_own_way() -> None:
    """One row for each way to fail an answer, beside one that passes."""
    rows = [
        ("exact", 0.0, 0.0, 0.0, None, True),
        ("exact", 1e-6, 1e-6, 0.0, None, False),
        ("floor", 0.02, 0.015, 0.01, None, True),
        ("floor", 0.02, 0.016, 0.01, None, False),
        ("floor", 0.2, 0.2, 0.2, None, False),
        ("grid", 0.2, 0.2, 0.2, None, True),
        ("grid", 0.4, 0.31, 0.2, None, False),
        ("grid", 0.01, 0.01, 0.01, None, False),
        ("residual", 0.5, 0.4, 0.1, None, True),
        ("residual", 0.5, 0.12, 0.1, None, False),
        ("residual", 1e-5, 1e-5, 0.0, None, False),
        ("permutation", 1.0, 0.8, 0.0, 1e-12, True),
        ("permutation", 1.0, 0.8, 0.0, 1e-3, False),
        ("permutation", 0.0, 0.0, 0.0, 0.0, False),
    ]
    columns = ["answer", "oracle", "affine", "floor", analysis.PERMUTED, "expected"]
    pairs = pd.DataFrame(rows, columns=columns)
    pairs[analysis.PERMUTED] = pairs[analysis.PERMUTED].astype(float)
    assert analysis.holds(pairs).tolist() == pairs["expected"].tolist()
