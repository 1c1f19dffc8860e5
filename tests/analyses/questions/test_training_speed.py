"""The analyses of the trainer run, and their baseline is the network they compare with."""

import json
from pathlib import Path

import pytest

from analyses import command
from analyses.questions import training_speed


def test_training_speed_is_measured_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tiny preset writes frame, figure and provenance, and prints ratios for each variant."""
    # where numbers are as wide as they may be, the table would be broken into blocks at 120
    monkeypatch.setenv("COLUMNS", "200")
    command.main(["run", "training_speed", "--preset", "tiny", "--out", str(tmp_path / "run")])
    out = capsys.readouterr().out
    assert out.count(training_speed.OURS) == 2
    assert "times_faster" in out
    about = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    assert about["config"]["repeats"] == training_speed.PRESETS["tiny"].repeats
    assert (tmp_path / "run" / "training_speed.svg").is_file()


def test_operations_are_counted_as_by_hand() -> None:
    """Two operations a product; the CNN's first layer needs no gradient of its images."""
    config = training_speed.Config(batch=1)
    first, second = 20 * 20 * 64 * 81, 4 * 4 * 64 * 64 * 49
    assert training_speed.operations(config, "cnn") == 2 * (2 * first + 3 * second)
    assert training_speed.operations(config, "c0") == 2 * (3 * first + 3 * second)
