"""List and tap the layers of any `torch.nn.Module`, and measure how their maps lie on the input.

Convention:
    A layer is named as in ``named_modules()``. A module that is called several times in one pass
    gives ``name#1``, ``name#2``, ...; one that returns a tuple, list or dict gives one map for each
    tensor in it, ``name:out.0``, ``name:out.1`` or ``name:out.KEY``. A map's *stride* is the
    distance between neighbouring cells in input pixels, its *offset* the position of the first
    cell, where 0 is the centre of the first pixel: cell j lies at ``offset + stride * j``, the
    centre of its receptive field (Araujo, Norris, Sim, "Computing receptive fields of
    convolutional neural networks", Distill 2019, who derive it from the architecture).
"""

import copy
import difflib
import fnmatch
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn

from invariance_probe import geometry
from invariance_probe.errors import InvalidInputError

_RESIDUE = 32
"""Canvases for the measurement of strides keep the input's size modulo this, so that a padding
chosen from the size ("same" padding) comes out as it does on the input."""
_EXTRA = (256, 1024, 2560, 0)
"""Pixels added to the measured side, tried in turn until the deepest receptive fields fit in; the
last for models that take one size only."""
_PRECISION = 0.05
"""What the measurement of strides and offsets is good for, in pixels."""
_UNTOUCHED = 1e-5
"""Share of its weight that a receptive field may lose outside the canvas and still count."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One map that a model computes.

    Attributes:
        name: Its name, see the module's convention.
        module: Name of the module that returns it.
        type: Class of that module.
        call: Which call of the module in one pass, from 1.
        path: Where in the module's output it stands, empty if the output is the tensor itself.
        channels: Number of channels, 0 where the output is no map.
        height: Height, in cells.
        width: Width, in cells.
        channels_last: Whether the module returns (batch, height, width, channel).
        stride_y: Distance of rows, in input pixels.
        stride_x: Distance of columns, in input pixels.
        offset_y: Position of the first row, in input pixels.
        offset_x: Position of the first column, in input pixels.
        measured: Whether stride and offset were measured; otherwise the map is taken to cover the
            input evenly.
        reason: Why the output is no spatial map; empty if it is one.
    """

    name: str
    module: str
    type: str
    call: int
    path: str
    channels: int
    height: int
    width: int
    channels_last: bool = False
    stride_y: float = math.nan
    stride_x: float = math.nan
    offset_y: float = math.nan
    offset_x: float = math.nan
    measured: bool = False
    reason: str = ""

    @property
    def spatial(self) -> bool:
        """Whether there is a map to align."""
        return not self.reason

    def pixel_from_cell(self) -> Float[Tensor, "3 3"]:
        """Map cell indices to input index coordinates.

        Returns:
            A 3 x 3 matrix, float64.
        """
        return geometry.scale_and_shift(self.stride_x, self.stride_y, self.offset_x, self.offset_y)

    def oracle(
        self, transform_matrix: Float[Tensor, "3 3"], height: int, width: int
    ) -> Float[Tensor, "2 3"]:
        """Compute the warp that theory leaves for this map (claim P3).

        Args:
            transform_matrix: Motion of the input's content, in centred pixel coordinates.
            height: Height of the input, in pixels.
            width: Width of the input, in pixels.

        Returns:
            The pull-back by which the moved map is read, in normalised coordinates: it says where
            in the moved map the content of each cell has gone.
        """
        index_from_centred = geometry.index_from_centred(height, width)
        pixel_from_cell = self.pixel_from_cell()
        moved_pixel_from_pixel = (
            index_from_centred @ transform_matrix @ torch.linalg.inv(index_from_centred)
        )
        moved_cell_from_cell = (
            torch.linalg.inv(pixel_from_cell) @ moved_pixel_from_pixel @ pixel_from_cell
        )
        return geometry.theta_from_index_matrix(moved_cell_from_cell, self.height, self.width)


def list_layers(
    model: nn.Module, images: Float[Tensor, "batch channel height width"]
) -> pd.DataFrame:
    """List everything that a model computes, with the place of each map on the input.

    Args:
        model: Any module; it is left as it was found.
        images: Images as the model takes them; the first is passed through it.

    Returns:
        One row for each output: ``name``, ``type``, ``call``, ``channels``, ``height``, ``width``,
        ``stride`` and ``offset`` (pixels; the mean of both axes, which differ in few networks and
        stand in ``stride_y``, ``stride_x``, ``offset_y``, ``offset_x``), ``measured``, ``spatial``
        and, where there is no spatial map, the ``reason``.
    """
    rows = [
        {
            "name": layer.name,
            "type": layer.type,
            "call": layer.call,
            "channels": layer.channels,
            "height": layer.height,
            "width": layer.width,
            "stride": (layer.stride_y + layer.stride_x) / 2,
            "offset": (layer.offset_y + layer.offset_x) / 2,
            "stride_y": layer.stride_y,
            "stride_x": layer.stride_x,
            "offset_y": layer.offset_y,
            "offset_x": layer.offset_x,
            "measured": layer.measured,
            "spatial": layer.spatial,
            "reason": layer.reason,
        }
        for layer in find_layers(model, images)
    ]
    return pd.DataFrame(rows)


def find_layers(
    model: nn.Module, images: Float[Tensor, "batch channel height width"]
) -> list[Layer]:
    """Do what `list_layers` does, as objects.

    Args:
        model: Any module; it is left as it was found.
        images: Images as the model takes them; the first is passed through it.

    Returns:
        All outputs, in the order in which they are computed.
    """
    with evaluating(model):
        outputs = record(model, images[:1])
    counts: dict[str, int] = {}
    for key in outputs:
        counts[key.module] = max(counts.get(key.module, 0), key.call)
    types = {name: type(module).__name__ for name, module in model.named_modules()}
    size = (images.shape[-2], images.shape[-1])
    places = _measure_places(model, images[:1], outputs)
    layers = []
    for key, output in outputs.items():
        name = key.module or "(model)"
        if counts[key.module] > 1:
            name += f"#{key.call}"
        if key.path:
            name += f":out.{key.path}"
        layer = Layer(
            name=name,
            module=key.module,
            type=types[key.module],
            call=key.call,
            path=key.path,
            channels=0,
            height=0,
            width=0,
        )
        layers.append(_describe(layer, output, size, places.get(key)))
    return layers


def select_layers(layers: Sequence[Layer], patterns: Sequence[str]) -> list[Layer]:
    """Choose layers by name.

    Args:
        layers: What `find_layers` returned.
        patterns: Names or shell-style patterns. A module's name stands for all its calls and
            outputs, ``(model)`` for the output of the whole; a pattern takes the spatial ones among
            the modules it matches.

    Returns:
        The chosen layers, in the order of `layers`.

    Raises:
        InvalidInputError: If a pattern matches nothing, or no spatial map.
    """
    chosen: set[str] = set()
    for pattern in patterns:
        exact = [layer for layer in layers if pattern in {layer.name, layer.module or "(model)"}]
        # the whole model's output repeats its last layer's: only its own name means it
        matched = exact or [
            layer
            for layer in layers
            if layer.module and fnmatch.fnmatchcase(layer.name, pattern)
        ]
        if not matched:
            names = list(dict.fromkeys(layer.name for layer in layers))
            close = difflib.get_close_matches(pattern, names, n=3, cutoff=0.4)
            hint = f"did you mean {', '.join(close)}?" if close else "see `invariance-probe layers`"
            raise InvalidInputError(f"unknown layer {pattern!r}; {hint}")
        spatial = [layer for layer in matched if layer.spatial]
        if not spatial:
            raise InvalidInputError(
                f"layer {matched[0].name!r} has no spatial map ({matched[0].reason}); choose a "
                "layer with `spatial` true in `invariance-probe layers`"
            )
        chosen.update(layer.name for layer in spatial)
    return [layer for layer in layers if layer.name in chosen]


def tap(
    model: nn.Module,
    images: Float[Tensor, "batch channel height width"],
    layers: Sequence[Layer],
) -> dict[str, Float[Tensor, "batch _ _ _"]]:
    """Compute the maps of some layers.

    Args:
        model: The model that the layers belong to, in evaluation mode (see `evaluating`).
        images: Images as the model takes them.
        layers: Which maps to keep.

    Returns:
        The maps by the layers' names, channels first.
    """
    wanted = {Key(layer.module, layer.call, layer.path): layer for layer in layers}
    outputs = record(model, images, set(wanted))
    return {
        layer.name: outputs[key].movedim(-1, 1) if layer.channels_last else outputs[key]
        for key, layer in wanted.items()
    }


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


@dataclass(frozen=True)
class Key:
    """Where an output comes from: module, call of it (from 1), place in what it returned."""

    module: str
    call: int
    path: str


def record(
    model: nn.Module, images: Tensor, wanted: set[Key] | None = None
) -> dict[Key, Tensor]:
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

    try:
        _run_hooked(model, images, keep, None if wanted is None else {k.module for k in wanted})
    except _AllSeenError:
        pass  # what the model would do after the last wanted layer is not needed
    return outputs


class _AllSeenError(Exception):
    """Ends a forward pass early."""


def _run_hooked(
    model: nn.Module,
    images: Tensor,
    visit: Callable[[Key, Tensor], Tensor | None],
    modules: set[str] | None = None,
) -> None:
    """Run a model; `visit` sees every output tensor and may return another in its place."""
    calls: dict[str, int] = {}

    def hook(name: str) -> Callable[[nn.Module, object, object], object]:
        def visit_output(_module: nn.Module, _inputs: object, output: object) -> object:
            calls[name] = calls.get(name, 0) + 1
            return _map_tensors(output, lambda path, t: visit(Key(name, calls[name], path), t))

        return visit_output

    handles = []
    try:
        for name, module in model.named_modules():
            if modules is None or name in modules:
                handles.append(module.register_forward_hook(hook(name)))
        model(images)
    finally:
        for handle in handles:
            handle.remove()


def _map_tensors(
    output: object, visit: Callable[[str, Tensor], Tensor | None], path: str = ""
) -> object:
    """Walk nested tuples, lists and dicts; None if nothing is to be replaced."""
    if isinstance(output, Tensor):
        return visit(path, output)
    dot = f"{path}." if path else ""
    if isinstance(output, dict):
        new = {key: _map_tensors(value, visit, f"{dot}{key}") for key, value in output.items()}
        if any(value is not None for value in new.values()):
            return {key: output[key] if new[key] is None else new[key] for key in output}
    elif isinstance(output, tuple | list):
        items = [_map_tensors(value, visit, f"{dot}{i}") for i, value in enumerate(output)]
        if any(item is not None for item in items):
            merged = [old if item is None else item for old, item in zip(output, items, strict=True)]
            return type(output)(*merged) if hasattr(output, "_fields") else type(output)(merged)
    return None


@dataclass(frozen=True)
class _Place:
    """Stride and offset along y and x, and whether channels come last."""

    stride: tuple[float, float]
    offset: tuple[float, float]
    channels_last: bool


def _describe(
    layer: Layer, output: Tensor, size: tuple[int, int], place: _Place | None
) -> Layer:
    """Fill in shape, stride and offset, or the reason why there is no map."""
    reason = _why_no_map(output)
    if output.dim() != 4:
        return replace(layer, reason=reason)
    shape = tuple(output.shape)
    channels_last = _is_channels_last(shape, size) if place is None else place.channels_last
    _, channels, height, width = shape
    if channels_last:
        _, height, width, channels = shape
    layer = replace(
        layer,
        channels=channels,
        height=height,
        width=width,
        channels_last=channels_last,
        reason=reason,
    )
    if reason:
        return layer
    if place is not None:
        stride, offset = place.stride, place.offset
    else:
        stride = (size[0] / height, size[1] / width)
        offset = ((stride[0] - 1) / 2, (stride[1] - 1) / 2)
    return replace(
        layer,
        stride_y=stride[0],
        stride_x=stride[1],
        offset_y=offset[0],
        offset_x=offset[1],
        measured=place is not None,
    )


def _why_no_map(output: Tensor) -> str:
    """Why an output is no map to align; empty if it is one."""
    if output.dim() != 4:
        return f"output of shape {tuple(output.shape)} has no two spatial dimensions"
    if not output.dtype.is_floating_point:
        return f"output of type {output.dtype} is no map of real numbers"
    if sum(n > 1 for n in output.shape[1:]) < 2 or output.shape[-1] * output.shape[-2] == 1:
        return "a 1 x 1 map has no position to move"
    return ""


def _is_channels_last(shape: tuple[int, ...], size: tuple[int, int]) -> bool:
    """Guess from one shape whether a map is (batch, height, width, channel)."""
    first = abs(math.log(shape[2] / shape[3] * size[1] / size[0]))
    last = abs(math.log(shape[1] / shape[2] * size[1] / size[0]))
    return last < first / 4 and shape[1] <= size[0] and shape[2] <= size[1]


@dataclass(frozen=True)
class _Line:
    """Stride and offset along one axis of the input, and the output's dimension that follows it."""

    stride: float
    offset: float
    dim: int


def _measure_places(
    model: nn.Module, images: Tensor, outputs: dict[Key, Tensor]
) -> dict[Key, _Place]:
    """Measure where the cells of maps lie on the input, from a neutral copy of the model.

    In the copy all weights of a filter are equal and positive and normalisation is left out, so
    that each receptive field is symmetric about its centre whatever was learnt. Its response to a
    ramp across the input, divided by its response to a constant, is then the position of that
    centre, for all cells of all layers in a few passes. Rising and falling ramps are combined,
    because a maximum over a window follows its higher edge. Pooled vectors (gates) are held at
    their value for a constant input. The canvas is long along the measured axis, so that there are
    cells whose receptive fields the border does not touch.
    """
    shapes = {key: out.shape for key, out in outputs.items() if not _why_no_map(out)}
    try:
        neutral = _neutralise(model)
    except Exception:  # what cannot be copied is not measured, and the listing says so
        return {}
    rows = _measure_lines(neutral, images, shapes, axis=2)
    columns = _measure_lines(neutral, images, shapes, axis=3)
    return {
        key: _Place(
            (rows[key].stride, columns[key].stride),
            (rows[key].offset, columns[key].offset),
            columns[key].dim == 2,
        )
        for key in rows.keys() & columns.keys()
        if columns[key].dim == rows[key].dim + 1
    }


def _measure_lines(
    model: nn.Module, images: Tensor, shapes: dict[Key, torch.Size], axis: int
) -> dict[Key, _Line]:
    """Fit stride and offset along one axis of the input (2 for y, 3 for x)."""
    lines: dict[Key, _Line] = {}
    native = images.shape[2:]
    across = native[3 - axis]
    narrow = across if across <= _RESIDUE else across % _RESIDUE + _RESIDUE
    for extra in _EXTRA:
        # a narrow canvas is fast; where windows do not fit into it, the full one is
        for width in dict.fromkeys((narrow, across) if extra else (across,)):
            size = (native[0] + extra, width) if axis == 2 else (width, native[1] + extra)
            responses = _ramp_responses(model, images, axis, size)
            for key in shapes.keys() & responses.keys() - lines.keys():
                now = tuple(responses[key].shape[1:])
                longer = [d for d in (1, 2, 3) if now[d] > shapes[key][d]]
                if not extra:
                    longer = [axis - 1 if _is_channels_last(now, size) else axis]
                line = _fit_line(responses[key], longer, size[axis - 2])
                if line is not None:
                    lines[key] = line
            if shapes.keys() <= responses.keys():
                break
        if len(lines) == len(shapes):
            break
    return lines


def _fit_line(responses: Tensor, longer: list[int], length: int) -> _Line | None:
    """Fit the cells' positions, from the responses (2, batch, ...) to constant and ramp."""
    if len(longer) != 1:
        return None
    constant, ramp = (r.movedim(longer[0], 0).flatten(1).double() for r in responses)
    # one line of cells suffices: the one that responds most, as the border cuts it least
    best = constant.abs().sum(0).argmax()
    weight, slope = constant[:, best], ramp[:, best]
    top = weight.abs().max()
    if not bool(weight.isfinite().all() & slope.isfinite().all()) or float(top) == 0:
        return None
    cells = torch.nonzero((weight / top - 1).abs() <= _UNTOUCHED).flatten()
    # three cells in a row: two may be alike by symmetry though the border cuts both. A maximum
    # hides a cut neighbour, so the outermost cells are left out
    cells = cells[len(cells) // 4 : len(cells) - len(cells) // 4]
    if len(cells) < 3:
        return None
    positions = (slope[cells] / weight[cells] + 1) * (length / 2) - 0.5
    number = cells.double()
    deviation = number - number.mean()
    stride = float((deviation * positions).sum() / deviation.square().sum())
    offset = float(positions.mean() - stride * number.mean())
    worst = float((positions - offset - stride * number).abs().max())
    if stride <= 0 or worst > 0.1 * stride:
        return None
    return _Line(_snap(stride), _snap(offset), longer[0])


def _snap(pixels: float) -> float:
    """Round to half pixels, where windows of whole pixels have their centres, if it is close."""
    return round(2 * pixels) / 2 if abs(round(2 * pixels) / 2 - pixels) <= _PRECISION else pixels


def _ramp_responses(
    model: nn.Module, images: Tensor, axis: int, size: tuple[int, int]
) -> dict[Key, Tensor]:
    """Responses to a constant and to a ramp from -1 to 1 (outer edges), stacked, by output."""
    length = size[axis - 2]
    ramp = (2 * torch.arange(length, device=images.device) + 1) / length - 1
    view = [1, 1, 1, 1]
    view[axis] = length
    base, step = 1e-2, 5e-3
    ramp = ramp.view(view).expand(1, images.shape[1], *size)
    flat = torch.ones_like(ramp)
    gates: dict[Key, Tensor] = {}

    def hold(key: Key, tensor: Tensor) -> Tensor | None:
        vector = tensor.dim() < 4 or tensor.shape[-1] * tensor.shape[-2] == 1
        if not vector or not tensor.dtype.is_floating_point:
            return None
        return gates.setdefault(key, tensor.detach().clone())

    def respond(image: Tensor) -> dict[Key, Tensor]:
        outputs: dict[Key, Tensor] = {}

        def visit(key: Key, tensor: Tensor) -> Tensor | None:
            held = hold(key, tensor)
            outputs[key] = (tensor if held is None else held).detach().clone()
            return held

        try:
            with torch.no_grad():
                _run_hooked(model, image, visit)
        except (RuntimeError, ValueError, AssertionError, IndexError):
            pass  # a head that insists on one size: the layers before it have answered
        return outputs

    respond(base * flat)
    responses: dict[Key, Tensor] = {}
    pairs = [
        (respond(base * flat + step * wave), respond(base * flat - step * wave))
        for wave in (flat, ramp)
    ]
    for key in pairs[0][0]:
        if all(key in outputs for pair in pairs for outputs in pair):
            rays = [up[key] - down[key] for up, down in pairs]
            if all(ray.shape == rays[0].shape and ray.dim() == 4 for ray in rays):
                responses[key] = torch.stack(rays)
    return responses


def _neutralise(model: nn.Module) -> nn.Module:
    """Copy a model, all weights of a filter equal and positive, normalisation left out."""
    neutral = copy.deepcopy(model).float().eval()
    for name, module in list(neutral.named_modules()):
        # a name is all that norms of different libraries have in common
        if "norm" in type(module).__name__.lower() and not list(module.children()) and name:
            parent, _, child = name.rpartition(".")
            setattr(neutral.get_submodule(parent), child, nn.Identity())
    with torch.no_grad():
        for name, parameter in neutral.named_parameters():
            if parameter.dim() >= 2:
                parameter.fill_(1 / parameter[0].numel())
            else:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
    return neutral
