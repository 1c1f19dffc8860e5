"""The command line: what it prints, writes and returns."""

import json
from pathlib import Path

import pytest

from proofs import checking, command
from proofs.claims import CLAIMS
from proofs.formal import coq, log


def test_checks_chosen_claims(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two claims are checked, printed and written; the command returns."""
    out = tmp_path / "verdicts"
    arguments = ["p5", "P07", "--examples", "10", "--workers", "1", "--out", str(out)]
    command.main(arguments)
    printed = capsys.readouterr().out
    assert "2 of 2 claims hold" in printed
    found = json.loads((out / "verdicts.json").read_text())
    assert [claim["id"] for claim in found["claims"]] == ["P5", "P7"]
    verdict = found["claims"][0]["verdicts"][0]
    assert verdict["holds"]
    assert verdict["evidence"]["cases"] == 10
    checked = found["claims"][0]["machine_checked"]
    assert (checked["word"], checked["theorem"]) == (
        "in part",
        "p05_linear_criterion.P5_linear_criterion",
    )
    assert "continuous filters of bounded support, continuous images" in checked["assumptions"]
    assert found["main_theorem"]["word"] == "yes"
    assert "machine-checked: 0 of them, 2 more in part; the main theorem: yes" in printed
    page = (out / "verdicts.md").read_text()
    assert page.count("| P7 ") == len(CLAIMS["P7"].settings)
    assert page.count("| in part |") == len(CLAIMS["P5"].settings) + len(CLAIMS["P7"].settings)
    assert "Machine-checked: in part: p07_rotation_needs_symmetric_filters.P7_generated" in page
    assert "Main theorem, machine-checked: yes: main_theorem.main_theorem" in page


def test_a_failing_claim_exits_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If a claim does not hold, the exit code is 1 and the reason is printed."""
    monkeypatch.setattr(
        checking, "judge", lambda evidence, control, kind: checking.Outcome.CONTROL_PASSED
    )
    with pytest.raises(SystemExit) as caught:
        command.main(["P6", "--examples", "5", "--workers", "1"])
    assert caught.value.code == 1
    assert "negative control passed" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("name", "hint"), [("P17", "P1"), ("channel shft", "P8"), ("xyz", "P1 to P16")]
)
def test_unknown_claim_exits_2(name: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown claim is named on one line, with close matches."""
    with pytest.raises(SystemExit) as caught:
        command.main([name])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert repr(name) in error
    assert hint in error


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("--examples=0", "examples=0: use 1 or more"),
        ("--workers=-3", "workers=-3: use 1 or more"),
        ("--examples=many", "--examples: invalid literal"),
    ],
)
def test_bad_number_exits_2(bad: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A number of examples that is none is refused."""
    with pytest.raises(SystemExit) as exit_:
        command.main(["P1", bad])
    assert exit_.value.code == 2
    assert said in capsys.readouterr().err


def test_formal_renews_the_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --formal Coq is run before the claims are checked; without Coq the exit code is 2."""
    monkeypatch.setattr(log, "renew", log.stored)
    command.main(["P2", "--formal", "--examples", "20", "--workers", "1"])
    assert "accepts 80 theorems in 18 files" in capsys.readouterr().out
    monkeypatch.undo()
    monkeypatch.setattr(coq.shutil, "which", lambda name: None)
    with pytest.raises(SystemExit) as caught:
        command.main(["P2", "--formal"])
    assert caught.value.code == 2
    assert "coqc is not installed" in capsys.readouterr().err
