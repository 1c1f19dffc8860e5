"""Checkpoints: what a killed run continues from.

A checkpoint is a folder ``checkpoint-STEP`` with ``model.safetensors``, ``optimizer.safetensors``
and ``state.json``, the last of which holds step, configuration, curve and seconds. Randomness needs
no state, as it is a function of seed and step. The folder is there whole or not at all (see
`files.new_folder`); older ones are removed afterwards.
"""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from invariance_probe import files
from invariance_probe.errors import InvalidInputError, first_line

_NAME = re.compile(r"checkpoint-(\d{9})")
_MODEL, _OPTIMIZER, _STATE = "model.safetensors", "optimizer.safetensors", "state.json"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a run continues from.

    Attributes:
        step: Batches learnt from.
        config: The configuration, as of `TrainConfig.as_dict`.
        model: Weights by name.
        optimizer: Tensors of the optimizer by name.
        state: What else the run needs, as JSON holds it: curve, seconds.
    """

    step: int
    config: dict[str, Any]
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict[str, Any]


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint and remove the older ones.

    Args:
        folder: Folder of the run.
        checkpoint: What to write.

    Returns:
        Its folder. If there is no space left, an `InvalidInputError` says so and the checkpoint
        before is untouched.
    """
    target = folder / f"checkpoint-{checkpoint.step:09d}"
    with files.new_folder(target) as partial:
        files.write_tensors(partial / _MODEL, checkpoint.model)
        files.write_tensors(partial / _OPTIMIZER, checkpoint.optimizer)
        about = {"step": checkpoint.step, "config": checkpoint.config, "state": checkpoint.state}
        # with NaN, which is read back as what it was
        files.write_text(partial / _STATE, json.dumps(about))
    for _, older in _all(folder):
        if older != target:
            shutil.rmtree(older, ignore_errors=True)
    return target


def newest(folder: Path) -> Checkpoint | None:
    """Read the newest checkpoint of a run.

    Args:
        folder: Folder of the run.

    Returns:
        The checkpoint; None if there is none.

    Raises:
        InvalidInputError: If it cannot be read.
    """
    found = _all(folder)
    if not found:
        return None
    number, path = found[-1]
    try:
        about = files.read_json(path / _STATE)
        step, config, state = about["step"], dict(about["config"]), dict(about["state"])
    except (InvalidInputError, ValueError, KeyError, TypeError) as error:
        raise InvalidInputError(
            f"checkpoint {str(path)!r} is damaged ({first_line(error)}); remove it to start over"
        ) from error
    if type(step) is not int or step != number:
        raise InvalidInputError(
            f"checkpoint {str(path)!r} is damaged (it is of step {step!r}); remove it to start over"
        )
    return Checkpoint(
        step=step,
        config=config,
        model=files.read_tensors(path / _MODEL),
        optimizer=files.read_tensors(path / _OPTIMIZER),
        state=state,
    )


def discard(folder: Path) -> None:
    """Remove all checkpoints of a run, and what a killed process left half written.

    Args:
        folder: Folder of the run.
    """
    for _, path in _all(folder):
        shutil.rmtree(path, ignore_errors=True)
    files.discard_partial(folder)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """List the tensors of an optimizer.

    Args:
        optimizer: Any whose state is tensors and numbers.

    Returns:
        Tensors named ``NUMBER.KEY`` by parameter.
    """
    state = optimizer.state_dict()["state"]
    return {
        f"{number}.{key}": torch.as_tensor(value)
        for number, values in state.items()
        for key, value in values.items()
        if value is not None
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Undo `optimizer_tensors`.

    Args:
        optimizer: A fresh one, of the same parameters.
        tensors: What was listed.
    """
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, _, key = name.partition(".")
        parameter = parameters[int(number)]
        if tensor.shape == parameter.shape:
            # fused optimizers walk through memory: a buffer must lie there as its parameter does
            tensor = torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor)
        state.setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _all(folder: Path) -> list[tuple[int, Path]]:
    """Steps and paths of all whole checkpoints, the newest last."""
    if not folder.is_dir():
        return []
    matched = [(_NAME.fullmatch(path.name), path) for path in folder.iterdir() if path.is_dir()]
    return sorted((int(match[1]), path) for match, path in matched if match)
