"""A run says what it does before it imports what does it."""

import os
import re
import subprocess
import sys

import pytest

from analyses import questions
from analyses.announcing import announcement
from tests.conftest import ROOT

SLOW = {"torch", "numpy", "pandas", "scipy"}


def test_each_question_is_announced_with_its_time() -> None:
    """Every question's own words are said, and how long the kept answer took."""
    for name in questions.NAMES:
        said = announcement(["run", name])
        assert said.count("\n") == 1
        assert re.fullmatch(
            rf"{name}: .*\? Preset quick: .*(s|min|minutes) on two cores; .*\n", said
        )
    assert "about 7 min" in announcement(["run", "speed"])
    assert "about 5 min" in announcement(["run", "channel_shift", "--preset=quick"])
    assert "minutes on" in announcement(["run", "placement", "--preset=quick"])
    assert "a night" in announcement(["run", "placement", "--preset", "two-cores"])


@pytest.mark.parametrize(
    "words", [[], ["list"], ["run"], ["run", "../x"], ["run", "sped"], ["run", "speed", "--help"]]
)
def test_nothing_is_announced_that_is_not_run(words: list[str]) -> None:
    """Lists, help and mistakes speak for themselves."""
    assert announcement(words) == ""


@pytest.mark.parametrize("package", ["analyses", "proofs"])
def test_the_announcement_comes_before_anything_slow(package: str) -> None:
    """Its modules import neither torch nor numpy, which take seconds."""
    code = f"import sys, {package}.announcing; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=60,
        check=True,
    )
    assert SLOW.isdisjoint(done.stdout.split())
