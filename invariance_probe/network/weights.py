"""Weights from a file into a module: all that fit, or a line that says what does not."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from invariance_probe.errors import InvalidInputError
from invariance_probe.files import read_state_dict

_IN_FOLDERS = ("model.safetensors", "pytorch_model.bin")
"""What transformers and diffusers call the file of weights in a folder."""
_MOST_WRAPPERS = 3
"""Wrappers around a module that give its keys another beginning: ``module.model.conv1``."""


def load_weights(module: nn.Module, path: Path) -> None:
    """Load a state dict into a module, all of it or nothing.

    Keys may carry the names of what wrapped the module (``module.``, ``_orig_mod.``, ``model.``).
    Auxiliary heads, which training alone needs, may be missing on either side: one that the file
    lacks is taken off the module.

    Args:
        module: Where the weights go.
        path: As of `files.read_state_dict`, or a folder with ``model.safetensors`` or
            ``pytorch_model.bin``.

    Raises:
        InvalidInputError: If the file cannot be read, or does not fit.
    """
    if path.is_dir():
        path = next((path / name for name in _IN_FOLDERS if (path / name).is_file()), path)
        if path.is_dir():
            raise InvalidInputError(
                f"weights folder {str(path)!r} holds neither {' nor '.join(_IN_FOLDERS)}; give the "
                "file"
            )
    own = module.state_dict()
    state = _unwrapped(read_state_dict(path), own.keys())
    missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    # counters of batches matter to training only, and older files lack them
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    spare = {_head(key) for key in missing} - {_head(key) for key in own.keys() & state.keys()}
    heads = {head for head in spare if _is_auxiliary(head)}
    missing = [key for key in missing if _head(key) not in heads]
    unexpected = [key for key in unexpected if not _is_auxiliary(_head(key))]
    both = sorted(own.keys() & state.keys())
    reshaped = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
        for key in both
        if own[key].shape != state[key].shape
    ]
    unfit = [
        f"{key} {_kind(state[key])} instead of {_kind(own[key])}"
        for key in both
        if _kind(state[key]) != _kind(own[key])
    ]
    parts = {
        "missing": missing,
        "unexpected": unexpected,
        "other shape": reshaped,
        "other kind": unfit,
    }
    if any(parts.values()):
        detail = "; ".join(f"{what}: {_shorten(keys)}" for what, keys in parts.items() if keys)
        raise InvalidInputError(
            f"weights file {str(path)!r} does not fit {type(module).__name__}: {detail}"
        )
    for head in heads:
        setattr(module, head, None)
    module.load_state_dict(state, strict=False)


def _unwrapped(state: Mapping[str, Tensor], wanted: Iterable[str]) -> Mapping[str, Tensor]:
    """Weights by the keys of the module itself; as they are where no beginning makes them fit."""
    found, wanted = state, set(wanted)
    for _ in range(_MOST_WRAPPERS):
        if not found or not wanted.isdisjoint(found):
            break
        # beside what was wrapped there may be weights of a loss or a teacher
        (wrapper, _), *_ = Counter(map(_head, found)).most_common(1)
        inside = {key: value for key, value in found.items() if _head(key) == wrapper}
        found = {key.removeprefix(f"{wrapper}."): value for key, value in inside.items()}
    return state if wanted.isdisjoint(found) else found


def _head(key: str) -> str:
    return key.partition(".")[0]


def _is_auxiliary(head: str) -> bool:
    return head.lower().startswith("aux")


def _kind(tensor: Tensor) -> str:
    """What a tensor holds; another kind would be converted in silence, and mean something else."""
    if tensor.layout is not torch.strided or tensor.is_meta or tensor.is_quantized:
        return "sparse, hollow or quantized"
    if tensor.is_floating_point() and tensor.dtype.itemsize > 1:
        return "real"
    odd = tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool
    return str(tensor.dtype).removeprefix("torch.") if odd else "integer"


def _shorten(keys: list[str], count: int = 4) -> str:
    more = f" and {len(keys) - count} more" if len(keys) > count else ""
    return ", ".join(keys[:count]) + more
