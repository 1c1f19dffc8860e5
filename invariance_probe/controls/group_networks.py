"""The group networks: built of the layers in `groups`, with and without pooling over the group."""

from typing import TypedDict, Unpack

import torch
from jaxtyping import Int
from torch import Tensor, nn

from invariance_probe.controls.groups import (
    C4,
    D4,
    GroupConv2d,
    LiftingConv2d,
    OrbitPool,
    SquareGroup,
)
from invariance_probe.controls.weights import require_positive
from invariance_probe.plane.transforms import Transform


class GroupNetwork(nn.Sequential):
    """A `LiftingConv2d` and then `GroupConv2d` layers, each followed by a ReLU.

    Args:
        group: `C4` or `D4`.
        channels: Channels of the image.
        fields: Fields of every layer; the maps have ``fields * group.order`` channels.
        depth: Number of convolutions, the first included.
        kernel_size: Side of the kernels, in cells.
        stride: Of the first layer, in pixels.
        seed: Of the weights.

    Attributes:
        group: The group.
        fields: Number of fields of every layer.

    Example:
        >>> import torch, invariance_probe as ip
        >>> from invariance_probe import controls
        >>> network = controls.GroupNetwork(controls.C4, fields=1, depth=1)
    """

    def __init__(
        self,
        group: SquareGroup,
        *,
        channels: int = 3,
        fields: int = 4,
        depth: int = 3,
        kernel_size: int = 5,
        stride: int = 1,
        seed: int = 0,
    ) -> None:
        require_positive(channels=channels, fields=fields, depth=depth)
        generator = torch.Generator().manual_seed(seed)
        layers: list[nn.Module] = [
            LiftingConv2d(
                group,
                channels,
                fields,
                kernel_size=kernel_size,
                stride=stride,
                generator=generator,
            ),
            nn.ReLU(),
        ]
        for _ in range(depth - 1):
            conv = GroupConv2d(group, fields, fields, kernel_size=kernel_size, generator=generator)
            layers += [conv, nn.ReLU()]
        super().__init__(*layers)
        self.group, self.fields = group, fields

    def channel_permutation(self, transform: Transform) -> Int[Tensor, " channel"]:
        """Tell which channel shows what each channel showed before the input was moved.

        Args:
            transform: What was done to the input, such as ``Rotation(90)``.

        Returns:
            ``p`` with ``warped[:, p] == reference`` at every layer, where ``warped`` are the maps
            of the moved input after the oracle warp: channel c has become channel p[c].

        Raises:
            InvalidInputError: If the transform's linear part is not in the group.

        Example:
            >>> image = torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(0))
            >>> reference, moved = network(image), network(ip.Rotation(90)(image))
            >>> back = moved.rot90(-1, (-2, -1))[:, network.channel_permutation(ip.Rotation(90))]
            >>> torch.allclose(back, reference, atol=1e-5)
            True
        """  # noqa: DOC502  (raised by the group)
        return self.group.channel_permutation(transform, self.fields)


class Sizes(TypedDict, total=False):
    """What `GroupNetwork` is built from, besides group and fields.

    Attributes:
        channels: Channels of the image.
        depth: Number of convolutions.
        kernel_size: Side of the kernels, in cells.
        stride: Of the first layer, in pixels.
        seed: Of the weights.
    """

    channels: int
    depth: int
    kernel_size: int
    stride: int
    seed: int


def c4_network(*, fields: int = 4, **sizes: Unpack[Sizes]) -> GroupNetwork:
    """Build a group-convolution network over the quarter turns.

    Known answer: at quarter turns the oracle warp alone leaves much, the warp and a cyclic shift of
    each field's four channels (`GroupNetwork.channel_permutation`) are exact; with a stride, on
    sizes whose centre it keeps (see `invariance_probe.controls`). Reflections, other rotations and
    scalings are aligned by neither.

    Args:
        fields: Fields of every layer; the maps have four channels for each.
        **sizes: See `Sizes`.

    Returns:
        Modules ``0`` (`LiftingConv2d`), ``1`` (ReLU), ``2`` (`GroupConv2d`), ...

    Example:
        >>> import torch
        >>> from invariance_probe import controls
        >>> controls.c4_network()(torch.rand(1, 3, 33, 33)).shape[:2]
        torch.Size([1, 16])
    """
    return GroupNetwork(C4, fields=fields, **sizes)


def d4_network(*, fields: int = 2, **sizes: Unpack[Sizes]) -> GroupNetwork:
    """Build a group-convolution network over the eight symmetries of the square.

    Known answer: as for `c4_network`, for quarter turns and for reflections at multiples of 45
    degrees, with the group's own permutation of each field's eight channels.

    Args:
        fields: Fields of every layer; the maps have eight channels for each.
        **sizes: See `Sizes`.

    Returns:
        Modules ``0`` (`LiftingConv2d`), ``1`` (ReLU), ``2`` (`GroupConv2d`), ...

    Example:
        >>> import torch
        >>> from invariance_probe import controls
        >>> controls.d4_network()(torch.rand(1, 3, 33, 33)).shape[:2]
        torch.Size([1, 16])
    """
    return GroupNetwork(D4, fields=fields, **sizes)


def c4_pooled_network(
    *, fields: int = 8, kind: str = "max", **sizes: Unpack[Sizes]
) -> nn.Sequential:
    """Build `c4_network` and pool each field over its four poses.

    Known answer: at quarter turns the oracle warp alone is exact again (P12); reflections, other
    rotations and scalings are aligned by no warp.

    Args:
        fields: Fields of every layer, and channels of the result.
        kind: ``"max"`` or ``"mean"`` over the poses.
        **sizes: See `Sizes`.

    Returns:
        Modules ``0`` (`GroupNetwork`) and ``1`` (`OrbitPool`).

    Example:
        >>> import torch
        >>> from invariance_probe import controls
        >>> controls.c4_pooled_network()(torch.rand(1, 3, 33, 33)).shape[:2]
        torch.Size([1, 8])
    """
    return nn.Sequential(c4_network(fields=fields, **sizes), OrbitPool(C4, kind))


def d4_pooled_network(
    *, fields: int = 8, kind: str = "max", **sizes: Unpack[Sizes]
) -> nn.Sequential:
    """Build `d4_network` and pool each field over its eight poses.

    Known answer: at quarter turns and reflections at multiples of 45 degrees the oracle warp alone
    is exact again (P12); other rotations and scalings are aligned by no warp.

    Args:
        fields: Fields of every layer, and channels of the result.
        kind: ``"max"`` or ``"mean"`` over the poses.
        **sizes: See `Sizes`.

    Returns:
        Modules ``0`` (`GroupNetwork`) and ``1`` (`OrbitPool`).

    Example:
        >>> import torch
        >>> from invariance_probe import controls
        >>> controls.d4_pooled_network()(torch.rand(1, 3, 33, 33)).shape[:2]
        torch.Size([1, 8])
    """
    return nn.Sequential(d4_network(fields=fields, **sizes), OrbitPool(D4, kind))
