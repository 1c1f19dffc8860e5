"""The best smooth warp for each pair of maps: a spline that sets out from the best affine one.

What is minimised is the squared error of `objectives`, by the same descent, over the control points
of a spline (`splines`; Rueckert et al., "Nonrigid registration using free-form deformations",
1999). To it comes a *pull* towards the affine warp: the mean squared difference between the two
Jacobians, times a share of the error, a share that falls round by round. It settles what the maps
leave open, and keeps the descent from the nearest of many poor minima. Cells that distort more than
is allowed are pulled harder in the next round. Only warps whose every cell is proven to keep the
limit count, and only if they leave less than the affine warp by the score that all methods share.
"""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from invariance_probe.alignment import (
    distortion,
    glance,
    metrics,
    objectives,
    schedule,
    search,
    solver,
)
from invariance_probe.alignment.aligning import Alignment, align_with, prepared
from invariance_probe.alignment.outcomes import Outcome
from invariance_probe.alignment.search import SearchOptions
from invariance_probe.alignment.splines import ControlGrid
from invariance_probe.plane import coordinates, sampling

SPACING = 3
"""Cells of the map that one of the control grid spans at least; maps under twice as many cells a
side have no smooth warp but the affine one."""
MOST_CELLS = 8
"""Cells of the control grid along an axis at most."""
LEVELS = (7, 14)
"""Longest sides, in cells, of the coarser maps that warps are followed on first."""
LATTICE = 56
"""Rows and columns of a large map that warps are judged on while they are sought."""
PULLS = (0.1, 0.03, 0.01)
"""Share of the error that a difference of 1 between the Jacobians costs, round by round."""
LAST_PULLS = (*PULLS, 0.01, 0.01, 0.01, 0.01)
"""The same on the full maps: the last rounds pull back what distorts too much."""
STIFFENING = 8.0
"""How much harder a cell that distorts too much is pulled in the next round."""
TRIAL_STEPS, STEPS = 2, 4
"""Steps before the better of two starts is followed, and steps of each round but the last."""
SHARES = (0.95, 0.85, 0.7, 0.5)
"""Parts of the way from the affine warp to one that distorts too much to the end that are tried."""
TOLERANCE = 1e-3
"""Relative decrease of the error in one step at which a round ends."""
ROOM = 0.9
"""Part of the distortion allowed that the warp has which others are pulled to: an affine warp at
the limit would leave its neighbours none."""


@dataclass(frozen=True, kw_only=True)
class Flow:
    """The best smooth warp found for each pair of maps.

    Attributes:
        affine: The best affine warps, from which the search set out.
        control_points: Of a cubic B-spline over each map, whose outer edges lie at -1 and 1: where
            it reads, in normalised coordinates, x before y. The grid has three points more than
            cells along each axis, the second of which lies on the edge.
        scores: What is left under the flow, on the full maps.
        outcome: How each search ended; that of the affine warp where no flow leaves less.
        n_iter: Levenberg-Marquardt evaluations on the way, those to the affine warp included.
        mode: Sampler of the residual.

    Example:
        >>> import torch, invariance_probe as ip
        >>> reference, moved = torch.rand(2, 2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> flow = ip.align_flow(reference, moved)
        >>> bool((flow.fvu <= flow.affine.fvu).all())  # never worse than the best affine warp
        True
        >>> flow.improves.shape, flow.cosine.shape, flow.rel_l2.shape
        (torch.Size([2]), torch.Size([2]), torch.Size([2]))
    """

    affine: Alignment
    control_points: Float[Tensor, "pair 2 down across"]
    scores: metrics.Scores
    outcome: list[Outcome]
    n_iter: Int[Tensor, " pair"]
    mode: str = "bilinear"

    def __repr__(self) -> str:
        """One screen: the tensors' own would be pages."""
        return glance.text(*self._glance())

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return glance.page(*self._glance())

    def _glance(self) -> tuple[str, pd.DataFrame]:
        """What both show."""
        left = self.affine.left | {"flow": self.fvu}
        return glance.title("Flow", self.affine.region), glance.table(
            left, self.outcome, self.n_iter
        )

    @property
    def fvu(self) -> Float[Tensor, " pair"]:
        """Fraction of variance unexplained under the flow."""
        return self.scores.fvu

    @property
    def rel_l2(self) -> Float[Tensor, " pair"]:
        """Relative L2 distance under the flow."""
        return self.scores.rel_l2

    @property
    def cosine(self) -> Float[Tensor, " pair"]:
        """Cosine under the flow."""
        return self.scores.cosine

    def grid(self, height: int, width: int) -> Float[Tensor, "pair height width 2"]:
        """List where the flows read.

        Args:
            height: Rows of the output.
            width: Its columns.

        Returns:
            What `torch.nn.functional.grid_sample` takes with ``align_corners=False``, float64.

        Example:
            >>> flow.grid(8, 8).shape
            torch.Size([2, 8, 8, 2])
        """
        return _sampling_grid(self.control_points, height, width)

    def warp(
        self, moved: Float[Tensor, "pair channel height width"]
    ) -> Float[Tensor, "pair channel height width"]:
        """Read maps through the flows that were found.

        Args:
            moved: Maps of the size that was aligned.

        Returns:
            The warped maps; where no flow leaves less than the affine warp, as `affine` warps them.

        Example:
            >>> flow.warp(moved).shape
            torch.Size([2, 3, 8, 8])
        """
        affine = self.affine.warp(moved)
        if not bool(self.improves.any()):
            return affine
        flowing = sampling.read(moved, self.grid(*moved.shape[-2:]), mode=self.mode)
        return torch.where(self.improves[:, None, None, None], flowing, affine)

    @property
    def improves(self) -> Bool[Tensor, " pair"]:
        """Which flows leave less than the affine warp; the others are affine."""
        return self.scores.fvu < self.affine.fvu


def align_flow(
    reference: Float[Tensor, "pair channel height width"],
    moved: Float[Tensor, "pair channel moved_height moved_width"],
    *,
    oracle: Float[Tensor, "pair 2 3"] | Float[Tensor, "2 3"] | None = None,
    region: Bool[Tensor, "pair height width"] | Bool[Tensor, "height width"] | None = None,
    channel_mean: Float[Tensor, "pair channel"] | None = None,
    max_distortion: float = 2.0,
    options: SearchOptions | None = None,
) -> Flow:
    """Search the smooth warp under which moved maps look most like their references.

    The singular values of its Jacobian relative to the oracle's lie between ``1 / max_distortion``
    and ``max_distortion`` at every position of the map, so that it folds nowhere. It reads as the
    best affine warp does, is scored by the same function and never leaves more.

    Args:
        reference: Reference maps F.
        moved: Maps G to be warped.
        oracle: As of `align`.
        region: As of `align`.
        channel_mean: As of `align`.
        max_distortion: Bound on the singular values, of the affine warp and of the flow.
        options: Everything else; overrides `max_distortion` if given.

    Returns:
        Flows, residuals on the full maps, and an outcome for each pair.

    Raises:
        InvalidInputError: If the shapes do not fit, or the bound is below 1.

    Example:
        >>> import torch, invariance_probe as ip
        >>> reference, moved = torch.rand(2, 1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> flow = ip.align_flow(reference, moved)
        >>> bool(flow.fvu[0] <= flow.affine.fvu[0])
        True
    """  # noqa: DOC502  (raised by the checks)
    settings = options or SearchOptions(max_distortion=max_distortion)
    target, moved, theta = prepared(reference, moved, oracle, region, channel_mean, settings)
    return flow_from(align_with(target, moved, theta, settings), target, moved, theta, settings)


def flow_from(
    affine: Alignment,
    target: metrics.Target,
    moved: Float[Tensor, "pair channel height width"],
    oracle: Float[Tensor, "pair 2 3"],
    settings: SearchOptions,
) -> Flow:
    """Do what `align_flow` does, from affine warps that are found already.

    Args:
        affine: The best affine warps.
        target: The references with their regions and channel means.
        moved: Maps G to be warped.
        oracle: The warp that theory leaves, normalised, float64.
        settings: How far a warp may distort, and how it is read.

    Returns:
        Flows, residuals on the full maps, and an outcome for each pair.
    """
    reference = target.reference
    size = (reference.shape[-2], reference.shape[-1])
    mean = target.channel_mean[:, :, None, None].to(reference)
    control = replace(_control_grid(size, size), height=2.0, width=2.0).affine(affine.theta)
    large = min(size) >= 2 * SPACING
    able = torch.tensor([large and each in _SEARCHED for each in affine.outcome], dtype=torch.bool)
    able = able.to(control.device)
    n_iter, held, converged = affine.n_iter.clone(), ~able, ~able
    trial = control.clone()
    numbers = torch.nonzero(able).flatten()
    for rows in torch.split(numbers, search.pairs_at_once(reference)) if len(numbers) else ():
        # centring keeps inner products small beside the error that they add up to
        centred = reference[rows] - mean[rows], moved[rows] - mean[rows]
        start, centre = (search.isotropic(each[rows], *size) for each in (affine.theta, oracle))
        found = _search(*centred, target.region[rows], start, centre, settings)
        trial[rows], able[rows], held[rows], converged[rows] = found[:4]
        n_iter[rows] += found.n_iter
    scores = target.score(sampling.read(moved, _sampling_grid(trial, *size), mode=settings.mode))
    better = able & (scores.fvu < affine.fvu)
    ended = zip(affine.outcome, *(each.tolist() for each in (better, held, converged)), strict=True)
    return Flow(
        affine=affine,
        control_points=torch.where(better[:, None, None, None], trial, control),
        scores=metrics.Scores(**{
            name: torch.where(better, getattr(scores, name), getattr(affine.scores, name))
            for name in metrics.METRICS
        }),
        outcome=[_outcome(*row) for row in ended],
        n_iter=n_iter,
        mode=settings.mode,
    )


_SEARCHED = {Outcome.CONVERGED, Outcome.STEP_LIMIT, Outcome.DISTORTION_LIMIT}


def _outcome(affine: Outcome, better: bool, held: bool, converged: bool) -> Outcome:
    if not better:
        return affine
    if not converged:
        return Outcome.STEP_LIMIT
    return Outcome.DISTORTION_LIMIT if held else Outcome.CONVERGED


def _sampling_grid(points: Tensor, height: int, width: int) -> Tensor:
    """Where warps with control points in normalised coordinates read, x and y last."""
    down, across = points.shape[-2:]
    over = ControlGrid(rows=down - 3, columns=across - 3, height=2.0, width=2.0)
    x, y = (coordinates.cell_centres(n, points) for n in (width, height))
    along_y, along_x = over.basis(x, y)
    return (along_y @ points @ along_x.mT).movedim(1, -1)


def _control_grid(size: tuple[int, int], full_size: tuple[int, int]) -> ControlGrid:
    """The control grid for a (perhaps coarser) map: powers of 2, so that each refines the last."""
    rows, columns = (1 << min(MOST_CELLS, max(1, n // SPACING)).bit_length() - 1 for n in size)
    height, width = (2 * n / max(full_size) for n in full_size)
    return ControlGrid(rows=rows, columns=columns, height=height, width=width)


class _Found(NamedTuple):
    """How the searches went, pair by pair.

    Attributes:
        points: Control points in normalised coordinates, float64.
        allowed: Whether they are proven to keep the limit.
        held: Whether they would distort more if they were allowed to.
        converged: Whether the descent to them came to its end.
        n_iter: Levenberg-Marquardt evaluations.
    """

    points: Tensor
    allowed: Tensor
    held: Tensor
    converged: Tensor
    n_iter: Tensor


def _search(
    target: Tensor,
    source: Tensor,
    region: Tensor,
    affine: Tensor,
    oracle: Tensor,
    settings: SearchOptions,
) -> _Found:
    """Follow the flows of centred maps from coarse to fine; warps are isotropic."""
    size = (target.shape[-2], target.shape[-1])
    unit = target.flatten(1).square().mean(1).sqrt().clamp(min=torch.finfo(target.dtype).tiny)
    target, source = target / unit[:, None, None, None], source / unit[:, None, None, None]
    levels = [
        objectives.Level(reference=target, moved=source, mask=region.to(target), full_size=size)
    ]
    for side in reversed(LEVELS):
        if side < max(size):
            levels.append(levels[-1].shrunk(side))
    grid = _control_grid((2, 2), size)
    points = grid.affine(oracle)
    n_iter = torch.zeros(len(target), dtype=torch.long, device=target.device)
    for number, maps in enumerate(reversed(levels), start=1):
        cells = (maps.reference.shape[-2], maps.reference.shape[-1])
        coarser, grid = grid, _control_grid(cells, size)
        points = coarser.refined(points, grid)
        level = _Level(maps, grid, affine, oracle, settings)
        points, found = level.follow(points, last=number == len(levels))
        n_iter += found.n_iter
    scale = points.new_tensor([grid.width / 2, grid.height / 2])[:, None, None]
    return found._replace(points=found.points / scale, n_iter=n_iter)


class _Level:
    """One level of the search: maps, where their warps are judged, and how they are followed."""

    def __init__(
        self,
        maps: objectives.Level,
        grid: ControlGrid,
        affine: Tensor,
        oracle: Tensor,
        settings: SearchOptions,
    ) -> None:
        self.grid, self.oracle, self.settings = grid, oracle, settings
        self.affine = grid.affine(affine)
        inside = 1 + ROOM * (settings.max_distortion - 1)
        still = grid.affine(distortion.limit_distortion(affine, oracle, inside)[0])
        self.still = still.to(maps.reference).flatten(2)
        self.area = torch.linalg.det(oracle[:, :, :2]).abs().to(maps.reference)
        self.objective, x, y = _on_a_lattice(maps)
        self.y, self.x = grid.basis(x, y)

    def follow(self, points: Tensor, *, last: bool) -> tuple[Tensor, _Found]:
        """Follow affine warps or other starts, whichever are better: to where, and what was met."""
        bound, pulls = self.settings.max_distortion, LAST_PULLS if last else PULLS
        every = torch.arange(len(points), device=points.device)
        stiffness = points.new_ones(len(points), self.grid.rows, self.grid.columns).to(self.area)
        most = self.left(self.affine, every)[:, None, None]
        both, twice = torch.cat([self.affine, points]), every.repeat(2)
        state = self._descend(both, twice, (pulls[0] * most * stiffness)[twice], TRIAL_STEPS)
        choice = state.error.view(2, -1).argmin(0)
        points = state.points.view(2, *points.shape)[choice, every].double()
        n_iter = state.n_iter.view(2, -1).sum(0)
        best, left = self.affine.clone(), self.left(points, every)
        least = torch.full_like(left, math.inf)
        converged = torch.zeros_like(left, dtype=torch.bool)

        def judge(rows: Tensor, here: Tensor, ended: Tensor) -> tuple[Tensor, Tensor]:
            """Keep the best warps that are allowed: what they leave, and which cells are not."""
            largest, smallest = self.grid.distortion(here, self.oracle[rows])
            outside = (largest > bound) | (smallest < 1 / bound)
            left = self.left(here, rows)
            taken = ~outside.flatten(1).any(1) & (left < least[rows])
            kept = rows[taken]
            best[kept], least[kept], converged[kept] = here[taken], left[taken], ended[taken]
            return left, outside

        rows = every
        for number, pull in enumerate(pulls, start=1):
            steps = self.settings.max_steps if last and number == len(pulls) else STEPS
            # what little a distortion leaves is no measure of how hard to pull it back
            weights = pull * torch.where(stiffness > 1, stiffness * most, left[:, None, None])
            state = self._descend(points[rows], rows, weights[rows], steps)
            points[rows] = state.points.view(-1, *points.shape[1:]).double()
            n_iter[rows] += state.n_iter
            left[rows], outside = judge(rows, points[rows], state.converged)
            stiffness[rows] = torch.where(outside, stiffness[rows] * STIFFENING, stiffness[rows])
            # the others would only be pulled once more as they were
            settled = state.converged & ~outside.flatten(1).any(1) & (pull == pulls[-1])
            rows = rows[~settled]
            if len(rows) == 0:
                break
        still = self.still[rows].view(-1, *points.shape[1:]).double()
        for share in SHARES if last and len(rows) else ():
            judge(rows, torch.lerp(still, points[rows], share), torch.ones_like(rows) > 0)
        held = (stiffness > 1).flatten(1).any(1)
        return points, _Found(best, least.isfinite(), held, converged, n_iter)

    def places(self, points: Tensor) -> Tensor:
        """Where warps read, in index coordinates; points are (row, 2, down, across)."""
        over = self.objective.grid
        index = points * over.scale[:, :, None] + over.last[:, :, None] / 2
        return (self.y @ index @ self.x.mT).flatten(2)

    def left(self, points: Tensor, rows: Tensor) -> Tensor:
        """The squared error of warps of some pairs, without the pull."""
        places = self.places(points.to(self.still))
        return self.objective.readings(places, rows).error.sum(1)

    def _descend(self, points: Tensor, rows: Tensor, weights: Tensor, steps: int) -> solver.State:
        """Descend from points of some pairs under a pull that has weights by cell."""
        # relative to an oracle that scales, the same difference of Jacobians distorts more
        pull = self.grid.stiffness(weights / self.area[rows][:, None, None])
        problem = SmoothWarps(level=self, pairs=rows, pull=pull)
        state = solver.start(problem, points.to(self.still).flatten(1))
        steps = min(steps, self.settings.max_steps)
        return solver.descend(state, problem, max_steps=steps, tolerance=TOLERANCE)


@dataclass(frozen=True, kw_only=True)
class SmoothWarps(solver.Problem):
    """Least squares over smooth warps: a point of the descent is a warp's control points.

    Attributes:
        level: The maps, and where warps are judged.
        pairs: Which pair of maps each start is for.
        pull: Quadratic form of the pull towards the affine warp for each start, x and y alike.
    """

    level: _Level
    pairs: Int[Tensor, " start"]
    pull: Float[Tensor, "start point point"]

    def normal(
        self, points: Float[Tensor, "row parameter"], starts: Int[Tensor, " row"]
    ) -> solver.Normal:
        """Evaluate warps; see `solver.Problem`."""
        y, x, pairs, pull = self.level.y, self.level.x, self.pairs[starts], self.pull[starts]
        down, across = y.shape[1], x.shape[1]
        places = self.level.places(points.view(-1, 2, down, across))
        read = self.level.objective.readings(places, pairs)
        slopes = read.slopes.view(-1, 2, len(y), len(x))
        products = read.products.view(-1, 3, len(y), len(x))
        # What is read at a position moves with control point jk as B_j(y) B_k(x) does. The basis is
        # one of products, so sums over the lattice of products of two of them, weighted, take two
        # matrix products; their entries (jj', kk') are then sorted to (jk, j'k').
        yy, xx = ((each[:, :, None] * each[:, None]).flatten(1) for each in (y, x))
        sums = (yy.mT @ products @ xx).view(-1, 3, down, down, across, across)
        second = sums.transpose(3, 4).flatten(4, 5).flatten(2, 3)
        away = points.view(-1, 2, down * across) - self.level.still[pairs]
        back = away @ pull
        gradient = (y.mT @ slopes @ x).flatten(2) + back
        xx, xy, yy = second[:, 0] + pull, second[:, 1], second[:, 2] + pull
        rows = [torch.cat([xx, xy], dim=2), torch.cat([xy, yy], dim=2)]
        return solver.Normal(
            error=read.error.sum(1) + (away * back).sum((1, 2)),
            gradient=gradient.flatten(1),
            matrix=torch.cat(rows, dim=1),
        )

    def confine(
        self, points: Float[Tensor, "row parameter"], starts: Int[Tensor, " row"]
    ) -> tuple[Float[Tensor, "row parameter"], Bool[Tensor, " row"]]:
        """Leave points as they are: what distorts too much is pulled back between descents."""
        return points, torch.zeros_like(starts, dtype=torch.bool)


def _on_a_lattice(maps: objectives.Level) -> tuple[objectives.Objective, Tensor, Tensor]:
    """The squared error over a lattice of positions, with x of its columns and y of its rows."""
    pairs, _, height, width = maps.reference.shape
    step = 1
    objective: objectives.Objective
    if max(height, width) <= schedule.TABLE_LEVELS[-1]:
        objective = maps.objective()
    else:
        step = max(1, round(max(height, width) / LATTICE))
        every = torch.arange(height * width, device=maps.mask.device).view(height, width)
        chosen = every[::step, ::step].flatten().expand(pairs, -1)
        objective = objectives.Residuals(
            maps.reference,
            maps.moved,
            chosen,
            maps.mask.flatten(1).gather(1, chosen),
            maps.full_size,
        )
    x, y, _ = objective.grid.points
    return objective, x[:width:step], y[:: width * step]
