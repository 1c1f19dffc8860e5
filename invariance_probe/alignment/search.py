"""Starts, coarse to fine, and what counts as the best affine warp."""

import math
from dataclasses import dataclass
from enum import StrEnum

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from invariance_probe import geometry, regions
from invariance_probe.alignment import metrics, solver
from invariance_probe.errors import InvalidInputError

TABLE_SIDE = 28
"""Longest side, in cells, up to which a pair's table of inner products is worth its memory."""
COARSE_SIDE = 14
"""Longest side of the maps on which all starts are tried."""
KEPT = (24, 8, 2)
"""Warps kept after a look at all starts, after the coarse search, and after the middle level."""
POLISH_POSITIONS = 2048
"""Positions of a large map on which the last steps are taken."""


class Outcome(StrEnum):
    """How the search for one pair ended; the value says what it means and what to do."""

    CONVERGED = "converged"
    STEP_LIMIT = "step limit: the warp may still improve; raise max_steps"
    DISTORTION_LIMIT = (
        "at the distortion limit: a stronger distortion would fit better; raise max_distortion if "
        "you would call that an alignment"
    )
    NON_FINITE = "non-finite: the maps hold NaN or infinity; look at the layer's activations"
    CONSTANT = "constant maps: nothing to align; choose another layer or image"
    EMPTY_REGION = (
        "empty region: no position is visible in both maps; use a weaker transform, larger maps "
        "or a smaller margin"
    )


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """How thoroughly to search.

    Attributes:
        max_distortion: Bound on the singular values of the warp's linear part relative to the
            oracle's, and on their reciprocals. A warp that collapses onto a point is no alignment.
        max_steps: Levenberg-Marquardt evaluations at each level.
        angles: Number of rotations, relative to the oracle, among the starts.
        scales: Scalings, relative to the oracle, among the starts.
        mode: Sampler of the reported residual, ``"bilinear"`` or ``"bicubic"``.
    """

    max_distortion: float = 2.0
    max_steps: int = 40
    angles: int = 12
    scales: tuple[float, ...] = (0.6, 1.0, 1.6)
    mode: str = "bilinear"


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """The best affine warp found for each pair of maps.

    Attributes:
        theta: Pull-backs in normalised coordinates, as `torch.nn.functional.affine_grid` takes
            them with ``align_corners=False``.
        fvu: Fraction of variance unexplained under `theta`, on the full maps.
        rel_l2: Relative L2 distance under `theta`, on the full maps.
        cosine: Cosine under `theta`, on the full maps.
        outcome: How each search ended.
        n_iter: Levenberg-Marquardt evaluations on the way to the best warp.
        region: Where the maps were compared.
        mode: Sampler of the residual.
    """

    theta: Float[Tensor, "pair 2 3"]
    fvu: Float[Tensor, " pair"]
    rel_l2: Float[Tensor, " pair"]
    cosine: Float[Tensor, " pair"]
    outcome: list[Outcome]
    n_iter: Int[Tensor, " pair"]
    region: Bool[Tensor, "pair height width"]
    mode: str = "bilinear"

    def warp(
        self, moved: Float[Tensor, "pair channel height width"]
    ) -> Float[Tensor, "pair channel height width"]:
        """Read maps through the warps that were found.

        Args:
            moved: Maps of the size that was aligned.

        Returns:
            The warped maps.
        """
        return geometry.warp(moved, self.theta, mode=self.mode)


def align(
    reference: Float[Tensor, "pair channel height width"],
    moved: Float[Tensor, "pair channel height width"],
    *,
    oracle: Float[Tensor, "pair 2 3"] | Float[Tensor, "2 3"] | None = None,
    region: Bool[Tensor, "pair height width"] | Bool[Tensor, "height width"] | None = None,
    channel_mean: Float[Tensor, "pair channel"] | None = None,
    max_distortion: float = 2.0,
    options: SearchOptions | None = None,
) -> Alignment:
    """Search the affine warp under which moved maps look most like their references.

    All starts (oracle, identity, rotations x scalings relative to the oracle) are tried on maps
    averaged down to `COARSE_SIDE`, the better ones followed to finer maps, and the last steps taken
    on the full ones. The oracle and, where it is inside the family, the identity are candidates to
    the end, so that the result is never worse than either.

    Args:
        reference: Reference maps F.
        moved: Maps G to be warped.
        oracle: The warp that theory leaves (inverse of the input transform), normalised; the
            identity by default. `max_distortion` is relative to it.
        region: Where to compare; by default where the oracle sees both maps, or everywhere if no
            oracle is given.
        channel_mean: Means behind ``fvu`` and ``cosine``; those of `reference` itself, over the
            region and all pairs, by default.
        max_distortion: Bound on the singular values of the linear part relative to the oracle.
        options: Everything else; overrides `max_distortion` if given.

    Returns:
        Warps, residuals on the full maps, and an outcome for each pair.

    Raises:
        InvalidInputError: If the shapes do not fit, or the bound is below 1.
    """
    settings = options or SearchOptions(max_distortion=max_distortion)
    _check(reference, moved, settings)
    pairs, _, height, width = reference.shape
    device = reference.device
    theta0 = torch.eye(2, 3, dtype=torch.float64, device=device).expand(pairs, 2, 3)
    if oracle is not None:
        theta0 = oracle.to(device, torch.float64).expand(pairs, 2, 3)
    if region is not None:
        mask = region.to(device).expand(pairs, height, width)
    elif oracle is not None:
        mask = regions.visible(theta0, height, width)
    else:
        mask = torch.ones(pairs, height, width, dtype=torch.bool, device=device)

    finite = _finite(reference) & _finite(moved)
    kept = mask.flatten(1).any(1)
    own_mean = metrics.region_mean(reference.nan_to_num(0.0, 0.0, 0.0), mask)
    varied = _varied(reference, mask, own_mean)
    usable = finite & kept & varied
    theta, n_iter = theta0.clone(), torch.zeros(pairs, dtype=torch.long, device=device)
    converged = torch.zeros(pairs, dtype=torch.bool, device=device)
    at_limit = torch.zeros_like(converged)
    rows = torch.nonzero(usable).flatten()
    for chunk in rows.split(_pairs_at_once(reference)):
        found = _search(
            reference[chunk], moved[chunk], mask[chunk], own_mean[chunk], theta0[chunk], settings
        )
        theta[chunk], n_iter[chunk] = found.theta, found.n_iter
        converged[chunk], at_limit[chunk] = found.converged, found.at_limit

    if channel_mean is None:
        counts = mask.flatten(1).sum(1, keepdim=True).double()
        pooled = (own_mean * counts).sum(0) / counts.sum().clamp(min=1)
        channel_mean = pooled.expand(pairs, -1)
    scores = metrics.score(
        geometry.warp(moved, theta, mode=settings.mode), reference, mask, channel_mean
    )
    blank = torch.full_like(scores.fvu, math.nan)
    return Alignment(
        theta=theta,
        fvu=torch.where(finite & kept, scores.fvu, blank),
        rel_l2=torch.where(finite & kept, scores.rel_l2, blank),
        cosine=torch.where(finite & kept, scores.cosine, blank),
        outcome=[
            _outcome(*flags)
            for flags in zip(
                finite.tolist(),
                kept.tolist(),
                varied.tolist(),
                at_limit.tolist(),
                converged.tolist(),
                strict=True,
            )
        ],
        n_iter=n_iter,
        region=mask,
        mode=settings.mode,
    )


def _outcome(
    finite: bool, kept: bool, varied: bool, at_limit: bool, converged: bool
) -> Outcome:
    if not finite:
        return Outcome.NON_FINITE
    if not kept:
        return Outcome.EMPTY_REGION
    if not varied:
        return Outcome.CONSTANT
    if at_limit:
        return Outcome.DISTORTION_LIMIT
    return Outcome.CONVERGED if converged else Outcome.STEP_LIMIT


def _check(reference: Tensor, moved: Tensor, settings: SearchOptions) -> None:
    if reference.shape != moved.shape:
        raise InvalidInputError(
            f"align: reference {tuple(reference.shape)} and moved {tuple(moved.shape)} differ; "
            "give maps of one shape (batch, channel, height, width)"
        )
    if reference.shape[-1] * reference.shape[-2] < 2:
        raise InvalidInputError(
            "align: a 1 x 1 map has no position to move; choose a layer with a larger map"
        )
    if not settings.max_distortion >= 1:
        raise InvalidInputError(
            f"max_distortion={settings.max_distortion:g}: a bound on stretching is at least 1"
        )
    if settings.mode not in {"bilinear", "bicubic"}:
        raise InvalidInputError(f"mode={settings.mode!r}: choose 'bilinear' or 'bicubic'")


def _finite(maps: Tensor) -> Tensor:
    return maps.flatten(1).isfinite().all(1)


def _varied(reference: Tensor, mask: Tensor, mean: Tensor) -> Tensor:
    """Whether a reference varies over its region by more than rounding."""
    deviation = (reference - mean[:, :, None, None].to(reference)).abs() * mask[:, None]
    largest = (reference.abs() * mask[:, None]).flatten(1).amax(1)
    eps = torch.finfo(reference.dtype).eps
    return deviation.flatten(1).amax(1) > 32 * eps * largest


def _pairs_at_once(maps: Tensor) -> int:
    """Pairs searched together, so that their tables stay within about 256 MB."""
    height, width = maps.shape[-2:]
    cells = min(height, TABLE_SIDE) * min(width, TABLE_SIDE)
    channels_bytes = 8 * maps[0].numel() * maps.element_size()
    return max(1, min(64, 2**28 // (cells * cells * maps.element_size() + channels_bytes)))


@dataclass(frozen=True, kw_only=True)
class _Found:
    theta: Tensor
    n_iter: Tensor
    converged: Tensor
    at_limit: Tensor


@dataclass
class _Candidates:
    """Warps under consideration: (pair, rank, 2, 3), best first, and where each of them stands."""

    warps: Tensor
    error: Tensor
    n_iter: Tensor
    converged: Tensor
    at_limit: Tensor

    def best(self, count: int) -> "_Candidates":
        """Keep the best of each pair, skipping near duplicates while there are others."""
        order = self.error.argsort(dim=1, stable=True)
        warps = _take(self.warps, order)
        error = self.error.gather(1, order)
        same = (warps[:, :, None] - warps[:, None, :]).abs().amax((-2, -1)) < 1e-3
        earlier = torch.ones_like(same[0]).tril(-1)
        repeated = (same & earlier).any(-1)
        order = order.gather(1, (repeated.long()).argsort(dim=1, stable=True))[:, :count]
        return _Candidates(
            warps=_take(self.warps, order),
            error=self.error.gather(1, order),
            n_iter=self.n_iter.gather(1, order),
            converged=self.converged.gather(1, order),
            at_limit=self.at_limit.gather(1, order),
        )


def _take(warps: Tensor, order: Tensor) -> Tensor:
    return warps.gather(1, order[:, :, None, None].expand(-1, -1, 2, 3))


def _search(
    reference: Tensor,
    moved: Tensor,
    mask: Tensor,
    mean: Tensor,
    theta0: Tensor,
    settings: SearchOptions,
) -> _Found:
    """Run the coarse-to-fine search on usable pairs."""
    height, width = reference.shape[-2:]
    # centring keeps the inner products small beside the error that they add up to
    mean = mean[:, :, None, None].to(reference)
    target, source = reference - mean, moved - mean
    unit = target.flatten(1).square().mean(1).sqrt().clamp(min=torch.finfo(target.dtype).tiny)
    target, source = target / unit[:, None, None, None], source / unit[:, None, None, None]
    weight = mask.to(target)

    change = solver.isotropic_from_normalised(height, width).to(theta0.device)
    isotropic = change @ geometry.homogeneous(theta0) @ torch.linalg.inv(change)
    oracle = isotropic[:, :2].to(target)
    candidates = _starts(oracle, settings)
    levels = [side for side in (COARSE_SIDE, TABLE_SIDE) if side < max(height, width)]
    for depth, side in enumerate([*levels, None]):
        level = _Level(target, source, weight, side)
        objective = level.objective()
        if depth == 0:
            candidates = _look(objective, candidates, oracle, settings).best(KEPT[0])
            candidates = _improve(objective, candidates, oracle, settings, steps=4).best(KEPT[1])
        last = side is None
        candidates = _improve(objective, candidates, oracle, settings, steps=settings.max_steps)
        candidates = candidates.best(1 if last else KEPT[2])
    identity = torch.eye(2, 3).to(oracle).expand_as(oracle)
    final = torch.stack([candidates.warps[:, 0], oracle, identity], dim=1)
    return _judge(target, source, mask, final, candidates, oracle, theta0, change, settings)


def _starts(oracle: Tensor, settings: SearchOptions) -> _Candidates:
    """Oracle, identity, and rotations x scalings about the centre, relative to the oracle."""
    turns = [
        (2 * math.pi * k / settings.angles, scale)
        for k in range(settings.angles)
        for scale in settings.scales
        if k != 0 or scale != 1.0
    ]
    linear = torch.tensor(
        [[[s * math.cos(a), s * math.sin(a)], [-s * math.sin(a), s * math.cos(a)]] for a, s in turns]
    ).to(oracle)
    turned = linear @ oracle[:, None, :, :2]
    shift = oracle[:, None, :, 2:].expand(-1, len(turns), -1, -1)
    identity = torch.eye(2, 3).to(oracle).expand(len(oracle), 1, 2, 3)
    warps = torch.cat([oracle[:, None], identity, torch.cat([turned, shift], dim=-1)], dim=1)
    blank = warps.new_full(warps.shape[:2], math.inf)
    flags = torch.zeros_like(blank, dtype=torch.bool)
    return _Candidates(warps, blank, torch.zeros_like(blank, dtype=torch.long), flags, flags)


class _Level:
    """The maps at one resolution: averaged down to a longest side, or as they are (None)."""

    def __init__(self, target: Tensor, source: Tensor, weight: Tensor, side: int | None) -> None:
        self.full_size = (target.shape[-2], target.shape[-1])
        if side is not None:
            longest = max(self.full_size)
            height, width = (max(2, round(n * side / longest)) for n in self.full_size)
            shrink = torch.nn.AdaptiveAvgPool2d((height, width))
            target, source = shrink(target), shrink(source)
            weight = (shrink(weight[:, None])[:, 0] > 0.5).to(weight)
        elif min(self.full_size) < 2:
            size = tuple(max(2, n) for n in self.full_size)
            target, source = (F.interpolate(m, size=size, mode="nearest") for m in (target, source))
            weight = F.interpolate(weight[:, None], size=size, mode="nearest")[:, 0]
        self.target, self.source, self.weight = target, source, weight

    def objective(self) -> solver.Objective:
        """Inner products where the table is small, the channels' residuals on larger maps."""
        if max(self.target.shape[-2:]) <= TABLE_SIDE:
            return solver.InnerProducts(self.target, self.source, self.weight, self.full_size)
        positions, weight = _spread(self.weight.flatten(1), POLISH_POSITIONS)
        return solver.Residuals(self.target, self.source, positions, weight, self.full_size)


def _spread(weight: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Choose positions of the region, spread evenly over it, the same at every call."""
    total = weight.shape[1]
    golden = (torch.arange(total, device=weight.device) * 0.6180339887498949) % 1.0
    key = torch.where(weight > 0, golden, golden + 1.0)
    positions = key.argsort(dim=1)[:, :count]
    return positions, weight.gather(1, positions)


def _look(
    objective: solver.Objective, candidates: _Candidates, oracle: Tensor, settings: SearchOptions
) -> _Candidates:
    """Evaluate every start once."""
    return _improve(objective, candidates, oracle, settings, steps=0)


def _improve(
    objective: solver.Objective,
    candidates: _Candidates,
    oracle: Tensor,
    settings: SearchOptions,
    *,
    steps: int,
) -> _Candidates:
    """Take Levenberg-Marquardt steps from every candidate."""
    pairs, ranks = candidates.error.shape
    index = torch.arange(pairs, device=oracle.device).repeat_interleave(ranks)
    solution = solver.levenberg_marquardt(
        objective,
        candidates.warps.flatten(0, 1),
        index,
        oracle[index],
        max_distortion=settings.max_distortion,
        max_steps=steps,
    )
    shape = (pairs, ranks)
    return _Candidates(
        warps=solution.warps.reshape(pairs, ranks, 2, 3),
        error=solution.error.reshape(shape).nan_to_num(math.inf),
        n_iter=candidates.n_iter + solution.n_iter.reshape(shape),
        converged=solution.converged.reshape(shape),
        at_limit=solution.at_limit.reshape(shape),
    )


def _judge(
    target: Tensor,
    source: Tensor,
    mask: Tensor,
    final: Tensor,
    candidates: _Candidates,
    oracle: Tensor,
    theta0: Tensor,
    change: Tensor,
    settings: SearchOptions,
) -> _Found:
    """Compare the warp found with oracle and identity, on the full maps by the public sampler."""
    pairs, ranks = final.shape[:2]
    back = torch.linalg.inv(change)
    theta = (back @ geometry.homogeneous(final) @ change)[..., :2, :]
    theta[:, 1] = theta0  # not rounded on the way
    theta[:, 2] = torch.eye(2, 3).to(theta)
    errors = torch.stack(
        [
            ((geometry.warp(source, theta[:, k], mode=settings.mode) - target) * mask[:, None])
            .square()
            .flatten(1)
            .sum(1, dtype=torch.float64)
            for k in range(ranks)
        ],
        dim=1,
    )
    inside = ~solver.limit_distortion(final[:, 2], oracle, settings.max_distortion)[1]
    errors[:, 2] = errors[:, 2].where(inside, torch.full_like(errors[:, 2], math.inf))
    # ties go to the oracle
    errors[:, 0] = errors[:, 0] * (1 + 1e-9)
    choice = errors.argmin(1)
    row = torch.arange(pairs, device=final.device)
    given = choice > 0
    return _Found(
        theta=theta[row, choice],
        n_iter=candidates.n_iter[:, 0],
        converged=candidates.converged[:, 0] | given,
        at_limit=candidates.at_limit[:, 0] & ~given,
    )
