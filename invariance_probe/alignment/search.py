"""The search for affine warps: starts, coarse to fine, and the steps between."""

import functools
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import ModuleType

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from invariance_probe.alignment import distortion, metrics, objectives, schedule, solver
from invariance_probe.alignment.schedule import Rounds
from invariance_probe.errors import InvalidInputError
from invariance_probe.errors.checks import check_choice, check_integer, check_number
from invariance_probe.machine import where_numba_is
from invariance_probe.plane import coordinates

MANY_STARTS, MANY_SHIFT, MANY_WIDE_SHIFT = 10000, 0.6, 1.2
MANY_FIRST_ROUNDS: Rounds = ((3, 2000), (4, 800), (4, 200))
MANY_ROUNDS: Rounds = ((3, 1500), (4, 400), (6, 80), (10, 16))
FEW_VALUES, MANY_SIDE = 300, 56
"""Maps of few channels begin from many random starts instead: half of them on maps of some 300
values, the others on the full map, or on one of at most 56 cells. Shifts of the starts reach so far
in normalised coordinates, every fifth further."""
DUPLICATES_WITHIN = 32
"""How far apart, in the order of errors, near duplicates are sought."""
MOST = 10_000
"""Steps, angles of starts, factors of stretching: beyond, a search takes minutes, or gigabytes."""


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """How thoroughly to search.

    Attributes:
        max_distortion: Bound on the singular values of the warp's linear part relative to the
            oracle's, and on their reciprocals. A warp that collapses onto a point is no alignment.
        max_steps: Levenberg-Marquardt evaluations at each level.
        angles: Number of rotations, relative to the oracle, among the starts; this and the next two
            are for maps of more than `objectives.FEW_CHANNELS`
            channels, others have drawn starts.
        scales: Scalings, relative to the oracle, among the starts.
        shift: Shift of the starts to the four sides, in normalised coordinates.
        mode: Sampler of the reported residual: bilinear or bicubic.

    Example:
        >>> import invariance_probe as ip
        >>> options = ip.SearchOptions(max_steps=10, mode="bicubic")
        >>> options.max_distortion
        2.0
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

        Example:
            >>> options.check()
            >>> ip.SearchOptions(max_distortion=0.5).check()
            Traceback (most recent call last):
                ...
            invariance_probe.errors.InvalidInputError: max_distortion=0.5: a bound on ...
        """
        # not on construction, where the command line's parser would frame the message
        check_integer("max_steps", self.max_steps, 1, MOST)
        check_integer("angles", self.angles, 1, MOST)
        check_number("shift", self.shift)
        check_choice("mode", self.mode, ("bilinear", "bicubic"))
        if not isinstance(self.scales, Sequence):
            raise InvalidInputError(f"scales={self.scales!r}: give a list of factors")
        if not 1 <= check_number("max_distortion", self.max_distortion) <= MOST:
            raise InvalidInputError(
                f"max_distortion={self.max_distortion:g}: a bound on stretching is at least 1, and "
                f"at most {MOST}"
            )
        if not self.scales or not all(check_number("scales", each) > 0 for each in self.scales):
            raise InvalidInputError(f"scales={list(self.scales)}: give positive factors")


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
    fused = _compiled(reference.device, reference.dtype)
    for rows in torch.split(numbers, pairs_at_once(reference)) if len(numbers) else ():
        if fused is not None and reference.shape[1] > objectives.FEW_CHANNELS:
            found.put(rows, _in_one_go(fused, target, moved, oracle, rows, settings))
            continue
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
    change, back = (each.to(theta.device) for each in _changes(height, width))
    return (change @ coordinates.homogeneous(theta) @ back)[..., :2, :]


def _normalised(warps: Tensor, height: int, width: int) -> Tensor:
    """Isotropic to normalised warps, float64."""
    change, back = (each.to(warps.device) for each in _changes(height, width))
    return (back @ coordinates.homogeneous(warps) @ change)[..., :2, :]


@functools.lru_cache(maxsize=64)
def _changes(height: int, width: int) -> tuple[Tensor, Tensor]:
    """From normalised to isotropic coordinates, and back."""
    change = objectives.isotropic_from_normalised(height, width)
    return change, change.inverse()


def pairs_at_once(maps: Float[Tensor, "pair channel height width"]) -> int:
    """Count the pairs that are searched together.

    Args:
        maps: Maps of all pairs.

    Returns:
        So many that their tables stay within about 256 MB.
    """
    height, width = maps.shape[-2:]
    side = schedule.TABLE_LEVELS[-1]
    cells = min(height, side) * min(width, side)
    channels_bytes = 8 * maps.shape[1:].numel() * maps.element_size()
    return max(1, min(64, 2**28 // (cells * cells * maps.element_size() + channels_bytes)))


@dataclass
class _Candidates:
    """The best warps of each pair, best first, and how the descents to them went."""

    warps: Float[Tensor, "pair rank 2 3"]
    n_iter: Int[Tensor, "pair rank"]
    converged: Bool[Tensor, "pair rank"]
    at_limit: Bool[Tensor, "pair rank"]


def _in_one_go(
    fused: ModuleType,
    target: metrics.Target,
    moved: Tensor,
    oracle: Tensor,
    rows: Tensor,
    settings: SearchOptions,
) -> Found:
    """Run the search in compiled loops from the first look to the last step."""
    height, width = moved.shape[-2:]
    stages = schedule.coarse_to_fine(max(height, width), settings.max_steps)
    nudges = (schedule.nudges(max(height, width), reach) for reach in (2, 1))
    found = torch.from_numpy(
        fused.search_from_coarse(
            target,
            moved,
            isotropic(oracle[rows], height, width),
            rows,
            stages=stages,
            starts=tuple(each.numpy() for each in (*_far_moves(settings), *nudges)),
            max_distortion=settings.max_distortion,
        )
    )
    return Found(
        theta=_normalised(found[:, :6].view(-1, 2, 3), height, width),
        n_iter=found[:, 6].long() + sum(n for stage in stages[:-1] for n, _ in stage.rounds),
        converged=found[:, 7] > 0,
        at_limit=found[:, 8] > 0,
    )


def _search(
    target: Tensor, source: Tensor, mask: Tensor, theta0: Tensor, settings: SearchOptions
) -> Found:
    """Run the search on usable pairs of centred maps."""
    height, width = target.shape[-2:]
    unit = target.flatten(1).square().mean(1).sqrt().clamp(min=torch.finfo(target.dtype).tiny)
    target, source = target / unit[:, None, None, None], source / unit[:, None, None, None]
    full = objectives.Level(
        reference=target, moved=source, mask=mask.to(target), full_size=(height, width)
    )
    steps = _Steps(isotropic(theta0, height, width).to(target), settings)
    few = target.shape[1] <= objectives.FEW_CHANNELS
    candidates = _among_many(full, steps) if few else _from_coarse(full, steps)
    return Found(
        theta=_normalised(candidates.warps[:, 0], height, width),
        n_iter=candidates.n_iter[:, 0] + steps.before,
        converged=candidates.converged[:, 0],
        at_limit=candidates.at_limit[:, 0],
    )


def _from_coarse(full: objectives.Level, steps: "_Steps") -> _Candidates:
    """Follow starts all over the family from coarser maps to finer ones."""
    longest = max(full.full_size)
    stages = schedule.coarse_to_fine(longest, steps.settings.max_steps)
    levels, finer = {longest: full}, full
    for stage in reversed(stages):
        if stage.side not in levels:
            levels[stage.side] = finer = finer.shrunk(stage.side)
    return steps.follow(levels, _far_starts(steps.oracle, steps.settings), stages)


def _among_many(full: objectives.Level, steps: "_Steps") -> _Candidates:
    """Follow starts by the thousand."""
    # One or two channels fit many warps nearly as well as the best: the error has minima in every
    # cell or two of shift at the corners, and coarse maps tell too little of which is the deepest.
    # So there are starts enough that some lie in each likely minimum; each takes a few steps, and
    # what has come far enough takes more. Blurred copies find planted warps; the detail, others.
    height, width = full.full_size
    longest, cells = max(full.full_size), height * width
    drawn = _drawn(steps.oracle, MANY_STARTS, steps.settings.max_distortion)
    side = math.ceil(longest * math.sqrt(FEW_VALUES / (full.reference.shape[1] * cells)))
    warps = drawn[:, ::2]
    if side < 0.8 * longest:
        warps = steps.take(full.shrunk(side), warps, len(warps[0]), MANY_FIRST_ROUNDS).warps
    fine = full if longest <= MANY_SIDE else full.shrunk(MANY_SIDE)
    fine = replace(fine, count=fine.mask[0].numel())
    near = _nudged(steps.oracle, longest, reach=2)
    warps = torch.cat([warps, drawn[:, 1::2], near], dim=1)
    warps = steps.take(fine, warps, len(warps[0]), MANY_ROUNDS).warps
    ending = schedule.ending(
        longest, schedule.LAST_LOOK, schedule.LAST_ROUNDS, steps.settings.max_steps
    )
    return steps.follow({longest: full}, warps, ending)


@dataclass
class _Steps:
    """Takes Levenberg-Marquardt steps from candidates, round by round.

    Attributes:
        oracle: The warp that theory leaves, in isotropic coordinates.
        settings: How thoroughly to search.
        before: Steps of the rounds that went before the last call.
    """

    oracle: Float[Tensor, "pair 2 3"]
    settings: SearchOptions
    before: int = 0
    _latest: int = 0

    def follow(
        self, levels: dict[int, objectives.Level], warps: Tensor, stages: tuple[schedule.Stage, ...]
    ) -> _Candidates:
        """Begin at warps (pair, rank, 2, 3), and go through stages on the levels of their sides."""
        for stage in stages:
            if stage.nudged:
                near = [_nudged(self.oracle, stage.side, reach=2)]
                if self._latest:
                    near.append(_nudged(warps[:, 0], stage.side, reach=1))
                warps = torch.cat([warps, *near], dim=1)
            level = replace(levels[stage.side], count=stage.count)
            candidates = self.take(level, warps, stage.look, stage.rounds)
            warps = candidates.warps
        return candidates

    def take(
        self, level: objectives.Level, warps: Tensor, look: int, rounds: Rounds
    ) -> _Candidates:
        """Begin at the best of warps (pair, rank, 2, 3); keep the best after each round."""
        level = level.widened()
        self.before, self._latest = self.before + self._latest, sum(n for n, _ in rounds)
        fused = _compiled(level.reference.device, level.reference.dtype)
        if fused is None:
            return self._stepwise(level.objective(), warps, look, rounds)
        found = torch.from_numpy(
            fused.search(
                level,
                self.oracle,
                warps,
                look=look,
                rounds=rounds,
                max_distortion=self.settings.max_distortion,
            )
        )
        return _Candidates(
            found[:, :, :6].reshape(*found.shape[:2], 2, 3).to(warps),
            found[:, :, 6].long(),
            found[:, :, 7] > 0,
            found[:, :, 8] > 0,
        )

    def _stepwise(
        self, objective: objectives.Objective, warps: Tensor, look: int, rounds: Rounds
    ) -> _Candidates:
        """Take the steps of all pairs together, in torch."""
        pairs = len(warps)
        if look < warps.shape[1]:
            warps = _best_looking(objective, warps, look)
        state = solver.start(
            self._problem(objective, warps.shape[1]), warps.flatten(2).flatten(0, 1)
        )
        for steps, count in rounds:
            problem = self._problem(objective, len(state.error) // pairs)
            state = solver.descend(state, problem, max_steps=steps)
            state = _best(state, pairs, count)
        return _Candidates(
            state.points.view(pairs, -1, 2, 3),
            *(flags.view(pairs, -1) for flags in (state.n_iter, state.converged, state.at_limit)),
        )

    def _problem(self, objective: objectives.Objective, each: int) -> distortion.LimitedWarps:
        pairs = torch.arange(len(self.oracle), device=self.oracle.device).repeat_interleave(each)
        return distortion.LimitedWarps(
            objective=objective,
            pairs=pairs,
            oracle=self.oracle[pairs],
            max_distortion=self.settings.max_distortion,
        )


def compile_ahead(device: torch.device, dtype: torch.dtype) -> None:
    """Compile the search beside other work, if it still has to be; who searches first waits.

    Args:
        device: Where maps will be searched.
        dtype: Their type.
    """
    if not _is_compiled(device, dtype):
        return
    zero = torch.zeros(1, objectives.FEW_CHANNELS + 1, 2, 2)
    everywhere = torch.ones(1, 2, 2, dtype=torch.bool)
    target = metrics.Target(zero, everywhere, metrics.region_mean(zero, everywhere))
    warp = torch.eye(2, 3, dtype=torch.float64)[None]

    once = target, zero, warp, everywhere[:, 0, 0], SearchOptions()
    threading.Thread(target=find_warps, args=once, daemon=True).start()


def _is_compiled(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether compiled loops are for maps of this kind."""
    return device.type == "cpu" and dtype == torch.float32


def _compiled(device: torch.device, dtype: torch.dtype) -> ModuleType | None:
    """The compiled loops, where they are for such maps and numba is there."""
    return _fused() if _is_compiled(device, dtype) else None


@where_numba_is
def _fused() -> ModuleType:
    """The compiled search."""
    from invariance_probe.alignment import fused

    return fused


def _best(state: solver.State, pairs: int, count: int) -> solver.State:
    """Keep the best of each pair, skipping near duplicates while there are others."""
    error = state.error.view(pairs, -1).nan_to_num(math.inf)
    order = error.argsort(dim=1, stable=True)[:, : 2 * count]
    order = order + torch.arange(pairs, device=error.device)[:, None] * error.shape[1]
    if count > 1:
        warps = state.points[order]
        repeated = torch.zeros_like(order, dtype=torch.bool)
        # duplicates have nearly the same error, so they lie side by side
        for k in range(1, min(DUPLICATES_WITHIN, order.shape[1])):
            repeated[:, k:] |= (warps[:, k:] - warps[:, :-k]).abs().amax(-1) < 1e-3
        order = order.gather(1, repeated.long().argsort(dim=1, stable=True))
    return state.take(order[:, :count].flatten())


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
    turns, sides = (each.to(oracle) for each in _far_moves(settings))
    turned = (turns @ linear).repeat_interleave(len(sides), dim=1)
    moved = (shift + sides[:, :, None]).repeat(1, len(turns), 1, 1)
    identity = torch.eye(2, 3).to(oracle).expand(len(oracle), 1, 2, 3)
    return torch.cat([oracle[:, None], identity, torch.cat([turned, moved], dim=-1)], dim=1)


def _far_moves(settings: SearchOptions) -> tuple[Tensor, Tensor]:
    return schedule.far_moves(settings.angles, tuple(settings.scales), settings.shift)


def _drawn(oracle: Tensor, count: int, max_distortion: float) -> Tensor:
    """Oracle, identity, and warps drawn from the family about it, the same at every call."""
    generator = torch.Generator().manual_seed(0)
    shift = torch.where(torch.arange(count) % 5 == 0, MANY_WIDE_SHIFT, MANY_SHIFT)
    warps = distortion.draw_warps(count, generator, max_distortion=max_distortion).to(oracle)
    moved = shift[:, None, None].to(oracle) * warps[:, :, 2:] + oracle[:, None, :, 2:]
    linear = warps[:, :, :2] @ oracle[:, None, :, :2]
    identity = torch.eye(2, 3).to(oracle).expand(len(oracle), 1, 2, 3)
    return torch.cat([oracle[:, None], identity, torch.cat([linear, moved], dim=-1)], dim=1)


def _nudged(warps: Tensor, cells: int, reach: int) -> Tensor:
    """Shift warps to all sides in steps of half a cell, up to `reach` steps."""
    shifts = schedule.nudges(cells, reach).to(warps)[:, :, None]
    linear = warps[:, None, :, :2].expand(-1, len(shifts), -1, -1)
    return torch.cat([linear, warps[:, None, :, 2:] + shifts], dim=-1)
