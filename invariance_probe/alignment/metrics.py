"""One name, one formula: how far a warped map is from its reference, over a region."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from invariance_probe.plane import sampling

METRICS = ("fvu", "rel_l2", "cosine")
"""``fvu``: fraction of variance unexplained, sum of (WG - F)^2 over sum of (F - channel mean)^2; 0
is perfect alignment, 1 no better than the channel mean, unrelated images come near 2. ``rel_l2``:
root of sum of (WG - F)^2 over sum of F^2. ``cosine``: between WG and F, the channel mean taken off
both; 1 is perfect alignment, unrelated images come near 0. Sums run over region and channels."""

BEST_HIGH = ("cosine",)
"""Those of `METRICS` that are best where they are highest."""

_CONSTANT = 1e-6
"""Share of the variance about the channel mean below which a map counts as constant."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The three metrics, one value a pair, NaN where the region is empty or the reference constant.

    Attributes:
        fvu: Fraction of variance unexplained.
        rel_l2: Relative L2 distance.
        cosine: Cosine of the centred maps.
    """

    fvu: Float[Tensor, " pair"]
    rel_l2: Float[Tensor, " pair"]
    cosine: Float[Tensor, " pair"]

    def where(self, known: Bool[Tensor, " pair"]) -> "Scores":
        """Blank what does not count.

        Args:
            known: Which pairs count.

        Returns:
            The scores, NaN for the others.
        """
        return Scores(**{
            name: getattr(self, name).masked_fill(~known, torch.nan) for name in METRICS
        })


class Target:
    """Reference maps that several warped maps are compared with.

    Args:
        reference: Reference maps F.
        region: Where the comparison is fair.
        channel_mean: Mean of the reference maps of the whole run over the region, by channel.
    """

    def __init__(
        self,
        reference: Float[Tensor, "pair channel height width"],
        region: Bool[Tensor, "pair height width"],
        channel_mean: Float[Tensor, "pair channel"],
    ) -> None:
        self.reference, self.region, self.channel_mean = reference, region, channel_mean
        self._keep = region.flatten(1)[:, None, :]
        self._mean = channel_mean[:, :, None].to(reference)
        self._centred = self._centre(reference)
        self._variance = _energy(self._centred)
        count = self._keep.sum(-1).double()
        total = self._centred.sum(-1, dtype=torch.float64)
        mean = self._mean[:, :, 0].double()
        # sums of F and F^2 follow from those of the centred maps
        self._energy = self._variance + (mean * (2 * total + count * mean)).sum(1)
        own = self._variance - (total.square() / count.clamp(min=1)).sum(1)
        self.varied = own > _CONSTANT * self._variance
        """Which references vary over their region by more than rounding."""

    def _centre(self, maps: Tensor) -> Tensor:
        return (maps.flatten(2) - self._mean).mul_(self._keep)

    def score(self, warped: Float[Tensor, "pair channel height width"]) -> Scores:
        """Compare warped maps with the references.

        Args:
            warped: Moved maps after a warp, WG.

        Returns:
            `METRICS` of each pair, summed in float64.
        """
        return self._scores(*self._sums(warped).unbind(-1))

    def score_warp(
        self,
        moved: Float[Tensor, "pair channel height width"],
        theta: Float[Tensor, "pair 2 3"],
        mode: str,
    ) -> Scores:
        """Compare moved maps, warped, with the references: `score` of `sampling.warp`.

        Args:
            moved: Moved maps G, finite; scores of others are without meaning.
            theta: Pull-backs in normalised coordinates.
            mode: Sampler.

        Returns:
            What `score` returns.
        """
        return self.score_warps(moved, theta[:, None], mode)[0]

    def score_warps(
        self,
        moved: Float[Tensor, "pair channel height width"],
        thetas: Float[Tensor, "pair warp 2 3"],
        mode: str,
    ) -> list[Scores]:
        """Compare moved maps under several warps with the references.

        Args:
            moved: As of `score_warp`.
            thetas: Pull-backs in normalised coordinates, some for each pair.
            mode: Sampler.

        Returns:
            What `score_warp` returns, warp by warp.
        """
        sums = self._sums_of_warps(moved, thetas, mode)
        return [self._scores(*each.unbind(-1)) for each in sums.unbind(1)]

    def score_further(
        self,
        moved: Float[Tensor, "pair channel height width"],
        theta: Float[Tensor, "pair 2 3"],
        mode: str,
        factor: Float[Tensor, " pair"],
    ) -> Scores:
        """Compare maps that differ from the references as moved maps do, warped, but by more.

        Args:
            moved: As of `score_warp`.
            theta: Pull-backs in normalised coordinates.
            mode: Sampler.
            factor: How many times as large the square of the difference is.

        Returns:
            What `score` returns of the references and sqrt(`factor`) times the difference.
        """
        power, error = self._sums_of_warps(moved, theta[:, None], mode)[:, 0].unbind(-1)
        factor = factor.to(power)
        # 2 F D, of the difference D and the centred reference F
        crossed = power - self._variance - error
        further = self._variance + factor.sqrt() * crossed + factor * error
        return self._scores(further.clamp(min=0), factor * error)

    def _sums(self, warped: Tensor) -> Float[Tensor, "pair 2"]:
        """Sums of squares of WG, less the channel mean, and of WG - F."""
        other = self._centre(warped)
        power = _energy(other)
        return torch.stack([power, _energy(other.sub_(self._centred))], dim=-1)

    def _sums_of_warps(
        self, moved: Tensor, thetas: Tensor, mode: str
    ) -> Float[Tensor, "pair warp 2"]:
        """The same of moved maps under some warps each."""
        sums = None
        if mode == "bilinear":
            mean = self._mean[:, :, 0]
            sums = sampling.compared(moved, thetas, self.channels_last, self.region, mean)
        if sums is None:
            warps = thetas.unbind(1)
            each = [self._sums(sampling.warp(moved, theta, mode=mode)) for theta in warps]
            sums = torch.stack(each, dim=1)
        return sums

    @cached_property
    def channels_last(self) -> Float[Tensor, "pair channel height width"]:
        """The references, a position's channels side by side, as compiled loops read them."""
        return self.reference.contiguous(memory_format=torch.channels_last)

    def _scores(self, power: Tensor, error: Tensor) -> Scores:
        """The metrics, from sums of squares of WG, less the channel mean, and of WG - F."""
        overlap = (power + self._variance - error) / 2
        return Scores(
            fvu=self._ratio(error, self._variance),
            rel_l2=self._ratio(error, self._energy).sqrt(),
            cosine=self._ratio(overlap, (self._variance * power).sqrt()),
        )

    def bound(self, error: Float[Tensor, " pair"]) -> Scores:
        """Turn squared errors into scores, under the normalisers and the NaN rules of `score`.

        Args:
            error: Sums of (WG - F)^2 over region and channels, such as a bound on them.

        Returns:
            ``fvu`` and ``rel_l2``, float64; ``cosine`` is NaN, as the error alone does not tell it.
        """
        error = error.to(self._variance)
        return Scores(
            fvu=self._ratio(error, self._variance),
            rel_l2=self._ratio(error, self._energy).sqrt(),
            cosine=torch.full_like(error, torch.nan),
        )

    def _ratio(self, part: Tensor, whole: Tensor) -> Tensor:
        """Divide; a denominator that is rounding noise beside the maps' energy gives NaN."""
        smallest = 1e-10 * self._energy + torch.finfo(torch.float64).tiny
        defined = self.varied & (whole > smallest)
        return torch.where(defined, part / whole, torch.full_like(part, torch.nan))


def finite(maps: Float[Tensor, "map channel height width"]) -> Bool[Tensor, " map"]:
    """Tell which maps hold neither NaN nor infinity.

    Args:
        maps: Any.

    Returns:
        Whether each is finite throughout.
    """
    flat = maps.flatten(1)
    # NaN and infinity outlast a sum, which is quicker than asking each value; large values may add
    # up to infinity, so that what a sum says no of is asked
    sound = flat.sum(1).isfinite()
    return sound if bool(sound.all()) else flat.isfinite().all(1)


def region_mean(
    reference: Float[Tensor, "pair channel height width"],
    region: Bool[Tensor, "pair height width"],
) -> Float[Tensor, "pair channel"]:
    """Average each channel of each map over its region.

    Args:
        reference: Maps.
        region: Positions to average over.

    Returns:
        Means, float64; 0 where the region is empty.
    """
    keep = region.flatten(1)[:, None, :]
    total = (reference.flatten(2) * keep).sum(-1, dtype=torch.float64)
    return total / keep.sum(-1).clamp(min=1)


def pooled_mean(
    reference: Float[Tensor, "pair channel height width"],
    region: Bool[Tensor, "pair height width"],
    usable: Bool[Tensor, " pair"],
) -> Float[Tensor, "pair channel"]:
    """Average each channel over the regions of all usable maps.

    Args:
        reference: Maps.
        region: Positions to average over.
        usable: Which maps count.

    Returns:
        The same means for every map, float64.
    """
    counts = (region.flatten(1).sum(1) * usable)[:, None].double()
    means = region_mean(reference, region).nan_to_num()
    return ((means * counts).sum(0) / counts.sum().clamp(min=1)).expand(len(reference), -1)


def _energy(maps: Tensor) -> Tensor:
    """Sum of squares over channels and positions, in float64."""
    norms: Tensor = torch.linalg.vector_norm(maps, dim=(1, 2), dtype=torch.float64)
    return norms.square()
