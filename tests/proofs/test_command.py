"""The command line: what it prints, writes and returns."""

import json
from pathlib import Path

import pytest

from proofs import __main__ as command
from proofs import checking, runner
from proofs.claims import CLAIMS


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
    page = (out / "verdicts.md").read_text()
    assert page.count("| P7 ") == len(CLAIMS["P7"].settings)


def test_same_command_same_verdicts() -> None:
    """Verdicts do not change from run to run."""
    assert runner.run(["P6"], 20, 1) == runner.run(["P6"], 20, 1)


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


def test_no_workers() -> None:
    """At least one process is needed."""
    with pytest.raises(ValueError, match="workers = 0"):
        runner.run(["P1"], 10, 0)
