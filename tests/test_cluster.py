"""A Ray cluster of two machines finds what one process finds, whatever dies meanwhile."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset

import invariance_probe as ip
from invariance_probe.engines import Lost, Ray
from invariance_probe.machine import one_thread
from invariance_probe.perturbations.parsing import parse_perturbation
from invariance_probe.probing import passes
from invariance_probe.stn.variants import parse_variant
from invariance_probe.training import parallel, presets, runs
from invariance_probe.training.configuration import Execution
from tests.probing.runs import assert_same
from tests.probing.test_shards import net

ray = pytest.importorskip("ray", reason="Ray is missing; install the extra `cluster`")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(170)]


class Killing(Dataset[torch.Tensor]):
    """Images, the first reading of one of which kills the process that reads it.

    Args:
        mark: A file that says that it happened; none kills nobody.
        victim: Number of the image.
    """

    def __init__(self, mark: Path | None = None, victim: int = 40) -> None:
        self.mark, self.victim, self.owner = mark, victim, os.getpid()
        self.images = torch.rand(64, 3, 24, 24, generator=torch.Generator().manual_seed(1))

    def __len__(self) -> int:
        """Count them."""
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        """Read one.

        Args:
            index: Its number.

        Returns:
            The image.
        """
        elsewhere = self.mark is not None and os.getpid() != self.owner
        if elsewhere and index == self.victim and not self.mark.exists():
            self.mark.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return self.images[index]


class Slow(Killing):
    """Images that take a while, so that a machine can die meanwhile.

    Args:
        seen: Folder for a file named after each machine that has read one.
    """

    def __init__(self, seen: Path) -> None:
        super().__init__()
        self.seen = seen

    def __getitem__(self, index: int) -> torch.Tensor:
        """Read one, slowly elsewhere.

        Args:
            index: Its number.

        Returns:
            The image.
        """
        if os.getpid() != self.owner:
            (self.seen / ray.util.get_node_ip_address()).touch()
            time.sleep(0.02)
        return self.images[index]


@pytest.fixture(scope="module")
def machines() -> Iterator[Any]:
    """Two machines of one core each, as processes of this one, that listen to nobody else."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # 127.0.0.1 Ray would replace by an address that others can reach
    quiet = {"num_cpus": 1, "include_dashboard": False, "node_ip_address": "127.0.0.2"}
    cluster = Cluster(initialize_head=True, head_node_args=quiet)
    cluster.add_node(num_cpus=1, node_ip_address="127.0.0.3")
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(autouse=True)
def _four_shards(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(passes, "PAIRS_AT_ONCE", 24)
    monkeypatch.setattr(passes, "CHUNKS", 2)
    with one_thread():  # as each task has
        yield


def _probe(images: Killing, **changes: Any) -> ip.ProbeResult:
    return ip.probe(
        net(),
        images,
        layers=["0", "2"],
        transforms=[ip.Rotation(90), ip.Scaling(0.7)],
        methods=("oracle", "affine", "floor", "unrelated", "affine+linear"),
        crop=17,
        batch_size=4,
        seed=0,
        **changes,
    )


@pytest.fixture(scope="module")
def alone() -> ip.ProbeResult:
    """What one process finds, that knows of no cluster."""
    with pytest.MonkeyPatch.context() as patched, one_thread():
        patched.setattr(passes, "PAIRS_AT_ONCE", 24)
        patched.setattr(passes, "CHUNKS", 2)
        return _probe(Killing())


def test_two_machines_find_the_table_of_one_process(machines: Any, alone: ip.ProbeResult) -> None:
    """Four shards, two for each, by the name of the engine."""
    assert len(set(machines.list_all_nodes())) == 2
    assert_same(_probe(Killing(), engine="ray"), alone)
    assert ray.is_initialized()  # who was there before is not sent away


def test_a_killed_worker_changes_nothing(
    machines: Any, alone: ip.ProbeResult, tmp_path: Path
) -> None:
    """A worker is killed amid its shard; another one makes that anew."""
    mark = tmp_path / "killed"
    assert_same(_probe(Killing(mark), engine=Ray(), out=tmp_path / "run"), alone)
    assert int(mark.read_text()) != os.getpid()


def test_a_killed_machine_changes_nothing(
    machines: Any, alone: ip.ProbeResult, tmp_path: Path
) -> None:
    """The second machine dies while it works, with what it had found."""
    second = next(node for node in machines.list_all_nodes() if not node.head)
    results: list[ip.ProbeResult] = []
    slow = Slow(tmp_path)
    worker = threading.Thread(target=lambda: results.append(_probe(slow, engine=Ray())))
    worker.start()
    while not (tmp_path / second.node_ip_address).exists():
        assert worker.is_alive()
        time.sleep(0.05)
    machines.remove_node(second, allow_graceful=False)
    worker.join()
    machines.add_node(num_cpus=1, node_ip_address="127.0.0.4")
    assert_same(results[0], alone)


def test_an_error_of_the_model_is_told_as_it_is_and_not_tried_again(
    machines: Any, tmp_path: Path
) -> None:
    """Its message is that of one process, without the story of the cluster."""
    with pytest.raises(ip.InvalidInputError) as told:
        list(Ray().map(_refuse, tmp_path, [1, 2, 3]))
    assert str(told.value) == "item 1 is no good"
    assert len(list(tmp_path.glob("1-*"))) == 1


def _refuse(folder: Path, item: int) -> None:
    (folder / f"{item}-{os.getpid()}-{time.time_ns()}").touch()
    raise ip.InvalidInputError(f"item {item} is no good")


def test_what_dies_each_time_is_named_and_the_rest_is_done(machines: Any) -> None:
    """Out of retries, one item is lost, and the others are not."""
    first, second, third = Ray(retries=1).map(_die, 2, [1, 2, 3])
    assert (first, third) == (1, 3)
    assert isinstance(second, Lost)
    assert second.why


def _die(victim: int, item: int) -> int:
    if item == victim:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def test_a_sweep_ends_with_the_same_numbers(machines: Any, tmp_path: Path) -> None:
    """Four trainings, during which a worker is killed: errors and curves are those of a loop."""
    configs = [
        presets.configured(
            "tiny",
            data="mnist-5k",
            perturbation=parse_perturbation("rotation"),
            variant=parse_variant(variant),
            seed=seed,
            choices={},
        )
        for seed in (0, 1)
        for variant in ("c0", "cnn")
    ]
    how = Execution(device="cpu", checkpoint_steps=5)
    killed: list[int] = []
    reaper = threading.Thread(target=_kill_one, args=(tmp_path / "cluster", killed), daemon=True)
    reaper.start()
    parallel.train_all(configs, tmp_path / "cluster", execution=how, engine=Ray())
    reaper.join()
    parallel.train_all(configs, tmp_path / "here", execution=how, processes=1)
    assert len(killed) == 1
    for config in configs:
        one, other = (
            runs.TrainResult.load(tmp_path / place / config.name) for place in ("cluster", "here")
        )
        assert one.numbers["error"] == other.numbers["error"]
        assert one.curve["loss"].tolist() == other.curve["loss"].tolist()


def _kill_one(root: Path, killed: list[int]) -> None:
    """Kill a worker by its number, once it has saved something of a training."""
    while not list(root.glob("*/checkpoint*")):
        time.sleep(0.01)
    for entry in Path("/proc").iterdir():
        try:
            working = (
                entry.name.isdecimal() and b"ray::_do_in_task" in (entry / "cmdline").read_bytes()
            )
        except OSError:  # it has ended
            continue
        if working:
            os.kill(int(entry.name), signal.SIGKILL)
            killed.append(int(entry.name))
            return
