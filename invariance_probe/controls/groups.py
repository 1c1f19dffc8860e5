"""Group-convolution networks over the quarter turns (C4) and the symmetries of the square (D4).

Cohen and Welling, "Group equivariant convolutional networks" (2016). Here they stand for the case
in which channels merely change places (claim P8): a spatial warp alone fails, the warp and a known
permutation of the channels are exact.

Convention:
    Element ``e`` of a group first swaps left and right if ``e >= 4``, then turns the content
    counter-clockwise as displayed by ``e % 4`` quarter turns. Channel ``field * order + e`` of a
    layer holds its field's response in pose ``e``. If the input is moved by h, what channel e
    showed is shown by channel h e, moved by h (the regular representation).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from invariance_probe.controls.weights import (
    KernelConv2d,
    draw_bias,
    draw_weight,
    require_positive,
    without_mean,
)
from invariance_probe.errors import InvalidInputError
from invariance_probe.plane.transforms import Reflection, Rotation, Transform

_TOLERANCE = 1e-9
"""How far the entries of a transform's matrix may lie from a group element's."""


@dataclass(frozen=True, kw_only=True)
class SquareGroup:
    """Symmetries of the square grid: quarter turns, with or without reflections.

    Attributes:
        reflections: Whether it holds the four reflections, too.

    Example:
        >>> import torch, invariance_probe as ip
        >>> from invariance_probe.controls import C4, D4
        >>> C4.order, D4.order
        (4, 8)
    """

    reflections: bool

    @property
    def order(self) -> int:
        """Number of elements, 4 or 8."""
        return 8 if self.reflections else 4

    def product(self, second: int, first: int) -> int:
        """Compose two elements.

        Args:
            second: The element that acts last.
            first: The element that acts first.

        Returns:
            The element that does both.

        Example:
            >>> C4.product(1, 3)  # three quarter turns and one more: none
            0
        """
        # a swap of left and right turns the sense of what was turned before it
        turns = second % 4 + (-first if second >= 4 else first) % 4
        swapped = (second >= 4) != (first >= 4)
        return turns % 4 + 4 * swapped

    def inverse(self, element: int) -> int:
        """Find the element that undoes another.

        Args:
            element: Any element.

        Returns:
            Its inverse; a reflection is its own.

        Example:
            >>> C4.inverse(1)
            3
        """
        return element if element >= 4 else -element % 4

    def move(
        self, maps: Float[Tensor, "*batch size size"], element: int
    ) -> Float[Tensor, "*batch size size"]:
        """Move the content of square maps or kernels.

        Args:
            maps: Maps or kernels.
            element: What to do.

        Returns:
            The moved maps.

        Example:
            >>> C4.move(torch.eye(2), 1).tolist()
            [[0.0, 1.0], [1.0, 0.0]]
        """
        swapped = maps.flip(-1) if element >= 4 else maps
        return swapped.rot90(element % 4, (-2, -1))

    def transform(self, element: int) -> Transform:
        """Express an element as a transform of images.

        Args:
            element: Any element.

        Returns:
            A rotation by -90, 0, 90 or 180 degrees, or a reflection at an axis of 0, 45, 90 or 135
            degrees.

        Example:
            >>> C4.transform(2)
            Rotation(degrees=180)
        """
        turns = element % 4
        if element >= 4:
            # first the axis at 90 degrees, and half of each turn more
            return Reflection((90 + 45 * turns) % 180)
        return Rotation(-90 if turns == 3 else 90 * turns)

    def element(self, transform: Transform) -> int:
        """Find the element that a transform of images is; a shift makes no difference to it.

        Args:
            transform: Such as ``Rotation(90)`` or ``Reflection(0)``.

        Returns:
            The number of the element.

        Raises:
            InvalidInputError: If the transform's linear part is not in the group.

        Example:
            >>> C4.element(ip.Rotation(-90))
            3
        """
        for element in range(self.order):
            gap = (self.transform(element).matrix - transform.matrix)[:2, :2].abs().max()
            if float(gap) <= _TOLERANCE:
                return element
        raise InvalidInputError(
            f"{transform!r} is none of the group's {self.order} elements; give a rotation by a "
            f"multiple of 90 degrees{' or a reflection at one of 45' if self.reflections else ''}"
        )

    def channel_permutation(self, transform: Transform, fields: int) -> Int[Tensor, " channel"]:
        """Tell which channel shows what each channel showed before the input was moved.

        Args:
            transform: What was done to the input.
            fields: Number of fields; there are `order` channels for each.

        Returns:
            ``p`` with ``warped[:, p] == reference``, where ``warped`` are the maps of the moved
            input after the oracle warp: channel c has become channel p[c].

        Raises:
            InvalidInputError: If the transform's linear part is not in the group.

        Example:
            >>> C4.channel_permutation(ip.Rotation(90), fields=1).tolist()
            [1, 2, 3, 0]
        """  # noqa: DOC502  (raised by `element`)
        h = self.element(transform)
        within = torch.tensor([self.product(h, e) for e in range(self.order)])
        return (self.order * torch.arange(fields)[:, None] + within).flatten()


C4 = SquareGroup(reflections=False)
"""The four quarter turns."""
D4 = SquareGroup(reflections=True)
"""The eight symmetries of the square (also called p4m together with the shifts, or D8)."""


class LiftingConv2d(KernelConv2d):
    """First layer of a group network: each filter in all the poses of the group.

    The filters drawn sum to zero, see `weights.without_mean`.

    Args:
        group: `C4` or `D4`.
        in_channels: Channels of the image.
        fields: Number of filters; there are ``fields * group.order`` output channels.
        kernel_size: Side of the kernel, in pixels.
        stride: In pixels.
        generator: Source of the weights.

    Attributes:
        weight: (fields, in, kernel_size, kernel_size).
        bias: One for all poses of a field, (fields,).

    Example:
        >>> import torch
        >>> from invariance_probe import controls
        >>> generator = torch.Generator().manual_seed(0)
        >>> layer = controls.LiftingConv2d(controls.C4, 3, 2, generator=generator)
        >>> layer(torch.rand(1, 3, 9, 9)).shape  # two filters in four poses
        torch.Size([1, 8, 5, 5])
    """

    def __init__(
        self,
        group: SquareGroup,
        in_channels: int,
        fields: int,
        *,
        kernel_size: int = 5,
        stride: int = 1,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        require_positive(
            in_channels=in_channels, fields=fields, kernel_size=kernel_size, stride=stride
        )
        self.group, self.stride = group, stride
        shape = (fields, in_channels, kernel_size, kernel_size)
        weight = draw_weight(shape, in_channels * kernel_size**2, generator)
        self.weight = nn.Parameter(without_mean(weight))
        self.bias = nn.Parameter(draw_bias(fields, generator))

    def kernel(self) -> Float[Tensor, "channel in size size"]:
        """Put the filters into all poses: pose g of a filter is the filter moved by g.

        Returns:
            The bank of ordinary filters.

        Example:
            >>> layer.kernel().shape
            torch.Size([8, 3, 5, 5])
        """
        poses = [self.group.move(self.weight, g) for g in range(self.group.order)]
        return torch.stack(poses, dim=1).flatten(0, 1)


class GroupConv2d(KernelConv2d):
    """Convolution over positions and poses, from regular fields to regular fields.

    Args:
        group: `C4` or `D4`.
        in_fields: Number of input fields.
        out_fields: Number of output fields.
        kernel_size: Side of the kernel, in cells.
        generator: Source of the weights.

    Attributes:
        weight: (out_fields, in_fields, group.order, kernel_size, kernel_size).
        bias: One for all poses of a field, (out_fields,).

    Example:
        >>> import torch
        >>> from invariance_probe import controls
        >>> generator = torch.Generator().manual_seed(0)
        >>> layer = controls.GroupConv2d(controls.C4, 2, 1, generator=generator)
        >>> layer(torch.rand(1, 8, 9, 9)).shape
        torch.Size([1, 4, 7, 7])
    """

    def __init__(
        self,
        group: SquareGroup,
        in_fields: int,
        out_fields: int,
        *,
        kernel_size: int = 3,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        require_positive(in_fields=in_fields, out_fields=out_fields, kernel_size=kernel_size)
        self.group = group
        shape = (out_fields, in_fields, group.order, kernel_size, kernel_size)
        fan_in = in_fields * group.order * kernel_size**2
        self.weight = nn.Parameter(draw_weight(shape, fan_in, generator))
        self.bias = nn.Parameter(draw_bias(out_fields, generator))

    def kernel(self) -> Float[Tensor, "out_channel in_channel size size"]:
        """Put the filters into all poses.

        Returns:
            The bank of ordinary filters: output pose g reads input pose h through the weight for
            g^-1 h, moved by g.

        Example:
            >>> layer.kernel().shape
            torch.Size([4, 8, 3, 3])
        """
        group = self.group
        poses = []
        for g in range(group.order):
            relative = [group.product(group.inverse(g), h) for h in range(group.order)]
            poses.append(group.move(self.weight[:, :, relative], g))
        return torch.stack(poses, dim=1).flatten(2, 3).flatten(0, 1)


class OrbitPool(nn.Module):
    """Pool each field over its poses, which leaves maps that a spatial warp alone aligns (P12).

    Args:
        group: `C4` or `D4`.
        kind: ``"max"`` or ``"mean"`` over the poses.

    Raises:
        InvalidInputError: If `kind` is neither.

    Example:
        >>> import torch
        >>> from invariance_probe import controls
        >>> pool = controls.OrbitPool(controls.C4)
    """

    def __init__(self, group: SquareGroup, kind: str = "max") -> None:
        super().__init__()
        if kind not in {"max", "mean"}:
            raise InvalidInputError(f"kind={kind!r}: choose max or mean")
        self.group, self.kind = group, kind

    def forward(
        self, maps: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch field height width"]:
        """Pool.

        Args:
            maps: Regular fields.

        Returns:
            One channel for each field.

        Example:
            >>> pool(torch.rand(1, 8, 5, 5)).shape
            torch.Size([1, 2, 5, 5])
        """
        batch, channels, height, width = maps.shape
        order = self.group.order
        poses = maps.reshape(batch, channels // order, order, height, width)
        return poses.amax(2) if self.kind == "max" else poses.mean(2)
