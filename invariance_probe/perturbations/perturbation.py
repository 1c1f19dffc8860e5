"""What every perturbation does: draw poses, move the content of a batch, strew clutter over it.

The convention is that of `invariance_probe.perturbations.kinds`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from invariance_probe.errors import InvalidInputError
from invariance_probe.perturbations import canvases
from invariance_probe.perturbations.clutter import Clutter
from invariance_probe.plane.transforms import Transform

SIDE = 28
"""Side of the images for which the papers give sizes in pixels."""
PIECE = 6
"""Side of a crop that clutters the canvas, in pixels of a 28 x 28 digit (both papers)."""
PIECES = 6
"""Crops on each cluttered canvas (both papers)."""


def in_proportion(pixels: int, side: int) -> int:
    """Scale a length that the papers give for 28 x 28 images.

    Args:
        pixels: The length.
        side: Side of the images, in pixels.

    Returns:
        Whole pixels, at least one.
    """
    return max(1, (2 * pixels * side + SIDE) // (2 * SIDE))


def padded_side(side: int, wanted: int) -> int:
    """Round a side up so that an image lies in its middle, on whole pixels.

    Args:
        side: Side of the image.
        wanted: Least side of what it lies in.

    Returns:
        The next number that differs from `side` by an even one.
    """
    return wanted + (wanted - side) % 2


def middles(count: int) -> list[float]:
    """List the middles of equal parts of [-1, 1].

    Args:
        count: How many parts.

    Returns:
        A number for each.
    """
    return [(2 * number + 1) / count - 1 for number in range(count)]


@dataclass(frozen=True, kw_only=True)
class Perturbation(ABC):
    """A random motion of the content, drawn anew for every image.

    Attributes:
        name: As it is written on the command line and in the tables.
        pose_names: What the numbers of a pose are.
        pose_units: The unit of each, in words.
        pieces: Crops of other digits on each canvas; 0 for none.
        least_canvas: Least side of the canvas for 28 x 28 images, in pixels, so that motions of
            several kinds can be compared on one; in proportion for other images.
    """

    name: ClassVar[str]
    pose_names: ClassVar[tuple[str, ...]]
    pose_units: ClassVar[tuple[str, ...]]
    pieces: int = 0
    least_canvas: int = 0

    @abstractmethod
    def __str__(self) -> str:
        """Write it as `parsing.parse_perturbation` reads it."""

    @property
    @abstractmethod
    def label(self) -> str:
        """Name with the range that poses are drawn from, for figures."""

    @abstractmethod
    def sweep(self, count: int, side: int = SIDE) -> list[Transform]:
        """List motions that are spread evenly over the range that poses are drawn from.

        A mean over them says something about the perturbation, and not about its extremes.

        Args:
            count: How many.
            side: Side of the images, in pixels; what is counted in pixels depends on it.

        Returns:
            The motions at the middles of `count` equal parts of the range.
        """

    def source_side(self, side: int) -> int:
        """Say how large an image has to be for every motion to find all it shows on a canvas.

        Args:
            side: Side of the images, in pixels.

        Returns:
            Least side of the images padded, in pixels; even where `side` is even and odd where it
            is odd, so that there are as many pixels on either side.
        """
        return self.canvas(side)

    def canvas(self, side: int) -> int:
        """Say how large the perturbed images are.

        Args:
            side: Side of the images, in pixels.

        Returns:
            Side of the canvas, in pixels; even where `side` is even and odd where it is odd.
        """
        least = in_proportion(self.least_canvas, side) if self.least_canvas else side
        return padded_side(side, max(least, self._own_canvas(side)))

    def _own_canvas(self, side: int) -> int:
        """Side of the canvas that the motion itself needs."""
        return side

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
        shape = (count, len(self.pose_names))
        uniform = torch.rand(shape, generator=generator, device=generator.device)
        return self._poses_from(uniform, side)

    def moves(self, poses: Float[Tensor, "sample pose"]) -> Float[Tensor, "sample 3 3"]:
        """Express poses as motions of the content.

        Args:
            poses: What `draw` returned, or any others.

        Returns:
            Matrices from the centred pixels of the image to those of the canvas; float64. They are
            those of `transforms.Rotation`, `transforms.Translation` and `transforms.Scaling`.
        """
        matrices = torch.eye(3, dtype=torch.float64, device=poses.device).repeat(len(poses), 1, 1)
        self._write_moves(poses.double(), matrices)
        return matrices

    @abstractmethod
    def _poses_from(self, uniform: Tensor, side: int) -> Tensor:
        """Turn numbers from [0, 1) into poses."""

    @abstractmethod
    def _write_moves(self, poses: Tensor, matrices: Tensor) -> None:
        """Write motions over identities."""

    def _moved(
        self,
        images: Float[Tensor, "sample channel side side"],
        poses: Float[Tensor, "sample pose"],
        background: float | None,
    ) -> Float[Tensor, "sample channel canvas canvas"]:
        """Put the moved content on the canvas; by default motions mix no axes."""
        canvas = self.canvas(images.shape[-1])
        return canvases.moved_along_axes(images, self.moves(poses), canvas, background)

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
            poses: A pose for each; best left on the CPU, so that a GPU need not be waited for.
            clutter: What is added before values are clamped at 1; see `clutter_layer`.
            background: Value in [0, 1] around the images (0 for MNIST, 1 for plankton), or None to
                continue the nearest border values, as for photographs. `Source.background` says
                which.

        Returns:
            Values in [0, 1], on the device of `images`, in float32 unless `images` is in another
            float.

        Raises:
            InvalidInputError: If clutter is to be added to a background that is not black.
        """
        if images.dtype == torch.uint8:
            images = images.float().div_(255)
        moved = self._moved(images, poses, background)
        if clutter is None:
            return moved
        if background != 0:
            raise InvalidInputError(
                f"perturbation {self.name!r}: clutter adds light to a black background, and this "
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
        return (in_proportion(PIECE, side),)

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
                f"perturbation {self.name!r}: clutter is cut from other images, and there "
                f"are too few ({sources}); give at least 2, or use '{self.name}=clean'"
            )
        layout = self._clutter(side)
        return layout.draw(samples, sources, self.pieces, generator)

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
        return self._clutter(sources.shape[-1]).paint(choices, sources)

    def _clutter(self, side: int) -> Clutter:
        return Clutter(
            side=side,
            canvas=self.canvas(side),
            crop=in_proportion(PIECE, side),
            sides=self.piece_sides(side),
        )
