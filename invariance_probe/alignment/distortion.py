"""Warps that may distort only so much more than the oracle: how one is brought back among them."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from invariance_probe.alignment import solver
from invariance_probe.alignment.objectives import Objective


def limit_distortion(
    warps: Float[Tensor, "warp 2 3"], oracle: Float[Tensor, "warp 2 3"], max_distortion: float
) -> tuple[Float[Tensor, "warp 2 3"], Bool[Tensor, " warp"]]:
    """Bring warps into the family: singular values relative to the oracle within the limits.

    The linear part is taken as  L O, O that of the oracle; the singular values of L are clamped to
    [1 / max_distortion, max_distortion], and mirrored warps are turned back, at the smaller end.

    Args:
        warps: Pull-backs in isotropic coordinates.
        oracle: The oracle's, for each of them.
        max_distortion: Largest stretch; the smallest is its reciprocal.

    Returns:
        The warps inside the family, and which of them were outside.
    """
    linear = warps[:, :, :2]
    reference = oracle[:, :, :2]
    relative = linear @ torch.linalg.inv(reference)
    # closed form of a 2 x 2 singular value decomposition: a rotation-scaling part (e, h) and a
    # mirrored one (f, g), whose lengths are half the sum and half the difference of the values
    e = (relative[:, 0, 0] + relative[:, 1, 1]) / 2
    f = (relative[:, 0, 0] - relative[:, 1, 1]) / 2
    g = (relative[:, 1, 0] + relative[:, 0, 1]) / 2
    h = (relative[:, 1, 0] - relative[:, 0, 1]) / 2
    q, r = torch.hypot(e, h), torch.hypot(f, g)
    large, small = q + r, q - r
    tolerance = 1e-6
    low, high = 1 / max_distortion, max_distortion
    outside = (large > high * (1 + tolerance)) | (small < low * (1 - tolerance))
    if not bool(outside.any()):
        return warps, outside
    new_large, new_small = large.clamp(low, high), small.clamp(low, high)
    new_q, new_r = (new_large + new_small) / 2, (new_large - new_small) / 2
    tiny = torch.finfo(warps.dtype).tiny
    turn = torch.where(q > 0, new_q / q.clamp(min=tiny), torch.zeros_like(q))
    flip = torch.where(r > 0, new_r / r.clamp(min=tiny), torch.zeros_like(r))
    e = torch.where(q > 0, e * turn, new_q)
    h, f, g = h * turn, f * flip, g * flip
    clamped = torch.stack([torch.stack([e + f, g - h], -1), torch.stack([g + h, e - f], -1)], -2)
    limited = torch.cat([clamped @ reference, warps[:, :, 2:]], dim=-1)
    return torch.where(outside[:, None, None], limited, warps), outside


def draw_warps(
    count: int, generator: torch.Generator, *, max_distortion: float
) -> Float[Tensor, "count 2 3"]:
    """Draw warps of the family about the identity.

    Args:
        count: How many.
        generator: Source of randomness.
        max_distortion: Largest stretch; the smallest is its reciprocal.

    Returns:
        Any rotation before and after a stretch whose factors are drawn evenly on a logarithmic
        scale; shifts from -1 to 1.
    """
    angles = 2 * math.pi * torch.rand(2, count, generator=generator)
    turn = torch.stack(
        [
            torch.stack([angles.cos(), -angles.sin()], -1),
            torch.stack([angles.sin(), angles.cos()], -1),
        ],
        -2,
    )
    stretch = max_distortion ** (2 * torch.rand(count, 2, generator=generator) - 1)
    shift = 2 * torch.rand(count, 2, 1, generator=generator) - 1
    return torch.cat([turn[0] @ torch.diag_embed(stretch) @ turn[1], shift], dim=-1)


@dataclass(frozen=True, kw_only=True)
class LimitedWarps(solver.Problem):
    """Least squares over the warps of the family: a point of the descent is a warp, flattened.

    Attributes:
        objective: The squared error.
        pairs: Which pair of maps each start is for.
        oracle: The oracle's warp for each start, in isotropic coordinates.
        max_distortion: Bound of the family; see `limit_distortion`.
    """

    objective: Objective
    pairs: Int[Tensor, " start"]
    oracle: Float[Tensor, "start 2 3"]
    max_distortion: float

    def normal(self, points: Float[Tensor, "row 6"], starts: Int[Tensor, " row"]) -> solver.Normal:
        """Evaluate warps; see `solver.Problem`."""
        return self.objective.normal(points.view(-1, 2, 3), self.pairs[starts])

    def confine(
        self, points: Float[Tensor, "row 6"], starts: Int[Tensor, " row"]
    ) -> tuple[Float[Tensor, "row 6"], Bool[Tensor, " row"]]:
        """Bring warps back into the family; see `solver.Problem`."""
        warps, oracle = points.view(-1, 2, 3), self.oracle[starts]
        limited, outside = limit_distortion(warps, oracle, self.max_distortion)
        return limited.flatten(1), outside
