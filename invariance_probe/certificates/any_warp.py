"""What no spatial warp can beat: a certificate for any warp read with bilinear sampling.

A warp, whatever it depends on, gives each position p of the reference a vector that bilinear
sampling reads somewhere in the moved map G. What is read inside a cell lies in the convex hull of
the cell's four corners; what is read beyond the border is clamped to it and lies in a face of a
border cell's hull. So  min over cells of  dist(F(p), hull)^2  is left at p at least, and the sum
over the region is left in all (claim P9 of `proofs`). The hulls are those of the engine's own
sampler, bilinear with border padding. Other readings may fall below this bound: bicubic, whose
negative weights leave the hulls, and padding with zeros, which beyond the border reads the origin
and mixtures of it with border cells. Nearest-*vector* distances are no bound: mixtures come closer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from types import ModuleType

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from invariance_probe.certificates import hulls
from invariance_probe.errors import InvalidInputError
from invariance_probe.errors.checks import check_integer, check_maps, check_tensor
from invariance_probe.machine import loop_threads, over, where_numba_is

EXACT_UP_TO = 2**20
"""Positions times cells of a pair that are looked at, unless a caller spends more: all positions of
maps of 32 x 32; of larger maps the most outstanding ones. At 56 x 56 these are a ninth, which carry
about a quarter of the exact bound at a tenth of its price; at 112 x 112 less than a hundredth."""

_SAMPLES = 14
"""Rows and columns of the moved map, evenly spaced, that choose these positions: those farthest
from every vector there. An eighth of the positions then carries 0.4 to 0.5 of the whole bound
(EfficientNet-Lite0, block 0); the same number at random would carry 0.12."""

_BLOCK = 2**18
"""Positions x cells looked at together: their temporaries stay near a processor's cache."""

READ_ROUNDING = 8
"""Roundings, of the maps' own dtype, between a point of a hull and the residual that a real reading
of it leaves: four products of a weight (one rounding) and a corner, three sums, and three
differences when a score centres both maps."""


class BoundKind(StrEnum):
    """What a bound counts; the value says it."""

    ALL_POSITIONS = "all positions, with the exact distance to the nearest cell's hull"
    OUTSTANDING_POSITIONS = (
        "large maps: only the positions that stand out most, with the exact distance to the "
        "nearest cell's hull; the others count as 0, so the bound is valid but much lower"
    )


@dataclass(frozen=True, kw_only=True)
class AnyWarpBound:
    """A certified lower bound on what any bilinear warp leaves.

    A pair whose moved map, or whose reference within the region, holds NaN or infinity has NaN in
    `error`, `nearest` and, over its region, in `distance`; an empty region has error 0, the sum
    over nothing, which `metrics.Target.bound` turns into NaN.

    Attributes:
        error: No warp leaves a smaller sum of (WG - F)^2 over the region and channels.
        distance: The least squared distance at each position, 0 where it does not count.
        nearest: What the nearest points of the hulls leave at the positions that count: `error`
            before anything is subtracted for rounding.
        counted: Share of the region's positions that count; see `kind`.
        kind: Which positions count, by the size of the maps alone.
    """

    error: Float[Tensor, " pair"]
    distance: Float[Tensor, "pair height width"]
    nearest: Float[Tensor, " pair"]
    counted: Float[Tensor, " pair"]
    kind: BoundKind


def any_warp_bound(
    reference: Float[Tensor, "pair channel height width"],
    moved: Float[Tensor, "pair channel moved_height moved_width"],
    region: Bool[Tensor, "pair height width"],
    *,
    exact_up_to: int = EXACT_UP_TO,
) -> AnyWarpBound:
    """Bound from below what any spatial warp of `moved` leaves of its distance to `reference`.

    Sums are taken in float64, and what rounding in reading and scoring maps of their dtype could
    hide is subtracted, so that no real warp's residual falls below the bound. The cells of each
    position are sieved by one separating plane each, at the price of a few operations; about one
    in fifteen is left for the 15 faces of its hull. On the CPU numba's loops do it, where it is
    installed, with a second sieve that leaves a few of all.

    Args:
        reference: Reference maps F.
        moved: Moved maps G, of any size.
        region: Positions that count.
        exact_up_to: Positions times cells up to which all positions count; of larger maps as many
            as that allows. 2^24 takes 56 x 56 cells, at several times the price of a forward pass.

    Returns:
        The bound, float64, and how it was computed.

    Raises:
        InvalidInputError: If there is nothing to read, or the shapes do not fit.

    Example:
        >>> import torch, invariance_probe as ip
        >>> reference = torch.zeros(1, 1, 8, 8)
        >>> reference[..., 4, 4] = 1.0  # a bright cell, which a map of half its brightness lacks
        >>> everywhere = torch.ones(1, 8, 8, dtype=torch.bool)
        >>> bound = ip.any_warp_bound(reference, reference / 2, everywhere)
        >>> round(float(bound.error[0]), 3)  # (1 - 1/2)^2
        0.25
    """  # noqa: DOC502  (raised by `_check`)
    _check(reference, moved, region)
    check_integer("exact_up_to", exact_up_to, 1)
    pairs, _, height, width = reference.shape
    cells = max(1, moved.shape[-2] - 1) * max(1, moved.shape[-1] - 1)
    reference, moved = reference.detach(), moved.detach()
    # what lies outside the region must not matter, NaN included
    lengths = _squares(reference).masked_fill_(~region, 0), _squares(moved)
    longest = torch.stack([each.flatten(1).amax(1).sqrt() for each in lengths]).sum(0)
    finite = longest.isfinite()
    distance = torch.zeros(pairs, height * width, dtype=torch.float64, device=reference.device)
    nearest = torch.zeros_like(distance)
    counted = torch.zeros_like(distance[:, 0])
    usable = torch.nonzero(finite & region.flatten(1).any(1)).flatten()
    at_once = max(1, _BLOCK // (height * width * cells))
    for chosen in torch.split(usable, at_once) if len(usable) else ():
        # whole maps are copied, which plain indexing does element by element
        vectors, offered = (maps.index_select(0, chosen) for maps in (reference, moved))
        vectors, mask = vectors.flatten(2), region[chosen].flatten(1)
        order = _order(vectors, offered, mask, max(1, exact_up_to // cells))
        keep = mask.gather(1, order)
        wanted = vectors.gather(2, order[:, None].expand(-1, vectors.shape[1], -1))
        wanted = wanted.masked_fill_(~keep[:, None], 0).transpose(1, 2)
        # in units of the longest vectors, so that no square leaves the range of float32
        unit = longest[chosen, None, None]
        unit = torch.where(unit > 0, unit, torch.ones_like(unit))
        # a real reading leaves the hull by rounding: a residual is shorter than the distance by
        # `slack` longest vectors at most
        low, high = _to_nearest_hull(
            Cells(offered.double() / unit[..., None]), wanted.double() / unit
        )
        slack = READ_ROUNDING * torch.finfo(reference.dtype).eps
        low = (low.sqrt() - slack).clamp_(min=0).square_()
        at, square = (chosen[:, None], order), keep * unit[:, :, 0].square()
        distance[at], nearest[at] = low * square, high * square
        counted[chosen] = keep.sum(1) / mask.sum(1).clamp(min=1).double()
    lost = ~finite[:, None] & region.flatten(1)
    nan = torch.full_like(counted, torch.nan)
    return AnyWarpBound(
        error=torch.where(finite, distance.sum(1), nan),
        distance=distance.masked_fill(lost, torch.nan).view(pairs, height, width),
        nearest=torch.where(finite, nearest.sum(1), nan),
        counted=counted,
        kind=(
            BoundKind.ALL_POSITIONS
            if height * width * cells <= exact_up_to
            else BoundKind.OUTSTANDING_POSITIONS
        ),
    )


def _order(vectors: Tensor, moved: Tensor, mask: Tensor, most: int) -> Tensor:
    """Number the positions that count, in each pair; those of the region come first."""
    height, width = moved.shape[-2:]
    # pairs are looked at together: the fullest region decides for how many positions
    count = int(mask.sum(1).max())
    if mask.shape[1] <= most:
        return mask.byte().argsort(dim=1, descending=True, stable=True)[:, :count]
    count = min(count, most)
    some = moved[:, :, :: -(-height // _SAMPLES), :: -(-width // _SAMPLES)].flatten(2)
    # no distance is below 0, so any position of the region comes before those outside
    merit = _to_nearest(vectors.float(), some.float()).masked_fill_(~mask, -1)
    # the bits of floats that are not negative are in order; of equal ones the first comes first
    place = torch.arange(mask.shape[1], device=mask.device)
    return (merit.view(torch.int32).long() * 2**32 - place).topk(count, dim=1).indices


def _to_nearest(vectors: Tensor, some: Tensor) -> Tensor:
    """Squared distances (pair, position) to the nearest of a few others (pair, channel, number)."""
    rows, squares = some.transpose(1, 2).contiguous(), some.square().sum(1)[:, :, None]
    # a part at a time, whose temporaries stay in a processor's cache
    parts = torch.split(vectors, max(1, _BLOCK // squares.numel()), dim=2)
    nearest = [torch.baddbmm(squares, rows, part, alpha=-2).amin(1) for part in parts]
    # `abs` for the sign of -0, which `_order` would read as a bit
    return torch.cat(nearest, dim=1).add_(vectors.square().sum(1)).clamp_(min=0).abs_()


def _check(reference: Tensor, moved: Tensor, region: Tensor) -> None:
    """Refuse what cannot be bounded."""
    check_maps("reference", reference)
    check_maps("moved", moved)
    check_tensor("region", region, "pair", "height", "width")
    if region.dtype != torch.bool:
        raise InvalidInputError(f"region of type {region.dtype}: give region.bool()")
    if reference.shape[:2] != moved.shape[:2]:
        raise InvalidInputError(
            f"reference {tuple(reference.shape)} and moved {tuple(moved.shape)} differ in pairs or "
            "channels: pass maps of the same layer, pair by pair."
        )
    if region.shape != (len(reference), *reference.shape[-2:]):
        raise InvalidInputError(
            f"region {tuple(region.shape)} does not fit reference {tuple(reference.shape)}: pass "
            "one True or False for each pair, row and column."
        )
    if not moved.numel():
        raise InvalidInputError(f"moved {tuple(moved.shape)} is empty: there is nothing to read.")


def _squares(maps: Tensor) -> Tensor:
    """Squared lengths of all vectors (pair, height, width), in float64."""
    # a few pairs at a time, whose temporaries stay in a processor's cache
    parts = torch.split(maps, max(1, _BLOCK // max(1, maps[:1].numel())))
    return torch.cat([part.double().square().sum(1) for part in parts])


class Cells:
    """Moved maps as cells: what bilinear reading can mix.

    Args:
        moved: Moved maps G, float64; those of one row or column are doubled, which changes no
            reading.
    """

    def __init__(self, moved: Float[Tensor, "pair channel height width"]) -> None:
        height, width = moved.shape[-2:]
        if 1 in (height, width):
            moved = F.pad(moved, (0, int(width == 1), 0, int(height == 1)), mode="replicate")
        self.pairs, self.channels, self.height, self.width = moved.shape
        self.centre = moved.mean((2, 3), keepdim=True)
        # centring keeps squared distances large beside the rounding of what they are made of
        maps = moved - self.centre
        across, down = maps[..., 1:] - maps[..., :-1], maps[..., 1:, :] - maps[..., :-1, :]
        a, b, c, d = quarters(maps)
        ad, bc = ((one - other).square_().sum(1) for one, other in ((a, d), (b, c)))
        # what is beside or above a cell shares its edges
        rows, columns = across.square_().sum(1), down.square_().sum(1)
        ab, cd, ac, bd = rows[:, :-1], rows[:, 1:], columns[..., :-1], columns[..., 1:]
        self.between = (ab, ac, ad, bc, bd, cd)
        """Squared distances between each cell's corners, in the order of `hulls.EDGES`;
        (pair, height - 1, width - 1) each."""
        self.vectors = maps.flatten(2)
        self.squares = self.vectors.square().sum(1)

    def distances(self, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Squared distances (pair, row, vector) from every row to every vector, and rounding."""
        rows = wanted - self.centre[:, :, 0, 0][:, None]
        squares = rows.square().sum(2)
        together = squares[:, :, None] + self.squares[:, None]
        together.baddbmm_(rows, self.vectors, alpha=-2).clamp_(min=0)
        scale = squares.amax(1) + self.squares.amax(1)
        eps = torch.finfo(torch.float64).eps
        return together, 2 * (self.channels + 8) * eps * scale[:, None, None]


def quarters(maps: Float[Tensor, "*any height width"]) -> list[Tensor]:
    """List the upper left, upper right, lower left and lower right corners of all cells.

    Args:
        maps: Any maps, at least 2 x 2.

    Returns:
        Four views of (..., height - 1, width - 1).
    """
    return [maps[..., y, x] for y in _SIDES for x in _SIDES]


_SIDES = (slice(None, -1), slice(1, None))


def _to_nearest_hull(cells: Cells, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distances (pair, row) to the nearest hull, from below and from above."""
    size = max(1, _BLOCK // (cells.pairs * cells.height * cells.width))
    loops = _loops() if wanted.device.type == "cpu" else None
    sieved = partial(_sieved, cells) if loops is None else _compiled(loops, cells)
    blocks = [sieved(*cells.distances(rows)) for rows in torch.split(wanted, size, dim=1)]
    low, high = (torch.cat(side, dim=1) for side in zip(*blocks, strict=True))
    return low, high


@where_numba_is
def _loops() -> ModuleType:
    """The compiled loops."""
    from invariance_probe.certificates import sieve

    return sieve


def _compiled(loops: ModuleType, cells: Cells) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Give what does what `_sieved` does in compiled loops, some positions a thread."""
    between = torch.stack(cells.between, dim=3).flatten(1, 2)
    shape = (cells.pairs, 5, cells.height * cells.width)
    spread = between.new_empty(shape, dtype=torch.float32)
    for pair in range(cells.pairs):
        loops.spreads(between[pair].numpy(), cells.width, spread[pair].numpy())

    def sieved(to_vectors: Tensor, rounding: Tensor) -> tuple[Tensor, Tensor]:
        low, high = (to_vectors.new_empty(to_vectors.shape[:2]) for _ in range(2))
        size = -(-to_vectors.shape[1] // loop_threads())
        parts = [
            (pair, slice(start, start + size))
            for pair in range(cells.pairs)
            for start in range(0, to_vectors.shape[1], size)
        ]

        def some(number: int) -> None:
            pair, rows = parts[number]
            arrays = (to_vectors[pair, rows], between[pair], spread[pair])
            out = (low[pair, rows].numpy(), high[pair, rows].numpy())
            numbers = cells.width, float(rounding[pair])
            loops.sieve(*(each.numpy() for each in arrays), *numbers, *out)

        over(len(parts), some)
        return low, high

    return sieved


def _planes(cells: Cells, to_vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Bound by the plane normal to f - m, m a cell's mean, (pair, row, y, x); and from above."""
    # `hulls.separated` with weights of 1/4, for which nothing has to be solved, and whose s_i are
    # the same for all rows:  <f - m, f - c_i> = (D_i + mean - s_i) / 2.  Over pairs of corners the
    # D_ij sum to 2 (s_0 + ... + s_3), so  |f - m|^2 = mean - sum D_ij / 16 = mean - sum s_i / 8
    shape = (*to_vectors.shape[:2], cells.height, cells.width)
    near = to_vectors.float().view(shape)
    matrix = {pair: d.float() for pair, d in zip(hulls.EDGES, cells.between, strict=True)}
    spread = [
        sum((d for pair, d in matrix.items() if i in pair), start=torch.zeros(()))[:, None] / 4
        for i in range(4)
    ]
    corners = quarters(near)
    least = corners[0] - spread[0]
    for i in (1, 2, 3):
        least = torch.minimum(least, corners[i] - spread[i])
    # the mean of the four D_i of each cell, rows first
    pairs = near[..., :-1, :] + near[..., 1:, :]
    mean = (pairs[..., :-1] + pairs[..., 1:]).mul_(0.25)
    # float32 has rounded each of a handful of terms no larger than this
    widest = torch.stack(spread).amax(0)
    rounding = (mean + widest).mul_(4 * torch.finfo(torch.float32).eps)
    away = (mean - (spread[0] + spread[1] + spread[2] + spread[3]) / 8).add_(rounding)
    reach = least.add_(mean).mul_(0.5).sub_(rounding).clamp_(min=0)
    # m and the corners are points of hulls, so the nearest hull is at least that near
    high = torch.minimum(away.flatten(2).amin(2), near.flatten(2).amin(2))
    low = reach.square_().div_(away.clamp_(min=torch.finfo(torch.float32).tiny))
    return low, high


def _sieved(cells: Cells, to_vectors: Tensor, rounding: Tensor) -> tuple[Tensor, Tensor]:
    """Do what `_to_nearest_hull` does for a few rows."""
    low, high = _planes(cells, to_vectors)
    margin = 1 + 8 * torch.finfo(torch.float32).eps
    # only a cell whose plane lets it be as near as the nearest point known can be the nearest;
    # on flat backgrounds rounding can leave `high` below 0, and all cells above it
    most = high.clamp(min=0) * margin + 4 * rounding[:, :, 0].float()
    pair, row, y, x = torch.nonzero(low <= most[:, :, None, None], as_tuple=True)
    at_row = pair * to_vectors.shape[1] + row
    corner = (at_row * cells.height + y) * cells.width + x
    cell = (pair * (cells.height - 1) + y) * (cells.width - 1) + x
    steps = (0, 1, cells.width, cells.width + 1)
    found = hulls.squared_distances(
        [to_vectors.take(corner + step) for step in steps],
        [each.take(cell) for each in cells.between],
        rounding.flatten()[pair],
    )
    shape = to_vectors.shape[:2]
    start = to_vectors.new_full((shape.numel(),), torch.inf)
    low, high = (
        start.scatter_reduce(0, at_row, side, "amin").view(shape)
        for side in (found.lower, found.upper)
    )
    # a position that has lost all its cells to rounding counts as 0, which is always valid
    lost = low.isinf()
    return low.masked_fill(lost, 0), high.masked_fill(lost, 0)
