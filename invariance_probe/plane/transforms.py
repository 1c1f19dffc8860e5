"""What is done to the input: rotation, scaling, shear, translation, reflection, any affine map.

A transform is a motion of the content about the centre of the image, as of `coordinates`.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real

import torch
from jaxtyping import Float
from torch import Tensor

from invariance_probe.errors import InvalidInputError
from invariance_probe.errors.checks import as_number, check_tensor
from invariance_probe.plane import coordinates
from invariance_probe.plane.rendering import render

MOST = 10_000
"""Transforms of one sweep."""


@dataclass(frozen=True)
class Transform:
    """An affine motion of image content; use one of the subclasses.

    Attributes:
        kind: Name of the family, as in the column ``transform`` of the tables.
        parameter: The value that says which member of the family, as in the column ``parameter``;
            NaN where one number cannot say it.

    Example:
        >>> import torch, invariance_probe as ip
        >>> image = torch.rand(1, 3, 9, 9)
        >>> torch.equal(ip.Rotation(90)(image), image.rot90(1, (-2, -1)))  # counter-clockwise
        True
        >>> ip.Rotation(90)(image, crop=5).shape
        torch.Size([1, 3, 5, 5])
        >>> both = ip.Scaling(2) @ ip.Rotation(90)  # the rotation is done first
        >>> both.kind, ip.Scaling(2).kind, ip.Scaling(2).parameter
        ('affine', 'scaling', 2.0)
    """

    def __post_init__(self) -> None:
        """Refuse numbers that no motion has."""
        for field in dataclasses.fields(self):
            if field.type is not float:
                continue
            value = getattr(self, field.name)
            if not math.isfinite(number := as_number(value)):
                raise InvalidInputError(
                    f"{type(self).__name__}({field.name}={value}): the value must be a finite "
                    "number"
                )
            if not isinstance(value, Real):  # a tensor without dimensions
                object.__setattr__(self, field.name, number)

    @property
    def kind(self) -> str:
        """Name of the family."""
        return type(self).__name__.lower()

    @property
    def parameter(self) -> float:
        """Which member of the family."""
        return math.nan

    @cached_property
    def matrix(self) -> Float[Tensor, "3 3"]:
        """Where content moves to, in centred pixel coordinates; float64."""
        raise NotImplementedError

    def inverse(self) -> "Transform":
        """Return the transform that moves the content back.

        Returns:
            The inverse, of the same family where the family holds it.

        Example:
            >>> ip.Shear(0.5).inverse().matrix[0].tolist()
            [1.0, -0.5, 0.0]
        """
        return Affine(torch.linalg.inv(self.matrix))

    def __matmul__(self, first: "Transform") -> "Transform":
        """Compose: `first` is done first."""
        return Affine(self.matrix @ first.matrix)

    def __call__(
        self,
        images: Float[Tensor, "batch channel height width"],
        *,
        crop: int | tuple[int, int] | None = None,
        fill: float | Sequence[float] = 0.0,
    ) -> Float[Tensor, "batch channel crop_height crop_width"]:
        """Transform images about their centre.

        Whole-pixel motions (quarter turns, flips, shifts) move pixels; everything else reads a
        cubic B-spline. Where content shrinks, the image is first blurred so that the result is as
        sharp as an image usually is (`rendering.NOMINAL_BLUR`).

        Args:
            images: Images, or canvases larger than the crop.
            crop: Size of the result, cut from the centre; the size of `images` by default.
            fill: Value, or one value a channel, where the content of a position is unknown.

        Returns:
            Transformed images.
        """
        return next(render(images, [self.matrix], crop=crop, fill=fill))


@dataclass(frozen=True)
class Rotation(Transform):
    """Turn the content counter-clockwise as displayed.

    Attributes:
        degrees: The angle, in degrees.

    Example:
        >>> import torch, invariance_probe as ip
        >>> image = torch.eye(3)[None, None]
        >>> ip.Rotation(90)(image)[0, 0].int().tolist()
        [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
        >>> ip.Rotation(30).parameter
        30.0
    """

    degrees: float

    @property
    def parameter(self) -> float:
        """The angle, in degrees."""
        return float(self.degrees)

    @cached_property
    def matrix(self) -> Float[Tensor, "3 3"]:
        """Where content moves to; quarter turns hold exact zeros and ones."""
        quarters, rest = divmod(float(self.degrees), 90)
        if rest == 0:
            cos, sin = [(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)][int(quarters) % 4]
        else:
            cos, sin = math.cos(math.radians(self.degrees)), math.sin(math.radians(self.degrees))
        return _linear(cos, sin, -sin, cos)

    def inverse(self) -> "Rotation":
        """Return the rotation by the opposite angle.

        Returns:
            The inverse.

        Example:
            >>> ip.Rotation(30).inverse()
            Rotation(degrees=-30)
        """
        return Rotation(-self.degrees)


@dataclass(frozen=True)
class Scaling(Transform):
    """Make the content larger (factor > 1) or smaller.

    Attributes:
        factor: Ratio of lengths after and before; positive.

    Example:
        >>> import torch, invariance_probe as ip
        >>> ip.Scaling(0.5)(torch.rand(1, 3, 64, 64), crop=32).shape
        torch.Size([1, 3, 32, 32])
        >>> ip.Scaling(0.5).parameter
        0.5
    """

    factor: float

    @property
    def parameter(self) -> float:
        """The factor."""
        return float(self.factor)

    def __post_init__(self) -> None:
        """Refuse what is no factor.

        Raises:
            InvalidInputError: If it is not positive.
        """
        super().__post_init__()
        if self.factor <= 0:
            raise InvalidInputError(
                f"Scaling(factor={self.factor:g}): a factor must be positive; use Reflection to "
                "mirror the content"
            )

    @cached_property
    def matrix(self) -> Float[Tensor, "3 3"]:
        """Where content moves to."""
        return _linear(self.factor, 0.0, 0.0, self.factor)

    def inverse(self) -> "Scaling":
        """Return the scaling by the reciprocal factor.

        Returns:
            The inverse.

        Example:
            >>> ip.Scaling(0.5).inverse()
            Scaling(factor=2.0)
        """
        return Scaling(1 / self.factor)


@dataclass(frozen=True)
class Shear(Transform):
    """Shear the content: ``(x, y) -> (x + X y, y + Y x)`` with x right and y down.

    Attributes:
        x: Pixels to the right for each pixel further down.
        y: Pixels down for each pixel further right.

    Example:
        >>> import invariance_probe as ip
        >>> ip.Shear(0.5).parameter, ip.Shear(0.5).matrix[:2, :2].tolist()
        (0.5, [[1.0, 0.5], [0.0, 1.0]])
    """

    x: float
    y: float = 0.0

    @property
    def parameter(self) -> float:
        """The horizontal shear, where there is no vertical one."""
        return float(self.x) if self.y == 0 else math.nan

    @cached_property
    def matrix(self) -> Float[Tensor, "3 3"]:
        """Where content moves to.

        Raises:
            InvalidInputError: If the two shears make the matrix singular.
        """
        x, y = float(self.x), float(self.y)
        if x * y == 1:
            raise InvalidInputError(f"Shear(x={x:g}, y={y:g}) is singular; x * y must not be 1")
        return _linear(1.0, x, y, 1.0)


@dataclass(frozen=True)
class Translation(Transform):
    """Move the content, in pixels of the input.

    Attributes:
        dx: Pixels to the right.
        dy: Pixels down.

    Example:
        >>> import torch, invariance_probe as ip
        >>> image = torch.rand(1, 1, 4, 4)
        >>> torch.equal(ip.Translation(1)(image)[..., 1:], image[..., :-1])  # to the right
        True
        >>> ip.Translation(1).parameter
        1.0
    """

    dx: float
    dy: float = 0.0

    @property
    def parameter(self) -> float:
        """The horizontal shift, where there is no vertical one."""
        return float(self.dx) if self.dy == 0 else math.nan

    @cached_property
    def matrix(self) -> Float[Tensor, "3 3"]:
        """Where content moves to."""
        return coordinates.scale_and_shift(1.0, 1.0, float(self.dx), float(self.dy))

    def inverse(self) -> "Translation":
        """Return the shift back.

        Returns:
            The inverse.

        Example:
            >>> ip.Translation(3, 4).inverse()
            Translation(dx=-3, dy=-4)
        """
        return Translation(-self.dx, -self.dy)


@dataclass(frozen=True)
class Reflection(Transform):
    """Mirror the content at a line through the centre.

    Attributes:
        axis_degrees: Angle of the line, counter-clockwise from the horizontal, in degrees: 0 swaps
            top and bottom, 90 swaps left and right.

    Example:
        >>> import torch, invariance_probe as ip
        >>> image = torch.rand(1, 1, 4, 4)
        >>> torch.equal(ip.Reflection(90)(image), image.flip(-1))  # left and right change places
        True
        >>> ip.Reflection(90).parameter
        90.0
    """

    axis_degrees: float

    @property
    def parameter(self) -> float:
        """The angle of the axis, in degrees."""
        return float(self.axis_degrees)

    @cached_property
    def matrix(self) -> Float[Tensor, "3 3"]:
        """Where content moves to; axes at multiples of 45 degrees hold exact zeros and ones."""
        turn = Rotation(2 * self.axis_degrees).matrix
        return turn @ coordinates.scale_and_shift(1.0, -1.0, 0.0, 0.0)

    def inverse(self) -> "Reflection":
        """Return the reflection itself.

        Returns:
            The inverse.

        Example:
            >>> ip.Reflection(45).inverse()
            Reflection(axis_degrees=45)
        """
        return self


@dataclass(frozen=True, eq=False)
class Affine(Transform):
    """Any invertible affine motion of the content.

    Attributes:
        affine_matrix: 2 x 2, 2 x 3 or 3 x 3, acting on centred pixel coordinates (x right, y down).

    Example:
        >>> import invariance_probe as ip
        >>> ip.Affine([[1, 0.2], [0, 1]]).matrix.shape
        torch.Size([3, 3])
    """

    affine_matrix: Tensor | Sequence[Sequence[float]]

    @cached_property
    def matrix(self) -> Float[Tensor, "3 3"]:
        """Where content moves to.

        Raises:
            InvalidInputError: If the matrix has another shape, is singular or not finite.
        """
        try:
            given = torch.as_tensor(self.affine_matrix, dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InvalidInputError(f"Affine: {self.affine_matrix!r} is no matrix") from error
        check_tensor("Affine", given, "row", "column")
        if tuple(given.shape) not in {(2, 2), (2, 3), (3, 3)}:
            raise InvalidInputError(
                f"Affine: a matrix of shape {tuple(given.shape)} was given; give 2 x 2, 2 x 3 or "
                "3 x 3"
            )
        if len(given) == 3 and not torch.allclose(given[2], given.new_tensor([0, 0, 1])):
            raise InvalidInputError(
                f"Affine: the last row is {given[2].tolist()}; an affine map has (0, 0, 1)"
            )
        full = torch.eye(3, dtype=torch.float64)
        full[:2, : given.shape[1]] = given[:2]
        if not bool(full.isfinite().all()) or abs(float(torch.linalg.det(full))) < 1e-12:
            raise InvalidInputError(
                f"Affine: {given.tolist()} is singular or not finite; give an invertible matrix"
            )
        return full


def sweep(kind: str, start: float, stop: float, step: float) -> list[Transform]:
    """List transforms of one family at equal steps, both ends included.

    Args:
        kind: ``"rotation"`` (degrees), ``"scaling"`` (factors), ``"shear"`` (horizontal),
            ``"translation"`` (pixels to the right) or ``"reflection"`` (axis, degrees).
        start: First value.
        stop: Last value; it is included where the steps meet it.
        step: Distance between values; for scaling too.

    Returns:
        One transform for each value.

    Raises:
        InvalidInputError: If the family is unknown or the range is empty.

    Example:
        >>> import invariance_probe as ip
        >>> ip.sweep("rotation", -90, 90, 90)
        [Rotation(degrees=-90.0), Rotation(degrees=0.0), Rotation(degrees=90.0)]
    """
    families: dict[str, type[Rotation | Scaling | Shear | Translation | Reflection]] = {
        family.__name__.lower(): family
        for family in (Rotation, Scaling, Shear, Translation, Reflection)
    }
    if not isinstance(kind, str) or kind not in families:
        raise InvalidInputError(f"unknown transform {kind!r}; choose from {', '.join(families)}")
    start, stop, step = map(as_number, (start, stop, step))
    if not all(map(math.isfinite, (start, stop, step))) or step <= 0 or stop < start:
        raise InvalidInputError(
            f"sweep {kind}={start:g}:{stop:g}:{step:g} is empty; give START:STOP:STEP with "
            "START <= STOP and STEP > 0"
        )
    steps = (stop - start) / step
    if steps >= MOST:
        raise InvalidInputError(
            f"sweep {kind}={start:g}:{stop:g}:{step:g} has more than {MOST} steps; give a larger "
            "STEP, or list the transforms"
        )
    count = math.floor(steps + 1e-9) + 1
    transforms: list[Transform] = [
        families[kind](round(start + i * step, 12)) for i in range(count)
    ]
    for transform in transforms:
        _ = transform.matrix  # an impossible member is refused here, with its value
    return transforms


def is_identity(transform: Transform) -> bool:
    """Tell whether a transform leaves everything where it is.

    Args:
        transform: Any transform.

    Returns:
        True for the identity, such as ``Rotation(0)``.
    """
    return bool(torch.equal(transform.matrix, torch.eye(3, dtype=torch.float64)))


def described(transforms: Sequence[Transform]) -> list[dict[str, object]]:
    """Write transforms down for a file.

    Args:
        transforms: Some transforms.

    Returns:
        Kind, parameter and matrix of each, as JSON holds them.
    """
    return [
        {"kind": one.kind, "parameter": one.parameter, "matrix": one.matrix.tolist()}
        for one in transforms
    ]


def _linear(xx: float, xy: float, yx: float, yy: float) -> Tensor:
    return torch.tensor([[xx, xy, 0.0], [yx, yy, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
