"""`SpatialTransformer`, a module for any network: predict a motion from maps, and undo it.

Matrices are the pull-backs of `invariance_probe.plane.coordinates`. Two in turn are one by their
product, so iterating multiplies matrices and resamples the original once. Source: Jaderberg et al.,
"Spatial transformer networks" (2015).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from invariance_probe.errors import InvalidInputError
from invariance_probe.errors.checks import check_choice, check_integer, check_number
from invariance_probe.plane.sampling import MODES, PADDINGS, resample

Matrices = Callable[[Tensor, float], Tensor]

MOST_FEATURES = 10**6
"""That a localizer can return; a slip of the pen would fill the memory."""


@dataclass(frozen=True, kw_only=True)
class Parametrisation:
    """A family of affine maps; all numbers 0 are the identity.

    Attributes:
        name: As on the command line.
        size: How many numbers say which member.
        rows: Turns the numbers and the ratio of height to width into the first two rows.
    """

    name: str
    size: int
    rows: Matrices

    def matrices(
        self, numbers: Float[Tensor, "batch number"], *, height: int, width: int
    ) -> Float[Tensor, "batch 3 3"]:
        """Build pull-backs.

        Args:
            numbers: Which members.
            height: Height of the maps, in cells.
            width: Width of the maps, in cells; rotations keep lengths in cells.

        Returns:
            Pull-backs in normalised coordinates, in the dtype of `numbers`.
        """
        rows = self.rows(numbers, height / width)
        last = rows.new_tensor([[[0.0, 0.0, 1.0]]]).expand(len(rows), 1, 3)
        return torch.cat([rows, last], dim=1)


def _affine(numbers: Tensor, ratio: float) -> Tensor:
    del ratio
    return numbers.view(-1, 2, 3) + torch.eye(2, 3, dtype=numbers.dtype, device=numbers.device)


def _similarity(numbers: Tensor, ratio: float) -> Tensor:
    """Logarithm of the factor, radians, shift along x and y."""
    factor, angle = numbers[:, 0].exp(), numbers[:, 1]
    cos, sin = factor * angle.cos(), factor * angle.sin()
    rows = [cos, -sin * ratio, numbers[:, 2], sin / ratio, cos, numbers[:, 3]]
    return torch.stack(rows, dim=1).view(-1, 2, 3)


def _among_four(*columns: int) -> Matrices:
    """Similarities of which only some of the four numbers are free."""

    def rows(numbers: Tensor, ratio: float) -> Tensor:
        full = numbers.new_zeros(len(numbers), 4)
        return _similarity(full.index_copy(1, full.new_tensor(columns).long(), numbers), ratio)

    return rows


PARAMETRISATIONS = {
    each.name: each
    for each in (
        Parametrisation(name="affine", size=6, rows=_affine),
        Parametrisation(name="similarity", size=4, rows=_similarity),
        Parametrisation(name="rotation", size=1, rows=_among_four(1)),
        Parametrisation(name="scale", size=1, rows=_among_four(0)),
        Parametrisation(name="translation", size=2, rows=_among_four(2, 3)),
    )
}
"""``affine`` (the papers'): the six entries less those of the identity; ``similarity``: logarithm
of the factor, radians, shifts along x and y as shares of half the map; the others: parts of it."""


def shrunk(side: int, share: float) -> int:
    """Say how many cells a transformer leaves of a side.

    Args:
        side: Of what it reads, in cells.
        share: In (0, 1].

    Returns:
        Whole cells, rounded down, at least one.
    """
    return max(1, int(side * share))


class SpatialTransformer(nn.Module):
    """Predict a motion from maps and undo it, as a module for your own network.

    At the input of a network it can make it invariant; at a feature map it moves feature vectors
    and changes none of them, which undoes a shift of the input but no rotation or scaling.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from invariance_probe.stn.transformer import SpatialTransformer
        >>> localizer = nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU())
        >>> network = nn.Sequential(SpatialTransformer(localizer, 32), nn.Flatten())
        >>> network(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 784])

    Attributes:
        localizer: What was given.
        regression: The last layer, from features to the numbers of the motion. Its weights and
            biases start at 0, the identity.

    Args:
        localizer: Any module from maps (batch, channel, height, width) to (batch, feature).
        features: How many features it returns.
        parametrisation: Which motions: one of `PARAMETRISATIONS`.
        mode: Sampler, one of `MODES`.
        padding: What is read outside the maps, one of `PADDINGS`.
        output_share: Side of what is returned over that of what is read. The papers halve images
            and maps of translated digits: the identity then shows all of them at half the size.
        gradient_scale: Factor of the gradient where it enters the localizer.

    Raises:
        InvalidInputError: If one of the names is unknown, or `output_share` is not in (0, 1].
    """

    def __init__(
        self,
        localizer: nn.Module,
        features: int,
        *,
        parametrisation: str = "affine",
        mode: str = "bilinear",
        padding: str = "border",
        output_share: float = 1.0,
        gradient_scale: float = 1.0,
    ) -> None:
        super().__init__()
        if not isinstance(localizer, nn.Module):
            raise InvalidInputError(f"localizer={localizer!r}: give a torch.nn.Module")
        check_integer("features", features, 1, MOST_FEATURES)
        if not 0 < check_number("output_share", output_share) <= 1:
            raise InvalidInputError(f"output_share={output_share:g}: give a share in (0, 1]")
        check_number("gradient_scale", gradient_scale)
        for what, given, known in (
            ("parametrisation", parametrisation, tuple(PARAMETRISATIONS)),
            ("mode", mode, MODES),
            ("padding", padding, PADDINGS),
        ):
            check_choice(what, given, known)
        self.localizer = localizer
        self.parametrisation = PARAMETRISATIONS[parametrisation]
        self.mode, self.padding = mode, padding
        self.output_share, self.gradient_scale = output_share, gradient_scale
        self.regression = nn.Linear(features, self.parametrisation.size)
        nn.init.zeros_(self.regression.weight)
        nn.init.zeros_(self.regression.bias)

    def predict(
        self, maps: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch 3 3"]:
        """Predict pull-backs.

        Args:
            maps: What the localizer sees.

        Returns:
            Pull-backs; at least float32.

        Example:
            >>> transformer = network[0]
            >>> maps = torch.rand(2, 1, 28, 28)
            >>> transformer.predict(maps)[0].tolist()  # the identity, before training
            [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
        """
        numbers = self.regression(self.localizer(maps))
        if self.gradient_scale != 1 and numbers.requires_grad:
            # unlike a smaller rate, this reaches what the localizer shares with a classifier
            numbers.register_hook(lambda gradient: gradient * self.gradient_scale)
        numbers = numbers if numbers.dtype == torch.float64 else numbers.float()
        height, width = maps.shape[-2:]
        return self.parametrisation.matrices(numbers, height=height, width=width)

    def resample(
        self,
        maps: Float[Tensor, "batch channel height width"],
        pull_backs: Float[Tensor, "batch 3 3"],
    ) -> Float[Tensor, "batch channel new_height new_width"]:
        """Read maps through pull-backs with this module's sampler.

        Args:
            maps: Maps to read from.
            pull_backs: A matrix for each.

        Returns:
            Warped maps, `output_share` as high and wide.

        Example:
            >>> same = transformer.resample(maps, transformer.predict(maps))
            >>> torch.allclose(same, maps, atol=1e-5)
            True
        """
        height, width = (shrunk(side, self.output_share) for side in maps.shape[-2:])
        return resample(
            maps, pull_backs, mode=self.mode, padding=self.padding, size=(height, width)
        )

    def forward(
        self, maps: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel new_height new_width"]:
        """Warp maps by what is predicted from them.

        Args:
            maps: Images or feature maps.

        Returns:
            Warped maps, as of `resample`.

        Example:
            >>> transformer(maps).shape
            torch.Size([2, 1, 28, 28])
        """
        return self.resample(maps, self.predict(maps))
