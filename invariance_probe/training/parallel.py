"""Several trainings at once, each in a process and on a core of its own.

Networks as small as these keep one core busy and gain little from a second; two trainings side by
side take hardly longer than one. Each has one thread, so that its numbers do not depend on how many
run beside it.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from ctypes import c_bool
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import torch

from invariance_probe.data.datasets import Dataset, open_dataset
from invariance_probe.errors import InvalidInputError
from invariance_probe.machine import cores, one_thread
from invariance_probe.progress import Progress
from invariance_probe.training import runs, trainer
from invariance_probe.training.configuration import DEFAULT_EXECUTION, Execution, TrainConfig

_LOOK_SECONDS = 0.2
"""A process whose parent was killed, or told it to stop, ends within this time."""


def default_processes() -> int:
    """Say how many trainings run at once if nobody says.

    Returns:
        As many as there are cores for this process; 1 where there is a GPU, which they would share.
    """
    if torch.cuda.is_available():
        return 1
    return cores()


def train_all(
    configs: Sequence[TrainConfig],
    root: Path,
    *,
    processes: int | None = None,
    execution: Execution = DEFAULT_EXECUTION,
) -> None:
    """Train what is not finished. Killed or interrupted, the same call goes on where it was.

    Args:
        configs: The runs; each goes to the folder of its name.
        root: Folder of the run folders.
        processes: Trainings at once; `default_processes` by default. 1 trains in this process.
        execution: Where they are trained, and how often they are saved; its progress is one bar.

    Raises:
        InvalidInputError: If there is no process to train in, one was killed from outside, or a run
            cannot be trained; the others are stopped.
    """
    if processes is not None and processes < 1:
        raise InvalidInputError(f"processes={processes}: give at least 1")
    missing = [config for config in configs if not runs.is_finished(root / config.name)]
    count = min(processes or default_processes(), len(missing))
    train = partial(_train, root=root, execution=replace(execution, progress=False))
    with Progress(execution.progress, doing="training", units="networks") as bar:
        bar.start(len(missing))
        if count > 1:
            _side_by_side(missing, train, count, bar)
            return
        with one_thread():
            for config in missing:
                train(config)
                bar.advance(1)


def _side_by_side(
    configs: Sequence[TrainConfig],
    train: Callable[[TrainConfig], None],
    count: int,
    bar: Progress,
) -> None:
    # a forked child would inherit locks of torch's threads
    context = multiprocessing.get_context("spawn")
    # no Event: a process that is killed while it waits for one has `set` wait for ever
    stop = context.RawValue(c_bool, False)
    with ProcessPoolExecutor(
        count, mp_context=context, initializer=_begin, initargs=(stop,)
    ) as pool:
        started = [pool.submit(train, config) for config in configs]
        # Python's pool watches the processes that there were when it was last given something: the
        # death of the newest one would go unseen
        pool.submit(int)
        try:
            for done in as_completed(started):
                done.result()
                bar.advance(1)
        except BrokenProcessPool as error:
            stop.value = True
            raise InvalidInputError(
                "a training process was killed from outside (is there too little memory?); run "
                "the same again: it goes on from the last checkpoints"
            ) from error
        except BaseException:
            stop.value = True
            raise


def _begin(stop: c_bool) -> None:
    """Prepare a process: one thread, no say in interrupts, and no life after its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    threading.Thread(target=_leave, args=(stop,), daemon=True).start()


def _leave(stop: c_bool) -> None:
    parent = multiprocessing.parent_process()
    while not stop.value and parent is not None and parent.is_alive():
        time.sleep(_LOOK_SECONDS)
    os._exit(1)


def _train(config: TrainConfig, root: Path, execution: Execution) -> None:
    data = _opened(config.data, execution.data_root, config.train_images)
    trainer.train(config, root / config.name, dataset=data, execution=execution)


# one data set a process and one more: the order of the runs may ask for it again
@lru_cache(maxsize=2)
def _opened(name: str, data_root: Path | None, count: int | None) -> Dataset:
    return open_dataset(name, data_root, train=count)
