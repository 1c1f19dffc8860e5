"""Images through a transform: how pixels are read, how large the result is, what is made up.

Transforms come as their matrices: motions, in centred coordinates (see `coordinates`).
"""

import math
from collections.abc import Iterator, Sequence
from numbers import Integral

import torch
from jaxtyping import Float
from torch import Tensor

from invariance_probe.errors import InvalidInputError
from invariance_probe.errors.checks import as_list, check_maps, check_number
from invariance_probe.plane import coordinates
from invariance_probe.plane.splines import Spline

NOMINAL_BLUR = 0.5
"""Standard deviation, in pixels, of the blur that an image is taken to have: Lowe, "Distinctive
image features from scale-invariant keypoints" (2004), section 3.3. Shrinking restores it."""


def render(
    images: Float[Tensor, "batch channel height width"],
    matrices: Sequence[Float[Tensor, "3 3"]],
    *,
    crop: int | tuple[int, int] | None = None,
    fill: float | Sequence[float] = 0.0,
    antialias: bool = True,
) -> Iterator[Float[Tensor, "batch channel crop_height crop_width"]]:
    """Transform the same images in several ways; see `transforms.Transform.__call__`.

    Args:
        images: Images, or canvases larger than the crop.
        matrices: Where their content moves to, one after the other, each time from the originals.
        crop: Size of the results, cut from the centre; the size of `images` by default.
        fill: Value, or one value a channel, where the content of a position is unknown.
        antialias: Whether content is blurred before it shrinks.

    Yields:
        The transformed images, in the order of `matrices`.

    Raises:
        InvalidInputError: If the images are no floats of single precision or more, or the crop or
            the fill does not fit them.
    """
    check_maps("images", images, "batch", "channel", "height", "width")
    if images.dtype.itemsize < 4:  # splines are fitted by factorising a matrix
        raise InvalidInputError(f"images of {images.dtype} were given; give images.float()")
    height, width = images.shape[-2:]
    size = crop_size(crop, height, width)
    fill_values = images.new_tensor(_filled(fill, images.shape[1])).reshape(1, -1, 1, 1)
    pull_backs = [_canvas_from_crop(matrix, size, (height, width)) for matrix in matrices]
    blurs = [shrinking_blur(each[:2, :2]) if antialias else None for each in pull_backs]
    for moved, pull_back in zip(read(images, pull_backs, size, blurs), pull_backs, strict=True):
        x, y = coordinates.read_positions(pull_back.to(images.device), *size)
        known = coordinates.inside(x, y, height, width, margin=0.0)
        yield moved if bool(known.all()) else torch.where(known, moved, fill_values)


def read(
    images: Float[Tensor, "batch channel height width"],
    pull_backs: Sequence[Float[Tensor, "3 3"]],
    size: tuple[int, int],
    blurs: Sequence[Float[Tensor, "2 2"] | None],
) -> Iterator[Float[Tensor, "batch channel out_height out_width"]]:
    """Read the same images in several ways: pixels where they lie, a cubic spline between them.

    Args:
        images: Images.
        pull_backs: Where each position of a result reads from, in index coordinates.
        size: Height and width of the results.
        blurs: What blurs the images first, see `shrinking_blur`.

    Yields:
        What was read, in the order of `pull_backs`.
    """
    height, width = images.shape[-2:]
    sharp: Spline | None = None
    for pull_back, blur in zip(pull_backs, blurs, strict=True):
        x, y = coordinates.read_positions(pull_back.to(images.device), *size)
        lattice = coordinates.lattice_positions(x, y)
        # where reading skips pixels, as at half the size, those read stand for those left out
        skips = blur is not None and float(pull_back[:2, :2].det().abs()) > 1 + 1e-6
        if lattice is not None and not skips:
            columns, rows = lattice
            yield images[:, :, rows.clamp(0, height - 1), columns.clamp(0, width - 1)]
            continue
        if blur is not None:
            yield Spline(images, blur).read(x, y)
        else:
            sharp = sharp or Spline(images)
            yield sharp.read(x, y)


def _filled(fill: float | Sequence[float], channels: int) -> list[float]:
    """The values by channel."""
    listed = as_list(fill)
    values = [check_number("fill", value) for value in ([fill] if listed is None else listed)]
    if len(values) not in {1, channels}:
        raise InvalidInputError(
            f"fill={values}: give one value, or one for each of the {channels} channels"
        )
    return values


def filled_fraction(
    matrix: Float[Tensor, "3 3"],
    canvas: tuple[int, int],
    crop: int | tuple[int, int] | None = None,
) -> float:
    """Compute the share of a transformed crop whose content is not on the canvas.

    Args:
        matrix: Where the content of the canvas moves to.
        canvas: Height and width of the canvas, in pixels.
        crop: Size of the result; that of the canvas by default.

    Returns:
        A number from 0 to 1.
    """
    size = crop_size(crop, *canvas)
    x, y = coordinates.read_positions(_canvas_from_crop(matrix, size, canvas), *size)
    return 1 - float(coordinates.inside(x, y, *canvas, margin=0.0).double().mean())


def crop_size(crop: int | tuple[int, int] | None, height: int, width: int) -> tuple[int, int]:
    """Resolve the size of a crop.

    Args:
        crop: Side of a square, height and width, or None for the whole image.
        height: Height of the image, in pixels.
        width: Width of the image, in pixels.

    Returns:
        Height and width of the crop.

    Raises:
        InvalidInputError: If the image is smaller than the crop.
    """
    if crop is None:
        return height, width
    size = (crop, crop) if isinstance(crop, Integral) else crop
    if not isinstance(size, Sequence) or [isinstance(n, Integral) for n in size] != [True, True]:
        raise InvalidInputError(f"crop={crop!r}: give a side, or height and width, in pixels")
    if min(size) < 1 or size[0] > height or size[1] > width:
        raise InvalidInputError(
            f"an image of {height} x {width} pixels is too small for a crop of {size[0]} x "
            f"{size[1]}; give larger images or a smaller crop"
        )
    return size


def rotating_canvas(crop: int) -> int:
    """Say how large an image must be for any rotation of a crop to show nothing beyond it.

    Args:
        crop: Side of the crop, in pixels.

    Returns:
        Side of the smallest canvas whose centre is the crop's, in pixels.
    """
    side = math.ceil(crop * 2**0.5)
    return side + (side - crop) % 2


def shrinking_blur(source_from_moved: Float[Tensor, "2 2"]) -> Float[Tensor, "2 2"] | None:
    """Compute the blur that content needs before it is read at a smaller size.

    An image is taken to be blurred by `NOMINAL_BLUR` on its own grid; the blur that the coarser
    reading lacks is added first, along the axes that shrink.

    Args:
        source_from_moved: Linear part of the pull-back, in pixels of the source.

    Returns:
        Covariance of a Gaussian, in square pixels of the source; None where nothing shrinks.
    """
    gram = source_from_moved @ source_from_moved.T
    values, vectors = torch.linalg.eigh(NOMINAL_BLUR**2 * (gram - torch.eye(2).to(gram)))
    if float(values.max()) <= 1e-6:
        return None
    covariance: Tensor = (vectors * values.clamp(min=0)) @ vectors.T
    return covariance


def _canvas_from_crop(matrix: Tensor, crop: tuple[int, int], canvas: tuple[int, int]) -> Tensor:
    """Where each index position of the transformed crop reads from, on the canvas."""
    top, left = (canvas[0] - crop[0]) // 2, (canvas[1] - crop[1]) // 2
    index_from_centred = coordinates.index_from_centred(*crop)
    canvas_from_index = coordinates.scale_and_shift(1.0, 1.0, left, top)
    source_from_moved = matrix.inverse()
    centred_from_index = index_from_centred.inverse()
    return canvas_from_index @ index_from_centred @ source_from_moved @ centred_from_index
