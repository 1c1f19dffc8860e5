"""The command line before a command runs: help, version, mistakes."""

import inspect
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from invariance_probe import cli

SLOW = {"torch", "numpy", "pandas", "scipy", "matplotlib"}
DRAWING = {"matplotlib.figure", "seaborn", "scipy.stats"}


def program(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the program without a terminal; stderr also says what it imported."""
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "invariance_probe.cli", *words],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONWARNINGS": "error::SyntaxWarning"},
        timeout=120,
        check=False,
    )


def imported(done: subprocess.CompletedProcess[str]) -> set[str]:
    """The modules that were imported."""
    return set(re.findall(r"\| +([\w.]+)$", done.stderr, flags=re.MULTILINE))


@pytest.mark.parametrize(
    ("words", "said", "status"),
    [
        (["--help"], "demo", 0),
        (["--version"], f"invariance-probe {metadata.version('invariance-probe')}\n", 0),
        (["report", "--help"], "DIR [DIR ...]", 0),
        (["prob"], "Unrecognized options: prob", 2),
        ([], "Missing subcommand", 2),
    ],
)
def test_what_needs_no_number_imports_nothing_slow(
    words: list[str], said: str, status: int
) -> None:
    """Help, version and mistakes come without torch, pandas, scipy and matplotlib."""
    done = program(*words)
    assert done.returncode == status, done.stderr
    assert said in done.stdout + done.stderr
    assert "invariance_probe.cli" in imported(done)
    assert imported(done).isdisjoint(SLOW)


def test_an_interrupt_while_a_command_is_imported_is_one_line(tmp_path: Path) -> None:
    """Ctrl-C in the seconds in which torch is loaded ends as it does later, without a traceback."""
    (tmp_path / "torch.py").write_text("raise KeyboardInterrupt", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "invariance_probe.cli", "layers"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        timeout=120,
        check=False,
    )
    said = "invariance-probe: interrupted; nothing was written\n"
    assert (done.returncode, done.stderr) == (130, said)


@pytest.mark.parametrize("name", ["layers", "probe", "demo", "train"])
def test_drawing_is_imported_where_something_is_drawn(name: str) -> None:
    """No command loads matplotlib's figures or seaborn to say what it takes."""
    done = program(name, "--help")
    assert done.returncode == 0, done.stderr
    assert f"usage: invariance-probe {name}" in done.stdout
    assert "torch" in imported(done)
    assert imported(done).isdisjoint(DRAWING)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_the_overview_says_what_each_command_says(name: str) -> None:
    """The line of a command in the help of all is the first line of its own."""
    documented = inspect.getdoc(cli.load(name))
    assert documented is not None
    assert documented.partition("\n")[0] == cli.COMMANDS[name]


def test_a_page_is_put_together_before_anything_is_drawn() -> None:
    """What `report` imports is neither matplotlib's figures nor seaborn."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import invariance_probe.report"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert imported(done).isdisjoint(DRAWING)
