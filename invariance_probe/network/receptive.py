"""Where the cells of every map lie on the input: strides and offsets, measured.

They are measured on a neutral copy of the model, in which all weights of a filter are equal and
positive and normalisation is left out, so that each receptive field is symmetric about its centre
whatever was learnt. Its response to a ramp across the input, divided by its response to a constant,
is then the position of that centre, for all cells of all layers in a few passes. Rising and falling
ramps are combined, because a maximum over a window follows its higher edge. Pooled vectors (gates)
are held at their value for a constant input. The canvas is long along the measured axis, so that
there are cells whose receptive fields the border does not touch.
"""

import copy
import math
from collections.abc import Set
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from invariance_probe.network.hooks import Key, run_hooked

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


@dataclass(frozen=True)
class Place:
    """Where a map lies on the input.

    Attributes:
        stride: Distance of rows and of columns, in input pixels.
        offset: Position of the first row and column, in input pixels.
        channels_last: Whether the map is (batch, height, width, channel).
    """

    stride: tuple[float, float]
    offset: tuple[float, float]
    channels_last: bool


def is_channels_last(shape: tuple[int, ...], size: tuple[int, int]) -> bool:
    """Guess from one shape whether a map is (batch, height, width, channel).

    Args:
        shape: Shape of the map.
        size: Height and width of the input.

    Returns:
        Whether only that reading has the input's proportions.
    """
    first = abs(math.log(shape[2] / shape[3] * size[1] / size[0]))
    last = abs(math.log(shape[1] / shape[2] * size[1] / size[0]))
    return last < first / 4 and shape[1] <= size[0] and shape[2] <= size[1]


@dataclass(frozen=True)
class _Line:
    """Stride and offset along one axis of the input, and the output's dimension that follows it."""

    stride: float
    offset: float
    dim: int


def measure_places(
    model: nn.Module, images: Tensor, shapes: dict[Key, torch.Size]
) -> dict[Key, Place]:
    """Measure where the cells of maps lie on the input.

    Args:
        model: Any module; it is copied.
        images: An image of the size that the model takes.
        shapes: Shapes of the maps, by output.

    Returns:
        The places of those maps that could be measured.
    """
    try:
        neutral = _neutralise(model)
    except Exception:  # what cannot be copied is not measured, and the listing says so
        return {}
    rows = _measure_lines(neutral, images, shapes, axis=2)
    columns = _measure_lines(neutral, images, shapes, axis=3)
    return {
        key: Place(
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
            responses = _ramp_responses(model, images, axis, size, shapes.keys() - lines.keys())
            for key in shapes.keys() & responses.keys() - lines.keys():
                now = tuple(responses[key].shape[1:])
                longer = [d for d in (1, 2, 3) if now[d] > shapes[key][d]]
                if not extra:
                    longer = [axis - 1 if is_channels_last(now, size) else axis]
                line = _fit_line(responses[key], longer, size[axis - 2])
                if line is not None:
                    lines[key] = line
            if shapes.keys() <= responses.keys() | lines.keys():
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
    model: nn.Module, images: Tensor, axis: int, size: tuple[int, int], wanted: Set[Key]
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
            if key in wanted:
                outputs[key] = tensor.detach().clone()
            return hold(key, tensor)

        try:
            with torch.no_grad():
                run_hooked(model, image, visit)
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
