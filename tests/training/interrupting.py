"""A training that is stopped amid its steps."""

from pathlib import Path

import pytest

from invariance_probe.training import trainer
from invariance_probe.training.trainer import train
from tests.training import tiny


class StopError(Exception):
    """What stands in for a kill within the process."""


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let the trainer die when it is about to make the batch of a step."""
    made = trainer.TrainingBatches.batch

    def batch(self: trainer.TrainingBatches, number: int) -> object:
        if number == step:
            raise StopError
        return made(self, number)

    monkeypatch.setattr(trainer.TrainingBatches, "batch", batch)


def interrupted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder that holds a checkpoint."""
    with monkeypatch.context() as patch:
        stop_at(patch, 9)
        with pytest.raises(StopError):
            train(tiny.config(), folder, dataset=tiny.dataset(), execution=tiny.SAVED_OFTEN)
    return folder / "checkpoint-000000008"
