"""Damaged and hostile files are refused in one clear line, in bounded memory and time."""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.profiles import THOROUGH

EVERY = 1 if THOROUGH else 12
"""Of so many cases one is tried; all of them take minutes."""


@pytest.mark.timeout(3600 if THOROUGH else 900)
def test_hostile_files_are_refused() -> None:
    """None is read, crashes, hangs, takes a gigabyte or half a minute; each gets a line."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile_files", str(EVERY)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout)
    assert told["cases"] >= 200
    seen = told["seen"]
    assert len(seen) >= told["cases"] // EVERY
    assert {name: each for name, each in seen.items() if each["outcome"] != "refused"} == {}
    assert {
        name: each for name, each in seen.items() if 1e9 * each["gigabytes"] > told["most"]
    } == {}
