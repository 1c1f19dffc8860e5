"""Imports go one way, and the public surface is what the README promises."""

import ast
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import invariance_probe as ip
from tests.conftest import ROOT

ARROWS = 78
"""Most arrows between the rooms of the engine: beyond, the tree no longer says what needs what.

The public surface is not counted: it is a list of what the rooms offer, and should name many."""
ENGINE = ROOT / "invariance_probe"

TESTED_IN = {
    # a table whose every row is checked the same way
    "proofs/claims/*": "proofs/test_claims.py",
    "proofs/draws/*": "proofs/draws/test_draws.py",
    "proofs/gallery/*": "proofs/test_gallery.py",
    "proofs/formal/*": "proofs/test_formal.py",
    # what a command writes, read back from the page or the terminal
    "analyses/report/*": "analyses/report/test_findings.py",
    "invariance_probe/report/*": "report/test_page.py",
    "proofs/reporting.py": "proofs/test_command.py",
    "invariance_probe/cli/reporting.py": "cli/test_probing.py",
    # one side of a whole that is tested as one
    "invariance_probe/certificates/attacks.py": "certificates/test_any_warp.py",
    "invariance_probe/stn/kernels.py": "stn/test_pooled.py",
    "proofs/claim.py": "proofs/test_checking.py",
}
"""Modules, or all of a folder but those with a file of their own, that are tested in another place
than the mirrored one."""


def _lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command as c; c(['--no-cache'])",
        ],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=120,
        check=False,
    )


def test_imports_go_one_way() -> None:
    """import-linter finds no import against the direction of packages and floors, and no circle."""
    done = _lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kept, 0 broken" in done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three packages and their contracts, in a folder where they may be spoilt."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for package in ("invariance_probe", "proofs", "analyses"):
        for source in (ROOT / package).rglob("*.py"):
            target = folder / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    return folder


PACKAGES = "analyses may use proofs, proofs may use the engine, never the other way"
FLOORS = "rooms of the engine import downwards only, never up or sideways"
CIRCLES = "no circles between neighbours, in any folder"
UP = "from invariance_probe.training import runs"


@pytest.mark.parametrize(
    ("file", "code", "contract"),
    [
        ("invariance_probe/errors/__init__.py", "import proofs.claim", PACKAGES),
        ("invariance_probe/plane/coordinates.py", UP, FLOORS),
        # neither inside a function nor for the type checker alone
        ("invariance_probe/files.py", f"def dodge():\n    {UP}", FLOORS),
        (
            "invariance_probe/stn/networks.py",
            f"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    {UP}",
            FLOORS,
        ),
        # nor sideways
        (
            "invariance_probe/machine.py",
            "from invariance_probe import files",
            FLOORS,
        ),
        ("invariance_probe/helpers.py", "", FLOORS),
        (
            "invariance_probe/plane/coordinates.py",
            "from invariance_probe.plane import sampling",
            CIRCLES,
        ),
    ],
)
def test_the_contracts_say_no(copy: Path, file: str, code: str, contract: str) -> None:
    """Each way to break a contract breaks it, by name: upwards, sideways, hidden, in a new room."""
    path = copy / file
    before = path.read_text(encoding="utf-8") if path.is_file() else None
    path.write_text(f"{before or ''}\n{code}\n", encoding="utf-8")
    try:
        done = _lint(copy)
    finally:
        path.unlink()
        if before is not None:
            path.write_text(before, encoding="utf-8")
    assert done.returncode == 1, done.stdout + done.stderr
    said = " ".join(done.stdout.split())  # names are wrapped
    assert f"{contract} BROKEN" in said, done.stdout


def _room(names: list[str]) -> str:
    return names[0] if names else "__init__"


def _arrows() -> set[tuple[str, str]]:
    """Which room, a file or folder right in the engine, imports from which other."""
    found = set()
    for source in ENGINE.rglob("*.py"):
        room = _room(list(source.relative_to(ENGINE).with_suffix("").parts))
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                package, *inside = (node.module or "").split(".")
                # `from invariance_probe import files` names rooms after the word import
                names = [inside] if inside else [[each.name] for each in node.names]
            elif isinstance(node, ast.Import):
                package = "invariance_probe"
                split = [each.name.split(".") for each in node.names]
                names = [inside for top, *inside in split if top == package]
            else:
                continue
            if package == "invariance_probe":
                found |= {(room, _room(each)) for each in names if _room(each) != room}
    return found


def _floors() -> list[str]:
    """The rooms of each floor of the engine, from the top."""
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = tables["tool"]["importlinter"]["contracts"]
    (floors,) = [each["layers"] for each in contracts if "containers" in each]
    return list(floors)


def test_floors_and_arrows_are_few() -> None:
    """The engine has six floors at most, and its rooms no more arrows than can be kept in mind."""
    assert len(_floors()) <= 6
    arrows = {(room, target) for room, target in _arrows() if room != "__init__"}
    assert len(arrows) <= ARROWS, sorted(arrows)
    assert {("probing", "plane"), ("files", "errors"), ("cli", "training")} <= arrows


def _has_logic(module: Path) -> bool:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    return any(isinstance(node, ast.FunctionDef) for node in ast.walk(tree))


def _mirrored(module: Path) -> Path:
    """Where the tests of a module lie, relative to the tests: the engine's rooms right there."""
    inside = module.relative_to(ROOT)
    if inside.parts[0] == ENGINE.name:
        inside = module.relative_to(ENGINE)
    return inside.with_name(f"test_{inside.name}")


def test_every_module_has_its_tests_where_the_tree_says() -> None:
    """What has logic is tested in the mirrored file, or in one that is named; no name is idle."""
    tests, idle, missing = ROOT / "tests", set(TESTED_IN), []
    for package in ("invariance_probe", "proofs", "analyses"):
        for module in (ROOT / package).rglob("*.py"):
            if module.name.startswith("__") or not _has_logic(module):
                continue
            if (tests / _mirrored(module)).is_file():
                continue
            path = module.relative_to(ROOT)
            named = {str(path), str(path.parent / "*")} & TESTED_IN.keys()
            if not any((tests / TESTED_IN[name]).is_file() for name in named):
                missing.append(f"{path}: tests/{_mirrored(module)}")
            idle -= named
    assert not missing, "\n".join(missing)
    assert not idle, f"these have files of their own now, or are gone: {sorted(idle)}"


def _imported(source: Path) -> set[str]:
    """The modules and names that a file imports, in full; `ip.probe` as where it is defined."""
    found = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{each.name}" for each in node.names}
        elif isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "ip":
            found.add(getattr(getattr(ip, node.attr), "__module__", ENGINE.name))
    return found


def test_tests_import_nothing_that_stands_above_what_they_test() -> None:
    """Tests of a room use that room, its floor and those below, by whatever name."""
    floor = {
        room: height
        for height, rooms in enumerate(reversed(_floors()))
        for room in map(str.strip, rooms.split("|"))
    }
    above = floor | {"proofs": len(floor), "analyses": len(floor) + 1}
    wrong = []
    for source in (ROOT / "tests").rglob("*.py"):
        room = source.relative_to(ROOT / "tests").parts[0].removeprefix("test_").removesuffix(".py")
        if room not in above:  # of the whole, like this file
            continue
        for name in _imported(source):
            package, *inside = name.split(".")
            # the helpers of other rooms' tests are of those rooms
            target = inside[0] if package in {ENGINE.name, "tests"} and inside else package
            if above.get(target, 0) > above[room]:
                wrong.append(f"{source.relative_to(ROOT)} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_no_room_imports_the_whole_house() -> None:
    """The public surface is made of the rooms, so none of them may import it."""
    assert not [room for room, target in _arrows() if target == "__init__"]


def test_the_public_surface_is_whole() -> None:
    """Everything in __all__ is there and documented."""
    for name in ip.__all__:
        assert getattr(ip, name).__doc__ if callable(getattr(ip, name)) else getattr(ip, name)
