"""A map of the ground around a vehicle, brought to where the vehicle is now."""

from jaxtyping import Float
from torch import Tensor, nn

from invariance_probe.errors import InvalidInputError
from invariance_probe.errors.checks import check_choice, check_maps, check_number, check_tensor
from invariance_probe.plane import coordinates, motions
from invariance_probe.plane.sampling import MODES, PADDINGS, resample

PLACES = ("input", "map")
"""Where an `EgoAlignment` acts: before its encoder, or after it."""


class EgoWarp(nn.Module):
    """Warp an earlier bird's-eye map by the known motion of the vehicle since.

    Huang and Huang, "BEVDet4D: exploit temporal cues in multi-camera 3D object detection" (2022),
    its spatial alignment; Li et al., "BEVFormer: learning bird's-eye-view representation from
    multi-camera images via spatiotemporal transformers" (2022), section 3.4.

    Convention:
        Motions are those of the vehicle, in metres, in the axes of the earlier map: x to the right,
        y *down*, angles counter-clockwise as displayed. A vehicle that looks up, drives 2 m and
        turns left by 10 degrees has ``Translation(0, -2) @ Rotation(10)``. What stands on the
        ground moves the other way.

    Known answer: motions by whole cells and quarter turns move cells and interpolate nothing.

    Args:
        metres_per_cell: Side of a cell.
        vehicle: Where the vehicle is, x and y in metres from the centre of the map.
        mode: Sampler, one of ``bilinear`` and ``bicubic``.
        padding: What is read where the earlier map ends: ``zeros``, ``border`` or ``reflection``.

    Raises:
        InvalidInputError: If the cells have no size, or a name is unknown.

    Example:
        >>> import torch, invariance_probe as ip
        >>> from invariance_probe.operators import EgoWarp
        >>> warp = EgoWarp(metres_per_cell=0.5)
    """

    def __init__(
        self,
        *,
        metres_per_cell: float,
        vehicle: tuple[float, float] = (0.0, 0.0),
        mode: str = "bilinear",
        padding: str = "zeros",
    ) -> None:
        super().__init__()
        if check_number("metres_per_cell", metres_per_cell) <= 0:
            raise InvalidInputError(
                f"metres_per_cell={metres_per_cell:g}: give the side of a cell, above 0"
            )
        check_choice("mode", mode, MODES)
        check_choice("padding", padding, PADDINGS)
        x, y = (check_number("vehicle", each) for each in vehicle)
        self.metres_per_cell, self.vehicle = metres_per_cell, (x, y)
        self.mode, self.padding = mode, padding

    def pull_backs(
        self, ego_motions: Float[Tensor, "batch 3 3"], height: int, width: int
    ) -> Float[Tensor, "batch 3 3"]:
        """Say where each place of the map as it is now is read in the earlier map.

        Args:
            ego_motions: How the vehicle has moved, see the convention.
            height: Height of the maps, in cells.
            width: Width of the maps, in cells.

        Returns:
            Pull-backs in normalised coordinates, float64.

        Example:
            >>> motion = (ip.Translation(0, -2) @ ip.Rotation(10)).matrix[None]
            >>> warp.pull_backs(motion, 40, 40).shape
            torch.Size([1, 3, 3])
        """
        x, y = self.vehicle
        metres = self.metres_per_cell
        metres_from_cells = coordinates.scale_and_shift(metres, metres, -x, -y)
        metres_from_cells = metres_from_cells.to(ego_motions.device)
        # A place p, as seen from the vehicle now, was at `motion p` as seen from it before: the
        # pull-back is the vehicle's motion itself, which undoes what the ground seems to do.
        cells = metres_from_cells.inverse() @ ego_motions.double() @ metres_from_cells
        return motions.undoing_pull_backs(cells, height, width)

    def forward(
        self,
        maps: Float[Tensor, "batch channel height width"],
        ego_motions: Float[Tensor, "batch 3 3"],
    ) -> Float[Tensor, "batch channel height width"]:
        """Warp earlier maps.

        Args:
            maps: Earlier maps, at the centre of which (or at `vehicle`) the vehicle was.
            ego_motions: How the vehicle has moved since, one matrix for each map.

        Returns:
            The maps around where the vehicle is now.

        Raises:
            InvalidInputError: If there is not one 3 x 3 matrix for each map.

        Example:
            >>> ahead = torch.zeros(1, 1, 5, 5)
            >>> ahead[..., 0, 2] = 1.0  # a post 1 m in front
            >>> warp(ahead, ip.Translation(0, -1).matrix[None])[0, 0, 2].tolist()  # is now here
            [0.0, 0.0, 1.0, 0.0, 0.0]
        """
        check_maps("maps", maps, "batch", "channel", "height", "width")
        check_tensor("ego_motions", ego_motions, "batch", "3", "3")
        if ego_motions.shape != (len(maps), 3, 3):
            raise InvalidInputError(
                f"ego_motions of shape {tuple(ego_motions.shape)} were given; give one 3 x 3 "
                f"matrix for each of the {len(maps)} maps"
            )
        pull_backs = self.pull_backs(ego_motions, *maps.shape[-2:])
        return resample(maps, pull_backs, mode=self.mode, padding=self.padding)


class EgoAlignment(nn.Module):
    """Encode an earlier bird's-eye grid and bring it to where the vehicle is now, in either order.

    Known answer: for motions without a turn, by whole strides of the encoder, both orders give the
    same (claim P1). For turns they do only if the encoder's channels are symmetric under them
    (P7); else what is aligned at the map still shows the turn, and at the input does not (P2, P3).

    Attributes:
        warp: The `EgoWarp` that is used, in cells of the place where it acts.

    Args:
        encoder: Any convolutional module whose maps lie centred on its input.
        metres_per_cell: Side of a cell of the encoder's input.
        at: ``"input"``, the grid is warped and then encoded, or ``"map"``, the other way round.
        stride: Distance of the encoder's cells, in cells of its input.
        vehicle: As of `EgoWarp`.
        padding: As of `EgoWarp`.

    Raises:
        InvalidInputError: If a size is not positive, or a name unknown.

    Example:
        >>> import torch, invariance_probe as ip
        >>> from torch import nn
        >>> from invariance_probe.operators import EgoAlignment
        >>> encoder = nn.Conv2d(1, 8, 3, stride=2, padding=1)
        >>> aligned = EgoAlignment(encoder, metres_per_cell=0.5, at="map", stride=2)
    """

    def __init__(
        self,
        encoder: nn.Module,
        *,
        metres_per_cell: float,
        at: str,
        stride: float = 1.0,
        vehicle: tuple[float, float] = (0.0, 0.0),
        padding: str = "zeros",
    ) -> None:
        super().__init__()
        check_choice("at", at, PLACES)
        if check_number("stride", stride) <= 0:
            raise InvalidInputError(f"stride={stride:g}: give a positive number of cells")
        self.encoder, self.at = encoder, at
        side = metres_per_cell * (stride if at == "map" else 1.0)
        self.warp = EgoWarp(metres_per_cell=side, vehicle=vehicle, padding=padding)

    def forward(
        self,
        grids: Float[Tensor, "batch channel height width"],
        ego_motions: Float[Tensor, "batch 3 3"],
    ) -> Float[Tensor, "batch feature map_height map_width"]:
        """Encode and warp.

        Args:
            grids: Earlier grids.
            ego_motions: How the vehicle has moved since, see `EgoWarp`.

        Returns:
            Feature maps around where the vehicle is now.

        Example:
            >>> motion = ip.Translation(0, -2).matrix[None]
            >>> aligned(torch.rand(1, 1, 41, 41), motion).shape
            torch.Size([1, 8, 21, 21])
        """
        if self.at == "input":
            encoded: Tensor = self.encoder(self.warp(grids, ego_motions))
        else:
            encoded = self.warp(self.encoder(grids), ego_motions)
        return encoded
