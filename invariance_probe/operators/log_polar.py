"""Log-polar coordinates, in which turns and scalings about the origin are shifts."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from invariance_probe.errors import InvalidInputError
from invariance_probe.errors.checks import check_integer, check_maps, check_number
from invariance_probe.plane import coordinates, sampling

MOST_CELLS = 10**4
"""Of a side of what is returned; a slip of the pen would fill the memory."""


class LogPolar(nn.Module):
    """Read maps along rays: a row is a direction, a column a distance from the origin.

    Esteves et al., "Polar transformer networks" (2018), section "Polar transformer module". Row i
    looks ``360 i / angles`` degrees counter-clockwise from the right; the distances grow by equal
    factors from `smallest` to `largest`.

    Known answer: a turn about the origin shifts the rows, round and round, a scaling the columns,
    by what `shift` says.

    Args:
        angles: Number of directions.
        radii: Number of distances.
        largest: Distance, in cells of the map.
        smallest: Distance, in cells of the map.
        wrapped: So many directions of the other end are repeated above the first row and below the
            last, so that convolutions that follow meet no border there (the paper's section
            "Wrap-around padding").

    Raises:
        InvalidInputError: If a number is no positive whole one, or the distances do not grow.

    Example:
        >>> import torch, invariance_probe as ip
        >>> from invariance_probe.operators import LogPolar
        >>> polar = LogPolar(angles=8, radii=5, largest=8)
    """

    def __init__(
        self, *, angles: int, radii: int, largest: float, smallest: float = 1.0, wrapped: int = 0
    ) -> None:
        super().__init__()
        check_integer("angles", angles, 1, MOST_CELLS)
        check_integer("radii", radii, 2, MOST_CELLS)
        check_integer("wrapped", wrapped, 0, angles)
        if not 0 < check_number("smallest", smallest) < check_number("largest", largest):
            raise InvalidInputError(
                f"smallest={smallest:g}, largest={largest:g}: give distances above 0, the smaller "
                "one first"
            )
        self.angles, self.radii, self.wrapped = angles, radii, wrapped
        self.smallest, self.largest = smallest, largest

    def shift(self, degrees: float = 0.0, factor: float = 1.0) -> tuple[float, float]:
        """Say by how much a motion of the content about the origin shifts what is returned.

        Args:
            degrees: Of a rotation, counter-clockwise.
            factor: Of a scaling.

        Returns:
            How many rows down and columns to the right.

        Example:
            >>> polar.shift(90, 8.0)
            (2.0, 4.0)
        """
        columns = (self.radii - 1) * math.log(factor) / math.log(self.largest / self.smallest)
        return degrees * self.angles / 360, columns

    def forward(
        self,
        maps: Float[Tensor, "batch channel height width"],
        origins: Float[Tensor, "batch 2"] | None = None,
    ) -> Float[Tensor, "batch channel angle radius"]:
        """Read maps in log-polar coordinates.

        Args:
            maps: Maps; beyond their border the nearest value is read.
            origins: x and y of each origin, in cells from the centre of the map; the centre by
                default.

        Returns:
            ``angles + 2 wrapped`` rows of `radii` columns, in the dtype of `maps`.

        Example:
            >>> image = torch.rand(1, 1, 17, 17)
            >>> turned = polar(ip.Rotation(90)(image))
            >>> torch.allclose(turned, polar(image).roll(2, dims=2), atol=1e-5)
            True
        """
        check_maps("maps", maps, "batch", "channel", "height", "width")
        height, width = maps.shape[-2:]
        row = torch.arange(-self.wrapped, self.angles + self.wrapped, device=maps.device)
        angle = (2 * math.pi / self.angles * row.double())[:, None]
        power = torch.arange(self.radii, device=maps.device).double() / (self.radii - 1)
        radius = self.smallest * (self.largest / self.smallest) ** power
        if origins is None:
            origins = maps.new_zeros(len(maps), 2)
        x0, y0 = origins.double()[:, :, None, None].unbind(1)
        x0, y0 = x0 + (width - 1) / 2, y0 + (height - 1) / 2
        grid = coordinates.sampling_grid(
            x0 + radius * angle.cos(), y0 - radius * angle.sin(), height, width
        )
        return sampling.read(maps, grid)


class PolarTransformer(nn.Module):
    """Find the origin in the image, and read log-polar coordinates about it.

    Esteves et al. (2018), section "Polar origin predictor": the origin is the centroid of a heatmap
    that a convolutional network predicts, which follows shifts because the network does.

    Known answer: with a heatmap that follows the content (the image itself), shifts by whole cells
    leave what is returned as it was, as long as nothing reaches the border.

    Args:
        heatmap: Any module from maps to maps of one channel; its negative values are cut off.
        polar: What reads the maps.
        stride: Distance of the heatmap's cells, in cells of the maps; their centres are the same.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from invariance_probe.operators import LogPolar, PolarTransformer
        >>> polar = LogPolar(angles=16, radii=8, largest=12)
        >>> transformer = PolarTransformer(nn.Conv2d(1, 1, 5), polar)
    """

    def __init__(self, heatmap: nn.Module, polar: LogPolar, *, stride: float = 1.0) -> None:
        super().__init__()
        self.heatmap, self.polar, self.stride = heatmap, polar, stride

    def origins(
        self, maps: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch 2"]:
        """Predict origins.

        Args:
            maps: Maps.

        Returns:
            x and y of the centroids of the heatmaps, in cells of `maps` from their centre; the
            centre where a heatmap has no positive value.

        Example:
            >>> transformer.origins(torch.rand(2, 1, 28, 28)).shape
            torch.Size([2, 2])
        """
        heat: Tensor = self.heatmap(maps).relu()[:, 0]
        total = heat.sum((1, 2)).clamp(min=torch.finfo(heat.dtype).tiny)
        height, width = heat.shape[1:]
        across, down = (side / 2 * coordinates.cell_centres(side, heat) for side in (width, height))
        sums = [(heat.sum(1) * across).sum(1), (heat.sum(2) * down).sum(1)]
        centroids = torch.stack(sums, dim=1) / total[:, None]
        return self.stride * centroids

    def forward(
        self, maps: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel angle radius"]:
        """Read maps about their origins.

        Args:
            maps: Maps.

        Returns:
            As of `LogPolar.forward`; gradients reach the heatmap.

        Example:
            >>> transformer(torch.rand(2, 1, 28, 28)).shape
            torch.Size([2, 1, 16, 8])
        """
        read: Tensor = self.polar(maps, self.origins(maps))
        return read
