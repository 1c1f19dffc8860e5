"""Checkpoints that are damaged, or would run code, are refused."""

import os
import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch

from invariance_probe.errors import InvalidInputError
from invariance_probe.training.trainer import train
from tests.training import tiny
from tests.training.interrupting import interrupted


class Payload:
    """A pickle that would leave a trace if it were opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickle in place of weights is refused with one line, and its code does not run."""
    checkpoint = interrupted(tmp_path / "run", monkeypatch)
    (checkpoint / "model.safetensors").write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    with pytest.raises(InvalidInputError, match=r"not a complete safetensors file \(pickles"):
        train(tiny.config(), tmp_path / "run", dataset=tiny.dataset())
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("damage", ["cut", "state", "shapes"])
def test_damaged_checkpoints_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    """A truncated file, a broken state or weights of another network are one line each."""
    checkpoint = interrupted(tmp_path / "run", monkeypatch)
    weights = checkpoint / "model.safetensors"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-50])
        message = "not a complete safetensors file"
    elif damage == "state":
        (checkpoint / "state.json").write_text('{"step": 8', encoding="utf-8")
        message = "is damaged .*; remove it to start over"
    else:
        safetensors.torch.save_file({"a": torch.zeros(2)}, weights)
        message = "does not fit the network; remove it"
    with pytest.raises(InvalidInputError, match=message) as caught:
        train(tiny.config(), tmp_path / "run", dataset=tiny.dataset())
    assert "\n" not in str(caught.value)
