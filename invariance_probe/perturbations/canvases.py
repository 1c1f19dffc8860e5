"""Batches of images moved onto their canvases, each by its own motion, and pieces pasted there.

Every function works on the batch at once, on the device of its images. Interpolation is bilinear;
where content shrinks, the interpolating triangle is widened, as Pillow does when it resizes.
"""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from invariance_probe.plane import coordinates


def padded(
    images: Float[Tensor, "sample channel side side"], canvas: int, background: float | None
) -> Float[Tensor, "sample channel {canvas} {canvas}"]:
    """Put images in the middle of canvases.

    Args:
        images: Square images.
        canvas: Side of the canvases, as even or odd as that of the images.
        background: Value around the images, or None to continue their borders.

    Returns:
        The images themselves, where the canvas is no larger.
    """
    edge = (canvas - images.shape[-1]) // 2
    if edge == 0:
        return images
    if background is None:
        return F.pad(images, (edge,) * 4, mode="replicate")
    return F.pad(images, (edge,) * 4, value=background)


def moved_linearly(
    images: Float[Tensor, "sample channel side side"],
    pull_backs: Float[Tensor, "sample 3 3"],
    background: float | None,
) -> Float[Tensor, "sample channel side side"]:
    """Turn or shear images about their centres.

    Args:
        images: Square images.
        pull_backs: Where each position reads, in centred pixels; no shift.
        background: Value around the images, or None to continue their borders.

    Returns:
        Moved images of the same size.
    """
    # in a square, normalised coordinates are centred pixels times 2 / side, so what is linear is
    # the same matrix in both
    axis = coordinates.cell_centres(images.shape[-1], images)
    grid = torch.stack(coordinates.mapped(pull_backs.to(images), axis, axis), dim=-1)
    if background is None:
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    # Positions outside read 0. With the background taken off before and added after, that 0 is the
    # background, and pixels at the border fade into it as bilinear reading wants. Rounding may
    # leave [0, 1] by a last bit.
    shifted = images - background if background else images
    moved = F.grid_sample(shifted, grid, padding_mode="zeros", align_corners=False)
    return moved.add_(background).clamp_(0, 1) if background else moved


def moved_along_axes(
    images: Float[Tensor, "sample channel side side"],
    moves: Float[Tensor, "sample 3 3"],
    canvas: int,
    background: float | None,
) -> Float[Tensor, "sample channel {canvas} {canvas}"]:
    """Shift and scale images onto a canvas: two matrix products, as no axes mix.

    Args:
        images: Square images.
        moves: Motions without rotation or shear, from the centred pixels of the image to those of
            the canvas.
        canvas: Side of the canvas, in pixels.
        background: Value around the images, or None to continue their borders.

    Returns:
        Canvases; shifts by whole pixels are exact.
    """
    # Without rotation or shear the two coordinates are read independently: the output is Y I X^T
    # with one matrix of weights an axis, so that an image costs two small products, not four reads
    # for each pixel of a canvas that is mostly empty. `reach` is the largest of 1 / factor in the
    # batch, in pixels of the image: half the widest triangle.
    side = images.shape[-1]
    continued = background is None
    reach = math.ceil(float((1 / moves.diagonal(dim1=1, dim2=2)).max())) if len(moves) else 1
    moves = moves.to(images.device)
    x = _interpolation(moves[:, 0, 0], moves[:, 0, 2], side, canvas, reach, continued).to(images)
    y = _interpolation(moves[:, 1, 1], moves[:, 1, 2], side, canvas, reach, continued).to(images)
    shifted = images - background if background else images
    moved: Tensor = y[:, None] @ (shifted @ x.mT[:, None])
    return moved.add_(background).clamp_(0, 1) if background else moved


@lru_cache
def resizers(size: int, targets: tuple[int, ...]) -> Float[Tensor, "target largest {size}"]:
    """Build matrices that resize an axis to several sizes, edge to edge.

    Args:
        size: Number of pixels before.
        targets: Numbers of pixels after.

    Returns:
        A matrix for each target, float32; the rows past the target are zero. They are shared by
        all callers and must not be written to.
    """
    matrices = torch.zeros(len(targets), max(targets), size)
    for matrix, target in zip(matrices, targets, strict=True):
        # resizing is a scaling about the middle without a shift, edge to edge
        factor = torch.tensor([target / size], dtype=torch.float64)
        reach = max(1, math.ceil(size / target))
        weights = _interpolation(factor, 0 * factor, size, target, reach, continued=False)[0]
        matrix[:target] = weights / weights.sum(1, keepdim=True)  # past the edges nothing is known
    return matrices


def pasted(
    pieces: Float[Tensor, "sample piece channel size size"],
    left: Int64[Tensor, "sample piece"],
    top: Int64[Tensor, "sample piece"],
    canvas: int,
) -> Float[Tensor, "sample channel {canvas} {canvas}"]:
    """Add pieces to empty canvases.

    Args:
        pieces: Square pieces, each on the canvas but for columns and rows of zeros.
        left: Column of each piece's first pixel.
        top: Row of each piece's first pixel.
        canvas: Side of the canvases, in pixels.

    Returns:
        Sums of the pieces on each canvas.
    """
    # All pieces of all canvases are added by one call: a canvas is a run of `area` numbers, row
    # after row, and a piece's pixel (i, j) lies i rows and j columns after its first.
    samples, count, channels, size = pieces.shape[:4]
    area = canvas**2
    span = torch.arange(size, device=pieces.device)
    first = torch.arange(samples, device=pieces.device)[:, None] * area + top * canvas + left
    # Zeros that reach past a canvas are added to the next row or canvas, where they change nothing;
    # the last canvas has room for them behind it.
    where = (first[:, :, None, None] + (span[:, None] * canvas + span)).flatten()
    values = pieces.permute(2, 0, 1, 3, 4).reshape(channels, samples * count * size**2)
    sums = pieces.new_zeros(channels, samples * area + size * (canvas + 1))
    sums.index_add_(1, where, values)
    layers = sums[:, : samples * area].view(channels, samples, canvas, canvas)
    return layers.transpose(0, 1).contiguous()


def _interpolation(
    factors: Tensor, shifts: Tensor, side: int, canvas: int, reach: int, continued: bool
) -> Tensor:
    """Weights (sample, canvas, side) with which each position of a canvas reads an axis."""
    # Output position p of the canvas shows what lay at (p - shift) / factor of the image, both
    # counted from the middle; `read` counts it in pixels from the first one's centre.
    # A triangle as wide as a pixel of the image or of the canvas, whichever is larger. Weights of
    # positions outside the image are dropped, or, where the border is continued, go to it.
    factors, shifts = factors.double(), shifts.double()
    position = torch.arange(canvas, dtype=torch.float64, device=factors.device) - (canvas - 1) / 2
    read = ((position - shifts[:, None]) / factors[:, None] + (side - 1) / 2).float()
    width = (1 / factors).clamp(min=1).float()[:, None, None]
    # Half a triangle is at most `reach` wide; twice that, so that one which touches the image is
    # summed to its other end.
    reach *= 2
    taps = torch.arange(-reach, side + reach, dtype=torch.float32, device=factors.device)
    weights = (read[:, :, None] - taps).abs_().div_(width).neg_().add_(1).clamp_(min=0)
    # A widened triangle does not sum to 1 over whole pixels: weights are shares of all taps, those
    # outside the image included, so that content fades at the border and does not grow brighter
    # there. Positions far outside have no tap at all in reach, and weights of 0 either way.
    total = weights.sum(-1, keepdim=True).clamp_(min=1e-6)
    inside = weights[:, :, reach : reach + side] / total
    if continued:
        # what the taps outside would have weighed reads the border pixel on their side
        missing = 1 - inside.sum(-1)
        before = read < (side - 1) / 2
        inside[:, :, 0] += torch.where(before, missing, 0.0)
        inside[:, :, -1] += torch.where(before, 0.0, missing)
    return inside
