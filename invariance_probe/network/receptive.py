"""Where the cells of every map lie on the input: strides and offsets, measured.

They are measured on a neutral copy of the model, in which all weights of a filter are equal and
positive, normalisation is left out, a mean stands for the maximum over a window and the identity
for a warp that is predicted, so that each receptive field is symmetric about its centre whatever
was learnt, and weights of both signs cannot cancel. The copy is shown a bump on a constant ground,
once raised and once lowered: the difference of the two answers is the bump as the map sees it, free
of what bent activations add to both. Its centre of mass is where the cells say that the bump is.
Three bumps, some way apart, give the stride, the offset and a check:

- what answers a bump must weigh the same wherever the bump is, or the border has cut it;
- the centre must move in proportion, or the map does not follow the input evenly;
- the map must grow with the canvas by the stride that was found.

What fails is tried again on a longer canvas, and called unmeasured in the end.

Why a triangular bump: its values at p + r j, summed over j with the weights of any receptive field,
depend on p by the field's centre alone if its reach is a multiple of the stride r (it is then two
boxes convolved, and a box of n strides holds each phase of the grid n times). So the centre of mass
is exact through any number of strides, upsampling and top-down paths, as long as they divide the
reach. Where the stride that was found does not, the map is measured again with a reach of its own,
and what never divides one is not believed.

Pooled vectors (gates) are held at their value for the constant ground, and what the far ends of the
canvas answer to a bump is taken off: a context that all cells share says nothing of where they are.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from invariance_probe.network.copies import working_copy
from invariance_probe.network.hooks import Key, run_hooked
from invariance_probe.network.tokens import Grids, tokens_before
from invariance_probe.plane import sampling

_RESIDUE = 32
"""Canvases for the measurement of strides keep the input's size modulo this, so that a padding
chosen from the size ("same" padding) comes out as it does on the input."""
_EXTRA = (256, 1024, 2560, 0)
"""Pixels added to the measured side, tried in turn until the deepest receptive fields fit in; the
last for models that take one size only."""
_REACHES = (192, 96, 48, 24, 12, 8, 4)
"""Pixels from a bump's top to its foot: the longest that the canvas has room for. Multiples of as
many strides as possible: of 64 and 48, of 32, ..."""
_GUESSES = 3
"""How often a stride is measured anew with a reach that it divides, as the first guess may be off
by a pixel."""
_MULTIPLE = 0.05
"""By how much of a stride a reach may miss a multiple of it."""
_OF_POSITIONS = re.compile(r"(^|[._])pos(_|ition|$)")
"""Names of parameters that are added to tokens, or to their likeness, by position."""
_BUMPS = 3
_ROOM = 4
"""Reaches that a canvas must hold: the three bumps take three, and the ends must not see them."""
_PRECISION = 0.05
"""What the measurement of strides and offsets is good for, in pixels."""
_CUT = 2e-5
"""Share of its weight that the answer to a bump may lose or gain from place to place."""
_BEND = 0.01
"""Cells by which the centre of the answer may miss a straight line."""
_ALIASING = 0.03
"""The same two for a reach that the stride does not divide, which is a first guess."""
_AT_ONCE = 2**20
"""Pixels of all images of bumps shown together, at most: each takes memory in the model."""
_ENDS = 16
"""The outermost 1 / _ENDS of the cells at both ends are too far from the bumps to see them."""


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

    @property
    def period(self) -> int:
        """Pixels after which the cells lie on the pixels as before; 1 where they lie closer."""
        return max(1, round(self.stride))

    def divides(self, reach: int) -> bool:
        """Say whether a reach holds each phase of the cells equally often.

        Args:
            reach: Pixels.

        Returns:
            Whether it is a multiple of the stride.
        """
        if self.stride <= 1:
            return True
        times = max(1, round(reach / self.stride))
        miss = abs(reach / times - self.stride)
        return miss <= _PRECISION and miss * times <= _MULTIPLE * self.stride


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
    """Measure stride and offset along one axis of the input (2 for y, 3 for x)."""
    lines: dict[Key, _Line] = {}
    fixed: set[Key] = set()  # maps of one size whatever the canvas: their cells have no stride
    native = images.shape[2:]
    across = native[3 - axis]
    narrow = across if across <= _RESIDUE else across % _RESIDUE + _RESIDUE
    for extra in _EXTRA:
        length = native[axis - 2] + extra
        reach = next((r for r in _REACHES if _ROOM * r <= length), 1)
        # a narrow canvas is fast; where windows do not fit into it, the full one is
        for width in dict.fromkeys((narrow, across) if extra else (across,)):
            size = (length, width) if axis == 2 else (width, length)
            left = {key: shapes[key] for key in shapes.keys() - lines.keys() - fixed}
            if not left:
                return lines
            answers = _answers(model, images, axis, size, left.keys(), reach)
            if extra:
                fixed |= {key for key in answers if not _longer(answers[key], left[key])}
            guesses = {reach: _fit_lines(answers, left, axis, extra, size, reach)}
            for _ in range(_GUESSES):
                odd: dict[int, set[Key]] = {}
                for own, found in guesses.items():
                    lines |= {key: line for key, line in found.items() if line.divides(own)}
                    for key, line in found.items():
                        # the longest reach that has room and that the stride divides
                        if not line.divides(own) and line.period <= reach:
                            odd.setdefault(reach // line.period * line.period, set()).add(key)
                guesses = {
                    own: _fit_lines(
                        _answers(model, images, axis, size, keys, own),
                        {key: left[key] for key in keys},
                        axis,
                        extra,
                        size,
                        own,
                    )
                    for own, keys in odd.items()
                }
            if shapes.keys() <= answers.keys() | lines.keys():
                break
    return lines


def _fit_lines(
    answers: dict[Key, Tensor],
    shapes: dict[Key, torch.Size],
    axis: int,
    extra: int,
    size: tuple[int, int],
    reach: int,
) -> dict[Key, _Line]:
    """Fit all outputs whose answers to the bumps stand the checks."""
    lines = {}
    for key in shapes.keys() & answers.keys():
        now = tuple(answers[key].shape[2:])
        # the dimension of the output that follows this axis is the one that the canvas makes longer
        longer = _longer(answers[key], shapes[key])
        if not extra:
            longer = [axis - 2 if is_channels_last((1, *now), size) else axis - 1]
        if len(longer) != 1:
            continue
        profile = answers[key].movedim(longer[0] + 2, 1).flatten(2).double().sum(2)
        line = _fit_line(profile, longer[0] + 1, size[axis - 2], reach)
        grown = now[longer[0]] - shapes[key][longer[0] + 1]
        # both sizes are rounded to whole cells
        if line is not None and abs(grown * line.stride - extra) <= 2 * line.stride:
            lines[key] = line
    return lines


def _longer(answer: Tensor, shape: torch.Size) -> list[int]:
    """Dimensions of an output, but for the batch, that a longer canvas makes longer."""
    return [d for d in (0, 1, 2) if answer.shape[d + 2] > shape[d + 1]]


def _fit_line(profile: Tensor, dim: int, length: int, reach: int) -> _Line | None:
    """Fit stride and offset to the answers (bump, cell) to bumps at `_tops`; None if bad."""
    cells = profile.shape[1]
    end = max(1, cells // _ENDS)
    ends = torch.stack([profile[:, :end].mean(1), profile[:, -end:].mean(1)])
    top = profile.abs().max()
    if not bool(profile.isfinite().all()) or float(top) == 0:
        return None
    context = ends.mean()
    cut = float((ends - context).abs().max() / top)  # what reaches the ends is cut there
    profile = profile - context
    weight = profile.sum(1)
    number = torch.arange(cells, dtype=torch.float64, device=profile.device)
    centre = (profile @ number / weight).tolist()
    if not -math.inf < centre[0] < centre[1] < centre[2] < math.inf:
        return None
    tops = _tops(length, reach)
    stride = (tops[2] - tops[0]) / (centre[2] - centre[0])
    offset = sum(tops) / _BUMPS - stride * sum(centre) / _BUMPS
    bend = abs(centre[0] - 2 * centre[1] + centre[2])
    change = float((weight / weight.mean() - 1).abs().max())
    line = _Line(_snap(stride) or stride, _snap(offset), dim)
    exact = line.divides(reach)
    if cut > _CUT or change > (_CUT if exact else _ALIASING):
        return None
    middle = offset + stride * (cells - 1) / 2
    # the map's middle is the canvas's, but for what a stride leaves over at the far end
    if bend > (_BEND if exact else _ALIASING) or abs(middle - (length - 1) / 2) > stride:
        return None
    return line


def _tops(length: int, reach: int) -> list[int]:
    """Pixels at which the bumps are highest: the canvas's middle, and half a reach to each side."""
    return [length // 2 + step * max(1, reach // 2) for step in (-1, 0, 1)]


def _snap(pixels: float) -> float:
    """Round to half pixels, where windows of whole pixels have their centres, if it is close."""
    return round(2 * pixels) / 2 if abs(round(2 * pixels) / 2 - pixels) <= _PRECISION else pixels


def _answers(
    model: nn.Module,
    images: Tensor,
    axis: int,
    size: tuple[int, int],
    wanted: Set[Key],
    reach: int,
) -> dict[Key, Tensor]:
    """Answers to the bumps, stacked (bump, 1, ...), by output."""
    length = size[axis - 2]
    view = [1, 1, 1, 1]
    view[axis] = length
    pixel = torch.arange(length, device=images.device)
    gates: dict[Key, Tensor] = {}
    before = tokens_before(model)
    contexts = {
        name
        for name, module in model.named_modules()
        if "att" in f"{name.rpartition('.')[2]} {type(module).__name__}".lower()
    }
    # small beside 1, where smooth activations are straight; blocks of attention make it grow
    base = 1e-6 if contexts else 1e-2
    ground = torch.full((1, images.shape[1], *size), base, device=images.device)
    alone = [True]  # whether all outputs so far keep apart what stands side by side in a batch

    def hold(key: Key, tensor: Tensor) -> Tensor | None:
        vector = tensor.dim() < 4 or tensor.shape[-1] * tensor.shape[-2] == 1
        if not vector or not tensor.dtype.is_floating_point:
            return None
        gate = gates.setdefault(key, tensor.detach().clone())
        # held while one image was shown, and the same for all of several
        several = gate.dim() > 0 and gate.shape[0] == 1 and gate.shape[1:] == tensor.shape[1:]
        return gate.expand_as(tensor).clone() if several else gate

    def respond(image: Tensor) -> dict[Key, Tensor]:
        outputs: dict[Key, Tensor] = {}
        grids = Grids(before, *size)

        def visit(key: Key, tensor: Tensor) -> Tensor | None:
            tokens = grids.see(tensor)
            alone[0] &= tensor.dim() in {2, 4} and len(tensor) == len(image)
            if key in wanted:
                outputs[key] = (tensor if tokens is None else tokens.read(tensor)).detach().clone()
            parted = tensor.dim() == 3 and len(tensor) != 1  # the tokens of windows
            attends = key.module in contexts and (tokens is not None or parted)
            if attends or grids.is_mixed(tensor.shape):
                # adds a context to tokens, which in a copy without norms outgrows them
                return torch.zeros_like(tensor)
            return hold(key, tensor) if tokens is None else None

        try:
            with torch.no_grad(), _Symmetric():
                run_hooked(model, image, visit)
        except (RuntimeError, ValueError, AssertionError, IndexError):
            pass  # a head that insists on one size: the layers before it have answered
        return outputs

    answering = respond(ground).keys()
    bumps = [
        base / 2 * (1 - (pixel - top).abs() / reach).clamp(min=0).view(view)
        for top in _tops(length, reach)
    ]
    shown = [image for bump in bumps for image in (ground + bump, ground - bump)]
    if alone[0] and len(shown) * ground[0, 0].numel() <= _AT_ONCE:
        together = respond(torch.cat(shown))
        if alone[0] and together.keys() == answering:
            maps = {key: each for key, each in together.items() if each.dim() == 4}
            return {key: (each[::2] - each[1::2])[:, None] for key, each in maps.items()}
    return _apart(respond(image) for image in shown)


def _apart(answers: Iterator[dict[Key, Tensor]]) -> dict[Key, Tensor]:
    """What bumps change, from answers to each of them raised and lowered, one by one."""
    rays: dict[Key, list[Tensor]] = {}
    for up, down in zip(answers, answers, strict=True):
        for key in up.keys() & down.keys():
            if up[key].dim() == 4 and up[key].shape == down[key].shape:
                rays.setdefault(key, []).append(up[key] - down[key])
    return {
        key: torch.stack(three)
        for key, three in rays.items()
        if len(three) == _BUMPS and len({one.shape for one in three}) == 1
    }


class _Symmetric(TorchFunctionMode):
    """Let a mean stand for every maximum over windows, and the identity for every warp.

    In modules and in functions alike. Where a warp is predicted, the neutral copy's is arbitrary.
    """

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Iterable[type],
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        named = kwargs or {}
        if func in {F.max_pool2d, torch.max_pool2d} and not named.get("return_indices"):
            named = {key: value for key, value in named.items() if key != "return_indices"}
            return _mean_pool(*args[:6], **named)  # type: ignore[arg-type]  # as they were given
        if func is F.grid_sample:
            named = {"image" if key == "input" else key: value for key, value in named.items()}
            return _unmoved(*args, **named)  # type: ignore[arg-type]
        return func(*args, **named)


def _unmoved(
    image: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """Read maps where they lie, at the size that was asked for, if it has their proportions."""
    own = grid.dim() == 4 and grid.shape[1] * image.shape[3] == grid.shape[2] * image.shape[2]
    if own:
        rows = torch.eye(2, 3, dtype=grid.dtype, device=grid.device).expand(len(grid), 2, 3)
        grid, align_corners = sampling.affine_grid(rows, *grid.shape[1:3]), False
    # others hold several readings, such as the taps of a deformable convolution
    return F.grid_sample(image, grid, mode, padding_mode, align_corners)


def _mean_pool(
    image: Tensor,
    kernel_size: int | tuple[int, int],
    stride: int | tuple[int, int] | None = None,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """The mean over the windows of a maximum; the rare ones with gaps stay maxima."""
    gap = dilation if isinstance(dilation, int) else max(dilation)
    if gap > 1:
        return F.max_pool2d(image, kernel_size, stride, padding, dilation, ceil_mode)
    return F.avg_pool2d(image, kernel_size, stride, padding, ceil_mode)


def _neutralise(model: nn.Module) -> nn.Module:
    """Copy a model, all weights of a filter equal and positive, normalisation left out."""
    neutral = working_copy(model).float().eval()
    for name, module in list(neutral.named_modules()):
        # a name is all that norms of different libraries have in common
        if "norm" in type(module).__name__.lower() and not list(module.children()) and name:
            above, _, child = name.rpartition(".")
            parent = neutral.get_submodule(above)
            # weight_norm makes one weight of two tensors, of a filter of ones one of ones
            if getattr(parent, "is_tensor", True):
                setattr(parent, child, nn.Identity())
    with torch.no_grad():
        for name, parameter in neutral.named_parameters():
            if _OF_POSITIONS.search(name):
                parameter.fill_(0.0)  # they would outweigh the bump
            elif parameter.dim() >= 2:
                parameter.fill_(1 / parameter[0].numel())
            else:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
    return neutral
