"""Killed, interrupted or out of space: nothing is lost, nothing is half written."""

import errno
import os
from pathlib import Path

import pandas as pd
import pytest
import torch

from invariance_probe import files
from invariance_probe.errors import InvalidInputError
from invariance_probe.training import checkpoints, trainer
from invariance_probe.training.runs import TrainResult
from invariance_probe.training.trainer import train
from tests.training import tiny
from tests.training.interrupting import StopError, interrupted, stop_at

TIMES = ["seconds", "images_per_second"]


def assert_same(one: TrainResult, other: TrainResult) -> None:
    """All numbers, curves and images are equal bit for bit, but for times."""
    for frames in ((one.curve, other.curve), (one.images, other.images)):
        pd.testing.assert_frame_equal(
            *(frame.drop(columns=["seconds"], errors="ignore") for frame in frames),
            check_exact=True,
        )
    timeless = [{k: v for k, v in r.numbers.items() if k not in TIMES} for r in (one, other)]
    assert repr(timeless[0]) == repr(timeless[1])


@pytest.mark.parametrize(
    "changes",
    [
        {"variant": "sl1x2"},
        {"variant": "c0", "optimizer": "sgd", "rate": 0.02},
        {"variant": "dl1", "network": "svhn", "width": 0.02},
    ],
)
def test_continued_runs_end_with_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object]
) -> None:
    """A run that died twice ends bit for bit as one that did not: optimizers, dropout and all."""
    # so that some checkpoints lie between two rows of the curve
    monkeypatch.setattr(trainer, "CHECK_EVERY", 3)
    config = tiny.config(**changes)
    torch.manual_seed(1)
    whole = train(config, tmp_path / "whole", dataset=tiny.dataset(), execution=tiny.ON_CPU)
    for step, saved in ((7, 6), (11, 9)):
        torch.manual_seed(step)  # of no influence
        with monkeypatch.context() as patch:
            stop_at(patch, step)
            with pytest.raises(StopError):
                train(
                    config,
                    tmp_path / "cut",
                    dataset=tiny.dataset(),
                    execution=tiny.SAVED_OFTEN,
                )
        names = [path.name for path in (tmp_path / "cut").iterdir()]
        assert names == [f"checkpoint-{saved:09d}"]
    cut = train(config, tmp_path / "cut", dataset=tiny.dataset(), execution=tiny.ON_CPU)
    assert_same(whole, cut)
    assert not list((tmp_path / "cut").glob("*checkpoint*"))


def test_half_written_files_are_swept_away(tmp_path: Path) -> None:
    """What a kill left under another name is never read, and is gone at the end."""
    folder = tmp_path / "run"
    (folder / ".partial-checkpoint-000000004").mkdir(parents=True)
    (folder / ".partial-checkpoint-000000004" / "model.safetensors").write_bytes(b"half")
    (folder / ".partial-curve.parquet").write_bytes(b"half")
    train(tiny.config(), folder, dataset=tiny.dataset(), execution=tiny.ON_CPU)
    names = {path.name for path in folder.iterdir()}
    assert names == {"result.json", "curve.parquet", "images.parquet", "model.safetensors"}


def test_another_configuration_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a checkpoint nor a finished run of another configuration is continued or replaced."""
    folder = tmp_path / "run"
    checkpoint = interrupted(folder, monkeypatch)
    other = tiny.config(rate=0.1)
    message = r"a run of another configuration \(rate=0.002 there, 0.1 here\); give another"
    with pytest.raises(InvalidInputError, match=message):
        train(other, folder, dataset=tiny.dataset())
    assert checkpoint.is_dir()
    train(tiny.config(), folder, dataset=tiny.dataset())
    with pytest.raises(InvalidInputError, match=message):
        train(other, folder, dataset=tiny.dataset())


@pytest.mark.parametrize("at", ["tensors", "rename"])
def test_a_full_disk_is_one_line_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """Out of space amid a checkpoint, the older one stays whole and the run continues later."""
    config = tiny.config()
    whole = train(config, tmp_path / "whole", dataset=tiny.dataset(), execution=tiny.ON_CPU)
    folder = tmp_path / "run"
    older = checkpoints.newest(interrupted(folder, monkeypatch).parent)
    assert older is not None

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        if at == "tensors":
            patch.setattr(files, "save_file", full)
        else:
            patch.setattr(files, "_flush", full)
        with pytest.raises(InvalidInputError, match="no space left on the disk") as caught:
            train(config, folder, dataset=tiny.dataset(), execution=tiny.SAVED_OFTEN)
        assert "\n" not in str(caught.value)
    still = checkpoints.newest(folder)
    assert still is not None
    assert still.step == older.step
    assert not list(folder.glob(".partial*"))
    assert_same(whole, train(config, folder, dataset=tiny.dataset(), execution=tiny.ON_CPU))
