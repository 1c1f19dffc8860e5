"""The search for affine warps: starts, coarse to fine, and the steps between."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from invariance_probe.alignment import distortion, metrics, objectives, solver
from invariance_probe.errors import InvalidInputError
from invariance_probe.plane import coordinates

Rounds = tuple[tuple[int, int], ...]

TABLE_LEVELS = (7, 14, 28)
"""Longest sides, in cells, of the coarser maps that are searched before the full one; up to the
last a pair's table of inner products is worth its memory."""
FIRST_LOOK = 40
FIRST_ROUNDS: Rounds = ((4, 8), (6, 3))
"""At the coarsest level: warps kept after a look at all starts; then, round by round, steps taken
from every warp, and how many are kept after them."""
ONLY_LOOK = 64
ONLY_ROUNDS: Rounds = ((5, 16), (10, 5))
"""The same for maps so small that there is no coarser level."""
MIDDLE_ROUNDS: Rounds = ((5, 2),)
"""At the levels between."""
LAST_LOOK = 6
LAST_ROUNDS: Rounds = ((3, 2), (5, 1))
"""On the full maps, before the last warps are followed to the end."""
SCOUT_POSITIONS, POLISH_POSITIONS = 512, 2048
"""Positions of a large map on which warps are compared, and on which the last one is polished."""


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """How thoroughly to search.

    Attributes:
        max_distortion: Bound on the singular values of the warp's linear part relative to the
            oracle's, and on their reciprocals. A warp that collapses onto a point is no alignment.
        max_steps: Levenberg-Marquardt evaluations at each level.
        angles: Number of rotations, relative to the oracle, among the starts.
        scales: Scalings, relative to the oracle, among the starts.
        shift: Shift of the starts to the four sides, in normalised coordinates.
        mode: Sampler of the reported residual: bilinear or bicubic.
    """

    max_distortion: float = 2.0
    max_steps: int = 40
    angles: int = 8
    scales: tuple[float, ...] = (0.7, 1.3)
    shift: float = 0.3
    mode: str = "bilinear"

    def check(self) -> None:
        """Refuse what cannot be used.

        Raises:
            InvalidInputError: If a value is out of range.
        """
        # not on construction, where the command line's parser would frame the message
        if not self.max_distortion >= 1:
            raise InvalidInputError(
                f"max_distortion={self.max_distortion:g}: a bound on stretching is at least 1"
            )
        if self.max_steps < 1:
            raise InvalidInputError(f"max_steps={self.max_steps}: give at least 1")
        if self.angles < 1:
            raise InvalidInputError(f"angles={self.angles}: give at least 1, the oracle's own")
        if not all(scale > 0 for scale in self.scales):
            raise InvalidInputError(f"scales={list(self.scales)}: give positive factors")
        if self.mode not in {"bilinear", "bicubic"}:
            raise InvalidInputError(f"mode={self.mode!r}: choose 'bilinear' or 'bicubic'")


@dataclass
class Found:
    """How the searches went, pair by pair.

    Attributes:
        theta: The warps, normalised, float64.
        n_iter: Levenberg-Marquardt evaluations on the way to each.
        converged: Whether the descent to each came to its end.
        at_limit: Whether its last step had to be brought back into the family.
    """

    theta: Float[Tensor, "pair 2 3"]
    n_iter: Int[Tensor, " pair"]
    converged: Bool[Tensor, " pair"]
    at_limit: Bool[Tensor, " pair"]

    @classmethod
    def at(cls, theta: Float[Tensor, "pair 2 3"]) -> "Found":
        """Begin with warps that nothing has improved.

        Args:
            theta: The warps, normalised.

        Returns:
            A copy of them, after no evaluations.
        """
        flags = torch.zeros(len(theta), dtype=torch.bool, device=theta.device)
        return cls(theta.clone(), flags.long(), flags.clone(), flags.clone())

    def put(self, rows: Int[Tensor, " row"], part: "Found") -> None:
        """Fill in the pairs that were searched.

        Args:
            rows: Their numbers.
            part: What was found for them.
        """
        for mine, theirs in zip(vars(self).values(), vars(part).values(), strict=True):
            mine[rows] = theirs


def find_warps(
    target: metrics.Target,
    moved: Float[Tensor, "pair channel height width"],
    oracle: Float[Tensor, "pair 2 3"],
    usable: Bool[Tensor, " pair"],
    settings: SearchOptions,
) -> Found:
    """Search the warps under which moved maps look most like their references.

    Args:
        target: The references with their regions and channel means.
        moved: Maps G to be warped.
        oracle: The warp that theory leaves, normalised, float64.
        usable: Which pairs to search; the others keep the oracle.
        settings: How thoroughly to search.

    Returns:
        A warp for each pair, normalised, float64, and how its search went.
    """
    reference, mask = target.reference, target.region
    found = Found.at(oracle)
    mean = target.channel_mean[:, :, None, None].to(reference)
    numbers = torch.nonzero(usable).flatten()
    for rows in torch.split(numbers, pairs_at_once(reference)) if len(numbers) else ():
        # centring keeps inner products small beside the error that they add up to
        centred = reference[rows] - mean[rows], moved[rows] - mean[rows]
        found.put(rows, _search(*centred, mask[rows], oracle[rows], settings))
    return found


def outside(
    theta: Float[Tensor, "pair 2 3"],
    oracle: Float[Tensor, "pair 2 3"],
    height: int,
    width: int,
    settings: SearchOptions,
) -> Bool[Tensor, " pair"]:
    """Tell which warps lie outside the family that is searched.

    Args:
        theta: Warps, normalised.
        oracle: The warp that theory leaves, normalised.
        height: Height of the maps, in cells.
        width: Width of the maps, in cells.
        settings: How far a warp may be from the oracle.

    Returns:
        True where a warp distorts more than the settings allow.
    """
    warps, centre = (isotropic(t, height, width) for t in (theta, oracle))
    return distortion.limit_distortion(warps, centre, settings.max_distortion)[1]


def isotropic(
    theta: Float[Tensor, "*warp 2 3"], height: int, width: int
) -> Float[Tensor, "*warp 2 3"]:
    """Write normalised warps in isotropic coordinates.

    Args:
        theta: The warps.
        height: Height of the maps, in cells.
        width: Width of the maps, in cells.

    Returns:
        The same warps, float64.
    """
    change = objectives.isotropic_from_normalised(height, width).to(theta.device)
    return (change @ coordinates.homogeneous(theta) @ change.inverse())[..., :2, :]


def _normalised(warps: Tensor, height: int, width: int) -> Tensor:
    """Isotropic to normalised warps, float64."""
    change = objectives.isotropic_from_normalised(height, width).to(warps.device)
    return (change.inverse() @ coordinates.homogeneous(warps) @ change)[..., :2, :]


def pairs_at_once(maps: Float[Tensor, "pair channel height width"]) -> int:
    """Count the pairs that are searched together.

    Args:
        maps: Maps of all pairs.

    Returns:
        So many that their tables stay within about 256 MB.
    """
    height, width = maps.shape[-2:]
    side = TABLE_LEVELS[-1]
    cells = min(height, side) * min(width, side)
    channels_bytes = 8 * maps.shape[1:].numel() * maps.element_size()
    return max(1, min(64, 2**28 // (cells * cells * maps.element_size() + channels_bytes)))


@dataclass
class _Candidates:
    """Warps under consideration, the same number for each pair, pair by pair."""

    state: solver.State
    pairs: int

    @property
    def index(self) -> Tensor:
        """Which pair each candidate is for."""
        each = len(self.state.error) // self.pairs
        return torch.arange(self.pairs, device=self.state.error.device).repeat_interleave(each)

    @property
    def warps(self) -> Tensor:
        """The candidates as (pair, rank, 2, 3)."""
        return self.state.points.view(self.pairs, -1, 2, 3)

    def best(self, count: int) -> "_Candidates":
        """Keep the best of each pair, skipping near duplicates while there are others."""
        error = self.state.error.view(self.pairs, -1).nan_to_num(math.inf)
        order = error.argsort(dim=1, stable=True)[:, : 2 * count]
        order = order + torch.arange(self.pairs, device=error.device)[:, None] * error.shape[1]
        if count > 1:
            warps = self.state.points[order]
            same = (warps[:, :, None] - warps[:, None, :]).abs().amax(-1) < 1e-3
            repeated = same.tril(-1).any(-1)
            order = order.gather(1, repeated.long().argsort(dim=1, stable=True))
        return _Candidates(self.state.take(order[:, :count].flatten()), self.pairs)


def _search(
    target: Tensor, source: Tensor, mask: Tensor, theta0: Tensor, settings: SearchOptions
) -> Found:
    """Run the coarse-to-fine search on usable pairs of centred maps."""
    height, width = target.shape[-2:]
    unit = target.flatten(1).square().mean(1).sqrt().clamp(min=torch.finfo(target.dtype).tiny)
    target, source = target / unit[:, None, None, None], source / unit[:, None, None, None]
    weight = mask.to(target)

    oracle = isotropic(theta0, height, width).to(target)
    longest = max(height, width)
    coarser = [(target, source, weight)]
    for side in reversed(TABLE_LEVELS):
        if side < longest:
            coarser.append(shrink(*coarser[-1], (height, width), side))
    steps = _Steps(oracle, settings)
    warps, n_iter = _far_starts(oracle, settings), 0
    look, rounds = (FIRST_LOOK, FIRST_ROUNDS) if coarser[1:] else (ONLY_LOOK, ONLY_ROUNDS)
    for level in reversed(coarser[1:]):
        candidates = steps.take(_table(*level, full_size=(height, width)), warps, look, rounds)
        warps = candidates.warps
        n_iter += sum(count for count, _ in rounds)
        rounds = MIDDLE_ROUNDS
    near = [_nudged(oracle, longest, reach=2)]
    if coarser[1:]:
        near.append(_nudged(warps[:, 0], longest, reach=1))
        look, rounds = LAST_LOOK, LAST_ROUNDS
    warps = torch.cat([warps, *near], dim=1)
    final = (settings.max_steps, 1)
    if longest <= TABLE_LEVELS[-1]:
        objective = _table(target, source, weight, full_size=(height, width))
        candidates = steps.take(objective, warps, look, (*rounds, final))
    else:
        scout = _residuals(target, source, weight, SCOUT_POSITIONS)
        warps = steps.take(scout, warps, look, rounds).warps
        polish = _residuals(target, source, weight, POLISH_POSITIONS)
        candidates = steps.take(polish, warps, 1, (final,))
        n_iter += sum(count for count, _ in rounds)
    state = candidates.state
    return Found(
        theta=_normalised(candidates.warps[:, 0], height, width),
        n_iter=state.n_iter + n_iter,
        converged=state.converged,
        at_limit=state.at_limit,
    )


@dataclass
class _Steps:
    """Takes Levenberg-Marquardt steps from candidates, round by round."""

    oracle: Tensor
    settings: SearchOptions

    def take(
        self,
        objective: objectives.Objective,
        warps: Tensor,
        look: int,
        rounds: Rounds,
    ) -> _Candidates:
        """Begin at the best of warps (pair, rank, 2, 3); keep the best after each round."""
        pairs = len(warps)
        if look < warps.shape[1]:
            warps = _best_looking(objective, warps, look)
        index = torch.arange(pairs, device=warps.device).repeat_interleave(warps.shape[1])
        state = solver.start(self._problem(objective, index), warps.flatten(2).flatten(0, 1))
        candidates = _Candidates(state, pairs)
        for steps, count in rounds:
            problem = self._problem(objective, candidates.index)
            candidates.state = solver.descend(candidates.state, problem, max_steps=steps)
            candidates = candidates.best(count)
        return candidates

    def _problem(self, objective: objectives.Objective, index: Tensor) -> distortion.LimitedWarps:
        return distortion.LimitedWarps(
            objective=objective,
            pairs=index,
            oracle=self.oracle[index],
            max_distortion=self.settings.max_distortion,
        )


def _best_looking(objective: objectives.Objective, warps: Tensor, count: int) -> Tensor:
    """Keep the warps of each pair that have the least error as they are."""
    pairs, ranks = warps.shape[:2]
    index = torch.arange(pairs, device=warps.device).repeat_interleave(ranks)
    error = objective.error(warps.flatten(0, 1), index).view(pairs, ranks).nan_to_num(math.inf)
    order = error.argsort(dim=1, stable=True)[:, :count]
    return warps.gather(1, order[:, :, None, None].expand(-1, -1, 2, 3))


def _far_starts(oracle: Tensor, settings: SearchOptions) -> Tensor:
    """Lay out oracle, identity, and rotations x scalings x shifts relative to the oracle."""
    linear, shift = oracle[:, None, :, :2], oracle[:, None, :, 2:]
    turns = oracle.new_tensor([
        [[s * math.cos(a), s * math.sin(a)], [-s * math.sin(a), s * math.cos(a)]]
        for a in (2 * math.pi * k / settings.angles for k in range(settings.angles))
        for s in settings.scales
    ])
    d = settings.shift
    sides = oracle.new_tensor([[[0], [0]], [[d], [0]], [[-d], [0]], [[0], [d]], [[0], [-d]]])
    turned = (turns @ linear).repeat_interleave(len(sides), dim=1)
    moved = (shift + sides).repeat(1, len(turns), 1, 1)
    identity = torch.eye(2, 3).to(oracle).expand(len(oracle), 1, 2, 3)
    return torch.cat([oracle[:, None], identity, torch.cat([turned, moved], dim=-1)], dim=1)


def _nudged(warps: Tensor, cells: int, reach: int) -> Tensor:
    """Shift warps to all sides in steps of half a cell, up to `reach` steps."""
    # where a warp meets the cells' centres, as near quarter turns, reading between two or four
    # neighbours averages them: each such place is a minimum of its own
    steps = [step / cells for step in range(-reach, reach + 1)]
    nudges = warps.new_tensor([[[x], [y]] for x in steps for y in steps])
    linear = warps[:, None, :, :2].expand(-1, len(nudges), -1, -1)
    return torch.cat([linear, warps[:, None, :, 2:] + nudges], dim=-1)


def shrink(
    target: Float[Tensor, "pair channel height width"],
    source: Float[Tensor, "pair channel height width"],
    weight: Float[Tensor, "pair height width"],
    size: tuple[int, int],
    side: int,
) -> tuple[
    Float[Tensor, "pair channel lower narrower"],
    Float[Tensor, "pair channel lower narrower"],
    Float[Tensor, "pair lower narrower"],
]:
    """Average maps down to a longest side.

    Args:
        target: Reference maps.
        source: Moved maps.
        weight: 1 in the region, 0 outside.
        size: Height and width of the full maps, in cells, which these may be averages of.
        side: The longest side, in cells.

    Returns:
        Coarser maps, at least 2 x 2; in their region are cells more than half of which was in it.
    """
    height, width = (max(2, round(n * side / max(size))) for n in size)
    shape = (height, width)
    target, source, weight = (
        F.adaptive_avg_pool2d(maps, shape) for maps in (target, source, weight[:, None])
    )
    return target, source, (weight[:, 0] > 0.5).to(weight)


def _table(
    target: Tensor, source: Tensor, weight: Tensor, full_size: tuple[int, int]
) -> objectives.InnerProducts:
    """Tabulate inner products; a map one cell wide is taken as two equal cells."""
    if min(target.shape[-2:]) < 2:
        shape = tuple(max(2, n) for n in target.shape[-2:])
        target, source, weight = (
            F.interpolate(maps, size=shape) for maps in (target, source, weight[:, None])
        )
        weight = weight[:, 0]
    return objectives.InnerProducts(target, source, weight, full_size)


def _residuals(target: Tensor, source: Tensor, weight: Tensor, count: int) -> objectives.Residuals:
    """Take the channels' residuals at some positions of the region."""
    positions, kept = _spread(weight.flatten(1), count)
    size = (target.shape[-2], target.shape[-1])
    return objectives.Residuals(target, source, positions, kept, size)


def _spread(weight: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Choose positions of the region, spread evenly over it, the same at every call."""
    total = weight.shape[1]
    golden = (torch.arange(total, device=weight.device) * 0.6180339887498949) % 1.0
    key = torch.where(weight > 0, golden, golden + 1.0)
    positions = key.argsort(dim=1)[:, :count]
    return positions, weight.gather(1, positions)
