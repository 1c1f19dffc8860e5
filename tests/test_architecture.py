"""Imports go one way, and the public surface is what the README promises."""

import subprocess
import sys

import invariance_probe as ip
from tests.conftest import ROOT


def test_imports_go_one_way() -> None:
    """import-linter finds no import against the direction of the rooms."""
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_the_public_surface_is_whole() -> None:
    """Everything in __all__ is there and documented."""
    for name in ip.__all__:
        assert getattr(ip, name).__doc__ if callable(getattr(ip, name)) else getattr(ip, name)
