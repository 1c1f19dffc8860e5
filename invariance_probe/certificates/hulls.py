"""Squared distances from vectors to the convex hulls of four others, in closed form.

Inside a cell, bilinear reading mixes the cell's four corners with weights that are not negative and
add up to 1, so what it reads lies in their convex hull. The point of a hull nearest to a vector f
is the foot of the perpendicular onto one of the hull's 15 faces (4 corners, 6 edges, 4 triangles,
the whole), and its weights follow from the squared distances between f and the corners alone, by
Johnson's recursion over the faces' cofactors (Gilbert, Johnson and Keerthi, "A fast procedure for
computing the distance between complex objects in three-dimensional space", IEEE Journal of Robotics
and Automation, 1988, section V).

What is returned does not rest on those weights being right. Any point x of the hull gives

    min_i <f - x, f - c_i> / |f - x|  <=  distance  <=  |f - x|,

because the plane through the corner that minimises the left side, normal to f - x, separates f from
the hull. At the nearest point both sides agree. So rounding, or a hull so flat that its cofactors
are noise, can loosen the lower side but never make it false.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor

EDGES = tuple(combinations(range(4), 2))
"""Which two corners each of a hull's six edges joins."""

_EDGE = {pair: number for number, (i, j) in enumerate(EDGES) for pair in ((i, j), (j, i))}


@dataclass(frozen=True, kw_only=True)
class HullDistance:
    """Squared distances to hulls, from both sides.

    Attributes:
        lower: No point of the hull is nearer, squared.
        upper: A point of the hull is this near, squared; `lower` but for rounding.
    """

    lower: Float[Tensor, "*hull"]
    upper: Float[Tensor, "*hull"]


def squared_distances(
    to_corners: Sequence[Float[Tensor, "*hull"]],
    between: Sequence[Float[Tensor, "*#hull"]],
    rounding: Float[Tensor, "*#hull"] | float = 0.0,
) -> HullDistance:
    """Find how far vectors are from hulls.

    Args:
        to_corners: Squared distances from the vector to the hull's four corners.
        between: Squared distances between the corners, in the order of `EDGES`.
        rounding: How wrong each of these may be, absolutely; the lower side allows for it.

    Returns:
        Squared distances, from below and from above.
    """
    near, weights = _nearest(to_corners, between)
    lower = separated(to_corners, between, weights, near, rounding)
    return HullDistance(lower=lower, upper=near)


def separated(
    to_corners: Sequence[Tensor],
    between: Sequence[Tensor],
    weights: Sequence[Tensor],
    near: Tensor,
    rounding: Tensor | float,
) -> Tensor:
    """Square the distance that the plane normal to f - x proves, x the mixture with `weights`."""
    # D_i = |f - c_i|^2 and D_ij = |c_i - c_j|^2 hold all inner products: by the law of cosines
    # <f - c_i, f - c_j> = (D_i + D_j - D_ij) / 2, and summed with the weights of x
    #     <f - x, f - c_i> = (D_i + mean - s_i) / 2,   mean = sum_j w_j D_j,  s_i = sum_j w_j D_ij
    spread = [
        sum((weights[j] * between[_EDGE[i, j]] for j in range(4) if j != i), start=0.0)
        for i in range(4)
    ]
    least = to_corners[0] - spread[0]
    for i in (1, 2, 3):
        least = torch.minimum(least, to_corners[i] - spread[i])
    mean = sum((w * d for w, d in zip(weights, to_corners, strict=True)), start=0.0)
    # half of three terms, each wrong by one rounding. `near`, sum w_i D_i less the pairs'
    # w_i w_j D_ij, is wrong by 1 + 3 / 8 at most, as sum_(i<j) w_i w_j = (1 - sum w_i^2) / 2 and
    # sum w_i^2 >= 1 / 4; it is raised by as much as reach is lowered, so that  reach / |f - x|
    # errs to the lower side
    reach = ((mean + least) / 2 - 1.5 * rounding).clamp_(min=0)
    tiny = torch.finfo(near.dtype).tiny
    return reach.square_().div_((near + 1.5 * rounding).clamp(min=tiny))


def _nearest(
    to_corners: Sequence[Tensor], between: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Squared distance to the nearest point that a face offers, and the point's weights."""
    shape = (to_corners[0] + between[0]).shape
    # The foot of the perpendicular from f onto the span of a face is  sum_j w_j c_j,  w_j the
    # cofactors divided by their sum. A corner's cofactor is 1; that of j in a face is expanded by
    # the face without j, k any corner of it:
    #     cofactor_j(face) = sum over i in the rest of cofactor_i(rest) <c_i - f, c_k - c_j>
    # (Johnson's recursion). For sum_i cofactor_i(rest) (c_i - f) is a multiple of x - f, x the foot
    # on the rest, and is normal to it, so that any k gives the same: the cofactor is positive if a
    # step from x towards c_j comes nearer to f. `_lean` is twice the inner product, which doubles
    # all cofactors of a face alike and cancels in the weights. The foot lies in the face if no
    # weight is negative.
    one = to_corners[0].new_ones(())
    best = to_corners[0].expand(shape).clone()
    weights = [torch.ones_like(best), *(torch.zeros_like(best) for _ in range(3))]
    known: dict[tuple[int, ...], dict[int, Tensor]] = {(i,): {i: one} for i in range(4)}
    for i in (1, 2, 3):
        _offer({i: one}, to_corners[i], best, weights)
    for size in (2, 3, 4):
        for face in combinations(range(4), size):
            cofactors = {}
            for j in face:
                rest = tuple(i for i in face if i != j)
                terms = (known[rest][i] * _lean(i, rest[0], j, to_corners, between) for i in rest)
                cofactors[j] = sum(terms, start=torch.zeros_like(one))
            known[face] = cofactors
            total = sum(cofactors.values(), start=torch.zeros_like(one))
            inside = total > 0
            for cofactor in cofactors.values():
                inside = inside & (cofactor >= 0)
            # where the foot does not count, 1 keeps NaN out of what is not offered
            total = torch.where(inside, total, one)
            shares = {i: cofactor / total for i, cofactor in cofactors.items()}
            # |f - x|^2 = sum w_i D_i - sum over pairs of w_i w_j D_ij holds for any weights that
            # add up to 1 (the parallel axis theorem), so x is a point of the hull at this distance
            # even where its weights are rounded
            away = sum((shares[i] * to_corners[i] for i in face), start=torch.zeros_like(one))
            for i, j in combinations(face, 2):
                away = away - shares[i] * shares[j] * between[_EDGE[i, j]]
            _offer(shares, torch.where(inside, away, torch.inf), best, weights)
    return best.clamp_(min=0), weights


def _lean(
    i: int, j: int, k: int, to_corners: Sequence[Tensor], between: Sequence[Tensor]
) -> Tensor:
    """Twice <c_i - f, c_j - c_k>, from squared distances."""
    # (D_i + D_j - D_ij) - (D_i + D_k - D_ik), where D_i cancels and D_ii = 0
    lean = to_corners[j] - to_corners[k]
    if i != j:
        lean = lean - between[_EDGE[i, j]]
    return lean if i == k else lean + between[_EDGE[i, k]]


def _offer(shares: dict[int, Tensor], away: Tensor, best: Tensor, weights: list[Tensor]) -> None:
    """Keep a face's foot where it is nearer than what is known."""
    nearer = away < best
    torch.where(nearer, away, best, out=best)
    for i, weight in enumerate(weights):
        share = shares.get(i, weight.new_zeros(()))
        torch.where(nearer, share, weight, out=weight)
