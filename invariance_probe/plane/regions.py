"""Where a comparison is fair: positions whose content is visible in both maps."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from invariance_probe.plane import coordinates

DEFAULT_MARGIN = 1.0
"""In cells of the map, from its outer edges: the outermost ring, which padding touches first."""


def visible(
    oracle: Float[Tensor, "batch 2 3"], height: int, width: int, margin: float = DEFAULT_MARGIN
) -> Bool[Tensor, "batch height width"]:
    """Mark the reference positions whose content is visible in both maps.

    The region follows from the input transform and the layer alone, never from the warp under
    test, so that no warp wins by pushing content out of sight.

    Args:
        oracle: Where the content of each reference position lies in the moved map: a pull-back in
            normalised coordinates.
        height: Height of the maps, in cells.
        width: Width of the maps, in cells.
        margin: Distance to keep from the outer edges of both maps, in cells.

    Returns:
        True where the comparison is fair.
    """
    matrix = coordinates.index_matrix_from_theta(oracle, height, width)
    x, y = coordinates.read_positions(matrix, height, width)
    here = torch.eye(3, dtype=torch.float64, device=oracle.device)
    x0, y0 = coordinates.read_positions(here, height, width)
    return coordinates.inside(x, y, height, width, margin) & coordinates.inside(
        x0, y0, height, width, margin
    )
