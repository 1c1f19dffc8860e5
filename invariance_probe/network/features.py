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

import difflib
import fnmatch
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn

from invariance_probe.errors import InvalidInputError, refusing
from invariance_probe.errors.checks import check_tensor
from invariance_probe.network import receptive
from invariance_probe.network.copies import working_copy
from invariance_probe.network.hooks import Key, evaluating, record
from invariance_probe.network.tokens import Grid, Grids, covers_evenly, tokens_before
from invariance_probe.plane import coordinates

_ONE_CELL = "a 1 x 1 map has no position to move"


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
        tokens: Where the map stands in a sequence (batch, token, channel), if it does.
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
    tokens: Grid | None = None
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

    def read(self, output: Float[Tensor, "..."]) -> Float[Tensor, "batch channel height width"]:
        """Find the map in what the module returned.

        Args:
            output: Of its call.

        Returns:
            The map, channels first, in memory of the output.
        """
        if self.tokens is not None:
            return self.tokens.read(output)
        return output.movedim(-1, 1) if self.channels_last else output

    def write(
        self,
        maps: Float[Tensor, "batch channel height width"],
        output: Float[Tensor, "..."],
    ) -> Float[Tensor, "..."]:
        """Put a map into what the module returned.

        Args:
            maps: Channels first.
            output: Of the module; tokens beside the map's stay as they are in it.

        Returns:
            A copy like it, in its strides, which decide on the kernels that follow.
        """
        new = maps.movedim(1, -1) if self.channels_last else maps
        if self.tokens is not None:
            new = self.tokens.write(maps, output)
        return torch.empty_like(output).copy_(new)

    def pixel_from_cell(self) -> Float[Tensor, "3 3"]:
        """Map cell indices to input index coordinates.

        Returns:
            A 3 x 3 matrix, float64.
        """
        return coordinates.scale_and_shift(
            self.stride_x, self.stride_y, self.offset_x, self.offset_y
        )

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
        index_from_centred = coordinates.index_from_centred(height, width)
        pixel_from_cell = self.pixel_from_cell()
        moved_pixel_from_pixel = (
            index_from_centred @ transform_matrix @ index_from_centred.inverse()
        )
        moved_cell_from_cell = pixel_from_cell.inverse() @ moved_pixel_from_pixel @ pixel_from_cell
        return coordinates.theta_from_index_matrix(moved_cell_from_cell, self.height, self.width)


def list_layers(
    model: nn.Module, images: Float[Tensor, "batch channel height width"]
) -> pd.DataFrame:
    """List everything that a model computes, with the place of each map on the input.

    Args:
        model: Any module; it is left as it was found.
        images: Images as the model takes them; the first is passed through it.

    Raises:
        InvalidInputError: If the model cannot be copied or refuses the image.

    Returns:
        One row for each output: ``name``, ``type``, ``call``, ``channels``, ``height``, ``width``,
        ``stride`` and ``offset`` (pixels; the mean of both axes, which differ in few networks and
        stand in ``stride_y``, ``stride_x``, ``offset_y``, ``offset_x``), ``measured``, ``spatial``
        and, where there is no spatial map, the ``reason``.

    Example:
        >>> import torch, invariance_probe as ip
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 5, stride=2), torch.nn.ReLU())
        >>> layers = ip.list_layers(model, torch.rand(1, 3, 33, 33))
        >>> layers[["name", "channels", "height", "stride", "offset"]].to_dict("records")[0]
        {'name': '0', 'channels': 8, 'height': 15, 'stride': 2.0, 'offset': 2.0}
    """  # noqa: DOC502  (raised by what is called)
    check_tensor("images", images, "batch", "channel", "height", "width")
    with forwarding(images):
        return listing(find_layers(working_copy(model), images))


def forwarding(
    images: Float[Tensor, "batch channel height width"],
) -> AbstractContextManager[None]:
    """Name what a model makes of images where it raises.

    Args:
        images: What it is given.

    Returns:
        A context in which whatever is raised becomes an `InvalidInputError`.
    """
    return refusing(
        lambda cause: f"the model refuses an image of shape {tuple(images.shape[1:])}: {cause}"
    )


def listing(layers: Sequence[Layer]) -> pd.DataFrame:
    """Put layers into a table.

    Args:
        layers: What `find_layers` returned.

    Returns:
        The frame of `list_layers`.
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
        for layer in layers
    ]
    return pd.DataFrame(rows)


def find_layers(
    model: nn.Module,
    images: Float[Tensor, "batch channel height width"],
    patterns: Sequence[str] | None = None,
) -> list[Layer]:
    """Do what `list_layers` does, as objects, and for chosen layers only if wished.

    Args:
        model: Any module; modules keep their modes, buffers that a pass writes do not.
        images: Images as the model takes them; the first is passed through it.
        patterns: Names or patterns, see `select_layers`; everything by default.

    Returns:
        Layers in the order in which they are computed.
    """
    with evaluating(model):
        outputs = record(model, images[:1])
    calls: dict[str, int] = {}
    for key in outputs:
        calls[key.module] = max(calls.get(key.module, 0), key.call)
    types = {name: type(module).__name__ for name, module in model.named_modules()}
    size = (images.shape[-2], images.shape[-1])
    bare = {}
    grids = Grids(tokens_before(model), *size)
    found = {key: grids.see(output) for key, output in outputs.items()}
    for key, output in outputs.items():
        name = key.module or "(model)"
        if calls[key.module] > 1:
            name += f"#{key.call}"
        if key.path:
            name += f":out.{key.path}"
        bare[name] = Layer(
            name=name,
            module=key.module,
            type=types[key.module],
            call=key.call,
            path=key.path,
            channels=0,
            height=0,
            width=0,
            tokens=found[key],
            reason=_why_no_map(output, grids, found[key]),
        )
    layers = list(bare.values())
    if patterns is not None:
        layers = select_layers(layers, patterns)
    wanted = {Key(layer.module, layer.call, layer.path): layer for layer in layers}
    maps = {key: layer.read(outputs[key]) for key, layer in wanted.items() if layer.spatial}
    shapes = {key: each.shape for key, each in maps.items()}
    places = receptive.measure_places(model, images[:1], shapes)
    return [
        _describe(layer, maps.get(key, outputs[key]), size, places.get(key))
        for key, layer in wanted.items()
    ]


def select_layers(layers: Sequence[Layer], patterns: Sequence[str]) -> list[Layer]:
    """Choose layers by name.

    Args:
        layers: What `find_layers` returned.
        patterns: Names or shell-style patterns, one or several parted by commas in each text. A
            module's name stands for all its calls and outputs, ``(model)`` for the output of the
            whole; a pattern takes the spatial ones among the modules it matches. What is a name as
            it stands is taken as such, whatever else its characters could mean.

    Returns:
        The chosen layers, in the order of `layers`.

    Raises:
        InvalidInputError: If a pattern matches nothing, or no spatial map.
    """
    chosen: set[str] = set()
    for pattern in _parted(layers, patterns):
        exact = [layer for layer in layers if pattern in {layer.name, layer.module or "(model)"}]
        # the whole model's output repeats its last layer's: only its own name means it
        matched = exact or [
            layer for layer in layers if layer.module and fnmatch.fnmatchcase(layer.name, pattern)
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


def _parted(layers: Sequence[Layer], patterns: Sequence[str]) -> list[str]:
    """Texts taken apart at their commas, but for those that are a layer's name."""
    names = {layer.name for layer in layers} | {layer.module for layer in layers}
    parts = [[text] if text in names else text.split(",") for text in patterns]
    # a comma at an end, and a text that has nothing else, is refused as it was written
    return [one.strip() or text for text, each in zip(patterns, parts, strict=True) for one in each]


def name_of(model: nn.Module, module: nn.Module) -> str:
    """Name a module of a model, as `select_layers` takes it.

    Args:
        model: The whole.
        module: A part of it.

    Returns:
        Its name, ``(model)`` if it is the whole.

    Raises:
        InvalidInputError: If it is no part of the model.
    """
    for name, each in model.named_modules():
        if each is module:
            # layers of what was compiled are named as in what it was compiled from
            parts = [part for part in name.split(".") if part != "_orig_mod"]
            return ".".join(parts) or "(model)"
    raise InvalidInputError(
        f"layers: a {type(module).__name__} is no part of the {type(model).__name__} to be "
        "measured; give one of its own modules, or a name"
    )


def tap(
    model: nn.Module,
    images: Float[Tensor, "batch channel height width"],
    layers: Sequence[Layer],
) -> dict[str, Float[Tensor, "batch _ _ _"]]:
    """Compute the maps of some layers.

    Args:
        model: The model that the layers belong to, in evaluation mode (see `hooks.evaluating`).
        images: Images as the model takes them.
        layers: Which maps to keep.

    Returns:
        The maps by the layers' names, channels first.
    """
    wanted = {Key(layer.module, layer.call, layer.path): layer for layer in layers}
    outputs = record(model, images, set(wanted))
    return {layer.name: layer.read(outputs[key]) for key, layer in wanted.items()}


def _describe(
    layer: Layer, output: Tensor, size: tuple[int, int], place: receptive.Place | None
) -> Layer:
    """Fill in shape, stride and offset."""
    if output.dim() != 4 or not output.numel():
        return layer
    shape = tuple(output.shape)
    channels_last = (
        receptive.is_channels_last(shape, size) if place is None else place.channels_last
    )
    _, channels, height, width = shape
    if channels_last:
        _, height, width, channels = shape
    layer = replace(
        layer,
        channels=channels,
        height=height,
        width=width,
        channels_last=channels_last,
    )
    if not layer.spatial:
        return layer
    if place is not None:
        stride, offset = place.stride, place.offset
    elif not covers_evenly(height, width, size):
        why = "neither follows the image nor has its proportions"
        return replace(layer, reason=f"output of shape {shape} {why}")
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


def _why_no_map(output: Tensor, grids: Grids, tokens: Grid | None) -> str:
    """Why an output is not a map to align; empty if it is one."""
    shape = tuple(output.shape)
    if tokens is not None:
        return _ONE_CELL if tokens.height * tokens.width == 1 else ""
    if output.dim() == 3 and shape[1] > 1:
        return f"output of shape {shape} is no grid of the image's patches, row by row"
    if not output.numel():
        return f"output of shape {shape} is empty"
    if output.dim() != 4:
        return f"output of shape {shape} does not have two spatial dimensions"
    if not output.dtype.is_floating_point:
        return f"output of type {output.dtype} is not a map of real numbers"
    if grids.is_of_tokens(shape):
        return f"output of shape {shape} is (batch, head, token, ...) of attention, not a map"
    if shape[0] != 1:
        return f"output of shape {shape} for one image: windows or parts, not a map of the image"
    if sum(n > 1 for n in shape[1:]) < 2 or shape[-1] * shape[-2] == 1:
        return _ONE_CELL
    return ""
