"""The command line of the analyses: runs go on, are never mixed, and end on one page."""

import json
import sys
import types
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest
from matplotlib.figure import Figure

from analyses import __main__ as command
from analyses import answer, questions, report
from invariance_probe.report import find
from tests.report.parsed import Reader, complaints


@dataclass(frozen=True, kw_only=True)
class Config:
    """A planted analysis's."""

    level: float = 0.5
    folder: Path | None = None
    words: tuple[str, ...] = ("a", "b")


class Planted(types.ModuleType):
    """Why does a planted question count its measurements?"""

    PRESETS: ClassVar = {"quick": Config(), "tiny": Config(level=0.25)}

    def __init__(self) -> None:
        super().__init__("analyses.questions.speed", self.__class__.__doc__)
        self.measured = 0
        self.stop = ""

    def measure(self, config: Config) -> pd.DataFrame:
        self.measured += 1
        if self.stop == "measure":
            raise KeyboardInterrupt
        return pd.DataFrame({"x": [1.0, 2.0], "level": config.level})

    def summary(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame.groupby("level", as_index=False).mean()

    def plot(self, frame: pd.DataFrame) -> Figure:
        if self.stop == "plot":
            raise KeyboardInterrupt
        figure = Figure(figsize=(3, 2))
        figure.subplots().plot(frame["x"])
        return figure


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Planted:
    """An analysis in the place of `speed`."""
    module = Planted()
    monkeypatch.setitem(sys.modules, "analyses.questions.speed", module)
    return module


FILES = {"config.json", "results.parquet", "summary.csv", "speed.png", "speed.svg"}


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a refused command says, on one line."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        command.main(words)
    err = capsys.readouterr().err
    assert caught.value.code == 2
    assert err.count("\n") == 1
    return err


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


@pytest.mark.usefixtures("planted")
def test_unknown_questions_and_presets_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """The message names what there is."""
    assert "search_quality" in refused(["run", "sped"], capsys)
    said = refused(["run", "speed", "--preset", "paper"], capsys)
    assert "choose from quick, tiny" in said


def test_questions_are_listed_by_their_first_line(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    """`list` has a line for each module that is there: its name and what it asks."""
    command.main(["list"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(questions.NAMES)
    asked = dict(line.split(maxsplit=1) for line in lines)
    assert asked["speed"] == planted.__doc__
    assert all(line.rstrip().endswith("?") for line in lines)


def test_summaries_fit_a_terminal() -> None:
    """Intervals stand by their numbers, constant words once above, labels before every block."""
    table = pd.DataFrame({
        "data": "mnist",
        "variant": ["c0", "c1"],
        "error": [0.0251, 0.0309],
        "error_low": [0.0227, float("nan")],
        "error_high": [0.0275, float("nan")],
        **{f"slope_{number}": [0.5, float("nan")] for number in range(12)},
    })
    lines = command.as_text(table, width=80).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "data mnist"
    assert any("c0" in line and "0.0251 [0.0227, 0.0275]" in line for line in lines)
    assert any(line.split()[:2] == ["c1", "0.0309"] for line in lines)
    assert sum(line.startswith("c0") for line in lines) == 2
    plain = pd.DataFrame({"layer": ["a", "b"], "count": [1, 2]})
    assert [line.split() for line in command.as_text(plain, width=80).splitlines()[-2:]] == [
        ["a", "1"],
        ["b", "2"],
    ]


def test_everything_ends_on_one_page(
    planted: Planted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An answer, verdicts and the claims make one self-contained page, linked both ways."""
    planted.measured = 0
    command.main(["run", "speed", "--preset", "tiny", "--out", str(tmp_path / "in" / "answer")])
    verdicts = {
        "run": {},
        "claims": [
            {"id": "P1", "verdicts": [{"holds": True, "words": "P1 stands"}], "observations": {}},
            {"id": "P2", "verdicts": [{"holds": True}, {"holds": False}], "observations": {"q": 2}},
        ],
    }
    (tmp_path / "in" / "proofs").mkdir()
    path = tmp_path / "in" / "proofs" / "verdicts.json"
    path.write_text(json.dumps(verdicts), encoding="utf-8")
    out = tmp_path / "page.html"
    command.main(["report", str(tmp_path / "in"), "--out", str(out)])
    text = out.read_text(encoding="utf-8")
    assert complaints(text) == []
    words = Reader(text).words
    assert words.count("not checked in this report") == 14
    assert words.count("holds") == 1
    assert "fails in 1 of 2 settings" in words
    assert "P1 stands" in words
    assert "reports q: 2" in words
    assert any("Why does a planted question" in word for word in words)
    assert words.count("undecided") == 4
    path.write_text('{"claims": 3}', encoding="utf-8")
    said = refused(["report", str(tmp_path / "in"), "--out", str(out)], capsys)
    assert "no verdicts that can be read" in said


def test_the_repositorys_results_make_a_page(tmp_path: Path) -> None:
    """All results that the repository holds fit on one self-contained page."""
    results = Path(command.__file__).parent / "results"
    command.main(["report", str(results), "--out", str(tmp_path / "page.html")])
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert complaints(text) == []
    assert len(text.encode()) < 5_000_000
    drawn = sum(tag in {"svg", "img"} for tag, _ in Reader(text).tags)
    assert drawn >= len(list(results.glob("*/config.json")))
    titles = [section.title for section in report.page(find([results], report.SIGNS)).sections]
    named = [name.replace("_", " ").capitalize() for name in questions.NAMES]
    assert [title for title in titles if title in named] == [
        title for title in named if title in titles
    ]
