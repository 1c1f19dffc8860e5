"""Does what is killed again and again end with the numbers of what is not, and leave nothing lying?

A probe that explains itself, and two trainings side by side (``processes=2``), are started again by
the same call until they are done, and ended with SIGKILL, SIGTERM or SIGINT in turn: every second
one at a random moment from its start, the others from its first save. What is done before enough
kills is compared and begun anew.
"""

import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import nn

import invariance_probe as ip
from analyses.legends import shared_legend
from invariance_probe import files
from invariance_probe.perturbations.kinds import RandomRotation
from invariance_probe.probing import journal
from invariance_probe.probing.probe import probe
from invariance_probe.results.methods import EXPLAINING_METHODS
from invariance_probe.stn.variants import parse_variant
from invariance_probe.training import parallel, presets
from invariance_probe.training.configuration import Execution
from invariance_probe.training.runs import TrainResult

TIMES = ("seconds", "images_per_second")
"""Numbers that no two runs share."""
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_GONE_SECONDS = 20.0
"""Time that processes of a killed one have to end."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to do to what.

    Attributes:
        kills: How often each is killed.
        images: Images of the probe.
        steps: Batches that each training learns from.
        longest: Seconds until a kill, at most.
        seed: Root of the random moments.
    """

    kills: int = 50
    images: int = 120
    steps: int = 600
    longest: float = 2.0
    seed: int = 0


PRESETS = {
    "quick": Config(),
    "tiny": Config(kills=2, images=12, steps=60, longest=0.5),
}


def _begin() -> None:
    """Prepare a process that will be killed."""
    os.setpgrp()  # so that what it starts can be told from everything else
    # a shell that starts jobs in the background has them ignore interrupts
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # tracebacks of interrupts
    torch.set_num_threads(1)


def _probe(config: Config, out: str) -> None:
    """Probe, or go on; the target of a process."""
    _begin()
    # saved after every step, so that kills meet as many states as there are
    journal.PAUSE, journal.SHARE = 0.0, 1.0
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 5), nn.ReLU(), nn.Conv2d(8, 12, 3, stride=2))
    probe(
        net,
        torch.rand(config.images, 3, 40, 40),
        layers=["0", "2"],
        transforms=ip.sweep("rotation", 0, 90, 15),
        methods=(*ip.ProbeOptions().methods, *EXPLAINING_METHODS),
        crop=28,
        batch_size=8,
        device="cpu",
        out=out,
    )


def _train(config: Config, out: str) -> None:
    """Train two networks, or go on; the target of a process."""
    _begin()
    runs = [
        presets.configured(
            "tiny",
            data="mnist-5k",
            perturbation=RandomRotation(),
            variant=parse_variant(variant),
            seed=0,
            choices={"steps": config.steps},
        )
        for variant in ("cnn", "sl1")
    ]
    how = Execution(device="cpu", checkpoint_steps=5)
    parallel.train_all(runs, Path(out), processes=2, execution=how)


def _probe_saved(_: Config, out: Path) -> float:
    """How often a probe has saved what it measured; infinity if it is done."""
    states = (out / files.UNFINISHED).glob("state-*")
    done = np.inf if (out / "config.json").is_file() else 0
    return max((int(state.name.partition("-")[2]) for state in states), default=done)


def _train_saved(config: Config, out: Path) -> float:
    """Steps in the newest checkpoints of trainings, added up."""
    steps = 0
    for run in out.glob("*"):
        saved = [int(path.name.partition("-")[2]) for path in run.glob("checkpoint-*")]
        done = (run / "result.json").is_file()
        steps += config.steps if done else max(saved, default=0)
    return steps


def _probed(out: Path) -> list[Any]:
    """All numbers of a probe."""
    result = ip.ProbeResult.load(out)
    config = {name: value for name, value in result.config.items() if name != "provenance"}
    maps = [strip.maps for strip in result.strips]
    return [result.table, result.channels, result.layers, config, *maps]


def _trained(out: Path) -> list[Any]:
    """All numbers of trainings but their times."""
    results = [TrainResult.load(run) for run in sorted(out.iterdir())]
    return [
        each
        for result in results
        for each in (
            repr([(k, v) for k, v in result.numbers.items() if k not in TIMES]),
            result.curve.drop(columns="seconds"),
            result.images,
        )
    ]


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What is killed: how it is started, how far it has come, and what it ends with."""

    name: str
    start: Callable[[Config, str], None]
    saved: Callable[[Config, Path], float]
    numbers: Callable[[Path], list[Any]]


_WORKS = (
    _Work(name="probe", start=_probe, saved=_probe_saved, numbers=_probed),
    _Work(name="train", start=_train, saved=_train_saved, numbers=_trained),
)


def measure(config: Config) -> pd.DataFrame:
    """Do each work once undisturbed, and then under fire.

    Args:
        config: What to do to what.

    Returns:
        A row for each process under fire: ``work``; ``round``, how often the work had been done
        before; ``process``; ``signal`` (empty if it was let go); ``killed``, whether that ended
        it; ``saved``, how far the newest whole save is afterwards; ``partial``, half-written
        files under their other name; ``processes_left``, whether any it had started lived on; and
        for each round ``same_numbers`` and ``files_left``, names of files in the finished folder
        that do not belong there.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    rows: list[dict[str, Any]] = []
    for work in _WORKS:
        rng = np.random.default_rng(config.seed)
        with tempfile.TemporaryDirectory() as top:
            whole = Path(top) / "whole"
            process = context.Process(target=work.start, args=(config, str(whole)))
            process.start()
            process.join()
            kills, number = 0, 0
            while kills < config.kills:
                cut = Path(top) / f"cut {number}"
                done = [
                    row | {"work": work.name, "round": number}
                    for row in _under_fire(context, work, config, cut, config.kills - kills, rng)
                ]
                kills += sum(row["killed"] for row in done)
                same = _same(work.numbers(whole), work.numbers(cut))
                left = " ".join(sorted(_names(cut) - _names(whole)))
                rows += [row | {"same_numbers": same, "files_left": left} for row in done]
                number += 1
    return pd.DataFrame(rows)


def _under_fire(
    context: Any, work: _Work, config: Config, cut: Path, kills: int, rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """Start work until it is done; a row a process."""
    number = 0
    while True:
        process = context.Process(target=work.start, args=(config, str(cut)))
        process.start()
        name = SIGNALS[number % len(SIGNALS)] if number < kills else None
        killed = False
        if name is not None:
            if number % 2:
                _wait_for_save(process, work, config, cut)
            process.join(rng.uniform(0, config.longest))
            if process.is_alive():
                os.kill(process.pid, name)
                process.join()
                killed = process.exitcode != 0  # not, if it was done before it could hear
        process.join()
        yield {
            "process": number,
            "signal": "" if name is None else name.name,
            "killed": killed,
            "saved": work.saved(config, cut),
            "partial": len(list(cut.rglob(".partial-*"))),
            "processes_left": not _gone(process.pid),
        }
        if not killed:
            return
        number += 1


def _wait_for_save(process: ForkServerProcess, work: _Work, config: Config, cut: Path) -> None:
    """Wait until a process has saved something new, or is done."""
    before = work.saved(config, cut)
    while process.is_alive() and work.saved(config, cut) == before:
        time.sleep(0.002)


def _gone(group: int) -> bool:
    """Wait for all that a process had started; False if some of it lives on."""
    deadline = time.monotonic() + _GONE_SECONDS
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


def _names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def _same(one: list[Any], other: list[Any]) -> bool:
    """Whether all numbers are equal, bit for bit."""

    def equal(a: Any, b: Any) -> bool:
        if isinstance(a, pd.DataFrame):
            return bool(a.equals(b))
        return np.array_equal(a, b) if isinstance(a, np.ndarray) else bool(a == b)

    return len(one) == len(other) and all(map(equal, one, other))


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Condense to a row a work.

    Args:
        frame: What `measure` returned.

    Returns:
        ``work``; ``kills``, by signal as well; how often one hit a half-written file
        (``amid_writing``); ``rounds``; ``lost``, how often a save was there before and not after;
        ``same_numbers``, ``files_left`` and ``processes_left`` over all rounds.
    """
    rows = []
    for work, part in frame.groupby("work", sort=False):
        killed = part[part["killed"]]
        steps = part.groupby("round")["saved"].diff()
        rows.append(
            {"work": work, "kills": len(killed)}
            | {name.name: int((killed["signal"] == name.name).sum()) for name in SIGNALS}
            | {
                "amid_writing": int((killed["partial"] > 0).sum()),
                "rounds": part["round"].nunique(),
                "lost": int((steps < 0).sum()),
                "same_numbers": bool(part["same_numbers"].all()),
                "files_left": " ".join(sorted(set(part["files_left"]) - {""})),
                "processes_left": int(part["processes_left"].sum()),
            }
        )
    return pd.DataFrame(rows)


def plot(frame: pd.DataFrame) -> Figure:
    """Draw how far each work had come after each kill.

    Args:
        frame: What `measure` returned.

    Returns:
        The figure.
    """
    said = summary(frame).set_index("work")
    units = {"probe": "saves of the probe", "train": "steps saved, both trainings"}
    figure = Figure(figsize=(10, 4.8), layout="constrained")
    figure.suptitle("How far a work had come when it was killed; after the last, it starts anew")
    for axes, (work, part) in zip(
        figure.subplots(1, len(said)), frame.groupby("work", sort=False), strict=True
    ):
        killed = part[part["killed"]].reset_index(drop=True)
        killed = killed.assign(kill=killed.index + 1)
        sns.lineplot(
            killed, x="kill", y="saved", units="round", estimator=None, color="#999999", ax=axes
        )
        sns.scatterplot(
            killed,
            x="kill",
            y="saved",
            hue="signal",
            style="signal",
            hue_order=[name.name for name in SIGNALS],
            s=40,
            ax=axes,
            zorder=3,
        )
        row = said.loc[work]
        axes.set_title(
            f"{work}: {row['kills']} kills, {row['rounds']} times to the end,\n"
            f"{'the same numbers' if row['same_numbers'] else 'OTHER NUMBERS'} as undisturbed",
            fontsize=11,
        )
        axes.set_ylabel(units[str(work)])
        axes.set_xlabel("number of the kill")
        axes.set_ylim(bottom=0)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True))
        axes.get_legend().remove()
    shared_legend(figure, axes, ncols=len(SIGNALS))
    return figure
