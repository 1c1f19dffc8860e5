"""Every public name shows how it is used, and what it shows is what happens."""

import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest

import invariance_probe as ip
from invariance_probe import controls, guide, operators
from invariance_probe.results.methods import Method

PUBLIC = {
    name: getattr(room, name)
    for room in (ip, controls, operators)
    for name in room.__all__
    if callable(getattr(room, name))
} | {"Method": Method, "SquareGroup": type(controls.C4)}
"""The public names that are called, with the classes of those that are values (METHODS, C4, D4)."""


def _methods(public: Any) -> Iterator[tuple[str, Any]]:
    """What a class of ours offers beside its own docstring."""
    for name, member in inspect.getmembers(public) if inspect.isclass(public) else ():
        homes = [each for each in public.__mro__ if name in vars(each)]
        plain = inspect.isfunction(member) or inspect.ismethod(member)
        if plain and not name.startswith("_") and homes[0].__module__.startswith(ip.__name__):
            yield f"{homes[0].__name__}.{name}", member


def _examples(name: str, shown: Any, names: dict[str, Any]) -> list[doctest.DocTest]:
    # the module's own names are not given: an example imports what its reader has to import
    return doctest.DocTestFinder(recurse=False).find(shown, name, module=False, globs=names)


@pytest.mark.parametrize("name", PUBLIC)
def test_examples_run(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each docstring has an example; those of methods go on where that of their class ends."""
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    names: dict[str, Any] = {}
    for title, shown in [(name, PUBLIC[name]), *_ordered(PUBLIC[name])]:
        (found,) = _examples(title, shown, names)
        assert found.examples, f"{title} has no example"
        runner.run(found, clear_globs=False)
        names = found.globs
    said = capsys.readouterr().out
    assert runner.failures == 0, said


GUIDE = [module.name for module in pkgutil.iter_modules(guide.__path__, f"{guide.__name__}.")]


@pytest.mark.parametrize("name", GUIDE)
def test_the_guide_runs(name: str) -> None:
    """Every example of every page gives what stands below it."""
    page = importlib.import_module(name)
    failures, tried = doctest.testmod(page)
    assert failures == 0
    assert tried or ">>>" not in str(page.__doc__)


def _ordered(public: Any) -> list[tuple[str, Any]]:
    """Methods as they stand in the source, own ones first, so that an example can go on."""
    own = list(_methods(public))
    return sorted(own, key=lambda each: _place(public, each[0]))


def _place(public: Any, title: str) -> tuple[int, int]:
    home, _, name = title.partition(".")
    depth = [each.__name__ for each in public.__mro__].index(home)
    return depth, list(vars(public.__mro__[depth])).index(name)
