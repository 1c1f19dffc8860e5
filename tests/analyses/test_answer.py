"""Answers in folders: measured once, gone on with, never mixed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from analyses import answer, command
from tests.analyses.planting import Planted, refused

FILES = {"config.json", "results.parquet", "summary.csv", "speed.png", "speed.svg"}


def test_a_finished_run_is_drawn_anew_and_not_measured(
    planted: Planted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same command on a finished folder measures nothing, says so, and restores the figure."""
    words = ["run", "speed", "--preset", "tiny", "--out", str(tmp_path / "run")]
    command.main(words)
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES
    about = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    assert about["config"] == {"level": 0.25, "folder": None, "words": ["a", "b"]}
    assert about["command"] == "python -m analyses run speed --preset tiny"
    assert "there already" not in capsys.readouterr().out
    (tmp_path / "run" / "speed.svg").unlink()
    command.main(words)
    assert "there already" in capsys.readouterr().out
    assert planted.measured == 1
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES
    again = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    assert again == about


@pytest.mark.parametrize(("stop", "measured"), [("measure", 2), ("plot", 1)])
def test_a_run_goes_on_after_a_kill(
    planted: Planted, tmp_path: Path, stop: str, measured: int
) -> None:
    """Stopped while it measures it measures again, stopped later it does not; no file is half."""
    words = ["run", "speed", "--out", str(tmp_path / "run")]
    planted.stop = stop
    with pytest.raises(SystemExit) as caught:
        command.main(words)
    assert caught.value.code == 130
    about = answer.read_about(tmp_path / "run")
    assert about is not None
    assert (answer.DONE in about) == (stop == "plot")
    planted.stop = ""
    command.main(words)
    assert planted.measured == measured
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES


def test_configurations_are_not_mixed(
    planted: Planted,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another preset or question, other files and a file are refused, and nothing is touched."""
    run = tmp_path / "run"
    command.main(["run", "speed", "--preset", "tiny", "--out", str(run)])
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    said = refused(["run", "speed", "--out", str(run)], capsys)
    assert "level=0.25 there, 0.5 here" in said
    assert "--out" in said
    said = refused(["run", "controls", "--preset", "tiny", "--out", str(run)], capsys)
    assert "contains speed" in said
    changed = {**planted.PRESETS, "tiny": replace(planted.PRESETS["tiny"], words=("a",))}
    monkeypatch.setattr(Planted, "PRESETS", changed)
    said = refused(["run", "speed", "--preset", "tiny", "--out", str(run)], capsys)
    assert "words=['a', 'b'] there, ['a'] here" in said
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    assert planted.measured == 1
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    said = refused(["run", "speed", "--out", str(tmp_path / "mine")], capsys)
    assert "holds other files" in said
    said = refused(["run", "speed", "--out", str(tmp_path / "mine" / "thesis.tex")], capsys)
    assert "is a file" in said
    (tmp_path / "mine" / "config.json").write_text("{", encoding="utf-8")
    assert "cannot be read" in refused(["run", "speed", "--out", str(tmp_path / "mine")], capsys)
