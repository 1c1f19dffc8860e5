"""How near to the best warp does the search come?"""

import json
from pathlib import Path

import pytest

from analyses import __main__ as command
from analyses.questions import search_quality


def test_search_quality_is_measured_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tiny preset writes frame, figure and provenance, and prints the shares."""
    command.main(["run", "search_quality", "--preset", "tiny", "--out", str(tmp_path / "run")])
    out = capsys.readouterr().out
    assert "planted" in out
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "results.parquet",
        "summary.csv",
        "config.json",
        "search_quality.png",
        "search_quality.svg",
    }
    about = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    assert about["config"]["planted"] == search_quality.PRESETS["tiny"].planted
