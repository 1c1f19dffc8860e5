"""Find the operations of a network that move values in space, and see where they read.

A network is run under a `TorchDispatchMode`, which sees what reaches torch's dispatcher: also from
within `torch.jit.script`, `torch.jit.trace` and modules of `torch.compile` (which a working copy
runs uncompiled). Hooks on all modules tell in which of them an operation happens; what is called
within a scripted module is named after that one, as its own parts cannot be told apart.

Whether an operation moves the image or a map is a matter of the flow of the data, and not of the
order: a tensor is still the image where it was made from it by what looks at one position at a time
(pointwise functions, normalisation), pads, crops, views, joins or samples. What is no function of
the image at all, such as a table of positions that is resized, is not moved in the sense meant.

Out of sight are kernels that are no operation registered with torch under one of the names below
(compiled extensions called directly, NumPy), and samplings by indexing, ``gather`` or a matrix
product. Where a tensor comes out of what was not seen, or is read by computed indices, a `Watch`
notes the module.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.modules import module as every_module
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from invariance_probe.network import hooks
from invariance_probe.plane import coordinates


class Kind(StrEnum):
    """What an operation does, by the name that users know."""

    GRID_SAMPLE = "grid_sample"
    VOLUME = "grid_sample of a volume"
    INTERPOLATE = "interpolate"
    ROI_ALIGN = "roi_align"
    ROI_POOL = "roi_pool"
    PS_ROI_ALIGN = "ps_roi_align"
    PS_ROI_POOL = "ps_roi_pool"
    DEFORM_CONV = "deform_conv2d"

    @property
    def of_regions(self) -> bool:
        """Whether it returns one map for each of some boxes."""
        return self in {Kind.ROI_ALIGN, Kind.ROI_POOL, Kind.PS_ROI_ALIGN, Kind.PS_ROI_POOL}


class ActsOn(StrEnum):
    """What an operation moves: the image itself, or what layers made of it."""

    INPUT = "input"
    MAP = "map"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """Where in a network values are moved; the same in every pass.

    Attributes:
        kind: What it does.
        module: Name of the innermost module it happens in; empty for the whole.
        call: Which call of the module in a pass, from 1.
        place: Which operation of the same kind within that call, from 1.
    """

    kind: Kind
    module: str
    call: int
    place: int


@dataclass(kw_only=True)
class Sampling:
    """What an operation did in one pass.

    Attributes:
        operation: Which one.
        acts_on: What it read.
        read_size: Height and width of that, in cells.
        count: How many maps of that size it read from.
        times: How often the same was read, as by a deformable convolution tap by tap.
        positions: Where each output position read from, normalised, their mean where `times` is
            above 1; (part, height, width, 2), float64. None of a volume.
        returned: What came out, or the mean of it.
        shape: Of the tensor that the module returned in the end; None if it returned none.
    """

    operation: Operation
    acts_on: ActsOn
    read_size: tuple[int, int]
    count: int
    times: int
    positions: Float[Tensor, "part height width 2"] | None
    returned: Tensor
    shape: tuple[int, ...] | None = None


_Positions = Callable[[tuple[Any, ...], Tensor], Tensor]
"""From the arguments of an operation and what it returned to where it read."""


def _grid(args: tuple[Any, ...], out: Tensor) -> Tensor:
    del out
    grid, size = args[1].double(), args[0].shape[:-3:-1]
    # -1 and 1 are centres of the outermost cells there, and outer edges here
    aligned = args[4] if len(args) > 4 else True  # cuDNN's knows nothing else
    found: Tensor = grid * (1 - 1 / grid.new_tensor(size)) if aligned else grid
    return found


def _resized(args: tuple[Any, ...], out: Tensor) -> Tensor:
    del args  # edges to edges; the few that align corners are off by less than half a cell
    rows, columns = out.shape[-2:]
    like = out.new_empty(0, dtype=torch.float64)
    y, x = coordinates.cell_centres(rows, like), coordinates.cell_centres(columns, like)
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    return grid.expand(len(out), rows, columns, 2)


def _boxes(shift: Callable[[tuple[Any, ...]], float]) -> _Positions:
    """Positions of the centres of bins; `shift` says where the first pixel's centre lies."""

    def positions(args: tuple[Any, ...], out: Tensor) -> Tensor:
        height, width = args[0].shape[-2:]
        boxes = args[1].double()[:, 1:] * args[2] - shift(args)
        share_y, share_x = (
            (coordinates.cell_centres(count, boxes) + 1) / 2 for count in out.shape[-2:]
        )
        x = boxes[:, 0, None] + share_x * (boxes[:, 2] - boxes[:, 0])[:, None]
        y = boxes[:, 1, None] + share_y * (boxes[:, 3] - boxes[:, 1])[:, None]
        shape = (len(boxes), *out.shape[-2:])
        return coordinates.sampling_grid(
            x[:, None, :].expand(shape), y[:, :, None].expand(shape), height, width
        )

    return positions


def _deformed(args: tuple[Any, ...], out: Tensor) -> Tensor:
    """Mean of the taps of all groups."""
    maps, weight, offset, *_ = args
    stride_y, stride_x, pad_y, pad_x, dilation_y, dilation_x = args[5:11]
    height, width = maps.shape[-2:]
    mean = offset.double().unflatten(1, (-1, 2)).mean(1)

    def along(count: int, stride: int, pad: int, dilation: int, side: int) -> Tensor:
        steps = torch.arange(count, dtype=torch.float64, device=maps.device)
        return steps * stride - pad + dilation * (side - 1) / 2

    y = along(out.shape[-2], stride_y, pad_y, dilation_y, weight.shape[-2])
    x = along(out.shape[-1], stride_x, pad_x, dilation_x, weight.shape[-1])
    return coordinates.sampling_grid(mean[:, 1] + x, mean[:, 0] + y[:, None], height, width)


_OPERATIONS: dict[str, tuple[Kind, _Positions | None]] = {
    # the first is what inference mode sees of the others
    **dict.fromkeys(
        ("aten::grid_sampler", "aten::grid_sampler_2d", "aten::cudnn_grid_sampler"),
        (Kind.GRID_SAMPLE, _grid),
    ),
    "aten::grid_sampler_3d": (Kind.VOLUME, None),
    **{
        f"aten::{name}": (Kind.INTERPOLATE, _resized)
        for name in (
            *("upsample_nearest2d", "_upsample_nearest_exact2d", "upsample_bilinear2d"),
            *("upsample_bicubic2d", "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa"),
            "_upsample_lanczos2d_aa",
        )
    },
    "torchvision::roi_align": (Kind.ROI_ALIGN, _boxes(lambda args: 0.5 if args[6] else 0.0)),
    "torchvision::roi_pool": (Kind.ROI_POOL, _boxes(lambda _: 0.0)),
    "torchvision::ps_roi_align": (Kind.PS_ROI_ALIGN, _boxes(lambda _: 0.5)),
    "torchvision::ps_roi_pool": (Kind.PS_ROI_POOL, _boxes(lambda _: 0.0)),
    "torchvision::deform_conv2d": (Kind.DEFORM_CONV, _deformed),
}
"""What moves values in space: first argument, the maps that are read."""

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
        flow = self._flow(args[0]) if name in _OPERATIONS else None
        if flow is None or not self._frames:
            out = func(*args, **named)
            self._follow(func, (*args, *named.values()), out)
            return out
        kind, positions = _OPERATIONS[name]
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
        positions: _Positions | None,
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


class Staged(nn.Module):
    """A network that passes what some of its operations read and return through modules of its own.

    So `reads.0`, `returns.0`, `reads.1`, ... are layers like any other for `probe` and `recover`;
    the network's own are `network.NAME`. An operation that reads the same several times shows what
    it reads once, and each time what comes out.

    Args:
        network: Any module, which is not copied.
        operations: What `Watch` found in it.

    Attributes:
        network: What was given.
        operations: What was given.
        reads: What each operation reads passes through these.
        returns: What each operation returns passes through these.
    """

    def __init__(self, network: nn.Module, operations: Sequence[Operation]) -> None:
        super().__init__()
        self.network, self.operations = network, tuple(operations)
        self.reads = nn.ModuleList(nn.Identity() for _ in operations)
        self.returns = nn.ModuleList(nn.Identity() for _ in operations)

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Any:
        """Run the network.

        Args:
            images: Its input.

        Returns:
            What it returns.
        """
        return _Stages(self).run(images)


class _Stages(Watch):  # type: ignore[no-untyped-call]
    """Shows what is read and returned to the modules of a staged network."""

    def __init__(self, staged: Staged) -> None:
        super().__init__(staged.network)
        self._numbers = {each: number for number, each in enumerate(staged.operations)}
        self._reads, self._returns = staged.reads, staged.returns
        self._raised: BaseException | None = None

    def run(self, images: Tensor) -> object:
        try:
            return super().run(images)
        except Exception:
            # within what torch.jit compiled, an error of ours becomes one of its own
            if self._raised is not None:
                raise self._raised from None
            raise

    def reads(self, operation: Operation, maps: Tensor) -> Tensor:
        return self._through(self._reads, operation, maps)

    def returns(self, operation: Operation, maps: Tensor) -> Tensor:
        return self._through(self._returns, operation, maps)

    def _saw(self, sampling: Sampling, *_: object) -> None:
        """Nothing is kept: the modules' hooks do that."""

    def _through(self, stages: nn.ModuleList, operation: Operation, maps: Tensor) -> Tensor:
        number = self._numbers.get(operation)
        if number is None:
            return maps
        try:
            passed: Tensor = stages[number](maps)
        except BaseException as error:
            self._raised = error
            raise
        return passed


def blocks(
    positions: Float[Tensor, "part height width 2"],
) -> Float[Tensor, "part_or_block _ width 2"]:
    """Part grids that are several affine ones, one below the other.

    So several boxes, or the taps of a convolution, are read at once. Within an affine part steps
    from row to row are all the same; from one part to the next they are not.

    Args:
        positions: Where is read, normalised.

    Returns:
        The parts, of three rows at least; what was given where there are none.
    """
    height = positions.shape[1]
    bend = positions.diff(n=2, dim=1).square().sum((0, 2, 3))
    # beside a jump steps are small, and rounding is nothing
    step = positions.diff(dim=1).square().sum((0, 2, 3)).median()
    if height < 2 * _LEAST or not float(bend.sum()) > float(step):
        return positions
    for count in range(2, height // _LEAST + 1):
        rows, left_over = divmod(height, count)
        if left_over:
            continue
        edges = torch.arange(rows, height, rows, device=bend.device)
        between = float(bend[edges - 1].sum() + bend[edges - 2].sum())
        if between > _BENT * float(bend.sum()):
            return positions.reshape(-1, rows, *positions.shape[2:])
    return positions


_LEAST = 3
"""Rows of a part: of two, nothing is left within them that could be straight."""
_BENT = 0.9
"""Share of the bends that lies between parts. A smooth warp has at most 2 / 3 of them there."""


def pull_backs(
    positions: Float[Tensor, "part height width 2"], read_size: tuple[int, int]
) -> Float[Tensor, "part 3 3"]:
    """Fit affine maps to where is read, by least squares.

    Args:
        positions: Normalised coordinates in what is read.
        read_size: Its height and width, in cells.

    Returns:
        Where each position of the output reads from, in normalised coordinates of what is read: the
        output's cells are taken to be as large, about the same centre, so that an output of half as
        many cells that shows all of a map is that map at half the size. NaN where a position is not
        finite, or the positions do not tell.
    """
    _, height, width, _ = positions.shape
    if min(height, width) < 2:
        return positions.new_full((len(positions), 3, 3), torch.nan)
    y = coordinates.cell_centres(height, positions) * height / read_size[0]
    x = coordinates.cell_centres(width, positions) * width / read_size[1]
    columns, rows = torch.meshgrid(x, y, indexing="xy")
    design = torch.stack([columns, rows, torch.ones_like(rows)], dim=-1).flatten(0, 1)
    theta = (torch.linalg.pinv(design) @ positions.flatten(1, 2)).mT
    return coordinates.homogeneous(theta.where(theta.isfinite(), torch.nan))
