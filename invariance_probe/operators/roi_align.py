"""Maps of rotated boxes, as detectors pool them, with and without a roll of orientation channels.

The pooling moves feature vectors and changes none of them, so that it turns a box upright exactly
where the channels themselves do not know the turn (claims P7, P8). The roll is what is missing in a
network whose channels are orientations.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from invariance_probe.errors import InvalidInputError
from invariance_probe.errors.checks import check_integer, check_maps, check_number, check_tensor
from invariance_probe.plane import coordinates, sampling

MOST_CELLS = 1024
"""Of a side of what is returned; a slip of the pen would fill the memory."""


class RotatedRoIAlign(nn.Module):
    """Read boxes of any orientation from maps, each at the same size and upright.

    He et al., "Mask R-CNN" (2017), section 3 (RoIAlign); for rotated boxes Ding et al., "Learning
    RoI Transformer for oriented object detection in aerial images" (2019), rotated position
    sensitive RoI align, here with all channels in every bin. Each bin is the mean of
    `sampling_ratio` squared bilinear readings at the centres of its equal parts; beyond one cell
    outside of the map 0 is read, as in torchvision's ``roi_align`` with ``aligned=True``, whose
    numbers these are for boxes of angle 0.

    Convention:
        A box is (x, y, width, height, degrees) in pixels of the input: the image reaches from 0 to
        its width, the centre of the first pixel lies at 1/2. Degrees are those of
        `invariance_probe.Rotation`: a box that has been turned with the image by ``Rotation(30)``
        has 30 degrees more.

    Known answer: if the image is turned by a quarter and the boxes with it, what is pooled from a
    network whose channels are all symmetric under quarter turns is the same; from other networks it
    is not.

    Args:
        size: Height and width of what is returned, in bins, or one number for both.
        stride: Distance of the map's cells, in pixels of the input.
        offset: Where the first cell lies, in pixels, 0 being the centre of the first pixel, as
            `invariance_probe.list_layers` measures it; by default that of a map that covers the
            image evenly, half a stride less half a pixel.
        sampling_ratio: Readings of each bin along each side.

    Raises:
        InvalidInputError: If a size is no positive whole number, or the stride not positive.

    Example:
        >>> import torch
        >>> from invariance_probe.operators import RotatedRoIAlign
        >>> pool = RotatedRoIAlign(2, sampling_ratio=1)
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        *,
        stride: float = 1.0,
        offset: float | None = None,
        sampling_ratio: int = 2,
    ) -> None:
        super().__init__()
        height, width = size if isinstance(size, tuple) else (size, size)
        for side in (height, width):
            check_integer("size", side, 1, MOST_CELLS)
        check_integer("sampling_ratio", sampling_ratio, 1, MOST_CELLS)
        if check_number("stride", stride) <= 0:
            raise InvalidInputError(f"stride={stride:g}: give a positive number of pixels")
        self.size, self.sampling_ratio, self.stride = (height, width), sampling_ratio, stride
        self.offset = (stride - 1) / 2 if offset is None else check_number("offset", offset)

    def forward(
        self,
        maps: Float[Tensor, "batch channel height width"],
        boxes: Float[Tensor, "box 5"],
        image_index: Int[Tensor, " index"],
    ) -> Float[Tensor, "box channel bin_height bin_width"]:
        """Pool.

        Args:
            maps: Maps to read from.
            boxes: x, y, width, height in pixels of the input and degrees, see the convention.
            image_index: From which map of the batch each box is read.

        Returns:
            What is in each box, upright, in the dtype of `maps`; gradients pass to maps and boxes.

        Raises:
            InvalidInputError: If boxes have another shape, or an index is none of the batch.

        Example:
            >>> maps = torch.arange(16.0).view(1, 1, 4, 4)
            >>> box = torch.tensor([[2.0, 2.0, 2.0, 2.0, 90.0]])
            >>> pool(maps, box, torch.tensor([0]))[0, 0].tolist()  # turned back clockwise
            [[9.0, 5.0], [10.0, 6.0]]
        """
        check_maps("maps", maps, "batch", "channel", "height", "width")
        check_maps("boxes", boxes, "box", "5")
        check_tensor("image_index", image_index, "box")
        if boxes.shape[1] != 5 or len(image_index) != len(boxes):
            raise InvalidInputError(
                f"boxes of shape {tuple(boxes.shape)} and {len(image_index)} indices were given; "
                "give x, y, width, height, degrees and one index for each box"
            )
        if bool(((image_index < 0) | (image_index >= len(maps))).any()):
            raise InvalidInputError(
                f"image_index={image_index.tolist()}: a batch of {len(maps)} was given; count from "
                "0"
            )
        x, y = self._positions(boxes)
        height, width = maps.shape[-2:]
        grid = coordinates.sampling_grid(x, y, height, width)
        # up to one cell beyond the outermost centres the border is read, further out 0
        known = coordinates.inside(x, y, height, width, margin=-0.5)
        if torch.equal(image_index.cpu(), torch.arange(len(maps))):
            # a box of each map, in order: one reading for the batch
            found = sampling.read(maps, grid)
            return F.avg_pool2d(found * known[:, None], self.sampling_ratio)
        pooled = maps.new_empty(len(boxes), maps.shape[1], *self.size)
        for i in set(image_index.tolist()):
            here = image_index == i
            # the boxes of an image one below the other, so that its map is not copied for each
            found = sampling.read(maps[i : i + 1], grid[here].flatten(0, 1)[None])
            found = found.view(maps.shape[1], -1, *x.shape[1:]).movedim(1, 0)
            pooled[here] = F.avg_pool2d(found * known[here][:, None], self.sampling_ratio)
        return pooled

    def _positions(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Index coordinates in the map of all readings, by box, row and column."""
        wide = boxes.double()
        half_width, half_height = wide[:, 2] / 2, wide[:, 3] / 2
        cos, sin = wide[:, 4].deg2rad().cos(), wide[:, 4].deg2rad().sin()
        # box coordinates reach from -1 to 1, x right and y down before the box is turned
        rows = [cos * half_width, sin * half_height, wide[:, 0] - 0.5 - self.offset]
        rows += [-sin * half_width, cos * half_height, wide[:, 1] - 0.5 - self.offset]
        cell_from_box = torch.stack(rows, dim=1).view(-1, 2, 3) / self.stride
        down, across = (
            coordinates.cell_centres(side * self.sampling_ratio, wide) for side in self.size
        )
        return coordinates.mapped(coordinates.homogeneous(cell_from_box), across, down)


class RotationInvariantRoIAlign(RotatedRoIAlign):
    """Read rotated boxes from a network of orientations, whose channels are rolled back as well.

    Han et al., "ReDet: a rotation-equivariant detector for aerial object detection" (2021), section
    "Rotation-invariant RoI Align".

    Known answer: from a network over C4 (`invariance_probe.controls.c4_network`), what is pooled
    from a turned image equals that of the upright one at quarter turns, where `RotatedRoIAlign`
    leaves the channels permuted; from a plain network neither does.

    Args:
        size: Height and width of what is returned, in bins, or one number for both.
        orientations: Channels of each field: 4 for C4, 8 for C8. Channel ``field * orientations +
            e`` shows the field turned counter-clockwise by e times 360 / orientations degrees.
        stride: Distance of the map's cells, in pixels of the input.
        offset: Where the first cell lies, see `RotatedRoIAlign`.
        sampling_ratio: Readings of each bin along each side.

    Raises:
        InvalidInputError: If a size is no positive whole number, or the stride not positive.

    Example:
        >>> import torch, invariance_probe as ip
        >>> from invariance_probe.operators import RotationInvariantRoIAlign
        >>> network = ip.controls.c4_network()
        >>> images = torch.rand(1, 3, 33, 33, generator=torch.Generator().manual_seed(0))
        >>> pool = RotationInvariantRoIAlign(5, orientations=4, offset=6)  # without padding
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        *,
        orientations: int,
        stride: float = 1.0,
        offset: float | None = None,
        sampling_ratio: int = 2,
    ) -> None:
        super().__init__(size, stride=stride, offset=offset, sampling_ratio=sampling_ratio)
        check_integer("orientations", orientations, 2)
        self.orientations = orientations

    def forward(
        self,
        maps: Float[Tensor, "batch channel height width"],
        boxes: Float[Tensor, "box 5"],
        image_index: Int[Tensor, " index"],
    ) -> Float[Tensor, "box channel bin_height bin_width"]:
        """Pool, and roll the orientations back by the angles of the boxes.

        Args:
            maps: Maps to read from.
            boxes: As of `RotatedRoIAlign.forward`.
            image_index: From which map of the batch each box is read.

        Returns:
            What is in each box, upright, in the dtype of `maps`.

        Raises:
            InvalidInputError: If boxes have another shape, an index is none of the batch, or the
                channels do not divide into fields.

        Example:
            >>> box = torch.tensor([[14.0, 20.0, 9.0, 5.0, 0.0]])
            >>> turned = torch.tensor([[20.0, 19.0, 9.0, 5.0, 90.0]])
            >>> index = torch.tensor([0])
            >>> upright = pool(network(images), box, index)
            >>> again = pool(network(ip.Rotation(90)(images)), turned, index)
            >>> torch.allclose(upright, again, atol=1e-4)
            True
        """  # noqa: DOC502  (raised by what is called)
        pooled = super().forward(maps, boxes, image_index)
        return rolled_back(pooled, boxes[:, 4], self.orientations)


def rolled_back(
    features: Float[Tensor, "box channel *cells"], degrees: Float[Tensor, " box"], orientations: int
) -> Float[Tensor, "box channel *cells"]:
    """Undo what a turn of the content does to orientation channels.

    Han et al. (2021), orientation alignment: a cyclic shift of the channels by whole orientations;
    between two of them linear interpolation.

    Args:
        features: Channel ``field * orientations + e`` shows orientation e of a field.
        degrees: By which the content was turned, counter-clockwise as displayed.
        orientations: Channels of each field.

    Returns:
        Features whose channel e shows what it would have shown before the turn.

    Raises:
        InvalidInputError: If the channels do not divide into fields of so many.

    Example:
        >>> import torch
        >>> from invariance_probe.operators import rolled_back
        >>> features = torch.tensor([[0.0, 1.0, 2.0, 3.0]])
        >>> rolled_back(features, torch.tensor([90.0]), 4).tolist()
        [[1.0, 2.0, 3.0, 0.0]]
        >>> rolled_back(features, torch.tensor([45.0]), 4).tolist()
        [[0.5, 1.5, 2.5, 1.5]]
    """
    channels = features.shape[1]
    if channels % orientations:
        raise InvalidInputError(
            f"features of {channels} channels are no fields of {orientations} orientations; give "
            "the maps of a network over that group"
        )
    steps = degrees.double() * orientations / 360
    whole = steps.floor()
    # vectors are maps of one cell
    poses = features.reshape(len(features), channels // orientations, orientations, -1)
    pose = torch.arange(orientations, device=features.device)

    def taken(shift: Tensor) -> Tensor:
        index = ((pose + shift.long()[:, None]) % orientations)[:, None, :, None]
        return poses.gather(2, index.expand_as(poses))

    share = (steps - whole).to(features).view(-1, 1, 1, 1)
    return torch.lerp(taken(whole), taken(whole + 1), share).reshape(features.shape)
