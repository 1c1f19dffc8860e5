"""The best affine warp for each pair of maps: what counts as best, and how its search ended."""

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from invariance_probe.alignment import glance, metrics
from invariance_probe.alignment.outcomes import Outcome
from invariance_probe.alignment.search import SearchOptions, find_warps, outside
from invariance_probe.errors import InvalidInputError
from invariance_probe.errors.checks import MAPS, check_maps, check_tensor, check_warp
from invariance_probe.machine import loops_alone
from invariance_probe.plane import regions, sampling


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """The best affine warp found for each pair of maps.

    Attributes:
        theta: Pull-backs in normalised coordinates, as `torch.nn.functional.affine_grid` takes
            them with ``align_corners=False``.
        scores: What is left under `theta`, on the full maps.
        identity: What is left without any warp.
        oracle: What is left under the oracle's warp.
        outcome: How each search ended.
        n_iter: Levenberg-Marquardt evaluations on the way to the best warp.
        region: Where the maps were compared.
        mode: Sampler of the residual.

    Example:
        >>> import torch, invariance_probe as ip
        >>> reference = torch.rand(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> turned = reference.rot90(1, (-2, -1))
        >>> found = ip.align(reference, turned, max_distortion=2)
        >>> found.outcome[0], len(found.fvu), len(found.cosine), len(found.rel_l2)
        (<Outcome.CONVERGED: 'converged'>, 2, 2, 2)
        >>> sorted(found.left)
        ['affine', 'identity', 'oracle']
        >>> bool((found.fvu <= found.identity.fvu).all())
        True
    """

    theta: Float[Tensor, "pair 2 3"]
    scores: metrics.Scores
    identity: metrics.Scores
    oracle: metrics.Scores
    outcome: list[Outcome]
    n_iter: Int[Tensor, " pair"]
    region: Bool[Tensor, "pair height width"]
    mode: str = "bilinear"

    def __repr__(self) -> str:
        """One screen: the tensors' own would be pages."""
        return glance.text(*self._glance())

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return glance.page(*self._glance())

    def _glance(self) -> tuple[str, pd.DataFrame]:
        """What both show."""
        return glance.title("Alignment", self.region), glance.table(
            self.left, self.outcome, self.n_iter
        )

    @property
    def left(self) -> dict[str, Float[Tensor, " pair"]]:
        """Fraction of variance unexplained by warp: without one, the oracle's, the best found."""
        return {"identity": self.identity.fvu, "oracle": self.oracle.fvu, "affine": self.fvu}

    @property
    def fvu(self) -> Float[Tensor, " pair"]:
        """Fraction of variance unexplained under `theta`."""
        return self.scores.fvu

    @property
    def rel_l2(self) -> Float[Tensor, " pair"]:
        """Relative L2 distance under `theta`."""
        return self.scores.rel_l2

    @property
    def cosine(self) -> Float[Tensor, " pair"]:
        """Cosine under `theta`."""
        return self.scores.cosine

    def warp(
        self, moved: Float[Tensor, "pair channel height width"]
    ) -> Float[Tensor, "pair channel height width"]:
        """Read maps through the warps that were found.

        Args:
            moved: Maps of the size that was aligned.

        Returns:
            The warped maps.

        Example:
            >>> found.warp(turned).shape
            torch.Size([2, 4, 8, 8])
        """
        return sampling.warp(moved, self.theta, mode=self.mode)


def align(
    reference: Float[Tensor, "pair channel height width"],
    moved: Float[Tensor, "pair channel moved_height moved_width"],
    *,
    oracle: Float[Tensor, "pair 2 3"] | Float[Tensor, "2 3"] | None = None,
    region: Bool[Tensor, "pair height width"] | Bool[Tensor, "height width"] | None = None,
    channel_mean: Float[Tensor, "pair channel"] | None = None,
    max_distortion: float = 2.0,
    options: SearchOptions | None = None,
) -> Alignment:
    """Search the affine warp under which moved maps look most like their references.

    All starts (oracle, identity, rotations x scalings x shifts relative to the oracle) are tried on
    maps averaged down to the first of `schedule.TABLE_LEVELS`, the better ones followed to finer
    maps, and the last steps taken on the full ones. The oracle and, where it is inside the family,
    the identity are candidates to the end, so that the result is never worse than either.

    Args:
        reference: Reference maps F; half precision is searched and scored in float32.
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

    Example:
        >>> import torch, invariance_probe as ip
        >>> _ = torch.manual_seed(0)
        >>> reference = torch.nn.functional.avg_pool2d(torch.rand(1, 4, 18, 18), 3, 1)
        >>> moved = torch.roll(reference, 2, dims=-1)  # two cells to the right
        >>> found = ip.align(reference, moved)
        >>> found.outcome[0].value
        'converged'
        >>> bool(found.fvu[0] < found.identity.fvu[0] / 2)  # what has left the map is gone
        True
    """  # noqa: DOC502  (raised by the checks)
    settings = options or SearchOptions(max_distortion=max_distortion)
    with _quietly(moved):
        target, wide, theta = prepared(reference, moved, oracle, region, channel_mean, settings)
        return align_with(target, wide, theta, settings)


def _quietly(maps: object) -> AbstractContextManager[None]:
    """A context in which torch keeps its threads from compiled loops, where these will search."""
    searched = isinstance(maps, Tensor) and sampling.compiled(maps) is not None
    return loops_alone() if searched else nullcontext()


def prepared(
    reference: Float[Tensor, "pair channel height width"],
    moved: Float[Tensor, "pair channel moved_height moved_width"],
    oracle: Float[Tensor, "pair 2 3"] | Float[Tensor, "2 3"] | None,
    region: Bool[Tensor, "pair height width"] | Bool[Tensor, "height width"] | None,
    channel_mean: Float[Tensor, "pair channel"] | None,
    settings: SearchOptions,
) -> tuple[
    metrics.Target,
    Float[Tensor, "pair channel moved_height moved_width"],
    Float[Tensor, "pair 2 3"],
]:
    """Check what `align` was given, and fill in what it was not.

    Args:
        reference: As of `align`.
        moved: As of `align`.
        oracle: As of `align`.
        region: As of `align`.
        channel_mean: As of `align`.
        settings: How thoroughly to search.

    Returns:
        The references with their regions and channel means, the moved maps, both in at least
        single precision, and the oracle, float64.

    Raises:
        InvalidInputError: If the shapes do not fit, or a setting is out of range.
    """  # noqa: DOC502  (raised by the checks)
    settings.check()
    _check(reference, moved, oracle, region, channel_mean)
    wide = torch.promote_types(torch.promote_types(reference.dtype, moved.dtype), torch.float32)
    reference, moved = reference.detach().to(wide), moved.detach().to(wide)
    pairs, _, height, width = reference.shape
    device = reference.device
    theta0 = torch.eye(2, 3, dtype=torch.float64, device=device).expand(pairs, 2, 3)
    if oracle is not None:
        theta0 = oracle.detach().to(device, torch.float64).expand(pairs, 2, 3)
    if region is not None:
        mask = region.to(device).expand(pairs, height, width)
    elif oracle is not None:
        mask = regions.visible(theta0, height, width)
    else:
        mask = torch.ones(pairs, height, width, dtype=torch.bool, device=device)

    if channel_mean is None:
        channel_mean = metrics.pooled_mean(
            reference, mask, metrics.finite(reference) & metrics.finite(moved)
        )
    return metrics.Target(reference, mask, channel_mean.detach()), moved, theta0


def align_with(
    target: metrics.Target,
    moved: Float[Tensor, "pair channel height width"],
    oracle: Float[Tensor, "pair 2 3"],
    settings: SearchOptions,
) -> Alignment:
    """Do what `align` does, for references that are prepared already.

    Args:
        target: The references with their regions and channel means.
        moved: Maps G to be warped.
        oracle: The warp that theory leaves, normalised, float64.
        settings: How thoroughly to search.

    Returns:
        Warps, residuals on the full maps, and an outcome for each pair.
    """
    with _quietly(moved):
        return _aligned(target, moved, oracle, settings)


def _aligned(
    target: metrics.Target, moved: Tensor, theta0: Tensor, settings: SearchOptions
) -> Alignment:
    """What `align_with` returns."""
    if sampling.compiled(moved) is not None:
        # copied once, for the search and the scores
        moved = moved.contiguous(memory_format=torch.channels_last)
    reference, mask = target.reference, target.region
    height, width = reference.shape[-2:]
    finite = metrics.finite(reference) & metrics.finite(moved)
    seen, varied = mask.flatten(1).any(1), target.varied
    found = find_warps(target, moved, theta0, finite & seen & varied, settings)
    identity = torch.eye(2, 3).to(theta0).expand_as(theta0)
    # in this order ties go to the oracle
    candidates = {"oracle": theta0, "identity": identity, "found": found.theta}
    warps = torch.stack(list(candidates.values()), dim=1)
    each = target.score_warps(moved, warps, settings.mode)
    scores = {name: one.where(finite) for name, one in zip(candidates, each, strict=True)}
    left = torch.stack([one.fvu for one in scores.values()]).nan_to_num(math.inf)
    left[1].masked_fill_(outside(identity, theta0, height, width, settings), math.inf)
    choice = left.argmin(0)
    given = choice < 2
    flags = (finite, seen, varied, found.at_limit & ~given, found.converged | given)
    return Alignment(
        theta=_pick(list(candidates.values()), choice),
        scores=metrics.Scores(**{
            name: _pick([getattr(one, name) for one in scores.values()], choice)
            for name in metrics.METRICS
        }),
        oracle=scores["oracle"],
        identity=scores["identity"],
        outcome=[_outcome(*row) for row in zip(*(f.tolist() for f in flags), strict=True)],
        n_iter=found.n_iter,
        region=mask,
        mode=settings.mode,
    )


def _pick(options: list[Tensor], choice: Tensor) -> Tensor:
    return torch.stack(options)[choice, torch.arange(len(choice), device=choice.device)]


def _outcome(finite: bool, seen: bool, varied: bool, at_limit: bool, converged: bool) -> Outcome:
    if not finite:
        return Outcome.NON_FINITE
    if not seen:
        return Outcome.EMPTY_REGION
    if not varied:
        return Outcome.CONSTANT
    if not converged:
        return Outcome.STEP_LIMIT
    return Outcome.DISTORTION_LIMIT if at_limit else Outcome.CONVERGED


def _check(
    reference: Tensor,
    moved: Tensor,
    oracle: Tensor | None,
    region: Tensor | None,
    channel_mean: Tensor | None,
) -> None:
    check_maps("reference", reference)
    check_maps("moved", moved)
    if reference.shape != moved.shape:
        raise InvalidInputError(
            f"align: reference {tuple(reference.shape)} and moved {tuple(moved.shape)} differ; "
            "give maps of one shape (batch, channel, height, width)"
        )
    if reference.shape[-1] * reference.shape[-2] < 2:
        raise InvalidInputError(
            "align: a 1 x 1 map has no position to move; choose a layer with a larger map"
        )
    pairs, channels, *size = reference.shape
    if oracle is not None:
        check_warp("oracle", oracle, pairs)
    if region is not None:
        each = isinstance(region, Tensor) and region.dim() == len(MAPS) - 1
        check_tensor("region", region, *(MAPS[:1] if each else ()), *MAPS[2:])
    if channel_mean is not None:
        check_maps("channel_mean", channel_mean, "pair", "channel")
    if region is not None and (
        region.dtype != torch.bool or list(region.shape) not in ([pairs, *size], size)
    ):
        raise InvalidInputError(
            f"region of shape {tuple(region.shape)} and type {region.dtype}: give True or False "
            f"for each of {size[0]} x {size[1]} positions, for all pairs or for each"
        )
    if channel_mean is not None and channel_mean.shape != (pairs, channels):
        raise InvalidInputError(
            f"channel_mean of shape {tuple(channel_mean.shape)}: give ({pairs}, {channels}), one "
            "for each pair and channel"
        )
