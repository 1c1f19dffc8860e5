"""Who carries work out: this process, others of this machine, or the tasks of a Ray cluster.

`Engine.map` does the same to each of some items. What they share goes once to each process; results
come back in the order of the items, whoever was first. Nothing here schedules: a pool of processes
or Ray does.
"""

import multiprocessing
import os
import pickle
import signal
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from ctypes import c_bool
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeVar
from uuid import uuid4

import torch

from invariance_probe.errors import InvalidInputError, first_line, refusing
from invariance_probe.machine import cores, keep_memory

EngineName = Literal["here", "ray"]
RETRIES = 3
"""Times that a piece of work is begun anew whose process, or machine, died."""

_LOOK_SECONDS = 0.2
"""A process whose parent was killed, or told it to stop, ends within this time."""
_AHEAD = 2
"""Pieces handed to Ray for each that can run: what is done waits in its store to be taken."""

Item = TypeVar("Item")
Result = TypeVar("Result")
Shared = TypeVar("Shared")


@dataclass(frozen=True, kw_only=True)
class Lost:
    """A piece of work whose processes died, one after another.

    Attributes:
        why: What is known of the last death, in a line.
    """

    why: str


class Engine(ABC):
    """Carries out pieces of work in other processes."""

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Keep what is started for the first work until the last is done.

        Yields:
            Nothing.
        """
        yield

    @abstractmethod
    def map(
        self, work: Callable[[Shared, Item], Result], shared: Shared, items: Sequence[Item]
    ) -> Iterator[Result | Lost]:
        """Do the same to each of some items.

        Args:
            work: What to do, a function of a module; it is told what is shared, and one item.
            shared: What is the same for all items; it goes once to each process.
            items: What differs.

        Yields:
            What the work returned, in the order of the items; a `Lost` for one that was tried
            several times in vain. What the work raises is raised here, and is not tried again.
        """


@dataclass(frozen=True, kw_only=True)
class Processes(Engine):
    """Processes of this machine, each with one thread, so that no number depends on how many.

    Attributes:
        count: How many.
    """

    count: int = field(default_factory=cores)

    def map(
        self, work: Callable[[Shared, Item], Result], shared: Shared, items: Sequence[Item]
    ) -> Iterator[Result | Lost]:
        """Do the same to each of some items: see `Engine.map`.

        Args:
            work: What to do.
            shared: What is the same for all.
            items: What differs.

        Yields:
            What the work returned.

        Raises:
            InvalidInputError: If a process is killed from outside; the others are stopped.
        """
        with refusing(_cannot_be_sent):
            held = pickle.dumps((work, shared))
        # a forked child would inherit locks of torch's threads
        context = multiprocessing.get_context("spawn")
        # no Event: a process that is killed while it waits for one has `set` wait for ever
        stop = context.RawValue(c_bool, False)
        with ProcessPoolExecutor(
            self.count, mp_context=context, initializer=_begin, initargs=(stop, held)
        ) as pool:
            started = [pool.submit(_do, item) for item in items]
            # Python's pool watches the processes that there were when it was last given something:
            # the death of the newest one would go unseen
            pool.submit(int)
            given = 0
            try:
                for done in as_completed(started):
                    done.result()  # whichever fails first ends all
                    while given < len(started) and started[given].done():
                        yield started[given].result()
                        given += 1
            except BrokenProcessPool as error:
                stop.value = True
                raise InvalidInputError(
                    "a process was killed from outside (is there too little memory?); run the same "
                    "again: it goes on from what was saved"
                ) from error
            except BaseException:
                stop.value = True
                raise


def _begin(stop: c_bool, held: bytes) -> None:
    """Prepare a process: one thread, no say in interrupts, and no life after its parent."""
    global _held
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    threading.Thread(target=_leave, args=(stop,), daemon=True).start()
    _held = ("", pickle.loads(held))


def _leave(stop: c_bool) -> None:
    parent = multiprocessing.parent_process()
    while not stop.value and parent is not None and parent.is_alive():
        time.sleep(_LOOK_SECONDS)
    os._exit(1)


_held: tuple[str, Any] = ("", None)
"""In a process that works: what is the same for all items, and a word for it."""


def _do(item: Any) -> Any:
    work, shared = _held[1]
    keep_memory()  # until the process ends: the next item takes the same
    return work(shared, item)


@dataclass(frozen=True, kw_only=True)
class Ray(Engine):
    """Tasks of a Ray cluster: the one that is there, or one that is started on this machine.

    The machines need this package, the model's code and the images' files under the same names.

    Attributes:
        address: Of the cluster; ``auto`` finds the one that this machine belongs to, or else starts
            one, which ends with the work.
        cpus: Cores of a task, which computes with as many threads.
        gpus: GPUs of a task; a share of one has several tasks side by side on it; by default one,
            if this process sees any.
        retries: Times that a task is begun anew whose process or machine died.
    """

    address: str = "auto"
    cpus: int = 1
    gpus: float | None = None
    retries: int = RETRIES

    def __post_init__(self) -> None:
        """Refuse what no task can have.

        Raises:
            InvalidInputError: If a number is out of range.
        """
        if self.cpus < 1 or (self.gpus or 0) < 0 or self.retries < 0:
            raise InvalidInputError(
                f"cpus={self.cpus}, gpus={self.gpus}, retries={self.retries}: give at least one "
                "core, and no negative number"
            )

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Stay with one cluster, whose workers have then imported what they need.

        Yields:
            Nothing.
        """
        with self._joined():
            yield

    def map(
        self, work: Callable[[Shared, Item], Result], shared: Shared, items: Sequence[Item]
    ) -> Iterator[Result | Lost]:
        """Do the same to each of some items: see `Engine.map`.

        Args:
            work: What to do.
            shared: What is the same for all.
            items: What differs.

        Yields:
            What the work returned, or how it was lost.

        Raises:
            InvalidInputError: If there is no Ray or no such cluster, or what is shared cannot be
                sent.
        """  # noqa: DOC502  (raised by what is called)
        if not items:
            return
        with self._joined() as ray:
            with refusing(_cannot_be_sent):
                held = ray.put((work, shared))
            gpus = float(torch.cuda.is_available()) if self.gpus is None else self.gpus
            task = ray.remote(num_cpus=self.cpus, num_gpus=gpus, max_retries=self.retries)(
                _do_in_task
            )
            word, left = uuid4().hex, iter(items)
            waiting = deque(
                # in a list, a reference is passed on as it is: what it stands for is then read once
                # by each process, and not once by each task
                task.remote(word, [held], item, self.cpus)
                for item in islice(left, _AHEAD * self._places(ray, gpus))
            )
            try:
                while waiting:
                    try:
                        result = ray.get(waiting[0])
                    except ray.exceptions.RayError as error:
                        cause = getattr(error, "cause", error)
                        if not isinstance(cause, ray.exceptions.RayError):
                            # what the work raised, without the story of how it came here
                            raise cause from None
                        result = Lost(why=first_line(cause))
                    waiting.popleft()
                    waiting.extend(
                        task.remote(word, [held], item, self.cpus) for item in islice(left, 1)
                    )
                    yield result
            finally:
                for each in waiting:
                    ray.cancel(each, force=True)

    def _places(self, ray: ModuleType, gpus: float) -> int:
        """Tasks that the cluster can run at once."""
        there = ray.cluster_resources()
        places = there.get("CPU", 0) / self.cpus
        if gpus:
            places = min(places, there.get("GPU", 0) / gpus)
        if places < 1:
            raise InvalidInputError(
                f"the cluster has {there.get('CPU', 0):g} cores and {there.get('GPU', 0):g} GPUs, "
                f"too few for a task of {self.cpus} and {gpus:g}; ask for less"
            )
        return int(places)

    @contextmanager
    def _joined(self) -> Iterator[ModuleType]:
        """Be part of a cluster; only what was begun here is ended here."""
        try:
            import ray  # of the extra `cluster`: others do without
        except ImportError as error:
            raise InvalidInputError(
                "engine='ray' needs Ray; install it: pip install 'invariance-probe[cluster]'"
            ) from error
        if ray.is_initialized():
            yield ray
            return
        quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
        there = (
            os.environ.get("RAY_ADDRESS") or _noted() if self.address == "auto" else self.address
        )
        if _answers(there):
            try:
                # by the word, not by what it stands for: Ray then brings its token along, too
                ray.init(address=self.address, **quiet)
            except ConnectionError as error:
                raise InvalidInputError(
                    f"the Ray cluster at {there!r} does not take this process ({first_line(error)})"
                    "; look at `ray status`, and at RAY_AUTH_TOKEN where it asks for one"
                ) from error
        elif self.address != "auto":
            raise InvalidInputError(
                f"no Ray cluster answers at {self.address!r}; give HOST:PORT of one that runs, or "
                "leave the address out"
            )
        else:
            # reports of use would leave the machine, and nobody asked for a dashboard
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            count = max(cores(), self.cpus)
            loopback: dict[str, Any] = {"_node_ip_address": "127.0.0.1", "include_dashboard": False}
            ray.init(address="local", num_cpus=count, **loopback, **quiet)
        try:
            yield ray
        finally:
            ray.shutdown()


def _noted() -> str:
    """The address of the cluster that was last started on this machine, or joined by it."""
    file = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster"
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _answers(address: str) -> bool:
    """Whether somebody listens there: Ray itself would wait for minutes for one that was killed."""
    host, _, port = address.rpartition(":")
    with suppress(OSError, ValueError):
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
        return True
    return False


def _do_in_task(word: str, held: list[Any], item: Any, threads: int) -> Any:
    """Work in a process of Ray's, which keeps what is shared for the next task."""
    global _held
    import ray  # it runs this

    if _held[0] != word:
        _held = ("", None)  # what came before is gone before its successor comes
        _held = (word, ray.get(held[0]))
        torch.set_num_threads(threads)
    return _do(item)


def _cannot_be_sent(cause: str) -> str:
    return (
        f"model or images cannot be sent to another process ({cause}); define them in a module "
        "that it can import, or leave the engine out"
    )


def engine_of(engine: Engine | EngineName) -> Engine | None:
    """Find an engine by name.

    Args:
        engine: ``"here"`` for this process, ``"ray"`` for Ray's tasks with the defaults of `Ray`;
            or an engine.

    Returns:
        The engine; None for this process.

    Raises:
        InvalidInputError: If there is none of that name.
    """
    if isinstance(engine, Engine):
        return engine
    if engine not in {"here", "ray"}:
        raise InvalidInputError(f"engine={engine!r}: choose 'here' or 'ray', or give an Engine")
    return Ray() if engine == "ray" else None


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Who carries work out, as a command is told; no number depends on it.

    Attributes:
        engine: here: this machine. ray: the tasks of a Ray cluster.
        address: HOST:PORT of the cluster; auto finds the one that this machine belongs to, or else
            starts one on it.
        cpus_per_task: Cores of a task of the cluster, which computes with as many threads.
        gpus_per_task: GPUs of a task, such as 0.5 for two tasks on each; by default one, if this
            process sees any.
    """

    engine: EngineName = "here"
    address: str = "auto"
    cpus_per_task: int = 1
    gpus_per_task: float | None = None

    @property
    def chosen(self) -> Engine | EngineName:
        """The engine, for what is called."""
        if self.engine == "here":
            return "here"
        return Ray(address=self.address, cpus=self.cpus_per_task, gpus=self.gpus_per_task)
