"""A model of one's own to work on, so that whoever hands one over finds it as it was."""

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import CellType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from invariance_probe.errors import InvalidInputError, first_line

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))


def working_copy(model: nn.Module) -> nn.Module:
    """Copy a model, so that nothing done with the copy reaches the model.

    Restoring a model afterwards would need a copy of its tensors as well, as a forward pass may
    write to any of them; and a copy is there for one thread alone, and harmless after an interrupt.
    It takes as much memory as the model's parameters and buffers.

    What cannot be copied, such as a lock or an open file, is shared. Functions that a module holds
    (hooks, a `forward` put in place of its own) refer to the copy where they referred to the model.
    Modules of `torch.compile` run as what they were compiled from, whose hooks are heeded.

    Args:
        model: Any module.

    Returns:
        A model of the same layers and weights, not compiled.

    Raises:
        InvalidInputError: If it has no weights, cannot be copied, or is compiled by `torch.jit`.
    """
    if not isinstance(model, nn.Module):
        raise InvalidInputError(f"model={model!r}: give a torch.nn.Module")
    hollow = [name for name, each in model.named_parameters() if each.is_meta]
    if hollow:
        raise InvalidInputError(
            f"model {type(model).__name__}: {hollow[0]!r} has no values (device meta); load weights"
        )
    model = _as_it_was_compiled_from(model)
    if isinstance(model, torch.jit.ScriptModule):
        raise InvalidInputError(
            f"model {type(model).__name__} is compiled by torch.jit, which shows no layers; give "
            "the module that it was made from"
        )
    return _own(model, {})


def twin(model: nn.Module) -> nn.Module:
    """Copy a model but for its weights, so that two threads may each pass images through one.

    Modules may keep what they compute among their attributes, or write to their buffers.

    Args:
        model: What `working_copy` returned.

    Returns:
        A model of modules and buffers of its own, whose parameters are the model's, but for those
        of modules that `torch.jit` compiled, which are copied whole.
    """
    return _own(model, {id(each): each for each in model.parameters()})


def _own(model: nn.Module, shared: dict[int, Any]) -> nn.Module:
    """Copy a model but for what is shared, by identity."""
    own, copies = _copied(model, shared)
    for module in own.modules():
        held = (vars(module), *(v for v in vars(module).values() if isinstance(v, dict)))
        for values in held:
            for name, value in list(values.items()):
                if isinstance(value, FunctionType):
                    values[name] = _rebound(value, copies)
        for name, child in list(module.named_children()):
            if (plain := _as_it_was_compiled_from(child)) is not child:
                setattr(module, name, plain)
    return own


def placed_copy(model: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Copy a model to a device and a precision, in evaluation mode.

    Args:
        model: Any module.
        device: Where to compute.
        dtype: Type of real tensors; complex ones take the complex type of the same precision.

    Returns:
        See `working_copy`.
    """

    def place(tensor: Tensor) -> Tensor:
        kept = tensor.dtype
        if tensor.is_complex():
            kept = dtype.to_complex()
        elif tensor.is_floating_point():
            kept = dtype
        return tensor.to(device=device, dtype=kept)

    own = working_copy(model)
    # nn.Module.to has one type for real and complex tensors alike, and drops imaginary parts
    own._apply(place)  # type: ignore[no-untyped-call]  # (torch's)
    return own.eval()


@contextmanager
def same_randomness() -> Iterator[None]:
    """Leave the global random states of torch, NumPy and Python as they are found.

    Nothing of this package draws from them, but a model may. What another thread draws meanwhile is
    drawn again by it afterwards.

    Yields:
        Nothing.
    """
    python, numbers = random.getstate(), np.random.get_state()  # noqa: NPY002  (a model's, not ours)
    devices = range(torch.cuda.device_count() if _cuda_is_in_use() else 0)
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numbers)  # noqa: NPY002  (as above)


def _cuda_is_in_use() -> bool:
    # a look at its generators would start it where it is not
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]  # (torch's)


def _as_it_was_compiled_from(module: nn.Module) -> nn.Module:
    # torch.compile's class is not imported for a test: that would take a second
    return dict(module.named_children()).get("_orig_mod", module)


def _copied(model: nn.Module, shared: dict[int, Any]) -> tuple[nn.Module, dict[int, Any]]:
    """A copy, and what stands in it for what, by identity."""
    values = [
        value
        for module in model.modules()
        for name, value in vars(module).items()
        if name not in _OF_EVERY_MODULE
    ]
    # what a module computed from its weights, as the older weight_norm leaves it
    computed = [value for value in values if isinstance(value, Tensor) and not value.is_leaf]
    copies = shared | {id(tensor): tensor.detach().clone() for tensor in computed}
    with suppress(Exception):
        tried = dict(copies)
        return copy.deepcopy(model, tried), tried
    for value in values:
        copies |= _uncopyable(value)
    try:
        return copy.deepcopy(model, copies), copies
    except Exception as error:  # a module may define its own way to be copied, and err in it
        raise InvalidInputError(
            f"model {type(model).__name__} cannot be copied ({first_line(error)}), and it is never "
            "worked on itself; make it one that copy.deepcopy accepts"
        ) from error


def _uncopyable(value: object) -> dict[int, Any]:
    """What is to stand for a value in a copy, by identity, where it cannot be copied as it is."""
    if isinstance(value, nn.Module | MethodType | Tensor):
        return {}
    try:
        copy.deepcopy(value)
    except Exception:  # whatever a lock, a file or a handle of a library raises
        return {id(value): value}
    return {}


def _rebound(function: FunctionType, copies: dict[int, Any]) -> FunctionType:
    """A function like one that a model holds, about the model's copy."""
    cells = function.__closure__ or ()
    inside = [cell.cell_contents if _filled(cell) else None for cell in cells]
    new = [
        copy.deepcopy(each, copies)
        if id(each) in copies or id(getattr(each, "__self__", None)) in copies
        else each
        for each in inside
    ]
    if all(one is other for one, other in zip(new, inside, strict=True)):
        return function
    held = tuple(CellType(each) for each in new)
    rebound = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, held
    )
    rebound.__kwdefaults__ = function.__kwdefaults__
    rebound.__dict__.update(function.__dict__)
    return rebound


def _filled(cell: CellType) -> bool:
    """Whether a variable of a function has a value yet."""
    try:
        cell.cell_contents  # noqa: B018  (an empty cell raises)
    except ValueError:
        return False
    return True
