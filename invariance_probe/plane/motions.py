"""From motions of the content to pull-backs and back, and what either does: turn, size, area read.

The convention is that of `invariance_probe.plane.coordinates`. Angles are read from the polar
factor of the linear part and sizes from its determinant, so that both add up exactly along a chain
of affine maps of positive determinant, of which one may be any and the others turn and scale.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from invariance_probe.errors import InvalidInputError
from invariance_probe.plane import coordinates


def undoing_pull_backs(
    moves: Float[Tensor, "sample 3 3"], height: int, width: int
) -> Float[Tensor, "sample 3 3"]:
    """List the pull-backs that undo motions.

    Args:
        moves: Motions of the content, in centred pixels.
        height: Height of the images, in pixels.
        width: Width of the images, in pixels.

    Returns:
        Pull-backs in normalised coordinates, in the dtype of `moves`.
    """
    to_normalised = coordinates.normalised_from_centred(height, width).to(moves)
    return to_normalised @ moves @ to_normalised.inverse()


def performed_moves(
    pull_backs: Float[Tensor, "sample 3 3"], height: int, width: int
) -> Float[Tensor, "sample 3 3"]:
    """List how pull-backs move the content.

    Args:
        pull_backs: In normalised coordinates.
        height: Height of the images, in pixels.
        width: Width of the images, in pixels.

    Returns:
        Motions of the content in centred pixels, float64; NaN where a matrix has no inverse.
    """
    matrices = pull_backs.double()
    to_normalised = coordinates.normalised_from_centred(height, width).to(matrices)
    inverse, failed = torch.linalg.inv_ex(matrices)
    inverse = torch.where((failed != 0)[:, None, None], torch.nan, inverse)
    return to_normalised.inverse() @ inverse @ to_normalised


def poses_of(
    moves: Float[Tensor, "sample 3 3"], names: Sequence[str]
) -> Float[Tensor, "sample pose"]:
    """Read poses from motions.

    Args:
        moves: Motions of the content, in centred pixels.
        names: Which numbers: ``degrees`` (counter-clockwise, in (-180, 180]), ``log2_factor``,
            ``x``, ``y`` (pixels), ``shear`` (pixels along x for each pixel along y, before what
            turns and stretches).

    Returns:
        A column for each name, float64.

    Raises:
        InvalidInputError: If a name is unknown.
    """
    m = moves.double()
    columns = []
    for name in names:
        if name == "degrees":
            sine, cosine = m[:, 0, 1] - m[:, 1, 0], m[:, 0, 0] + m[:, 1, 1]
            columns.append(torch.rad2deg(torch.atan2(sine, cosine)))
        elif name == "log2_factor":
            columns.append(determinants(m).abs().log2() / 2)
        elif name in {"x", "y"}:
            columns.append(m[:, "xy".index(name), 2])
        elif name == "shear":
            # [a b; c d] is a rotation times [p 0; 0 q] [1 k; 0 1] with p = |(a, c)|: the columns'
            # inner product is p p k
            columns.append((m[:, :2, 0] * m[:, :2, 1]).sum(1) / m[:, :2, 0].square().sum(1))
        else:
            raise InvalidInputError(
                f"pose {name!r} is unknown; choose from degrees, log2_factor, x, y, shear"
            )
    return torch.stack(columns, dim=1) if columns else m.new_zeros(len(m), 0)


def determinants(m: Float[Tensor, "sample 3 3"]) -> Float[Tensor, " sample"]:
    """List the determinants of the linear parts.

    Args:
        m: Motions, or pull-backs.

    Returns:
        How many times as large a motion makes the content; how many times the area of the image a
        pull-back reads, so that above 1 the content shrinks. Below 0 it is mirrored.
    """
    return m[:, 0, 0] * m[:, 1, 1] - m[:, 0, 1] * m[:, 1, 0]


def out_of_frame(
    pull_backs: Float[Tensor, "sample 3 3"], height: int, width: int
) -> Float[Tensor, " sample"]:
    """List the shares of output positions that read from outside the image.

    Args:
        pull_backs: In normalised coordinates.
        height: Height of the images, in pixels.
        width: Width of the images, in pixels.

    Returns:
        Shares in [0, 1]; NaN where a matrix is not finite.
    """
    m = pull_backs.double()
    across, down = coordinates.cell_centres(width, m), coordinates.cell_centres(height, m)
    x, y = coordinates.mapped(m, across, down)
    share = (torch.maximum(x.abs(), y.abs()) > 1 + 1e-6).double().mean((1, 2))
    finite = torch.isfinite(m).all(-1).all(-1)
    return torch.where(finite, share, torch.nan)
