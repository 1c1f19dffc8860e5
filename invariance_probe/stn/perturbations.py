"""How training images are perturbed, a batch at a time, and the poses that say how.

Convention:
    A pose says how the *content* moves, with the signs of `invariance_probe.transforms`: degrees
    counter-clockwise as displayed, pixels to the right and down, the binary logarithm of the
    factor. `Perturbation.moves` gives the same motion as a matrix from the centred pixels of the
    image to the centred pixels of the canvas (x right, y down, the origin of each at its middle).
    Sources: Jansson et al., "Inability of spatial transformations of CNN feature maps to support
    invariant recognition", and Finnveden et al., "Understanding when spatial transformer networks
    do not support invariance", the sections on MNIST; the clutter goes back to Mnih et al.,
    "Recurrent models of visual attention" (2014).
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from invariance_probe.errors import InvalidInputError
from invariance_probe.stn import resampling

SIDE = 28
"""Side of the images for which the papers give sizes in pixels."""
PIECE = 6
"""Side of a crop that clutters the canvas, in pixels of a 28 x 28 digit (both papers)."""
PIECES = 6
"""Crops on each cluttered canvas (both papers)."""
SCALED_SIDES = tuple(range(2, 19, 2))
"""Sides to which crops are resized on the scaled set: 2 s with s in 1..9 (both papers)."""
_TEST_POSES, _TEST_CLUTTER = 5_100_000, 5_200_000
"""Seeds that no training run draws from, far apart."""
_CHOICES = 6
"""Numbers that say what a piece is: source, its column and row there, side, column, row."""


@dataclass(frozen=True, kw_only=True)
class Perturbation(ABC):
    """A random motion of the content, drawn anew for every image.

    Attributes:
        name: As it is written on the command line and in the tables.
        pose_names: What the numbers of a pose are.
        pieces: Crops of other digits on each canvas; 0 for none.
    """

    name: ClassVar[str]
    pose_names: ClassVar[tuple[str, ...]]
    pieces: int = 0

    def canvas(self, side: int) -> int:
        """Say how large the perturbed images are.

        Args:
            side: Side of the images, in pixels.

        Returns:
            Side of the canvas, in pixels; even where `side` is even and odd where it is odd.
        """
        return side

    @abstractmethod
    def draw(
        self, count: int, generator: torch.Generator, side: int = SIDE
    ) -> Float[Tensor, "sample pose"]:
        """Draw poses.

        Args:
            count: How many.
            generator: Where the randomness comes from; the poses lie on its device.
            side: Side of the images, in pixels; what is counted in pixels depends on it.

        Returns:
            A row for each image, as `pose_names` has it; float32.
        """

    @abstractmethod
    def moves(self, poses: Float[Tensor, "sample pose"]) -> Float[Tensor, "sample 3 3"]:
        """Express poses as motions of the content.

        Args:
            poses: What `draw` returned, or any others.

        Returns:
            Matrices from the centred pixels of the image to those of the canvas; float64.
        """

    @abstractmethod
    def _moved(
        self,
        images: Float[Tensor, "sample channel side side"],
        poses: Float[Tensor, "sample pose"],
        background: float | None,
    ) -> Float[Tensor, "sample channel canvas canvas"]:
        """Put the moved content on the canvas."""

    def apply(
        self,
        images: UInt8[Tensor, "sample channel side side"]
        | Float[Tensor, "sample channel side side"],
        poses: Float[Tensor, "sample pose"],
        *,
        clutter: Float[Tensor, "sample channel canvas canvas"] | None = None,
        background: float | None = 0.0,
    ) -> Float[Tensor, "sample channel canvas canvas"]:
        """Perturb a batch of images.

        Bilinear interpolation; where content shrinks, the interpolating triangle widens with it,
        so that nothing is aliased. Whole-pixel shifts move pixels.

        Args:
            images: Bytes, or floats in [0, 1].
            poses: A pose for each.
            clutter: What is added before values are clamped at 1; see `clutter_layer`.
            background: Value in [0, 1] around the images (0 for MNIST, 1 for plankton), or None to
                continue the nearest border values, as for photographs. `Dataset.background` says
                which.

        Returns:
            Values in [0, 1], on the device of `images`, in float32 unless `images` is in another
            float.

        Raises:
            InvalidInputError: If clutter is to be added to a background that is not black.
        """
        if images.dtype == torch.uint8:
            images = images.float().div_(255)
        moved = self._moved(images, poses.to(images.device), background)
        if clutter is None:
            return moved
        if background != 0:
            raise InvalidInputError(
                f"perturbation {self.name!r}: clutter adds light to a black background and this "
                f"data's is {'its border' if background is None else f'{background:g}'}; use "
                f"'{self.name}=clean'"
            )
        return moved.add_(clutter.to(moved)).clamp_(max=1)

    def piece_sides(self, side: int) -> tuple[int, ...]:
        """List the sides that crops may have on the canvas, each as likely as the others.

        Args:
            side: Side of the images, in pixels.

        Returns:
            Sides in pixels; for images of another side than 28, in proportion to it.
        """
        return (_in_proportion(PIECE, side),)

    def draw_clutter(
        self,
        samples: Int64[Tensor, " sample"],
        sources: int,
        side: int,
        generator: torch.Generator,
    ) -> Int64[Tensor, "sample piece choice"]:
        """Choose the crops that clutter each canvas and where they lie.

        Args:
            samples: Numbers of the images among the sources; no image clutters itself.
            sources: How many images crops are taken from; at least 2.
            side: Side of the images, in pixels.
            generator: Where the randomness comes from; the choices lie on its device.

        Returns:
            For each of `pieces` crops: number of the source, column and row of the crop in it, side
            to which it is resized, column and row on the canvas.

        Raises:
            InvalidInputError: If there is no other image to take a crop from.
        """
        if sources < 2:
            raise InvalidInputError(
                f"perturbation {self.name!r}: clutter is cut from other images and there "
                f"are only {sources}; give at least 2, or use '{self.name}=clean'"
            )
        uniform = torch.rand(
            (len(samples), self.pieces, _CHOICES),
            generator=generator,
            dtype=torch.float64,
            device=generator.device,
        )

        def below(column: int, count: Tensor | int) -> Tensor:
            return (uniform[..., column] * count).long()

        sides = torch.tensor(self.piece_sides(side), device=generator.device)
        free = side - _in_proportion(PIECE, side) + 1
        other = samples.to(generator.device)[:, None] + 1 + below(0, sources - 1)
        chosen = sides[below(3, len(sides))]
        room = self.canvas(side) - chosen + 1
        return torch.stack(
            [
                other % sources,
                below(1, free),
                below(2, free),
                chosen,
                below(4, room),
                below(5, room),
            ],
            dim=-1,
        )

    def clutter_layer(
        self,
        choices: Int64[Tensor, "sample piece choice"],
        sources: UInt8[Tensor, "source channel side side"]
        | Float[Tensor, "source channel side side"],
    ) -> Float[Tensor, "sample channel canvas canvas"]:
        """Paint clutter on empty canvases.

        Args:
            choices: What `draw_clutter` returned.
            sources: The images that crops are taken from.

        Returns:
            Sums of the crops, not yet clamped, on the device of `sources`.
        """
        channels, side = sources.shape[1:3]
        piece, device = _in_proportion(PIECE, side), sources.device
        source, column, row, target, left, top = choices.to(device).unbind(-1)
        span = torch.arange(piece, device=device)
        crops = sources[
            source[..., None, None, None],
            torch.arange(channels, device=device)[:, None, None],
            (row[..., None] + span)[..., None, :, None],
            (column[..., None] + span)[..., None, None, :],
        ]
        crops = crops.float().div_(255) if sources.dtype == torch.uint8 else crops
        sides = self.piece_sides(side)
        if sides != (piece,):
            which = torch.searchsorted(torch.tensor(sides, device=device), target.contiguous())
            resizer = resampling.resizers(piece, sides).to(crops)[which][:, :, None]
            crops = resizer @ crops @ resizer.mT
        return resampling.pasted(crops, left, top, self.canvas(side))


@dataclass(frozen=True, kw_only=True)
class NoPerturbation(Perturbation):
    """Images as they are; poses hold no number."""

    name = "none"
    pose_names = ()

    def draw(
        self,
        count: int,
        generator: torch.Generator,
        side: int = SIDE,  # noqa: ARG002 (an override)
    ) -> Float[Tensor, "sample 0"]:
        """Draw nothing.

        Args:
            count: How many poses.
            generator: Left as it is.
            side: Of no influence.

        Returns:
            Empty rows.
        """
        return torch.zeros(count, 0, device=generator.device)

    def moves(self, poses: Float[Tensor, "sample 0"]) -> Float[Tensor, "sample 3 3"]:
        """Leave the content where it is.

        Args:
            poses: Empty rows.

        Returns:
            Identities.
        """
        return _identities(poses)

    def _moved(
        self,
        images: Tensor,
        poses: Tensor,  # noqa: ARG002 (an override)
        background: float | None,  # noqa: ARG002 (an override)
    ) -> Tensor:
        return images


@dataclass(frozen=True, kw_only=True)
class RandomRotation(Perturbation):
    """Turn the content about the centre; what leaves the image is lost (28 x 28 in both papers).

    Attributes:
        limit: Largest angle either way, in degrees.
    """

    name = "rotation"
    pose_names = ("degrees",)
    limit: float = 90.0

    def __post_init__(self) -> None:
        if not 0 < self.limit <= 180:
            raise InvalidInputError(
                f"perturbation 'rotation={self.limit:g}': the largest angle must lie in (0, 180] "
                "degrees"
            )

    def draw(
        self,
        count: int,
        generator: torch.Generator,
        side: int = SIDE,  # noqa: ARG002 (an override)
    ) -> Float[Tensor, "sample 1"]:
        """Draw angles, uniformly.

        Args:
            count: How many.
            generator: Where the randomness comes from.
            side: Of no influence.

        Returns:
            Degrees, counter-clockwise as displayed.
        """
        return _uniform(count, 1, generator).mul_(2).sub_(1).mul_(self.limit)

    def moves(self, poses: Float[Tensor, "sample 1"]) -> Float[Tensor, "sample 3 3"]:
        """Express angles as rotations.

        Args:
            poses: Degrees.

        Returns:
            Matrices as of `transforms.Rotation`.
        """
        radians = torch.deg2rad(poses[:, 0].double())
        matrices = _identities(poses)
        matrices[:, 0, 0] = matrices[:, 1, 1] = radians.cos()
        matrices[:, 0, 1] = radians.sin()
        matrices[:, 1, 0] = -radians.sin()
        return matrices

    def _moved(self, images: Tensor, poses: Tensor, background: float | None) -> Tensor:
        return resampling.rotated(images, self.moves(poses), background)


@dataclass(frozen=True, kw_only=True)
class RandomTranslation(Perturbation):
    """Put the image anywhere on a larger canvas, by whole pixels (60 x 60 for 28 x 28)."""

    name = "translation"
    pose_names = ("x", "y")
    pieces: int = PIECES

    def canvas(self, side: int) -> int:
        """Say how large the canvas is: 16/28 of the side is added on either side.

        Args:
            side: Side of the images, in pixels.

        Returns:
            60 for 28; as many pixels on either side for any other.
        """
        return side + 2 * _in_proportion(16, side)

    def draw(
        self, count: int, generator: torch.Generator, side: int = SIDE
    ) -> Float[Tensor, "sample 2"]:
        """Draw positions, uniformly over all at which the whole image lies on the canvas.

        Args:
            count: How many.
            generator: Where the randomness comes from.
            side: Side of the images, in pixels.

        Returns:
            Whole pixels to the right and down of the canvas's centre: from -16 to 16 for 28 x 28.
        """
        margin = _in_proportion(16, side)
        return (_uniform(count, 2, generator) * (2 * margin + 1)).floor_().sub_(margin)

    def moves(self, poses: Float[Tensor, "sample 2"]) -> Float[Tensor, "sample 3 3"]:
        """Express positions as shifts.

        Args:
            poses: Pixels to the right and down.

        Returns:
            Matrices as of `transforms.Translation`.
        """
        matrices = _identities(poses)
        matrices[:, :2, 2] = poses.double()
        return matrices

    def _moved(self, images: Tensor, poses: Tensor, background: float | None) -> Tensor:
        canvas = self.canvas(images.shape[-1])
        return resampling.moved_along_axes(images, self.moves(poses), canvas, background)


@dataclass(frozen=True, kw_only=True)
class RandomScaling(Perturbation):
    """Change the size of the content about the centre of a larger canvas (112 x 112 for 28 x 28).

    Attributes:
        low: Binary logarithm of the smallest factor.
        high: Binary logarithm of the largest factor; the canvas just holds the image at it.
    """

    name = "scaling"
    pose_names = ("log2_factor",)
    pieces: int = PIECES
    low: float = -1.0
    high: float = 2.0

    def __post_init__(self) -> None:
        if not (-4 <= self.low < self.high <= 4):
            raise InvalidInputError(
                f"perturbation 'scaling={self.low:g}:{self.high:g}': give binary logarithms "
                "LOW:HIGH of the factor with -4 <= LOW < HIGH <= 4"
            )

    def canvas(self, side: int) -> int:
        """Say how large the canvas is: the image times the largest factor, at least the image.

        Args:
            side: Side of the images, in pixels.

        Returns:
            112 for 28 and factors up to 4; as many pixels on either side of the image for any.
        """
        return side + 2 * math.ceil(side * max(0.0, 2**self.high - 1) / 2)

    def draw(
        self,
        count: int,
        generator: torch.Generator,
        side: int = SIDE,  # noqa: ARG002 (an override)
    ) -> Float[Tensor, "sample 1"]:
        """Draw factors, uniformly in their logarithm.

        Args:
            count: How many.
            generator: Where the randomness comes from.
            side: Of no influence.

        Returns:
            Binary logarithms.
        """
        return _uniform(count, 1, generator).mul_(self.high - self.low).add_(self.low)

    def moves(self, poses: Float[Tensor, "sample 1"]) -> Float[Tensor, "sample 3 3"]:
        """Express factors as scalings.

        Args:
            poses: Binary logarithms of the factors.

        Returns:
            Matrices as of `transforms.Scaling`.
        """
        matrices = _identities(poses)
        matrices[:, 0, 0] = matrices[:, 1, 1] = poses[:, 0].double().exp2()
        return matrices

    def piece_sides(self, side: int) -> tuple[int, ...]:
        """List the sides that crops may have on the canvas: 2 s with s in 1..9 for 28 x 28.

        Args:
            side: Side of the images, in pixels.

        Returns:
            Sides in pixels; for images of another side than 28, in proportion to it.
        """
        return tuple(sorted({_in_proportion(s, side) for s in SCALED_SIDES}))

    def _moved(self, images: Tensor, poses: Tensor, background: float | None) -> Tensor:
        canvas = self.canvas(images.shape[-1])
        return resampling.moved_along_axes(images, self.moves(poses), canvas, background)


def parse_perturbation(text: str) -> Perturbation:
    """Read a perturbation as it is written on the command line.

    Args:
        text: ``none``; ``rotation`` or ``rotation=90`` (largest angle, degrees); ``translation`` or
            ``translation=clean`` (no clutter); ``scaling``, ``scaling=-1:2`` (binary logarithms of
            the smallest and largest factor) or ``scaling=clean``.

    Returns:
        The perturbation.

    Raises:
        InvalidInputError: If there is no such perturbation, or its value cannot be used.
    """
    name, equals, value = text.strip().partition("=")
    try:
        if name == "none" and not equals:
            return NoPerturbation()
        if name == "rotation":
            return RandomRotation(limit=float(value)) if equals else RandomRotation()
        if name == "translation" and (not equals or value == "clean"):
            return RandomTranslation(pieces=0) if equals else RandomTranslation()
        if name == "scaling":
            if value == "clean":
                return RandomScaling(pieces=0)
            if equals:
                low, high = (float(number) for number in value.split(":"))
                return RandomScaling(low=low, high=high)
            return RandomScaling()
    except InvalidInputError:
        raise
    except ValueError:
        pass
    raise InvalidInputError(
        f"perturbation {text!r} cannot be read; give none, rotation, rotation=DEGREES, "
        "translation, translation=clean, scaling, scaling=LOW:HIGH or scaling=clean"
    )


def test_poses(
    perturbation: Perturbation,
    count: int,
    seed: int = 0,  # noqa: PT028 (no pytest test)
    side: int = SIDE,  # noqa: PT028 (no pytest test)
) -> Float[Tensor, "count pose"]:
    """List the poses of the test images: the same for every variant, seed of training and machine.

    Args:
        perturbation: What is done to the images.
        count: How many; a shorter list is the beginning of a longer one.
        seed: Which list.
        side: Side of the images, in pixels.

    Returns:
        A pose for each test image, on the CPU.
    """
    return perturbation.draw(count, torch.Generator().manual_seed(_TEST_POSES + seed), side)


def test_clutter(
    perturbation: Perturbation,
    count: int,
    seed: int = 0,  # noqa: PT028 (no pytest test)
    side: int = SIDE,  # noqa: PT028 (no pytest test)
) -> Int64[Tensor, "count piece choice"] | None:
    """Choose the clutter of the test images, cut from each other, as fixedly as their poses.

    Args:
        perturbation: What is done to the images.
        count: How many test images there are.
        seed: Which list.
        side: Side of the images, in pixels.

    Returns:
        Choices for `Perturbation.clutter_layer`, on the CPU; None for a perturbation without.
    """
    if perturbation.pieces == 0:
        return None
    generator = torch.Generator().manual_seed(_TEST_CLUTTER + seed)
    return perturbation.draw_clutter(torch.arange(count), count, side, generator)


def _in_proportion(pixels: int, side: int) -> int:
    """Scale a length given for 28 x 28 images to others; at least one pixel."""
    return max(1, (2 * pixels * side + SIDE) // (2 * SIDE))


def _uniform(count: int, columns: int, generator: torch.Generator) -> Tensor:
    """Draw from [0, 1) on the generator's device."""
    return torch.rand((count, columns), generator=generator, device=generator.device)


def _identities(poses: Tensor) -> Tensor:
    eye = torch.eye(3, dtype=torch.float64, device=poses.device)
    return eye.repeat(len(poses), 1, 1)
