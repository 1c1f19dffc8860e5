"""An engine gives back what the work returns, in order, and raises what it raises."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from invariance_probe import engines
from invariance_probe.engines import EngineOptions, Processes, Ray, engine_of
from invariance_probe.errors import InvalidInputError


def _scaled(factor: int, item: int) -> tuple[int, int, int]:
    return factor * item, torch.get_num_threads(), os.getpid()


def _refuse(shared: str, item: int) -> None:
    raise InvalidInputError(f"{shared} {item}")


def _die(shared: str, item: int) -> int:
    if item == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


@pytest.fixture(scope="module")
def results() -> list[tuple[int, int, int]]:
    """What two processes make of three items."""
    return list(Processes(count=2).map(_scaled, 10, [3, 1, 2]))


def test_results_come_in_the_order_of_the_items(results: list[tuple[int, int, int]]) -> None:
    """Whoever was first."""
    assert [one for one, _, _ in results] == [30, 10, 20]


def test_others_work_with_a_thread_each(results: list[tuple[int, int, int]]) -> None:
    """In other processes than this one, so that no number depends on how many there are."""
    assert {threads for _, threads, _ in results} == {1}
    assert os.getpid() not in {number for _, _, number in results}


def test_what_the_work_raises_is_raised_here() -> None:
    """As it is, from the first item that fails."""
    with pytest.raises(InvalidInputError, match=r"^odd 1$"):
        list(Processes(count=1).map(_refuse, "odd", [1, 2]))


def test_a_killed_process_is_told_and_not_waited_for() -> None:
    """Within the time that the others take to end."""
    with pytest.raises(InvalidInputError, match="a process was killed from outside"):
        list(Processes(count=1).map(_die, "", [0, 1, 2]))


def test_engines_have_names() -> None:
    """This process is none of its own."""
    assert engine_of("here") is None
    assert engine_of("ray") == Ray()
    own = Processes(count=3)
    assert engine_of(own) is own


def test_options_of_a_command_make_an_engine() -> None:
    """What is said of tasks counts where there are any."""
    assert EngineOptions(gpus_per_task=0.5).chosen == "here"
    asked = EngineOptions(engine="ray", address="10.0.0.1:6379", cpus_per_task=4, gpus_per_task=0.5)
    assert asked.chosen == Ray(address="10.0.0.1:6379", cpus=4, gpus=0.5)


@pytest.mark.parametrize("numbers", [{"cpus": 0}, {"gpus": -1.0}, {"retries": -1}])
def test_numbers_out_of_range_are_refused(numbers: dict[str, int]) -> None:
    """Before anything is started."""
    with pytest.raises(InvalidInputError, match="give at least one core"):
        Ray(**numbers)  # type: ignore[arg-type]  # numbers by name


def test_without_ray_the_way_to_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a line, when it is needed, and not before."""
    monkeypatch.setitem(sys.modules, "ray", None)
    assert list(Ray().map(_scaled, 1, [])) == []
    with pytest.raises(InvalidInputError, match=r"pip install 'invariance-probe\[cluster\]'"):
        list(Ray().map(_scaled, 1, [1]))


class _NoCluster(ModuleType):
    """Ray, as it is where nobody has joined a cluster."""

    def is_initialized(self) -> bool:
        return False

    def init(self, **_: object) -> None:
        raise ConnectionError("no token\nand a story")


@pytest.fixture
def nowhere() -> Iterator[str]:
    """An address at which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # taken, and deaf
        yield f"127.0.0.1:{held.getsockname()[1]}"


@pytest.mark.parametrize("address", [None, "cluster", "ray://127.0.0.1:10001"])
def test_a_cluster_that_does_not_answer_is_named(
    address: str | None, nowhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once: Ray itself would wait for minutes."""
    monkeypatch.setitem(sys.modules, "ray", _NoCluster("ray"))
    asked = address or nowhere
    with pytest.raises(InvalidInputError, match=f"no Ray cluster answers at '{asked}'"):
        list(Ray(address=asked).map(_scaled, 1, [1]))


def test_a_cluster_that_refuses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody listens there, who does not take this process."""
    monkeypatch.setitem(sys.modules, "ray", _NoCluster("ray"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(InvalidInputError, match=r"does not take this process \(no token\)"):
            list(Ray(address=address).map(_scaled, 1, [1]))


def test_a_cluster_that_was_killed_is_not_found(
    nowhere: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its address stays behind in a file, and nobody answers."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert engines._noted() == ""
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text(nowhere, encoding="utf-8")
    assert engines._noted() == nowhere
    assert not engines._answers(engines._noted())
