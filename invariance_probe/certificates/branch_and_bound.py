"""A proof that no warp of a family is much better than the best one found: branch and bound.

The box of all parameters is split again and again, the box with the lowest bound first, and what
no warp of a box can undercut is computed by `minorants.Minorants`. The lowest bound of all boxes
that are left is a bound for the family; the best warp is what descents from the engine's result
and from the middles of promising boxes reach. The search ends when the two are within the gap that
was asked for, or when its budget is spent: then the gap that was reached is reported.

The family is that of the engine: L, the linear part relative to the oracle's, has singular values
within [1 / max_distortion, max_distortion] and does not mirror; for similarities it is a rotation
times a factor. Shifts are not limited: a shift that sends all positions of the region beyond one
border of the moved map reads the border whatever is added to it, so a box that reaches that far
holds all shifts that matter.
"""

import math
import time
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from invariance_probe.alignment import aligning, metrics, search, solver
from invariance_probe.alignment.outcomes import Outcome
from invariance_probe.certificates import any_warp, families, minorants
from invariance_probe.errors import InvalidInputError
from invariance_probe.errors.checks import (
    MAPS,
    as_number,
    check_choice,
    check_integer,
    check_maps,
    check_number,
    check_tensor,
    check_warp,
)
from invariance_probe.plane import regions, sampling

LARGEST = 2**24
"""Positions times cells: maps of 56 x 56, where a certificate is slow but has its use."""

_ENTRIES = 2**16
"""Boxes x positions bounded together: their temporaries stay near a processor's cache."""


@dataclass(frozen=True, kw_only=True)
class CertificateOptions:
    """What to prove, and at what expense.

    Attributes:
        family: ``"similarity"`` (4 parameters) or ``"affine"`` (6).
        gap: Share of the best warp's error by which another may at most be better.
        floor: Fraction of the variance that does not count: two warps whose fvu differs by less
            are as good as each other, so that a perfect alignment has an end.
        max_boxes: Boxes to bound at most. The result depends on nothing else.
        time_limit_s: Seconds after which to stop all the same; how far the search comes in a given
            time differs from run to run, so there is no limit by default.
        max_distortion: Bound on the singular values relative to the oracle, and on their
            reciprocals.

    Example:
        >>> import invariance_probe as ip
        >>> ip.CertificateOptions(gap=0.05).family
        'similarity'
    """

    family: str = "similarity"
    gap: float = 0.01
    floor: float = 1e-4
    max_boxes: int = 200_000
    time_limit_s: float = math.inf
    max_distortion: float = 2.0


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """The best warp met, and what no warp of its family undercuts.

    Attributes:
        theta: Pull-back in normalised coordinates.
        error: What it leaves: the sum of (WG - F)^2 over the region, read in float64.
        lower: No warp of the family leaves less.
        fvu: `error` as a fraction of variance.
        fvu_lower: `lower` as a fraction of variance.
        gap: 1 - lower / error: by how much of its error another warp may at most be better.
        boxes: Boxes that were bounded.
        outcome: How the search ended.
    """

    theta: Float[Tensor, "2 3"]
    error: float
    lower: float
    fvu: float
    fvu_lower: float
    gap: float
    boxes: int
    outcome: Outcome

    @property
    def complete(self) -> bool:
        """Whether the gap that was asked for was proven."""
        return self.outcome is Outcome.PROVEN


def certify(
    reference: Float[Tensor, "channel height width"],
    moved: Float[Tensor, "channel height width"],
    *,
    oracle: Float[Tensor, "2 3"] | None = None,
    region: Bool[Tensor, "height width"] | None = None,
    channel_mean: Float[Tensor, " channel"] | None = None,
    options: CertificateOptions | None = None,
) -> Certificate:
    """Find the best warp of a family for one pair of maps, and prove how good it is.

    Args:
        reference: Reference map F.
        moved: Map G to be warped.
        oracle: The warp that theory leaves, normalised; the identity by default.
        region: Where to compare; by default where the oracle sees both maps, or everywhere if no
            oracle is given.
        channel_mean: Means behind ``fvu``; those of `reference` over the region by default.
        options: The family, what to prove and at what expense.

    Returns:
        The warp, its error, the bound, and the gap between them, on the CPU; NaN where the outcome
        says why.

    Raises:
        InvalidInputError: If an option is out of range or shapes do not fit.

    Example:
        >>> import torch, invariance_probe as ip
        >>> reference = torch.rand(2, 5, 5, generator=torch.Generator().manual_seed(0))
        >>> options = ip.CertificateOptions(gap=0.2, max_boxes=2000)
        >>> certificate = ip.certify(reference, reference, options=options)
        >>> certificate.lower <= certificate.error < 1e-9  # the identity is exact
        True
    """
    asked = options or CertificateOptions()
    if oracle is not None:
        check_warp("oracle", oracle)
    _check(reference, moved, region, asked)
    if channel_mean is not None:
        check_maps("channel_mean", channel_mean, "channel")
        if len(channel_mean) != len(reference):
            raise InvalidInputError(
                f"channel_mean of {len(channel_mean)} values: give one for each of the "
                f"{len(reference)} channels"
            )
    height, width = reference.shape[-2:]
    theta = (
        torch.eye(2, 3, dtype=torch.float64) if oracle is None else oracle.detach().double().cpu()
    )
    if region is None:
        region = (
            torch.ones(height, width, dtype=torch.bool)
            if oracle is None
            else regions.visible(theta[None], height, width)[0]
        )
    F, G = (maps.detach().cpu().double() for maps in (reference, moved))
    region = region.cpu()
    F = F.masked_fill(~region, 0)
    if channel_mean is None:
        channel_mean = metrics.region_mean(F[None], region[None])[0]
    target = metrics.Target(F[None], region[None], channel_mean[None].detach().cpu())
    outcome = _hopeless(F, G, region, target)
    if outcome is not None:
        return _certificate(theta, math.nan, math.nan, target, 0, outcome)
    # A residual read and scored in the maps' own dtype is the exact one but for an error vector of
    # READ_ROUNDING roundings a position, so over n positions the roots of the two sums differ by
    # no more than root(n) of these (the triangle inequality). `lower` gives that away.
    longest = sum(float(torch.linalg.vector_norm(maps, dim=0).max()) for maps in (F, G))
    slack = any_warp.READ_ROUNDING * torch.finfo(reference.dtype).eps * longest
    slack *= math.sqrt(int(region.sum()))
    found = _Search(F, G, theta, region, target, asked, slack)
    outcome = found.run()
    theta = found.family.theta(found.best[None])[0]
    read = sampling.warp(G[None], theta[None])[0]
    error = float(((read - F).square().sum(0) * region).sum())
    lower = max(0.0, math.sqrt(max(0.0, found.lower)) - slack) ** 2
    return _certificate(theta, error, lower, target, found.boxes, outcome)


def _certificate(
    theta: Tensor,
    error: float,
    lower: float,
    target: metrics.Target,
    boxes: int,
    outcome: Outcome,
) -> Certificate:
    """Put a certificate together."""
    fvu, fvu_lower = (
        float(target.bound(torch.tensor([each], dtype=torch.float64)).fvu[0])
        for each in (error, lower)
    )
    return Certificate(
        theta=theta,
        error=error,
        lower=lower,
        fvu=fvu,
        fvu_lower=fvu_lower,
        gap=0.0 if error == 0 else 1 - lower / error,
        boxes=boxes,
        outcome=outcome,
    )


def _check(
    reference: Tensor, moved: Tensor, region: Tensor | None, asked: CertificateOptions
) -> None:
    """Refuse what cannot be certified."""
    check_maps("reference", reference, *MAPS[1:])
    check_maps("moved", moved, *MAPS[1:])
    if reference.shape != moved.shape:
        raise InvalidInputError(
            f"reference {tuple(reference.shape)} and moved {tuple(moved.shape)} differ; give maps "
            "of one shape."
        )
    if region is not None:
        check_tensor("region", region, *MAPS[2:])
    if region is not None and (region.shape, region.dtype) != (reference.shape[-2:], torch.bool):
        raise InvalidInputError(
            f"region {tuple(region.shape)} of {region.dtype} does not fit maps of "
            f"{tuple(reference.shape[-2:])}: pass one True or False for each row and column."
        )
    if reference[0].numel() * moved[0].numel() > LARGEST:
        raise InvalidInputError(
            f"maps of {tuple(reference.shape[-2:])} are too large for a certificate's table of "
            f"positions times cells (at most {LARGEST}): choose a deeper layer, or average down."
        )
    check_choice("family", asked.family, families.PARAMETERS)
    for name in ("gap", "floor", "max_distortion"):
        check_number(name, getattr(asked, name))
    if math.isnan(as_number(asked.time_limit_s)):
        raise InvalidInputError(f"time_limit_s={asked.time_limit_s!r}: give a number of seconds")
    check_integer("max_boxes", asked.max_boxes, 1)
    if not 0 < asked.gap < 1:
        raise InvalidInputError(f"gap={asked.gap} must lie between 0 and 1, such as 0.01.")
    if asked.floor < 0:
        raise InvalidInputError(f"floor={asked.floor} must not be negative; 1e-4 is the default.")
    if not 1 <= asked.max_distortion <= search.MOST:
        raise InvalidInputError(
            f"max_distortion={asked.max_distortion} must be at least 1 and at most {search.MOST}: "
            "it bounds the singular values and their reciprocals."
        )


def _hopeless(F: Tensor, G: Tensor, region: Tensor, target: metrics.Target) -> Outcome | None:
    """Say why there is nothing to certify, if so."""
    if not bool(F.isfinite().all() and G.isfinite().all()):
        return Outcome.NON_FINITE
    if not bool(region.any()):
        return Outcome.EMPTY_REGION
    if not bool(target.varied[0]):
        return Outcome.CONSTANT
    return None


class _Search:
    """Branch and bound for one pair of maps."""

    def __init__(
        self,
        F: Tensor,
        G: Tensor,
        oracle: Tensor,
        region: Tensor,
        target: metrics.Target,
        asked: CertificateOptions,
        slack: float,
    ) -> None:
        self.asked, self.slack = asked, slack
        height, width = G.shape[1:]
        # centring keeps inner products small beside the error that they add up to
        centre = target.channel_mean[0].double()[:, None]
        wanted = (F[:, region] - centre).T.contiguous()
        # maps of one row or column are doubled, which changes no reading
        pad = (0, int(width == 1), 0, int(height == 1))
        offered = torch.nn.functional.pad((G - centre[..., None])[None], pad, mode="replicate")[0]
        self.family = families.Family(
            asked.family, oracle, region, (height, width), asked.max_distortion
        )
        self.minorants = minorants.Minorants(wanted, offered, self.family)
        self.problem = _Warps(self.family, self.minorants)
        self.at_once = max(32, _ENTRIES // len(wanted))
        # an fvu is an error over the variance, so an error of 1 has the fvu 1 / variance
        variance = 1 / float(target.bound(torch.ones(1, dtype=torch.float64)).fvu[0])
        self.floor = asked.floor * variance
        # descents begin at the engine's own result: a certificate is above all its judge
        starts = [oracle, torch.eye(2, 3).to(oracle)]
        if min(height, width) > 1:
            settings = search.SearchOptions(max_distortion=asked.max_distortion)
            single = metrics.Target(F[None].float(), region[None], target.channel_mean)
            starts.append(
                aligning.align_with(single, G[None].float(), oracle[None], settings).theta[0]
            )
        self.upper, self.best = math.inf, self.family.low
        self._descend(self.family.parameters(torch.stack([each.double() for each in starts])))
        self.boxes = 0
        self.aside = math.inf
        """Lowest bound of the boxes that need not be split any more."""
        self.centres = (self.family.low + self.family.high)[None] / 2
        self.halves = (self.family.high - self.family.low)[None] / 2
        self.lows = torch.zeros(1, dtype=torch.float64)

    @property
    def lower(self) -> float:
        """What no warp of the family undercuts."""
        # boxes cover the family: those put aside, those that are left, and those dropped because
        # they meet no warp of it
        left = float(self.lows.min()) if len(self.lows) else math.inf
        return min(self.aside, left, self.upper)

    @property
    def _enough(self) -> float:
        """Bound at which a box need not be split any more."""
        # A bound b is enough if what `certify` makes of it, (sqrt(b) - slack)^2, is `allowed`: all
        # of the best warp's error but the gap, or but the floor where that is more.
        allowed = self.upper - max(self.asked.gap * self.upper, self.floor)
        return (math.sqrt(allowed) + self.slack) ** 2 if allowed > 0 else 0.0

    def run(self) -> Outcome:
        """Split boxes until the gap is closed or the budget spent."""
        began = time.monotonic()
        rounds = 0
        while len(self.lows):
            if self.boxes >= self.asked.max_boxes:
                return Outcome.BOX_LIMIT
            if time.monotonic() - began > self.asked.time_limit_s:
                return Outcome.TIME_LIMIT
            centres, halves, lows = self._split()
            rounds += 1
            # descents are dear beside bounds, and most useful early on: after rounds 1, 2, 4, 8,
            # and from then on regularly
            if rounds & (rounds - 1) == 0 or rounds % _ROUNDS_BETWEEN_DESCENTS == 0:
                self._descend(centres[lows.argsort()[:_DESCENTS]])
            self.centres = torch.cat([self.centres, centres])
            self.halves = torch.cat([self.halves, halves])
            self.lows = torch.cat([self.lows, lows])
            self._put_aside()
        return Outcome.PROVEN

    def _split(self) -> tuple[Tensor, Tensor, Tensor]:
        """Take the boxes with the lowest bounds, halve them and bound what can hold a warp."""
        count = min(self.at_once, len(self.lows), max(1, (self.asked.max_boxes - self.boxes) // 2))
        # each box makes two, and `max_boxes` is a promise
        chosen = self.lows.topk(count, largest=False).indices
        centres, halves, lows = (t[chosen] for t in (self.centres, self.halves, self.lows))
        keep = torch.ones(len(self.lows), dtype=torch.bool)
        keep[chosen] = False
        self._retain(keep)
        # across the parameter that moves the positions most
        widest = (halves * self.family.travel).argmax(1, keepdim=True)
        halves = halves.scatter(1, widest, halves.gather(1, widest) / 2)
        # the halves' middles lie half a side (the new one) to either side of the old middle
        step = torch.zeros_like(halves).scatter(1, widest, halves.gather(1, widest))
        centres = torch.cat([centres - step, centres + step])
        # what holds for a box holds for its halves
        halves, lows = halves.repeat(2, 1), lows.repeat(2)
        self.boxes += len(lows)
        meets = self.family.meets(centres, halves)
        centres, halves, lows = centres[meets], halves[meets], lows[meets]
        return (
            centres,
            halves,
            torch.maximum(lows, self.minorants.lower(centres, halves, self._enough)),
        )

    def _retain(self, keep: Tensor) -> None:
        self.centres, self.halves, self.lows = (
            t[keep] for t in (self.centres, self.halves, self.lows)
        )

    def _put_aside(self) -> None:
        """Drop boxes in which no warp is better by more than what was asked for."""
        good = self.lows >= self._enough
        if bool(good.any()):
            self.aside = min(self.aside, float(self.lows[good].min()))
            self._retain(~good)

    def _descend(self, parameters: Tensor) -> None:
        """Follow warps downhill, and keep the best of all so far."""
        if not len(parameters):
            return
        found = solver.descend(
            solver.start(self.problem, parameters),
            self.problem,
            max_steps=_STEPS,
            tolerance=_TOLERANCE,
        )
        best = int(found.error.argmin())
        if float(found.error[best]) < self.upper:
            self.upper, self.best = float(found.error[best]), found.points[best]


@dataclass(frozen=True)
class _Warps(solver.Problem):
    """The error of the family's warps, read in float64."""

    family: families.Family
    minorants: minorants.Minorants

    def normal(self, points: Tensor, starts: Tensor) -> solver.Normal:  # noqa: ARG002  (`Objective`'s)
        return self.minorants.at(points)

    def confine(self, points: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002  (`Objective`'s)
        return self.family.confine(points)


_DESCENTS, _ROUNDS_BETWEEN_DESCENTS = 8, 16
_STEPS, _TOLERANCE = 20, 1e-12
"""Of a descent. Every gap is measured against its end: it goes on to the last digits of float64."""
