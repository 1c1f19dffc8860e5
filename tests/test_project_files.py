"""What a project of the field has agrees with what is there: citation, hooks, workflow, guide."""

import re
import tomllib

import pytest

from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CI = (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def read(name: str) -> str:
    """A file of the top level."""
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_citation_is_of_this_version_and_names_both_papers() -> None:
    """Version and title are the project's, and the papers are referred to by their numbers."""
    cited = read("CITATION.cff")
    assert f"\nversion: {PROJECT['version']}\n" in cited
    assert f"\ntitle: {PROJECT['name']}\n" in cited
    assert re.findall(r"arXiv:(\S+)", cited) == ["2004.11678", "2004.14716"]


def test_hooks_are_the_linters_of_ci() -> None:
    """Each hook's command is a line of .ci/run, and each linter there is a hook."""
    hooks = re.findall(r"entry: (.+)", read(".pre-commit-config.yaml"))
    assert len(hooks) == 4
    lines = CI.splitlines()
    assert all(hook in lines for hook in hooks)
    linters = [line for line in lines if re.match(r"(ruff|mypy|lint-imports)\b", line)]
    assert sorted(linters) == sorted(hooks)


def test_the_workflow_runs_ci_on_every_python_that_is_promised() -> None:
    """What the classifiers and requires-python say is in the matrix that runs .ci/run."""
    workflow = read(".github/workflows/test.yml")
    assert "run: bash .ci/run" in workflow
    assert '"${PYTHON:-python3.11}" -m venv' in CI
    (listed,) = re.findall(r"python: \[(.+)\]", workflow)
    matrix = re.findall(r'"(3\.\d+)"', listed)
    tried = [each.rpartition(" ")[2] for each in PROJECT["classifiers"] if "Python ::" in each]
    assert set(tried) <= set(matrix)
    assert PROJECT["requires-python"] == f">={matrix[0]}"
    for system in ("macos", "windows"):
        assert f"{system}-latest" in workflow


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", ".github/workflows/test.yml"])
def test_what_is_named_is_there(name: str) -> None:
    """Files and folders that the guide and the workflow name exist."""
    text = read(name)
    named = set(re.findall(r"(?<![\w/.])(?:tests|proofs|analyses|invariance_probe)/[\w/.]*", text))
    assert len(named) > 5
    for path in named:
        assert (ROOT / path).exists(), path
