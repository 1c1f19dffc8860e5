"""How training images are perturbed, a batch at a time, and the poses that say how.

Convention:
    A pose says how the *content* moves, with the signs of `invariance_probe.plane.transforms`:
    degrees counter-clockwise as displayed, pixels to the right and down, the binary logarithm of
    the factor. `Perturbation.moves` gives the same motion as a matrix from the centred pixels of
    the image to the centred pixels of the canvas (x right, y down, the origin of each at its
    middle). Sources: Jansson et al., "Inability of spatial transformations of CNN feature maps to
    support invariant recognition", and Finnveden et al., "Understanding when spatial transformer
    networks do not support invariance", the sections on MNIST; the clutter goes back to Mnih et
    al., "Recurrent models of visual attention" (2014).
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from invariance_probe.errors import InvalidInputError
from invariance_probe.perturbations import canvases
from invariance_probe.perturbations.perturbation import (
    PIECES,
    SIDE,
    Perturbation,
    in_proportion,
    middles,
    padded_side,
)
from invariance_probe.plane.transforms import Rotation, Scaling, Shear, Transform, Translation

MARGIN = 16
"""Pixels that the canvas of translations adds on either side (both papers: 60 x 60)."""
MOST_REACH = 64
"""Beyond it canvases are mostly empty."""
SCALED_SIDES = tuple(range(2, 19, 2))
"""Sides to which crops are resized on the scaled set: 2 s with s in 1..9 (both papers)."""


@dataclass(frozen=True, kw_only=True)
class NoPerturbation(Perturbation):
    """Images as they are; poses hold no number."""

    name = "none"
    pose_names = ()
    pose_units = ()

    def __str__(self) -> str:
        return _written(self)

    @property
    def label(self) -> str:
        """The name alone: nothing is drawn."""
        return self.name

    def sweep(self, count: int, side: int = SIDE) -> list[Transform]:
        """List the identity, so many times."""
        del side
        return [Rotation(0) for _ in range(count)]

    def _poses_from(self, uniform: Tensor, _side: int) -> Tensor:
        return uniform

    def _write_moves(self, poses: Tensor, matrices: Tensor) -> None:
        pass

    def _moved(self, images: Tensor, _poses: Tensor, background: float | None) -> Tensor:
        return canvases.padded(images, self.canvas(images.shape[-1]), background)


@dataclass(frozen=True, kw_only=True)
class AboutTheCentre(Perturbation):
    """A motion about the centre by one number, uniformly up to a limit either way.

    Attributes:
        limit: Largest number either way.
        most: Largest limit.
        motion: The motion by a number.
    """

    limit: float = 1.0
    most: ClassVar[float]
    motion: ClassVar[type[Rotation | Shear]]

    def __str__(self) -> str:
        return _written(self, _number(self.limit) if self.limit != type(self).limit else "")

    def sweep(self, count: int, side: int = SIDE) -> list[Transform]:
        """List motions."""
        del side
        return [self.motion(middle * self.limit) for middle in middles(count)]

    def __post_init__(self) -> None:
        if not 0 < self.limit <= self.most:
            raise InvalidInputError(
                f"perturbation '{self.name}={self.limit:g}': the limit must lie in "
                f"(0, {self.most:g}] {self.pose_units[0]}"
            )

    def _poses_from(self, uniform: Tensor, _side: int) -> Tensor:
        return (2 * uniform - 1) * self.limit

    def _moved(self, images: Tensor, poses: Tensor, background: float | None) -> Tensor:
        placed = canvases.padded(images, self.canvas(images.shape[-1]), background)
        # a motion is undone by its negative
        return canvases.moved_linearly(placed, self.moves(-poses), background)


@dataclass(frozen=True, kw_only=True)
class RandomRotation(AboutTheCentre):
    """Turn the content about the centre; what leaves the image is lost (28 x 28).

    Attributes:
        limit: Largest angle either way, in degrees.
    """

    name = "rotation"
    pose_names = ("degrees",)
    pose_units = ("degrees",)
    limit: float = 90.0
    most = 180.0
    motion = Rotation

    @property
    def label(self) -> str:
        """Name and largest angle."""
        return f"{self.name} ±{self.limit:g}°"

    def source_side(self, side: int) -> int:
        """The diagonal of the canvas, and a pixel on either side for interpolation."""
        return padded_side(side, math.ceil(self.canvas(side) * math.sqrt(2)) + 2)

    def _write_moves(self, poses: Tensor, matrices: Tensor) -> None:
        radians = torch.deg2rad(poses[:, 0])
        matrices[:, 0, 0] = matrices[:, 1, 1] = radians.cos()
        matrices[:, 0, 1] = radians.sin()
        matrices[:, 1, 0] = -radians.sin()


@dataclass(frozen=True, kw_only=True)
class RandomShear(AboutTheCentre):
    """Shear the content along x about the centre; what leaves the canvas is lost.

    Attributes:
        limit: Largest shear either way: pixels to the right for each pixel further down.
    """

    name = "shear"
    pose_names = ("shear",)
    pose_units = ("pixels a pixel",)
    limit: float = 0.6
    most = 2.0  # beyond it canvases are mostly empty
    motion = Shear

    @property
    def label(self) -> str:
        """Name and largest shear."""
        return f"{self.name} ±{self.limit:g}"

    def source_side(self, side: int) -> int:
        """What is sheared onto the canvas, and a pixel on either side for interpolation."""
        return padded_side(side, math.ceil(self.canvas(side) * (1 + self.limit)) + 2)

    def _write_moves(self, poses: Tensor, matrices: Tensor) -> None:
        matrices[:, 0, 1] = poses[:, 0]


@dataclass(frozen=True, kw_only=True)
class RandomTranslation(Perturbation):
    """Put the image on a larger canvas, uniformly at any whole pixel within reach.

    A 28 x 28 image goes on a canvas of 60 x 60, so that either number of its pose lies in -16..16.

    Attributes:
        reach: Largest shift either way, in pixels of a 28 x 28 image; the canvas adds as many.
    """

    name = "translation"
    pose_names = ("x", "y")
    pose_units = ("pixels", "pixels")
    pieces: int = PIECES
    reach: int = MARGIN

    def __str__(self) -> str:
        return _written(self, str(self.reach) if self.reach != RandomTranslation.reach else "")

    def __post_init__(self) -> None:
        if not 0 < self.reach <= MOST_REACH:
            raise InvalidInputError(
                f"perturbation 'translation={self.reach}': the largest shift must lie in 1 to "
                f"{MOST_REACH} pixels"
            )

    @property
    def label(self) -> str:
        """Name and reach on images of 28 x 28 pixels."""
        return f"{self.name} ±{self.reach} px"

    def sweep(self, count: int, side: int = SIDE) -> list[Transform]:
        """List shifts by whole pixels, along one diagonal and the other in turns."""
        steps = [round(middle * in_proportion(self.reach, side)) for middle in middles(count)]
        return [Translation(x, x if number % 2 == 0 else -x) for number, x in enumerate(steps)]

    def source_side(self, side: int) -> int:
        """The canvas, and the largest shift on either side."""
        return self.canvas(side) + 2 * in_proportion(self.reach, side)

    def _own_canvas(self, side: int) -> int:
        """60 for 28 by default; as many pixels on either side for any other."""
        return side + 2 * in_proportion(self.reach, side)

    def _poses_from(self, uniform: Tensor, side: int) -> Tensor:
        margin = in_proportion(self.reach, side)
        return (uniform * (2 * margin + 1)).floor() - margin

    def _write_moves(self, poses: Tensor, matrices: Tensor) -> None:
        matrices[:, :2, 2] = poses


@dataclass(frozen=True, kw_only=True)
class RandomScaling(Perturbation):
    """Change the size of the content about the centre of a canvas that holds it at its largest.

    Attributes:
        low: Binary logarithm of the smallest factor; factors are uniform in their logarithm.
        high: Binary logarithm of the largest factor.
    """

    name = "scaling"
    pose_names = ("log2_factor",)
    pose_units = ("octaves",)
    pieces: int = PIECES
    low: float = -1.0
    high: float = 2.0

    def __str__(self) -> str:
        usual = (self.low, self.high) == (RandomScaling.low, RandomScaling.high)
        return _written(self, "" if usual else f"{_number(self.low)}:{_number(self.high)}")

    @property
    def label(self) -> str:
        """Name and range of the factor."""
        return f"{self.name} {2**self.low:.3g} to {2**self.high:.3g}"

    def sweep(self, count: int, side: int = SIDE) -> list[Transform]:
        """List scalings, evenly spread in the logarithm of their factor."""
        del side
        half = (self.high - self.low) / 2
        return [Scaling(2 ** (self.low + half * (middle + 1))) for middle in middles(count)]

    def source_side(self, side: int) -> int:
        """What shrinks to the canvas, and a pixel on either side for interpolation."""
        return padded_side(side, math.ceil(self.canvas(side) * 2**-self.low) + 2)

    def __post_init__(self) -> None:
        if not (-4 <= self.low < self.high <= 4):
            raise InvalidInputError(
                f"perturbation 'scaling={self.low:g}:{self.high:g}': give binary logarithms "
                "LOW:HIGH of the factor with -4 <= LOW < HIGH <= 4"
            )

    def _own_canvas(self, side: int) -> int:
        """The image times the largest factor, 112 for 28 and factors up to 4; at least itself."""
        return side + 2 * math.ceil(side * max(0.0, 2**self.high - 1) / 2)

    def piece_sides(self, side: int) -> tuple[int, ...]:
        """List the sides that crops may have on the canvas: 2 s with s in 1..9 for 28 x 28.

        Args:
            side: Side of the images, in pixels.

        Returns:
            Sides in pixels; for images of another side than 28, in proportion to it.
        """
        return tuple(sorted({in_proportion(s, side) for s in SCALED_SIDES}))

    def _poses_from(self, uniform: Tensor, _side: int) -> Tensor:
        return self.low + (self.high - self.low) * uniform

    def _write_moves(self, poses: Tensor, matrices: Tensor) -> None:
        matrices[:, 0, 0] = matrices[:, 1, 1] = poses[:, 0].exp2()


def _number(value: float) -> str:
    """A number that is read back as it was, without a needless point."""
    return str(value).removesuffix(".0")


def _written(perturbation: Perturbation, value: str = "") -> str:
    """A name with its value, and words for what it usually is not: with clutter, on a canvas."""
    words = [value] if value else []
    if bool(perturbation.pieces) != bool(type(perturbation).pieces):
        words.append("clutter" if perturbation.pieces else "clean")
    words += [f"on:{perturbation.least_canvas}"] if perturbation.least_canvas else []
    return f"{perturbation.name}={','.join(words)}" if words else perturbation.name
