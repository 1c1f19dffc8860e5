"""Methods that are told the pose: a detector's box, a vehicle's odometry, an angle to steer by."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from analyses.related.acting import (
    BOX,
    CANVAS,
    CELLS,
    STILL,
    STRIDE,
    Acting,
    Pose,
    linear_head,
    read_boxes,
)
from invariance_probe.operators import (
    EgoAlignment,
    RotatedRoIAlign,
    fit_matrix,
    fit_steerer,
    rolled_back,
)

Turn = Callable[[float], Tensor]
"""From degrees to the matrix that turns descriptors of an image turned by so much back."""


class Region(Acting):
    """Read a box from the last map, turned and scaled with the content (`RotatedRoIAlign`).

    Without a pose the box is upright and in the middle, and nothing is moved.

    Attributes:
        trunk: From images to maps.
    """

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        self._pool = RotatedRoIAlign(CELLS, stride=STRIDE)
        self.head = linear_head(self)

    def encode(self, images: Tensor) -> Tensor:
        """Make the last map."""
        maps: Tensor = self.trunk(images)
        return maps

    def act(self, encoded: Tensor, pose: Pose | None) -> Tensor:
        """Read the box."""
        return read_boxes(self._pool, encoded, pose or STILL, BOX)


class OnRegion(Acting):
    """Another method on a network whose boxes are read.

    Attributes:
        region: The network.
    """

    def __init__(self, region: Region) -> None:
        super().__init__()
        self.region, self.head = region, region.head

    def encode(self, images: Tensor) -> Tensor:
        """Make the last map."""
        return self.region.encode(images)

    def placed(self, encoded: Tensor, pose: Pose) -> Tensor:
        """Read the box."""
        return self.region.act(encoded, pose)


class RegionAtInput(OnRegion):
    """Read the box from the image, and show the network what is in it: the control."""

    def __init__(self, region: Region) -> None:
        super().__init__(region)
        self._pool = RotatedRoIAlign(CANVAS, sampling_ratio=1)

    def encode(self, images: Tensor) -> Tensor:
        """Take the images."""
        return images

    def act(self, encoded: Tensor, pose: Pose | None) -> Tensor:
        """Read a box as large as the image."""
        upright = read_boxes(self._pool, encoded, pose or STILL, CANVAS)
        return self.region.act(self.region.encode(upright), None)

    placed = act


class AtLayer(OnRegion):
    """Move the map after a layer back, as a transformer there would that knew the pose.

    Args:
        region: The network.
        layer: Number of the layer, from 1.
    """

    def __init__(self, region: Region, layer: int) -> None:
        super().__init__(region)
        assert isinstance(region.trunk, nn.Sequential)
        self._first, self._rest = region.trunk[:layer], region.trunk[layer:]

    def encode(self, images: Tensor) -> Tensor:
        """Make the map."""
        maps: Tensor = self._first(images)
        return maps

    def act(self, encoded: Tensor, pose: Pose | None) -> Tensor:
        """Move it back, and go on to the upright box."""
        return self.region.act(self._rest((pose or STILL).undone(encoded)), None)

    placed = act


class Rolled(OnRegion):
    """Read the box, and roll the orientations of a C4 network back (RiRoIAlign)."""

    def act(self, encoded: Tensor, pose: Pose | None) -> Tensor:
        """Read and roll."""
        pose = pose or STILL
        read = self.region.act(encoded, pose)
        return rolled_back(read, torch.full((len(read),), pose.degrees), 4)


class EgoAtInput(OnRegion):
    """Bring a bird's-eye image to where the vehicle is now, and encode it.

    What stands on the ground moves against the vehicle: content that was moved by a motion is
    brought back by a vehicle that has made this motion.
    """

    at = "input"

    def __init__(self, region: Region) -> None:
        super().__init__(region)
        self._alignment = EgoAlignment(region.trunk, metres_per_cell=1, at=self.at, stride=STRIDE)

    def encode(self, images: Tensor) -> Tensor:
        """Take the images."""
        return images

    def act(self, encoded: Tensor, pose: Pose | None) -> Tensor:
        """Align, and read the middle."""
        moved = (pose or STILL).matrix.expand(len(encoded), 3, 3)
        return self.region.act(self._aligned(encoded, moved), None)

    def _aligned(self, images: Tensor, moved: Tensor) -> Tensor:
        maps: Tensor = self._alignment(images, moved)
        return maps

    placed = act


class EgoAtMap(EgoAtInput):
    """Encode a bird's-eye image, and bring its map to where the vehicle is now."""

    at = "map"

    def encode(self, images: Tensor) -> Tensor:
        """Make the last map."""
        return self.region.encode(images)

    def _aligned(self, images: Tensor, moved: Tensor) -> Tensor:
        # `images` are maps already: of the alignment only its warp is left to be done
        maps: Tensor = self._alignment.warp(images, moved)
        return maps


class Steered(OnRegion):
    """Read the box, and turn the descriptors of its cells back."""

    def __init__(self, region: Region, turn: Turn) -> None:
        super().__init__(region)
        self._turn = turn

    def act(self, encoded: Tensor, pose: Pose | None) -> Tensor:
        """Read and turn."""
        pose = pose or STILL
        read = self.region.act(encoded, pose)
        return torch.einsum("dc,bcyx->bdyx", self._turn(pose.degrees).to(read), read)


def one_generator(region: Region, images: Tensor, degrees: Sequence[float]) -> Steered:
    """Fit one generator to descriptors of turned images.

    Args:
        region: The network.
        images: Digits to fit it to.
        degrees: By which they are turned, other angles than those of the score.

    Returns:
        The steerer of Bökman et al. (2024), descriptors as they are (setting A).
    """
    upright = _descriptors(region, images, STILL)
    turned = {angle: _descriptors(region, images, _turn(angle)) for angle in degrees}
    steerer = fit_steerer(upright, turned)
    return Steered(region, lambda angle: steerer.matrix(-angle).detach())


def matrix_each(region: Region, images: Tensor, degrees: Sequence[float]) -> Steered:
    """Fit a matrix to each turn.

    Args:
        region: The network.
        images: Digits to fit them to.
        degrees: By which they are turned, the angles of the score.

    Returns:
        What mixes channels back at these angles, and at no other.
    """
    upright = _descriptors(region, images, STILL)
    fitted = {0.0: torch.eye(upright.shape[1])}
    for angle in degrees:
        fitted[angle] = fit_matrix(upright, _descriptors(region, images, _turn(angle)))
    return Steered(region, lambda angle: fitted[round(angle, 6)])


def _turn(degrees: float) -> Pose:
    return Pose(motion=f"rotation=90,on:{CANVAS}", numbers=(degrees,))


@torch.no_grad()
def _descriptors(region: Region, images: Tensor, pose: Pose) -> Tensor:
    """Vectors of the same places, a row each."""
    read = region.act(region.encode(pose.move(images)), pose)
    return read.movedim(1, -1).flatten(0, -2)
