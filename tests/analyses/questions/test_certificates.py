"""The analysis of certificates measures what it says, and its attacks can win."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from analyses import command
from analyses.questions import certificates
from invariance_probe.certificates import attacks


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """What the tiny preset measures."""
    return certificates.measure(certificates.PRESETS["tiny"])


def test_methods_keep_their_order(frame: pd.DataFrame) -> None:
    """The bound is below the adversary, which is below the best affine warp and the oracle."""
    some = frame[frame["part"] == "any-warp"]
    assert set(some["layer"]) == {"_blocks.10", "_blocks.15"}
    assert (some["any_warp"] > 0.1).all()
    assert (some["any_warp"] <= some["adversary"]).all()
    assert (some["adversary"] <= some["affine"]).all()
    assert (some["affine"] <= some["oracle"]).all()
    assert (some[["ms_bound", "ms_forward"]] > 0).all(axis=None)


def test_attacks_are_counted_and_none_succeeds(frame: pd.DataFrame) -> None:
    """Every kind is tried on real and on drawn maps, and no warp leaves less than the bound."""
    some = frame[frame["part"] == "attack"]
    assert set(some["kind"]) == set(attacks.KINDS)
    assert set(some["maps"]) == {"real", "drawn"}
    assert (some["tried"] > 0).all()
    assert some["violations"].sum() == 0
    assert (some["closest"] >= 1).all()


def test_an_attack_on_what_is_no_bound_succeeds() -> None:
    """The tally counts a violation when a warp leaves less than what was claimed."""
    tally = certificates._Tally("affine", "real")
    tally.add(torch.tensor([3.0, 1.0, 2.0], dtype=torch.float64), 2.0)
    row = tally.row()
    assert (row["tried"], row["violations"], row["closest"]) == (3, 1, 0.5)


def test_certificates_are_judged(frame: pd.DataFrame) -> None:
    """Bound, best warp and gap belong together; the engine's warp is not below the bound."""
    some = frame[frame["part"] == "certificate"]
    assert set(some["family"]) == {"similarity", "affine"}
    assert (some["fvu_lower"] <= some["fvu"]).all()
    assert (1 - some["fvu_lower"] / some["fvu"]).to_numpy() == pytest.approx(some["gap"].to_numpy())
    affine = some[some["family"] == "affine"]
    assert (affine["fvu_lower"] <= affine["affine"]).all()


def test_it_is_written(
    frame: pd.DataFrame,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The command writes frame, figure and provenance, and prints the summary."""
    monkeypatch.setattr(certificates, "measure", lambda config: frame)
    command.main(["run", "certificates", "--preset", "tiny", "--out", str(tmp_path / "run")])
    assert "any-warp" in capsys.readouterr().out
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "results.parquet",
        "summary.csv",
        "config.json",
        "certificates.png",
        "certificates.svg",
    }
    about = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    assert about["config"]["gap"] == 0.01
