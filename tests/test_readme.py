"""Every block of the README runs, as it stands there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.document import Document
from sybil.example import Example
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

from tests.conftest import ROOT

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def _run_shell(example: Example) -> None:
    """Run a shell block; what it installs is installed already, and pytest is what runs it."""
    for command in re.sub(r"\\\n\s*", " ", str(example.parsed)).strip().splitlines():
        install, _, rest = command.rpartition(" && ")
        if install:
            words = shlex.split(install)
            assert words[:4] == ["pip", "install", "-c", "constraints.txt"]
            extras = re.search(r"\.\[(.+)\]", words[-1])
            assert extras is not None
            declared = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
            assert all(f"\n{extra} = [" in declared for extra in extras[1].split(","))
        if shlex.split(rest)[0] == "pytest":
            continue
        words = shlex.split(rest)
        assert words[0] == "invariance-probe"
        if "ray" in words:
            pytest.importorskip("ray", reason="Ray is missing; install the extra `cluster`")
        done = subprocess.run(
            [sys.executable, "-m", "invariance_probe.cli", *words[1:]],
            capture_output=True,
            text=True,
            check=False,
            timeout=220,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout
        if words[1] == "train":
            errors = re.findall(r"error ([0-9.]+) %", done.stdout + done.stderr)
            assert errors
            assert max(map(float, errors)) < 10, "what a reader tries first learns nothing"


def _examples() -> list[Example]:
    shell = CodeBlockParser(language="bash", evaluator=_run_shell)
    sybil = Sybil(parsers=[PythonCodeBlockParser(), shell], path=str(ROOT), pattern="README.md")
    document: Document = sybil.parse(ROOT / "README.md")
    return list(document.examples())


EXAMPLES = _examples()


def test_every_block_is_run() -> None:
    """No block of the README is in a language that the tests pass over."""
    assert len(EXAMPLES) == TEXT.count("\n```") // 2 >= 4


@pytest.mark.timeout(400)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"line {example.line}")
def test_block_runs(example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The block runs without an error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("RAY_ADDRESS", "")  # another test's cluster is none of this one's
    example.evaluate()


def test_the_readme_is_short_and_its_links_lead_somewhere() -> None:
    """Under 150 lines, and every file that it shows or names is there."""
    assert len(TEXT.splitlines()) < 150
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        if not target.startswith("http"):
            assert (ROOT / target).is_file(), target


def test_the_script_for_a_cluster_is_one(tmp_path: Path) -> None:
    """Its shell can be read, and the command that it starts takes its options."""
    lines = re.findall(r"^    (\S.*|  +\S.*)$", TEXT[TEXT.index("#SBATCH") - 4 :], flags=re.M)[:4]
    script = "\n".join(line.strip() for line in lines)
    assert script.startswith("#SBATCH")
    subprocess.run(["bash", "-n", "-c", script], check=True)
    words = shlex.split(script.replace("\\\n", " ").partition(" -- ")[2])
    assert words[:2] == ["invariance-probe", "probe"]
    known = subprocess.run(
        [sys.executable, "-m", "invariance_probe.cli", "probe", "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout
    assert [word for word in words if word.startswith("--") and word not in known] == []
