"""The command line of the analyses: what it lists, refuses, prints, and puts on one page."""

import json
from pathlib import Path

import pandas as pd
import pytest

from analyses import command, questions, report
from invariance_probe.report import find
from tests.analyses.planting import Planted, refused
from tests.report.parsed import Reader, complaints


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
    assert len(set(titles)) == len(titles), "several answers of a question have titles of their own"
    named = [name.replace("_", " ").capitalize() for name in questions.NAMES]
    assert [title for title in titles if title in named] == [
        title for title in named if title in titles
    ]
