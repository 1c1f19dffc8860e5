"""Trainings side by side: the same numbers, one error, and nobody left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from invariance_probe.errors import InvalidInputError
from invariance_probe.perturbations.kinds import RandomRotation
from invariance_probe.stn.variants import parse_variant
from invariance_probe.training import parallel, presets
from invariance_probe.training.configuration import TrainConfig
from invariance_probe.training.runs import TrainResult

TIMES = ("seconds", "images_per_second")
SCRIPT = """
import signal
from pathlib import Path
from invariance_probe.training import parallel
from invariance_probe.training.configuration import Execution
from tests.training.test_parallel import config
if __name__ == "__main__":
    # a shell that starts jobs in the background has them ignore interrupts
    signal.signal(signal.SIGINT, signal.default_int_handler)
    runs = [config("cnn", steps=10**6), config("c0", steps=10**6)]
    parallel.train_all(runs, Path("runs"), processes=2, execution=Execution(checkpoint_steps=5))
"""


def config(variant: str, **choices: int) -> TrainConfig:
    """A run of seconds."""
    return presets.configured(
        "tiny",
        data="mnist-5k",
        perturbation=RandomRotation(),
        variant=parse_variant(variant),
        seed=0,
        choices={"steps": 6} | choices,
    )


def test_numbers_do_not_depend_on_what_runs_beside(tmp_path: Path) -> None:
    """Two runs in two processes end bit for bit as in this one."""
    runs = [config("cnn"), config("c0")]
    numbers = []
    for processes in (1, 2):
        root = tmp_path / str(processes)
        parallel.train_all(runs, root, processes=processes)
        results = [TrainResult.load(root / run.name).numbers for run in runs]
        numbers.append([
            {name: str(value) for name, value in one.items() if name not in TIMES}
            for one in results
        ])
    assert numbers[0] == numbers[1]
    assert numbers[0][0] != numbers[0][1]


def test_a_mistake_in_one_process_is_the_callers(tmp_path: Path) -> None:
    """The error of a run that cannot be trained arrives as it is, and ends the others."""
    runs = [config("c0", steps=10**6), config("c9")]
    began = time.monotonic()
    with pytest.raises(InvalidInputError, match="'c9' is deeper than the network"):
        parallel.train_all(runs, tmp_path, processes=2)
    assert time.monotonic() - began < 60
    assert not (tmp_path / runs[0].name / "result.json").exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_its_parent(tmp_path: Path, how: signal.Signals) -> None:
    """Interrupted or killed, the parent takes all processes with it; checkpoints stay."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    parent = subprocess.Popen(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment,
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(lambda: len(_saved(tmp_path)) == 2)
        assert parent.poll() is None
        parent.send_signal(how)
        parent.wait(30)
        _wait(lambda: not _alive(parent.pid))
    finally:
        if _alive(parent.pid):
            os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()
    assert len(_saved(tmp_path)) == 2
    assert not list(tmp_path.glob("runs/*/result.json"))


def test_a_process_killed_from_outside_ends_the_sweep_in_a_line(tmp_path: Path) -> None:
    """A worker that the system kills is named, the other ends, and what was saved stays."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment,
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    ) as parent:
        try:
            _wait(lambda: len(_saved(tmp_path)) == 2)
            children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
            workers = [
                int(pid)
                for pid in children.read_text(encoding="ascii").split()
                if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
            ]
            os.kill(workers[-1], signal.SIGKILL)
            _, said = parent.communicate(timeout=60)
        finally:
            if _alive(parent.pid):
                os.killpg(parent.pid, signal.SIGKILL)
    assert (
        said
        .strip()
        .splitlines()[-1]
        .endswith(
            "InvalidInputError: a process was killed from outside (is there too little "
            "memory?); run the same again: it goes on from what was saved"
        )
    )
    assert len(_saved(tmp_path)) == 2


def _saved(root: Path) -> set[Path]:
    """Run folders with a checkpoint; for a moment one of them may hold two."""
    return {path.parent for path in root.glob("runs/*/checkpoint*")}


def _wait(until: Callable[[], bool], seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end
        time.sleep(0.1)


def _alive(group: int) -> bool:
    """Whether any process of a group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
