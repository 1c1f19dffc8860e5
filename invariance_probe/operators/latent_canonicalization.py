"""Maps inside a network, stretched to a canonical size before a stage and back after it."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from invariance_probe.errors import InvalidInputError
from invariance_probe.errors.checks import check_integer
from invariance_probe.plane import coordinates, sampling

MOST = 1000
"""Intervals, or steps; a slip of the pen would fill the memory."""


class LatentCanonicalizer(nn.Module):
    """Undo local scalings of what a stage of a network reads, and do them again to what it returns.

    Rahman et al., "Local scale equivariance with latent deep equilibrium canonicalizer" (2025,
    arXiv 2508.14187), section 4.3: each axis is stretched by an increasing, piecewise linear map of
    its own that keeps its ends; the stage reads canonical maps, and dense predictions are stretched
    back. Around the first stage it moves the input, around the others maps. The authors find the
    stretching as the equilibrium of a network that minimises an energy; here a localizer looks
    `steps` times at what has been moved so far, and adds to its logits.

    Known answer: before training it is the stage alone. With the right stretching the first stage
    sees the input as it was, whatever its filters, up to interpolation; a later one does not,
    unless the stages before it are pointwise (claims P6, P11).

    Attributes:
        regression: From features to logits of the slopes; its weights and biases start at 0.

    Args:
        stage: Any module from maps to maps; their outer edges are taken to be those of what it
            reads.
        localizer: Any module from maps to (batch, feature).
        features: How many features it returns.
        intervals: Pieces of each axis.
        steps: Times that the localizer looks.
        undo: Whether what the stage returns is stretched back; the authors do so for dense
            predictions, and leave it out before a classifier.

    Raises:
        InvalidInputError: If a number is no positive whole one.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from invariance_probe.operators import LatentCanonicalizer, pose_network
        >>> stage = nn.Conv2d(3, 8, 3, padding=1)
        >>> latent = LatentCanonicalizer(stage, pose_network(3, outputs=5), 5)
    """

    def __init__(
        self,
        stage: nn.Module,
        localizer: nn.Module,
        features: int,
        *,
        intervals: int = 8,
        steps: int = 1,
        undo: bool = True,
    ) -> None:
        super().__init__()
        check_integer("features", features, 1)
        check_integer("intervals", intervals, 1, MOST)
        check_integer("steps", steps, 1, MOST)
        self.stage, self.localizer = stage, localizer
        self.steps, self.undo, self.intervals = steps, undo, intervals
        self.regression = nn.Linear(features, 2 * intervals)
        nn.init.zeros_(self.regression.weight)
        nn.init.zeros_(self.regression.bias)

    def knots(
        self, maps: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch 2 knot"]:
        """Predict where maps are read.

        Args:
            maps: What the stage reads.

        Returns:
            Along x, then y: normalised coordinates, from -1 to 1, in which equally spaced places of
            the canonical map are read; in between they are linear.

        Example:
            >>> latent.knots(torch.rand(1, 3, 33, 33))[0, 0, ::4].tolist()  # before training
            [-1.0, 0.0, 1.0]
        """
        logits = maps.new_zeros(len(maps), 2, self.intervals)
        knots = _knots(logits)
        for _ in range(self.steps):
            seen = _stretched(maps, knots)
            logits = logits + self.regression(self.localizer(seen)).view_as(logits)
            knots = _knots(logits)
        return knots

    def forward(
        self, maps: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch new_channel new_height new_width"]:
        """Stretch, run the stage, and stretch back.

        Args:
            maps: Images or maps.

        Returns:
            What the stage returns of the canonical maps.

        Raises:
            InvalidInputError: If the stage returns no maps.

        Example:
            >>> maps = torch.rand(2, 3, 33, 33)
            >>> torch.allclose(latent(maps), stage(maps), atol=1e-4)  # before training
            True
        """
        knots = self.knots(maps)
        moved: Tensor = self.stage(_stretched(maps, knots))
        if moved.dim() != 4:
            raise InvalidInputError(
                f"the stage returns a tensor of shape {tuple(moved.shape)}; give one that returns "
                "maps, and put what follows behind it"
            )
        return _stretched(moved, knots, back=True) if self.undo else moved


def _knots(logits: Tensor) -> Tensor:
    """Increasing values from -1 to 1, of slopes by a softmax: equal logits are the identity."""
    ends = logits.softmax(-1).cumsum(-1)
    # sums end near 1, by rounding; the ends are kept exactly
    ends = torch.cat([torch.zeros_like(ends[..., :1]), ends[..., :-1]], dim=-1)
    return torch.cat([2 * ends - 1, torch.ones_like(ends[..., :1])], dim=-1)


def _stretched(maps: Tensor, knots: Tensor, *, back: bool = False) -> Tensor:
    """Maps read through the piecewise linear map of each axis, or through its inverse."""
    even = torch.linspace(-1, 1, knots.shape[-1]).to(knots).expand_as(knots)
    start, end = (knots, even) if back else (even, knots)
    x, y = (
        _piecewise(coordinates.cell_centres(side, knots), start[:, axis], end[:, axis])
        for axis, side in ((0, maps.shape[-1]), (1, maps.shape[-2]))
    )
    shape = (-1, maps.shape[-2], maps.shape[-1])
    grid = torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], dim=-1)
    return sampling.read(maps, grid)


def _piecewise(at: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Values at some places of maps, (batch, place), that lead from knots to knots."""
    places = at.expand(len(start), -1).contiguous()
    right = torch.searchsorted(start.detach().contiguous(), places).clamp(1, start.shape[1] - 1)
    a, b, c, d = (each.gather(1, i) for each in (start, end) for i in (right - 1, right))
    return c + (d - c) * (places - a) / (b - a)
