"""Does a training that is killed again and again end with the numbers of one that is not?"""

import multiprocessing
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from analyses.noise import noise_dataset
from invariance_probe.perturbations.kinds import RandomRotation
from invariance_probe.stn.variants import parse_variant
from invariance_probe.training import checkpoints
from invariance_probe.training.configuration import Execution, TrainConfig
from invariance_probe.training.runs import TrainResult
from invariance_probe.training.trainer import train

TIMES = ("seconds", "images_per_second")
"""Numbers that no two runs share."""
FILES = {"result.json", "curve.parquet", "images.parquet", "model.safetensors"}


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to do to it.

    Attributes:
        kills: How often the process is killed with SIGKILL, at random moments.
        steps: Batches to learn from.
        longest: Seconds until a kill, at most, counted from the first new checkpoint or from the
            start, whichever comes first.
        variant: What is trained.
        seed: Root of the random moments.
    """

    kills: int = 20
    steps: int = 4_000
    longest: float = 1.0
    variant: str = "sl1"
    seed: int = 0


PRESETS = {"quick": Config(), "tiny": Config(kills=2, steps=200, longest=0.2)}


def _train(config: Config, folder: str) -> None:
    """Train, or go on; the target of the processes."""
    torch.set_num_threads(1)
    train(
        TrainConfig(
            data="noise",
            perturbation=RandomRotation(),
            variant=parse_variant(config.variant),
            network="mnist",
            width=0.1,
            steps=config.steps,
            batch=16,
            evaluate_every=20,
        ),
        folder,
        dataset=noise_dataset((200, 40, 60), side=24, classes=3, seed=0),
        execution=Execution(device="cpu", checkpoint_steps=1),
    )


def measure(config: Config) -> pd.DataFrame:
    """Train once undisturbed, and once under fire.

    Args:
        config: What to do to it.

    Returns:
        A row for each process of the second training: ``process``, ``killed``, the ``step`` of the
        newest whole checkpoint afterwards, ``partial``, how many half-written files lay there under
        their other name; and, the same in all rows, ``same_numbers`` and ``files_left``, names of
        files in the finished folder that do not belong there.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    rng = np.random.default_rng(config.seed)
    rows = []
    with tempfile.TemporaryDirectory() as top:
        whole, cut = Path(top) / "whole", Path(top) / "cut"
        _finish(context.Process(target=_train, args=(config, str(whole))))
        for number in range(config.kills + 1):
            process = context.Process(target=_train, args=(config, str(cut)))
            if number < config.kills:
                killed = _kill(process, cut, rng.uniform(0, config.longest))
            else:
                killed = _finish(process)
            kept = checkpoints.newest(cut)
            rows.append({
                "process": number,
                "killed": killed,
                "step": config.steps if kept is None and not killed else kept and kept.step,
                "partial": len(list(cut.glob(".partial-*"))),
            })
            if not killed:
                break
        same = _same(TrainResult.load(whole), TrainResult.load(cut))
        left = sorted({path.name for path in cut.iterdir()} - FILES)
    return pd.DataFrame(rows).assign(same_numbers=same, files_left=" ".join(left))


def _finish(process: ForkServerProcess) -> bool:
    process.start()
    process.join()
    return False


def _kill(process: ForkServerProcess, folder: Path, wait: float) -> bool:
    """Kill a process some time after it has saved something new; False if it was done before."""
    process.start()
    before, deadline = set(folder.glob("checkpoint-*")), time.monotonic() + 30
    while process.is_alive() and time.monotonic() < deadline:
        if set(folder.glob("checkpoint-*")) - before:
            break
        time.sleep(0.002)
    process.join(wait)
    alive = process.is_alive()
    process.kill()
    process.join()
    return alive


def _same(one: TrainResult, other: TrainResult) -> bool:
    """Whether all numbers but times are equal, bit for bit."""
    timeless = [
        repr([(k, v) for k, v in result.numbers.items() if k not in TIMES])
        for result in (one, other)
    ]
    curves = [result.curve.drop(columns="seconds") for result in (one, other)]
    return (
        timeless[0] == timeless[1]
        and curves[0].equals(curves[1])
        and one.images.equals(other.images)
    )


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Condense to one row.

    Args:
        frame: What `measure` returned.

    Returns:
        ``kills``, how often one hit a half-written file (``amid_writing``), ``same_numbers`` and
        ``files_left``.
    """
    return pd.DataFrame([
        {
            "kills": int(frame["killed"].sum()),
            "amid_writing": int((frame["partial"][frame["killed"]] > 0).sum()),
            "same_numbers": bool(frame["same_numbers"].all()),
            "files_left": frame["files_left"].iloc[0],
        }
    ])


def plot(frame: pd.DataFrame) -> Figure:
    """Draw how far the run had come after each kill.

    Args:
        frame: What `measure` returned.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(5.6, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.step(frame["process"], frame["step"], where="post", marker="o")
    axes.set_xlabel("process")
    axes.set_ylabel("step of the newest checkpoint")
    return figure
