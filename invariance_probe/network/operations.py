"""The operations that move values in space, and where each of them reads.

Positions are taken from the arguments an operation is called with, as torch's dispatcher sees them:
edges to edges in normalised coordinates (`plane.coordinates`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

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


Positions = Callable[[tuple[Any, ...], Tensor], Tensor]
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


def _boxes(shift: Callable[[tuple[Any, ...]], float]) -> Positions:
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


OPERATIONS: dict[str, tuple[Kind, Positions | None]] = {
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
