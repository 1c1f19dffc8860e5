"""Find the operations of a network that move values in space, and see where they read.

A network is run under a `TorchDispatchMode`, which sees what reaches torch's dispatcher: also from
within `torch.jit.script`, `torch.jit.trace` and modules of `torch.compile` (which a working copy
runs uncompiled). Hooks on all modules tell in which of them an operation happens; what is called
within a scripted module is named after that one, as its own parts cannot be told apart.

Whether an operation moves the image or a map is a matter of the flow of the data, and not of the
order: a tensor is still the image where it was made from it by what looks at one position at a time
(pointwise functions, normalisation), pads, crops, views, joins or samples. What is no function of
the image at all, such as a table of positions that is resized, is not moved in the sense meant.

Out of sight are kernels that are none of `OPERATIONS` as torch registers them (compiled extensions
called directly, NumPy), and samplings by indexing, ``gather`` or a matrix product. Where a tensor
comes out of what was not seen, or is read by computed indices, a `Watch` notes the module.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.modules import module as every_module
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from invariance_probe.network import hooks
from invariance_probe.network.operations import (
    OPERATIONS,
    ActsOn,
    Kind,
    Operation,
    Positions,
    Sampling,
)

_KEEPING = {
    f"aten::{name}"
    for name in (
        *("native_batch_norm", "cudnn_batch_norm", "_native_batch_norm_legit", "batch_norm"),
        *("_native_batch_norm_legit_no_training", "native_group_norm", "native_layer_norm"),
        *("constant_pad_nd", "reflection_pad2d", "replication_pad2d", "pad", "cat", "stack"),
        *("_to_copy", "to", "copy_", "contiguous", "reshape", "roll", "flip", "rot90", "repeat"),
    )
}
"""Beside pointwise functions and views, what leaves an image an image: norms, pads, copies."""

_BY_INDEX = {f"aten::{name}" for name in ("gather", "index", "index_select", "take")}


class _Flow(NamedTuple):
    """What a tensor was made from.

    Attributes:
        mapped: Whether it is no image any more.
        through: The operations that it went through, or that said where to read.
    """

    mapped: bool
    through: frozenset[Operation]


@dataclass
class _Reading:
    """One operation within a call of a module, and whether another sampling belongs to it."""

    sampling: Sampling
    source: tuple[Any, ...]
    given: Tensor


@dataclass
class _Frame:
    """A call of a module under way."""

    name: str
    call: int
    readings: list[_Reading] = field(default_factory=list)


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # (torch's, as all below)
    """Runs a network and sees what it moves.

    Several samplings of the same tensor at the same size within one call of a module are one
    operation, such as a deformable convolution that reads tap by tap, unless one depends on what
    another returned, as in a transformer that iterates.

    Args:
        network: Any module; hooks come off in any case.

    Attributes:
        samplings: What was moved in the last pass, in order.
        notes: Modules that something was out of sight in, and what.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._network = network
        self._names = {each: name for name, each in network.named_modules()}
        self.samplings: dict[Operation, Sampling] = {}
        self.notes: dict[str, str] = {}

    def run(self, images: Float[Tensor, "batch channel height width"]) -> object:
        """Run the network.

        Args:
            images: Its input.

        Returns:
            What it returns.
        """
        self.samplings = {}
        self._calls: dict[str, int] = {}
        self._frames: list[_Frame] = []
        # of a storage that nothing holds any more, its memory is free; a weak reference keeps the
        # address from being another's
        self._flows: dict[int, tuple[StorageWeakRef, _Flow]] = {}
        self._mark(images, _Flow(False, frozenset()))
        with self._told_of_modules(), self:
            return self._network(images)

    @contextmanager
    def _told_of_modules(self) -> Iterator[None]:
        # those of all modules, as what torch.jit compiled takes no hooks of its own
        handles = (
            every_module.register_module_forward_pre_hook(self._enter),
            every_module.register_module_forward_hook(self._leave, always_call=True),
        )
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, module: nn.Module, inputs: object) -> None:
        del inputs
        name = self._names.get(module)
        if name is not None:
            self._calls[name] = self._calls.get(name, 0) + 1
            self._frames.append(_Frame(name, self._calls[name]))

    def _leave(self, module: nn.Module, inputs: object, output: object) -> None:
        if module not in self._names or not self._frames:
            return
        frame = self._frames.pop()
        for reading in frame.readings:
            reading.sampling.shape = tuple(output.shape) if isinstance(output, Tensor) else None
        given, made = _maps(inputs), _maps(output)
        lost = made and not any(map(self._flow, made)) and any(map(self._flow, given))
        within = f"{frame.name}." if frame.name else ""
        if lost and not any(key.startswith(within) for key in self.notes):
            self.notes[frame.name] = "returns what does not follow from its input as far as seen"

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Stand between torch and the network."""
        del types
        name, named = func._schema.name, kwargs or {}
        flow = self._flow(args[0]) if name in OPERATIONS else None
        if flow is None or not self._frames:
            out = func(*args, **named)
            self._follow(func, (*args, *named.values()), out)
            return out
        kind, positions = OPERATIONS[name]
        reading, first = self._reading(kind, flow, args)
        if first:
            reading.given = self.reads(reading.sampling.operation, args[0])
        args = (reading.given, *args[1:])
        out = func(*args, **named)
        # pooling by maxima returns where they were as well
        moved, *rest = out if isinstance(out, tuple) else (out,)
        self._saw(reading.sampling, positions, args, moved)
        new = self.returns(reading.sampling.operation, moved)
        through = flow.through | {reading.sampling.operation}
        for tensor in tree_leaves(args[1:]):
            if isinstance(tensor, Tensor) and (said := self._flow(tensor)) is not None:
                through |= said.through
        mapped = flow.mapped or kind is Kind.DEFORM_CONV
        self._mark(new, _Flow(mapped, through))
        return (new, *rest) if isinstance(out, tuple) else new

    def reads(self, operation: Operation, maps: Tensor) -> Tensor:
        """Show what an operation reads.

        Args:
            operation: Which one.
            maps: What it was given.

        Returns:
            What it is to read.
        """
        del operation
        return maps

    def returns(self, operation: Operation, maps: Tensor) -> Tensor:
        """Show what an operation returns.

        Args:
            operation: Which one.
            maps: What came out.

        Returns:
            What the network goes on with.
        """
        del operation
        return maps

    def _reading(self, kind: Kind, flow: _Flow, args: tuple[Any, ...]) -> tuple[_Reading, bool]:
        """The operation that a sampling belongs to, and whether this is its first."""
        frame, maps = self._frames[-1], args[0]
        size = [tuple(one.shape) for one in args[1:] if isinstance(one, Tensor)]
        source = (kind, _address(maps), maps.storage_offset(), maps.shape, maps.stride(), size)
        before = set[Operation]()
        for tensor in args[1:]:
            if isinstance(tensor, Tensor) and (said := self._flow(tensor)) is not None:
                before |= said.through
        for reading in frame.readings:
            if reading.source == source and reading.sampling.operation not in before:
                return reading, False
        place = 1 + sum(each.sampling.operation.kind is kind for each in frame.readings)
        operation = Operation(kind=kind, module=frame.name, call=frame.call, place=place)
        sampling = Sampling(
            operation=operation,
            acts_on=ActsOn.MAP if flow.mapped else ActsOn.INPUT,
            read_size=(maps.shape[-2], maps.shape[-1]),
            count=len(maps),
            times=0,
            positions=None,
            returned=maps,
        )
        self.samplings[operation] = sampling
        frame.readings.append(_Reading(sampling, source, maps))
        return frame.readings[-1], True

    def _saw(
        self,
        sampling: Sampling,
        positions: Positions | None,
        args: tuple[Any, ...],
        moved: Tensor,
    ) -> None:
        """Keep where was read and what came out; the mean of several."""
        sampling.times += 1
        share = 1 / sampling.times
        where = None if positions is None else positions(args, moved)
        if sampling.times == 1:
            # a copy, because a later in-place activation would write over it
            sampling.positions, sampling.returned = where, moved.detach().clone()
            return
        sampling.returned = torch.lerp(sampling.returned, moved.detach(), share)
        if where is not None and sampling.positions is not None:
            sampling.positions = torch.lerp(sampling.positions, where, share)

    def _follow(self, func: Any, given: tuple[Any, ...], out: object) -> None:
        """Pass on what the results were made from."""
        tensors = [one for one in tree_leaves(given) if isinstance(one, Tensor)]
        known = [(one, flow) for one in tensors if (flow := self._flow(one)) is not None]
        if not known:
            return
        name = func._schema.name
        if name in _BY_INDEX and _spread(tensors[0]) and self._flow(tensors[0]) is not None:
            chosen = [self._flow(one) for one in tensors[1:]]
            if self._frames and any(flow is not None for flow in chosen):
                self.notes[self._frames[-1].name] = "reads by computed indices"
        keeps = torch.Tag.pointwise in func.tags or name in _KEEPING
        image = any(not flow.mapped for _, flow in known)
        # a number or a channel's gate moves nothing
        mapped = not keeps or any(
            flow.mapped and (_spread(one) or not image) for one, flow in known
        )
        flow = _Flow(mapped, frozenset().union(*(each.through for _, each in known)))
        writes = func._schema.is_mutable
        sources = {_address(one) for one in tensors}
        for one in tree_leaves(out):
            if not isinstance(one, Tensor):
                continue
            if writes and (before := self._flow(one)) is not None:
                flow = _Flow(flow.mapped or before.mapped, flow.through | before.through)
            if writes or _address(one) not in sources:  # a view stays what it is
                self._mark(one, flow)

    def _flow(self, tensor: object) -> _Flow | None:
        """What a tensor was made from; None if not from the images."""
        address = _address(tensor) if isinstance(tensor, Tensor) else None
        found = None if address is None else self._flows.get(address)
        return None if found is None else found[1]

    def _mark(self, tensor: Tensor, flow: _Flow) -> None:
        address = _address(tensor)
        if address is not None:
            alive = StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]
            self._flows[address] = alive, flow


def _address(tensor: Tensor) -> int | None:
    """What names a tensor's memory as long as anything refers to it."""
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):  # sparse ones and their like
        return None


def _spread(tensor: Tensor) -> bool:
    """Whether a tensor has positions to tell apart."""
    return tensor.dim() >= 2 and tensor.shape[-1] * tensor.shape[-2] > 1


def _maps(nested: object) -> list[Tensor]:
    return [
        one
        for one in hooks.leaves(nested)
        if isinstance(one, Tensor) and one.dim() == 4 and one.is_floating_point() and _spread(one)
    ]
