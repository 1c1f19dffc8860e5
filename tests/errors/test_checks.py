"""What no computation stands is refused before it: one line that names the value."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from invariance_probe.errors import InvalidInputError, checks

ROOT = Path(__file__).resolve().parents[2]


def test_public_functions_refuse_in_one_line_what_they_cannot_use() -> None:
    """Of well over a hundred calls with bad values each raises the package's own error."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bad_values"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    said = json.loads(done.stdout)
    assert len(said) > 120
    raw = {name: error for name, (error, _) in said.items() if error != "InvalidInputError"}
    assert raw == {}
    assert [name for name, (_, text) in said.items() if "\n" in text or len(text) < 20] == []


@pytest.mark.parametrize("value", [True, 1, 7])
def test_whole_numbers_within_the_limits_pass(value: int) -> None:
    """Nothing is said of what can be used."""
    checks.check_integer("n", value, 1, 7)


@pytest.mark.parametrize("value", [0, 8, 1.0, "1", None, torch.tensor(1.5)])
def test_other_numbers_are_refused(value: object) -> None:
    """Out of range, or not whole: the limits are named."""
    with pytest.raises(
        InvalidInputError, match=r"^n=.*: give at least 1 and at most 7, an integer$"
    ):
        checks.check_integer("n", value, 1, 7)


def test_warps_are_one_or_one_for_each_pair() -> None:
    """One 2 x 3 matrix or as many as pairs pass; other shapes and singular ones do not."""
    one = torch.eye(2, 3)
    checks.check_warp("w", one, 4)
    checks.check_warp("w", one.expand(4, 2, 3), 4)
    for bad in (one.expand(3, 2, 3), torch.eye(3), one * 0, one / 0):
        with pytest.raises(InvalidInputError, match=r"^w: "):
            checks.check_warp("w", bad, 4)


@pytest.mark.parametrize(
    ("gpus", "name", "wanted"),
    [
        (0, "auto", "cpu"),
        (0, "cpu", "cpu"),
        (2, "auto", "cuda"),
        (2, "cpu", "cpu"),
        (2, "cuda", "cuda"),
        (2, "cuda:1", "cuda:1"),
    ],
)
def test_devices_are_found_by_name(
    monkeypatch: pytest.MonkeyPatch, gpus: int, name: str, wanted: str
) -> None:
    """The device named is the one that is picked; auto is a GPU where there is one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert checks.check_device(name) == torch.device(wanted)


@pytest.mark.parametrize(
    ("gpus", "name", "message"),
    [
        (0, "cuda", r"device='cuda' is not available \(0 CUDA devices\); use --device cpu or auto"),
        (2, "cuda:2", r"device='cuda:2' is not available \(2 CUDA devices\)"),
        (2, "cuda:", "device='cuda:': choose auto, cpu, cuda or cuda:K"),
        (2, "cuda:-1", "device='cuda:-1': choose auto"),
        (0, "meta", "device='meta': choose auto"),
        (0, "tpu", "device='tpu': choose auto"),
        (0, "", "device='': choose auto"),
    ],
)
def test_devices_that_are_not_there_are_refused(
    monkeypatch: pytest.MonkeyPatch, gpus: int, name: str, message: str
) -> None:
    """An unknown device, and one too many, are named with what may be given."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(InvalidInputError, match=message):
        checks.check_device(name)
