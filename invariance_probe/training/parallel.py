"""Several trainings at once, each in a process and on a core of its own.

Networks as small as these keep one core busy and gain little from a second; two trainings side by
side take hardly longer than one. Each has one thread, so that its numbers do not depend on how many
run beside it.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch

from invariance_probe.data.datasets import Dataset, open_dataset
from invariance_probe.engines import Engine, EngineName, Lost, Processes, engine_of
from invariance_probe.errors import InvalidInputError
from invariance_probe.machine import cores, one_thread
from invariance_probe.progress import Progress
from invariance_probe.training import runs, trainer
from invariance_probe.training.configuration import DEFAULT_EXECUTION, Execution, TrainConfig


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
    engine: Engine | EngineName = "here",
) -> None:
    """Train what is not finished. Killed or interrupted, the same call goes on where it was.

    Args:
        configs: The runs; each goes to the folder of its name.
        root: Folder of the run folders.
        processes: Trainings at once; `default_processes` by default. 1 trains in this process.
        execution: Where they are trained, and how often they are saved; its progress is one bar.
        engine: Who trains; by default processes of this machine.

    Raises:
        InvalidInputError: If there is no process to train in, or a run cannot be trained; the
            others are stopped. Also if a process was killed from outside: those of this machine are
            stopped then, too, while another engine trains the rest.
    """
    if processes is not None and processes < 1:
        raise InvalidInputError(f"processes={processes}: give at least 1")
    missing = [config for config in configs if not runs.is_finished(root / config.name)]
    count = min(processes or default_processes(), len(missing))
    shared = (root, replace(execution, progress=False))
    work = engine_of(engine) or (Processes(count=count) if count > 1 else None)
    lost: dict[str, str] = {}
    with Progress(execution.progress, doing="training", units="networks") as bar:
        bar.start(len(missing))
        if work is None:
            with one_thread():
                for config in missing:
                    _train(shared, config)
                    bar.advance(1)
            return
        for config, end in zip(missing, work.map(_train, shared, missing), strict=True):
            if isinstance(end, Lost):
                lost[config.name] = end.why
            bar.advance(1)
    if lost:
        raise InvalidInputError(
            f"{len(lost)} of {len(missing)} trainings were lost, their processes died each time: "
            f"{', '.join(lost)} ({next(iter(lost.values()))}); run the same again: they go on from "
            "their last checkpoints"
        )


def _train(shared: tuple[Path, Execution], config: TrainConfig) -> None:
    root, execution = shared
    data = _opened(config.data, execution.data_root, config.train_images)
    trainer.train(config, root / config.name, dataset=data, execution=execution)


# one data set a process and one more: the order of the runs may ask for it again
@lru_cache(maxsize=2)
def _opened(name: str, data_root: Path | None, count: int | None) -> Dataset:
    return open_dataset(name, data_root, train=count)
