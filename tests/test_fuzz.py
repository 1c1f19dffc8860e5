"""Whatever is drawn, only the package's own error comes out, and memory stays bounded."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.profiles import NAME, THOROUGH

PARTS = ("languages", "arguments", "readers", "folders", "commands")
"""Files of `tests.fuzz`."""


@pytest.mark.timeout(3600 if THOROUGH else 900)
def test_only_refusals_come_out() -> None:
    """Drawn texts, arguments, files, folders and commands are taken, or refused in a line."""
    paths = [f"tests/fuzz/{part}.py" for part in PARTS]
    assert {path.stem for path in (ROOT / "tests" / "fuzz").glob("*.py")} >= set(PARTS)
    plain = ("--noconftest", "-p", "no:cacheprovider", "-W", "ignore", "-q", "-s", "--tb=short")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plain, "-o", "timeout=3600", *paths],
        cwd=ROOT,
        env=os.environ
        | {
            "PYTHONPATH": os.pathsep.join(sys.path),
            "OMP_NUM_THREADS": "1",
            "HYPOTHESIS_PROFILE": NAME,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    assert done.stdout.count("fuzz: ") > 60  # no part was passed over
    sys.stdout.write(done.stdout)
