"""What the command line says: tables in 80 columns, JSON, and where the run lies."""

import json
import math
import re
from pathlib import Path

import pandas as pd
import pytest
import torch

from invariance_probe import console
from invariance_probe.plane.transforms import Affine, Rotation, Scaling
from invariance_probe.probing.readout import recover
from invariance_probe.results.methods import Method
from tests.results.planted import EXPLAINED, planted

FOUND = {
    Method.ORACLE: [0.5, 0.6, 0.7],
    Method.AFFINE: [0.3, 0.3, 0.3],
    Method.ORACLE_LINEAR: [0.1, 0.1, 0.1],
}


def _said(capsys: pytest.CaptureFixture[str], *args: object, **options: bool) -> str:
    console.report(*args, **{"as_json": False, **options})
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_each_family_has_a_table_of_its_methods(capsys: pytest.CaptureFixture[str]) -> None:
    """Layers down, methods without a mixing across, means over their intervals."""
    moves = [Rotation(-45), Rotation(45), Scaling(0.5)]
    out = _said(capsys, planted(FOUND, moves=moves), Path("runs/x"))
    words = " ".join(out.split())
    assert "rotation -45 to 45: fraction of variance unexplained, 3 images" in words
    assert "scaling 0.5: fraction" in words
    rows = [line.split() for line in out.splitlines()]
    assert ["layer", "oracle", "affine"] in rows
    assert ["shallow", "0.600", "0.300"] in rows
    # Student's interval: 0.6 -+ 4.303 x 0.1 / root(3)
    assert ["4x8x8", "0.35–0.85", "0.30–0.30"] in rows
    assert "linear" not in out
    assert out.endswith("Run folder: runs/x\n")
    assert max(map(len, out.splitlines())) <= 80


def test_what_has_no_value_is_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    """A missing mean is shown as missing, and a single image without an interval."""
    out = _said(capsys, planted({Method.ORACLE: [math.nan, math.nan]}), None)
    assert ["shallow", "–"] in [line.split() for line in out.splitlines()]
    out = _said(capsys, planted({Method.ORACLE: [0.5]}, moves=[Affine([[1, 0.1], [0, 1]])]), None)
    assert "affine: fraction" in out
    assert ["4x8x8"] in [line.split() for line in out.splitlines()]


def test_an_explanation_lists_the_parts_from_top_to_bottom(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The parts of the planted residual with their shares, and what is proven beside them."""
    out = _said(capsys, planted(EXPLAINED), Path("run"))
    rows = [line.split() for line in out.splitlines()]
    parts = ["oracle", "rewarp", "permute", "mix", "left", "floor", "proven"]
    assert ["layer", *parts] in rows
    assert ["shallow", "1.000", "0.100", "0.200", "0.300", "0.300", "0.100", "0.200"] in rows
    assert ["10", "%", "20", "%", "30", "%", "30", "%", "10", "%", "20", "%"] in rows
    assert max(map(len, out.splitlines())) <= 80


def test_one_image_cannot_explain(capsys: pytest.CaptureFixture[str]) -> None:
    """It is said what is missing, and no part is made up."""
    out = _said(capsys, planted({method: [0.5] for method in EXPLAINED}), Path("run"))
    assert "needs two images or more" in out
    assert "rewarp" not in out


def test_json_holds_summary_and_parts(capsys: pytest.CaptureFixture[str]) -> None:
    """One document, with the decomposition where there is one."""
    said = json.loads(_said(capsys, planted(EXPLAINED), Path("run"), as_json=True))
    assert said["out"] == "run"
    assert {row["method"] for row in said["summary"]} == {str(method) for method in EXPLAINED}
    assert {row["part"] for row in said["decomposition"]} >= {"floor", "beyond any warp"}
    said = json.loads(_said(capsys, planted(FOUND), Path("run"), as_json=True))
    assert said.keys() == {"out", "summary"}
    still = planted(EXPLAINED, moves=[Rotation(0)])
    said = json.loads(_said(capsys, still, Path("run"), as_json=True))
    assert said == {"out": "run", "summary": []}


def test_layers_are_listed_with_their_place(capsys: pytest.CaptureFixture[str]) -> None:
    """Shape, stride and offset of maps, a star where they are guessed, the reason where none is."""
    frame = pd.DataFrame([
        {"name": "a", "type": "Conv2d", "channels": 8, "height": 5, "width": 7, "stride": 2.0}
        | {"offset": 0.5, "spatial": True, "measured": True, "reason": ""},
        {"name": "b", "type": "Odd", "channels": 8, "height": 1, "width": 7, "stride": 4.0}
        | {"offset": 1.5, "spatial": True, "measured": False, "reason": ""},
        {"name": "c", "type": "Linear", "channels": 0, "height": 0, "width": 0, "stride": math.nan}
        | {"offset": math.nan, "spatial": False, "measured": False, "reason": "it is a vector"},
    ])
    console.print_layers(frame, "some net")
    out = capsys.readouterr().out
    assert "some net" in out
    rows = [line.replace("│", " ").replace("┃", " ").split() for line in out.splitlines()]
    assert ["a", "Conv2d", "8", "5", "x", "7", "2", "0.5"] in rows
    assert ["b", "Odd", "8", "1", "x", "7", "4*", "1.5*"] in rows
    assert "* not measured" in out
    assert any(row[:2] == ["c", "Linear"] and "vector" in " ".join(row) for row in rows)
    console.print_layers(frame[:1], "some net")
    out = capsys.readouterr().out
    assert "*" not in out
    assert "because" not in out


def test_a_recovery_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """It counts the images whose answer comes back: by the image, by each map, by nothing."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(196, 9)
    )
    result = recover(network, torch.rand(5, 3, 9, 9), layers=["0", "1"], transforms=[Rotation(90)])
    console.report_recovery(result)
    out = capsys.readouterr().out
    assert "\n\n" not in out
    said = [int(word) for word in re.findall(r"\d+", out)]
    same = result.frame().query("metric == 'agreement'").groupby(["method", "layer"], observed=True)
    counts = same["value"].sum()
    oracle = [counts["oracle", "0"], 0, counts["oracle", "1"], 1]
    both = sorted([counts["identity", "0"], counts["identity", "1"]])
    assert said == [90, 5, 5, *oracle, *both]
