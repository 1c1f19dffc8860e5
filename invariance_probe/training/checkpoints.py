"""Checkpoints and files that are there whole or not at all; weights never run code.

A checkpoint is a folder ``checkpoint-STEP`` with ``model.safetensors``, ``optimizer.safetensors``
and ``state.json``, the last of which holds step, configuration, curve and seconds. Randomness needs
no state, as it is a function of seed and step. The folder is written under another name, flushed
to the disk, and renamed; older ones are removed afterwards.
"""

import errno
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from invariance_probe.errors import InvalidInputError

_NAME = re.compile(r"checkpoint-(\d{9})")
_PARTIAL = ".partial-"
_PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin")


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


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file whole or not at all.

    Args:
        path: Where to; an older file there is replaced at once.
        write: Is given another path in the same folder, to write to. A full disk becomes an
            `InvalidInputError`.
    """
    partial = path.with_name(f"{_PARTIAL}{path.name}")
    try:
        with _space_for(path):
            write(partial)
            _flush(partial)
            partial.replace(path)
            _flush(path.parent)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON whole or not at all.

    Args:
        path: Where to.
        content: What to write; NaN becomes null, as JSON has none.
    """
    text = json.dumps(_without_nan(content), indent=2, allow_nan=False) + "\n"
    write_file(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint and remove the older ones.

    Args:
        folder: Folder of the run.
        checkpoint: What to write.

    Returns:
        Its folder. If there is no space left, an `InvalidInputError` says so and the checkpoint
        before is untouched.
    """
    name = f"checkpoint-{checkpoint.step:09d}"
    partial, target = folder / f"{_PARTIAL}{name}", folder / name
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with _space_for(folder):
            partial.mkdir(parents=True)
            save_tensors(partial / "model.safetensors", checkpoint.model)
            save_tensors(partial / "optimizer.safetensors", checkpoint.optimizer)
            text = json.dumps({
                "step": checkpoint.step,
                "config": checkpoint.config,
                "state": checkpoint.state,
            })
            (partial / "state.json").write_text(text, encoding="utf-8")
            for file in partial.iterdir():
                _flush(file)
            _flush(partial)
            shutil.rmtree(target, ignore_errors=True)
            partial.replace(target)
            _flush(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
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
    _, path = found[-1]
    try:
        about = json.loads((path / "state.json").read_text(encoding="utf-8"))
        step, config, state = about["step"], about["config"], about["state"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInputError(
            f"checkpoint {str(path)!r} is damaged ({type(error).__name__}); remove it to start over"
        ) from error
    return Checkpoint(
        step=step,
        config=config,
        model=read_tensors(path / "model.safetensors"),
        optimizer=read_tensors(path / "optimizer.safetensors"),
        state=state,
    )


def discard(folder: Path) -> None:
    """Remove all checkpoints of a run, and what a killed process left half written.

    Args:
        folder: Folder of the run.
    """
    for _, path in _all(folder):
        shutil.rmtree(path, ignore_errors=True)
    discard_partial(folder)


def discard_partial(folder: Path) -> None:
    """Remove what a killed process left half written.

    Args:
        folder: Folder of the run.
    """
    for path in folder.glob(f"{_PARTIAL}*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors in the safetensors format.

    Args:
        path: Where to.
        tensors: By name.
    """
    copies = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    safetensors.torch.save_file(copies, path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read tensors from a safetensors file, and from nothing that could run code.

    Args:
        path: The file.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        InvalidInputError: If the file is missing, damaged, or a pickle.
    """
    if path.suffix in _PICKLES:
        raise InvalidInputError(
            f"weights {str(path)!r}: pickles can run code and are refused; save them as safetensors"
        )
    if not path.is_file():
        raise InvalidInputError(f"weights {str(path)!r} are not there; check the path")
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise InvalidInputError(
            f"weights {str(path)!r} are no whole safetensors file (pickles can run code and are "
            "refused); remove it, or give another"
        ) from error
    return tensors


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


@contextmanager
def _space_for(path: Path) -> Iterator[None]:
    """Turn a full disk into one line."""
    try:
        yield
    except (OSError, safetensors.SafetensorError) as error:
        full = {errno.ENOSPC, errno.EDQUOT}
        number = error.errno if isinstance(error, OSError) else None
        if number in full or "No space left" in str(error):
            raise InvalidInputError(
                f"no space left on the disk of {str(path)!r}; what was saved before is intact: "
                "free some and run the same command again"
            ) from error
        raise


def _flush(path: Path) -> None:
    """Have the disk hold a file, or the names in a folder, before going on."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
