"""Run a model and see what its modules return; the hooks come off in any case."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Key:
    """Where an output comes from: module, call of it (from 1), place in what it returned."""

    module: str
    call: int
    path: str


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model in evaluation mode without gradients, and every module back afterwards.

    Args:
        model: Any module.

    Yields:
        Nothing.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def record(model: nn.Module, images: Tensor, wanted: set[Key] | None = None) -> dict[Key, Tensor]:
    """Run a model and keep copies of what its modules return; the hooks come off in any case.

    Args:
        model: Any module.
        images: Its input.
        wanted: What to keep; everything by default.

    Returns:
        The tensors, in the order in which they were computed.
    """
    outputs: dict[Key, Tensor] = {}

    def keep(key: Key, tensor: Tensor) -> None:
        if wanted is None or key in wanted:
            # cloned, because a later in-place activation would write over it
            outputs[key] = tensor.detach().clone()
            if wanted is not None and len(outputs) == len(wanted):
                raise _AllSeenError

    # what the model would do after the last wanted layer is not needed
    with suppress(_AllSeenError):
        run_hooked(model, images, keep, None if wanted is None else {k.module for k in wanted})
    return outputs


def unsteady(model: nn.Module, images: Tensor) -> list[Key]:
    """Find what differs between two passes over the same images.

    Args:
        model: Any module, in evaluation mode.
        images: Its input.

    Returns:
        The outputs that differ by a bit, on a GPU by more than rounding, where sums may be taken in
        any order; in the order in which they were computed, so that the first is where it begins.
    """
    once, again = record(model, images), record(model, images)
    return [
        key
        for key in {**once, **again}
        if not (key in once and key in again and _same(once[key], again[key]))
    ]


def _same(once: Tensor, again: Tensor) -> bool:
    if once.shape != again.shape or once.dtype != again.dtype:
        return False
    if not once.is_floating_point():
        return torch.equal(once, again)
    slack = 0.0
    if once.is_cuda and once.numel():
        slack = float(once.abs().nan_to_num(0, 0).max()) * torch.finfo(once.dtype).eps ** 0.5
    return torch.allclose(once, again, rtol=0, atol=slack, equal_nan=True)


class _AllSeenError(Exception):
    """Ends a forward pass early."""


def run_hooked(
    model: nn.Module,
    images: Tensor,
    visit: Callable[[Key, Tensor], Tensor | None],
    modules: set[str] | None = None,
) -> None:
    """Run a model and show every tensor that its modules return.

    Args:
        model: Any module.
        images: Its input.
        visit: Sees each output; it may return another tensor to go on with in its place.
        modules: Names of the modules to look at; all by default.
    """
    calls: dict[str, int] = {}

    def hook(name: str) -> Callable[[nn.Module, object, object], object]:
        def visit_output(_module: nn.Module, _inputs: object, output: object) -> object:
            calls[name] = calls.get(name, 0) + 1
            return map_tensors(output, lambda path, t: visit(Key(name, calls[name], path), t))

        return visit_output

    handles = []
    try:
        for name, module in model.named_modules():
            # what torch.jit compiled takes no hooks
            watched = not isinstance(module, torch.jit.ScriptModule)
            if watched and (modules is None or name in modules):
                handles.append(module.register_forward_hook(hook(name)))
        model(images)
    finally:
        for handle in handles:
            handle.remove()


def map_tensors(
    output: object, visit: Callable[[str, Tensor], Tensor | None], path: str = ""
) -> object:
    """Walk nested tuples, lists and dicts, and replace the tensors in them.

    Args:
        output: What a module returned.
        visit: Sees each tensor and the way to it; it may return another in its place.
        path: The way to `output`.

    Returns:
        Containers of the same kinds; None if nothing is to be replaced.
    """
    if isinstance(output, Tensor):
        return visit(path, output)
    dot = f"{path}." if path else ""
    if isinstance(output, dict):
        new = {key: map_tensors(value, visit, f"{dot}{key}") for key, value in output.items()}
        if any(value is not None for value in new.values()):
            changed = copy.copy(output)  # the model goes on with a dict of the same kind
            for key, value in new.items():
                if value is not None:
                    changed[key] = value  # outputs of transformers refuse `update`
            return changed
    elif isinstance(output, tuple | list):
        items = [map_tensors(value, visit, f"{dot}{i}") for i, value in enumerate(output)]
        if any(item is not None for item in items):
            merged = [
                old if item is None else item for old, item in zip(output, items, strict=True)
            ]
            kind: Callable[..., object] = type(output)
            return kind(*merged) if hasattr(output, "_fields") else kind(merged)
    return None


def leaves(output: object) -> Iterator[object]:
    """Walk nested tuples, lists and dicts.

    Args:
        output: What a module takes or returns.

    Yields:
        What is in them.
    """
    if isinstance(output, dict | tuple | list):
        for value in output.values() if isinstance(output, dict) else output:
            yield from leaves(value)
    else:
        yield output
