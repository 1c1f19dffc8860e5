"""How channels changed: the best permutation, rotation and linear mixing between two sets of maps.

Everything is fitted from second moments of the feature vectors, which add up over positions and
images: memory is C x C, however many images there are. A fit is to be scored on images that it has
not seen, as C^2 numbers overfit.

The penalty of the linear mixing
--------------------------------
The regression f ~ W g + b minimises, v being the mean variance of a warped channel,

    mean |W g + b - f|^2 + ridge v |W - a I|^2.

*Why in the maps' own units.* The usual advice is to standardise every channel first. A channel that
is nearly dead in the images of the fit then has as much of a say as any other: the gain from it is
divided by its tiny deviation, and one other image in which it fires is left with thousands of times
its variance. But `fvu` counts squares in the maps' own units, all channels alike, and is the same
whichever orthogonal basis the channels are written in. So is this penalty.

*What it costs.* Let the right W be orthogonal, and let s be the variance of g along an eigenvector
u of its covariance, and w = (W - a I) u. The fit keeps s / (s + ridge v) of w and leaves
s (ridge v)^2 / (s + ridge v)^2 |w|^2, at most ridge v |w|^2 / 4 whatever s is. |w| <= 1 + a <= 2,
and there are C directions in a variance of C v: the bias is at most `ridge` in fvu. With the
smallest of `RIDGES` that is 0.01.

*What it prevents.* Say that what happens along u explains the share p of the variance V of f in the
fit, be it by chance. By the Cauchy-Schwarz inequality the gain along u is at most
(s p V)^(1/2) / (s + ridge v) <= (p V / (4 ridge v))^(1/2), whatever s is: where g varies by h v
along u in another image, that adds at most h p / (4 ridge) to its fvu. Validation alone cannot
prevent it: what fires in one image of ten is in the validation of few fits.

*Towards what.* W = a I shrinks all channels alike; a in [0, 1] is the least squares gain, one
number learnt from all channels and positions, so that it does not overfit. Where nothing else can
be learnt this leaves what no mixing leaves, or what the channel means leave, whichever is less.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int, Int64
from scipy.optimize import linear_sum_assignment
from torch import Tensor


class Kind(StrEnum):
    """A family of mixings.

    ``gain``: no channel takes from another, each is drawn towards its mean by a factor of its own.
    ``permutation``: channels reassigned one to one (P8: what a filter bank closed under a group
    needs). ``orthogonal``: vectors turned, their lengths kept. ``linear``: any C x C matrix and an
    offset. The last two are pulled towards no mixing, ``linear`` towards a common gain of all
    channels, by a penalty that is chosen on images outside the fit.
    """

    GAIN = "gain"
    PERMUTATION = "permutation"
    ORTHOGONAL = "orthogonal"
    LINEAR = "linear"


RIDGES = tuple(10.0 ** (power / 2) for power in range(-4, 7))
"""Penalties tried for ``linear``, relative to the mean variance of a channel. The smallest bounds
what a mixing can do to an image unlike those of the fit (see above)."""
TURN_RIDGES = (1e-6, *RIDGES[::2])
"""Penalties tried for ``orthogonal``, relative to the mean power of a channel. Vectors keep their
lengths, so that the smallest need only leave directions without any data where they are."""
UNCHECKED_RIDGE = 0.3
"""Penalty of ``linear`` where all images are one group, so that none can be left out to choose it.
Of 0.1, 0.3 and 1 the one that leaves least on other photographs after a fit to one, over blocks 0
to 15 of EfficientNet-Lite0."""
_ROUNDING = 1e-10
"""Share of the mean power below which the mean variance is rounding noise."""
_AT_ONCE = 2**17
"""Elements of the matrices that are worked on together: those of a few trials stay in the cache."""


@dataclass(frozen=True)
class Moments:
    """Sums over positions of reference vectors f and warped vectors g; leading axes are free.

    Attributes:
        count: Number of positions.
        reference: Sum of f.
        warped: Sum of g.
        power: Sum of f^2, by channel.
        cross: Sum of f g^T.
        outer: Sum of g g^T.
    """

    count: Float64[Tensor, "*fit"]
    reference: Float64[Tensor, "*fit channel"]
    warped: Float64[Tensor, "*fit channel"]
    power: Float64[Tensor, "*fit channel"]
    cross: Float64[Tensor, "*fit channel channel"]
    outer: Float64[Tensor, "*fit channel channel"]

    @classmethod
    def zeros(cls, *shape: int, channels: int, device: torch.device | None = None) -> "Moments":
        """Begin with no positions.

        Args:
            *shape: Leading axes.
            channels: Number of channels, C.
            device: Where to keep the sums.

        Returns:
            Sums that are 0.
        """
        sizes = ((), (channels,), (channels,), (channels,), (channels,) * 2, (channels,) * 2)
        return cls(*(torch.zeros(*shape, *s, dtype=torch.float64, device=device) for s in sizes))

    @classmethod
    def of(
        cls,
        reference: Float[Tensor, "*fit channel position"],
        warped: Float[Tensor, "*fit channel position"],
    ) -> "Moments":
        """Sum over positions.

        Args:
            reference: Vectors f, channel by position.
            warped: Vectors g at the same positions.

        Returns:
            Their moments, in float64: single precision would not leave them positive definite.
        """
        reference, warped = reference.double(), warped.double()
        return cls(
            reference.new_full(reference.shape[:-2], reference.shape[-1]),
            reference.sum(-1),
            warped.sum(-1),
            reference.square().sum(-1),
            reference @ warped.mT,
            warped @ warped.mT,
        )

    @classmethod
    def by_channel(
        cls, reference: Float[Tensor, "channel position"], warped: Float[Tensor, "channel position"]
    ) -> "Moments":
        """Sum over positions, each channel alone.

        Args:
            reference: Vectors f, channel by position.
            warped: Vectors g at the same positions.

        Returns:
            Moments of single channels, the leading axis, in float64.
        """
        f, g = reference.double(), warped.double()
        sums = f.sum(1), g.sum(1), f.square().sum(1), (f * g).sum(1), g.square().sum(1)
        return cls._alone(f.new_full((), f.shape[1]), *sums)

    @property
    def alone(self) -> "Moments":
        """Those of each channel alone, the leading axis; of moments without leading axes."""
        cross, outer = self.cross.diagonal(), self.outer.diagonal()
        return self._alone(self.count, self.reference, self.warped, self.power, cross, outer)

    @classmethod
    def _alone(cls, count: Tensor, *sums: Tensor) -> "Moments":
        f, g, power, cross, outer = (each[:, None] for each in sums)
        return cls(count.expand(len(f)), f, g, power, cross[:, :, None], outer[:, :, None])

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(*(a + b for a, b in zip(self._parts(), other._parts(), strict=True)))

    def __sub__(self, other: "Moments") -> "Moments":
        return Moments(*(a - b for a, b in zip(self._parts(), other._parts(), strict=True)))

    def __getitem__(self, index: int | list[int] | slice | Tensor) -> "Moments":
        return Moments(*(part[index] for part in self._parts()))

    def add_at(self, index: tuple[int, ...], other: "Moments") -> None:
        """Add to the sums at one place of the leading axes.

        Args:
            index: The place.
            other: What to add; no leading axes.
        """
        for mine, theirs in zip(self._parts(), other._parts(), strict=True):
            mine[index] += theirs

    def sum(self) -> "Moments":
        """Add up over the first axis.

        Returns:
            Moments with one axis less.
        """
        return Moments(*(part.sum(0) for part in self._parts()))

    def _parts(self) -> tuple[Tensor, ...]:
        return tuple(getattr(self, field.name) for field in fields(self))


class Mixing(ABC):
    """A map of feature vectors, the same at every position."""

    def __call__(
        self, maps: Float[Tensor, "*batch channel position"]
    ) -> Float[Tensor, "*batch channel position"]:
        """Mix the channels.

        Args:
            maps: Warped maps, channel by position.

        Returns:
            What is compared with the reference.
        """
        mixed = torch.empty_like(maps)
        self.write(maps, mixed)
        return mixed

    @abstractmethod
    def write(
        self,
        maps: Float[Tensor, "*batch channel position"],
        out: Float[Tensor, "*batch channel position"],
    ) -> None:
        """Mix the channels; quickest where both lie in memory alike, channels last or not.

        Args:
            maps: Warped maps, channel by position.
            out: Where to write what is compared with the reference.
        """

    @abstractmethod
    def error(self, moments: Moments) -> Float64[Tensor, ""]:
        """Sum the squared differences from the reference that are left.

        Args:
            moments: Those of the positions to score; no leading axes.

        Returns:
            The sum over positions and channels.
        """


@dataclass(frozen=True)
class Gain(Mixing):
    """Each channel drawn towards its mean.

    Attributes:
        factor: Of each channel, in [0, 1]: 1 leaves it, 0 makes it constant.
        mean: Means of the reference channels.
    """

    factor: Float64[Tensor, " channel"]
    mean: Float64[Tensor, " channel"]

    def write(
        self,
        maps: Float[Tensor, "*batch channel position"],
        out: Float[Tensor, "*batch channel position"],
    ) -> None:
        """Draw the channels towards their means."""
        kept, drawn = (
            each.to(maps)[:, None] for each in (self.factor, (1 - self.factor) * self.mean)
        )
        torch.addcmul(drawn, kept, maps, out=out)

    def error(self, moments: Moments) -> Float64[Tensor, ""]:
        """Sum the squared differences that are left."""
        power, cross, outer = _about(self.mean, moments)
        return (power + self.factor * (self.factor * outer - 2 * cross)).sum()


@dataclass(frozen=True)
class Permutation(Mixing):
    """Channels reassigned one to one.

    Attributes:
        source: The warped channel that stands in for each reference channel.
    """

    source: Int64[Tensor, " channel"]

    def write(
        self,
        maps: Float[Tensor, "*batch channel position"],
        out: Float[Tensor, "*batch channel position"],
    ) -> None:
        """Reassign the channels."""
        source = self.source.to(maps.device)
        if maps.stride(-2) == 1:  # channels last
            torch.index_select(maps.mT, -1, source, out=out.mT)
        else:
            torch.index_select(maps, -2, source, out=out)

    def error(self, moments: Moments) -> Float64[Tensor, ""]:
        """Sum the squared differences that are left."""
        channel = torch.arange(len(self.source), device=moments.cross.device)
        source = self.source.to(channel.device)
        power = moments.power.sum() + moments.outer.diagonal().sum()
        return power - 2 * moments.cross[channel, source].sum()


@dataclass(frozen=True)
class Linear(Mixing):
    """Channels mixed by one matrix.

    Attributes:
        matrix: Row c makes reference channel c from the warped ones.
        offset: What is added to each channel.
        ridge: Penalty it was fitted with.
    """

    matrix: Float64[Tensor, "channel channel"]
    offset: Float64[Tensor, " channel"]
    ridge: float = 0.0

    def write(
        self,
        maps: Float[Tensor, "*batch channel position"],
        out: Float[Tensor, "*batch channel position"],
    ) -> None:
        """Mix the channels."""
        torch.matmul(self.matrix.to(maps), maps, out=out)
        out += self.offset.to(maps)[:, None]

    def error(self, moments: Moments) -> Float64[Tensor, ""]:
        """Sum the squared differences that are left."""
        matrix, offset = self.matrix, self.offset
        squares = ((matrix @ moments.outer) * matrix).sum() + moments.count * offset @ offset
        steady = 2 * offset @ (matrix @ moments.warped - moments.reference)
        return moments.power.sum() + squares + steady - 2 * (matrix * moments.cross).sum()


def fit(kind: Kind, groups: Moments) -> Mixing:
    """Fit the mixing that leaves the smallest squared error on other images.

    Args:
        kind: Which family.
        groups: Moments of groups of images, one leading axis. The penalty is chosen by leaving out
            each group in turn; of one group ``linear`` takes `UNCHECKED_RIDGE`, ``orthogonal``
            the smallest of `TURN_RIDGES`.

    Returns:
        The mixing, fitted to all groups.
    """
    count, whole = len(groups.count), groups.sum()
    if kind in _PLAIN or count == 1:
        return _fit_with(kind, whole, _unchecked(kind))
    errors = _judge(kind, groups)(torch.arange(count)[:, None]).sum((0, 1))
    return _fit_with(kind, whole, _penalties(kind)[int(errors.argmin())])


def cross_fit(kind: Kind, groups: Moments) -> list[Mixing]:
    """Fit one mixing for each group of images, to all the others.

    Args:
        kind: Which family.
        groups: Moments of groups of images, one leading axis of at least two.

    Returns:
        For each group what `fit` makes of the others. The trial fits without two groups serve both.
    """
    count, whole = len(groups.count), groups.sum()
    if kind in _PLAIN or count == 2:
        return [_fit_with(kind, whole - groups[k], _unchecked(kind)) for k in range(count)]
    pairs = torch.combinations(torch.arange(count))
    errors = torch.zeros(count, len(_penalties(kind)), dtype=torch.float64)
    for pair, left in zip(pairs, _judge(kind, groups)(pairs).cpu(), strict=True):
        # left out with the first, the second chooses the first one's penalty, and the reverse
        errors[pair.flip(0)] += left
    best = errors.argmin(1).tolist()
    return [_fit_with(kind, whole - groups[k], _penalties(kind)[best[k]]) for k in range(count)]


def _penalties(kind: Kind) -> Sequence[float]:
    return RIDGES if kind == Kind.LINEAR else TURN_RIDGES


def _unchecked(kind: Kind) -> float:
    return UNCHECKED_RIDGE if kind == Kind.LINEAR else TURN_RIDGES[0]


def _fit_with(kind: Kind, moments: Moments, ridge: float) -> Mixing:
    if kind in _PLAIN:
        return _PLAIN[kind](moments)
    return (fit_linear if kind == Kind.LINEAR else fit_orthogonal)(moments, ridge)


def fit_gain(moments: Moments) -> Gain:
    """Draw each channel towards its mean as far as brings it nearest the reference.

    Between leaving a channel and its mean no other image can be left with more than the worse of
    the two, so that no penalty is needed: one number a channel, from 0 for one that says nothing of
    the reference to 1 for one that is the reference.

    Args:
        moments: Moments to fit to, of all channels, or of each alone: the leading axis is the
            channel then. Of what two channels have in common nothing is used.

    Returns:
        The factors.
    """
    mean = moments.reference.flatten() / moments.count.flatten().clamp(min=1)
    _, cross, outer = _about(mean, moments)
    # a channel without variance is its mean, whatever the factor
    return Gain((cross / outer.clamp(min=torch.finfo(outer.dtype).tiny)).clamp(0, 1), mean)


def _about(
    mean: Float64[Tensor, " channel"], moments: Moments
) -> tuple[Float64[Tensor, " channel"], Float64[Tensor, " channel"], Float64[Tensor, " channel"]]:
    """Sums of f^2, f g and g^2 about a mean of each channel."""
    steady = moments.count.flatten() * mean**2
    f, g = moments.reference.flatten(), moments.warped.flatten()
    cross, outer = (each.diagonal(0, -2, -1).flatten() for each in (moments.cross, moments.outer))
    return (
        moments.power.flatten() - 2 * mean * f + steady,
        cross - mean * (f + g) + steady,
        outer - 2 * mean * g + steady,
    )


def _judge(
    kind: Kind, groups: Moments
) -> Callable[[Int64[Tensor, "trial out"]], Float[Tensor, "trial out penalty"]]:
    """Make a function that says what fits leave on groups which are left out of them.

    Args:
        kind: Which family, one with a penalty.
        groups: Moments of groups of images, one leading axis.

    Returns:
        A function of the numbers of the groups left out, by trial. It gives what is left on each
        under all penalties, up to a constant for each group and a factor of them all.
    """
    return _Trials.of(groups).left if kind == Kind.LINEAR else partial(_left_turned, groups)


def _left_turned(
    groups: Moments, out: Int64[Tensor, "trial out"]
) -> Float64[Tensor, "trial out penalty"]:
    """What orthogonal fits under `TURN_RIDGES` leave on groups outside the fit."""
    whole, errors = groups.sum(), []
    for some in out:
        kept = whole - groups[some].sum()
        trials = [fit_orthogonal(kept, ridge) for ridge in TURN_RIDGES]
        errors.append([[one.error(groups[k]) for one in trials] for k in some.tolist()])
    return torch.tensor(errors, dtype=torch.float64)


def fit_permutation(moments: Moments) -> Permutation:
    """Reassign channels one to one by the Hungarian algorithm (Kuhn 1955).

    Args:
        moments: Moments to fit to; no leading axes.

    Returns:
        The assignment of least squared error. A channel stays where it is if no other assignment is
        better by more than rounding, so that dead channels do not wander.
    """
    # each warped channel is used once, so that only the inner products depend on the choice
    gain = moments.cross.cpu().numpy()
    stay = 1e-9 * float(np.abs(gain).max(initial=0.0)) * np.eye(len(gain))
    _, source = linear_sum_assignment(gain + stay, maximize=True)
    return Permutation(torch.from_numpy(source).to(moments.cross.device))


_PLAIN = {Kind.GAIN: fit_gain, Kind.PERMUTATION: fit_permutation}
"""Fits without a penalty."""


def fit_orthogonal(moments: Moments, ridge: float = 0.0) -> Linear:
    """Turn vectors without changing their lengths (orthogonal Procrustes problem, Schönemann 1966).

    Args:
        moments: Moments to fit to; no leading axes.
        ridge: Penalty on the distance from no mixing, relative to the mean power of a channel.

    Returns:
        An orthogonal matrix, no offset.
    """
    staying = ridge * moments.outer.diagonal().mean() * torch.eye(len(moments.power))
    left, _, right = torch.linalg.svd(moments.cross + staying.to(moments.cross))
    return Linear(left @ right, torch.zeros_like(moments.reference), ridge)


def fit_linear(moments: Moments, ridge: float) -> Linear:
    """Regress the reference channels on the warped ones (ridge regression, Hoerl and Kennard 1970).

    Args:
        moments: Moments to fit to; no leading axes.
        ridge: Penalty on the distance from a common gain, relative to the mean variance of a warped
            channel, > 0; the offset is not penalised. See the module's docstring.

    Returns:
        Matrix and offset.
    """
    count = moments.count.clamp(min=1)
    f, g = moments.reference / count, moments.warped / count
    outer, cross = moments.outer / count, moments.cross / count
    smallest = _smallest(outer.diagonal().mean())
    outer, cross = outer.addr_(g, g, alpha=-1), cross.addr_(f, g, alpha=-1)
    variance = outer.diagonal().mean().maximum(smallest)
    gain, penalty = _gain(cross.diagonal().mean(), variance), ridge * variance
    # with S = outer and p = penalty, a I + (cross - a S) / (S + p I) is (cross + a p I) / (S + p I)
    outer.diagonal().add_(penalty)
    cross.diagonal().add_(gain * penalty)
    matrix = torch.cholesky_solve(cross.T, torch.linalg.cholesky(outer)).T
    return Linear(matrix, f - matrix @ g, ridge)


def _smallest(power: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """The least mean variance, of channels of some mean power, that is no rounding noise; > 0."""
    return (_ROUNDING * power).clamp(min=torch.finfo(power.dtype).tiny)


def _gain(covariance: Float[Tensor, ""], variance: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """Of all channels together, the gain in [0, 1] that brings them nearest the reference."""
    return (covariance / variance).clamp(0, 1)


@dataclass(frozen=True, kw_only=True)
class _Trials:
    """Linear fits to some groups of images, judged on the others, to choose a penalty by.

    In single precision, as nothing cancels: a group's second moments are taken about its own means,
    in double precision, and those of several groups are sums of theirs and of squares. What is
    summed is g and the differences h = f - g, so that maps which are alike leave 0, and not noise,
    under all penalties. Lengths are in units in which a warped channel's mean variance is 1.

    *Directions.* The vectors of fewer positions than there are channels lie in a subspace, in a
    basis of which all of this is as true and smaller. The first coordinates of h are those of g.

    Attributes:
        channels: Number of channels.
        share: Of all positions, by group.
        apart: Mean of h by group, less that of all groups.
        warped: Mean of g likewise.
        cross: Sum of (h - mean) (g - mean)^T about the group's own means, over all positions.
        outer: Sum of (g - mean) (g - mean)^T likewise.
    """

    channels: int
    share: Float64[Tensor, " group"]
    apart: Float64[Tensor, "group channel"]
    warped: Float64[Tensor, "group direction"]
    cross: Float32[Tensor, "group channel direction"]
    outer: Float32[Tensor, "group direction direction"]

    @classmethod
    def of(cls, groups: Moments) -> "_Trials":
        """Take each group's means off."""
        total, count = groups.count.sum().clamp(min=1), groups.count.clamp(min=1)[:, None]
        share = groups.count / total
        h, g = (groups.reference - groups.warped) / count, groups.warped / count
        covariance = groups.outer.sum(0).div_(total)
        smallest = _smallest(covariance.diagonal().mean())
        covariance.addr_(share @ g, share @ g, alpha=-1)
        unit = covariance.diagonal().mean().maximum(smallest)
        crosses, outers = [], []
        for k, n in enumerate(groups.count.tolist()):
            crosses.append((groups.cross[k] - groups.outer[k]).addr_(h[k], g[k], alpha=-n))
            outers.append(torch.addr(groups.outer[k], g[k], g[k], alpha=-n))
        cross, outer = (
            torch.stack([each.div_(total * unit).float() for each in some])
            for some in (crosses, outers)
        )
        h, g = ((mean - share @ mean) / unit.sqrt() for mean in (h, g))
        if total < len(covariance):
            basis = torch.linalg.eigh(covariance).eigenvectors.flip(1)
            some = basis[:, : int(total)]
            h, g, basis, some = h @ basis, g @ some, basis.float(), some.float()
            cross, outer = basis.T @ (cross @ some), some.T @ (outer @ some)
        return cls(
            channels=len(covariance), share=share, apart=h, warped=g, cross=cross, outer=outer
        )

    def left(self, out: Int64[Tensor, "trial out"]) -> Float32[Tensor, "trial out penalty"]:
        """What fits under `RIDGES` to the other groups leave on each that is left out.

        Args:
            out: The groups left out, by trial.

        Returns:
            Sums of squares in units of all groups' variance, up to a constant for each group.
        """
        size = max(1, _AT_ONCE // self.cross[0].numel())
        return torch.cat([
            self._left(some) for some in torch.split(out.to(self.share.device), size)
        ])

    def _left(self, out: Int64[Tensor, "trial out"]) -> Float32[Tensor, "trial out penalty"]:
        fitted = self.share.new_ones(len(out), len(self.share)).scatter_(1, out, 0)
        weight = fitted / (fitted @ self.share).clamp(min=1e-300)[:, None]
        share = weight * self.share
        # means of each group about those of the fit
        h, g = (mean - (share @ mean)[:, None] for mean in (self.apart, self.warped))
        between = [(share.sqrt()[:, :, None] * each).float() for each in (h, g)]
        cross, outer = (
            torch.tensordot(weight.float(), each, 1).baddbmm_(one.mT, between[1])
            for each, one in zip((self.cross, self.outer), between, strict=True)
        )
        values, vectors = torch.linalg.eigh(outer)
        values.clamp_(min=0)
        directions, at = values.shape[1], torch.arange(len(out))
        variance = (_trace(outer) / self.channels).clamp(min=_ROUNDING)
        # of the common gain, what is missing to 1
        lost = (-_trace(cross) / self.channels / variance).clamp(0, 1)[:, None, None]
        ridges = torch.tensor(RIDGES).to(values) * variance[:, None]
        shrink = 1 / (values[:, None] + ridges[:, :, None])
        # in the eigenvectors the fit is 1 - lost + weights diag(shrink): quadratic in the shrinkage
        weights = cross @ vectors
        weights[:, :directions] += lost * values[:, None] * vectors
        squared = weights.mT @ weights
        errors = []
        for k in out.unbind(1):
            turned, missed = self.outer[k] @ vectors, self.cross[k] @ vectors
            missed[:, :directions] += lost * turned
            along = -(weights * missed).sum(1)
            square = ((shrink @ (squared * (turned.mT @ vectors))) * shrink).sum(2)
            # what the means add, which are not those of the fit
            each = self.share[k].sqrt()[:, None]
            x, y = ((each * mean[at, k]).float()[:, None] for mean in (h, g))
            x[:, :, :directions] += lost * y
            y = y @ vectors
            along -= (y * (x @ weights))[:, 0]
            moved = y * shrink
            square += ((moved @ squared) * moved).sum(2)
            errors.append(2 * (shrink @ along[:, :, None])[:, :, 0] + square)
        return torch.stack(errors, 1)


def _trace(matrices: Float[Tensor, "*batch row column"]) -> Float[Tensor, "*batch"]:
    return matrices.diagonal(0, -2, -1).sum(-1)


def cycles(source: Int[np.ndarray, " channel"]) -> list[list[int]]:
    """Decompose a permutation into cycles.

    Args:
        source: The channel that stands in for each channel.

    Returns:
        The cycles, longest first; each begins with its smallest channel and goes on to the channel
        that stands in for it.
    """
    left = dict.fromkeys(range(len(source)))
    found = []
    while left:
        channel = next(iter(left))
        cycle = []
        while channel in left:
            del left[channel]
            cycle.append(channel)
            channel = int(source[channel])
        found.append(cycle)
    return sorted(found, key=lambda cycle: (-len(cycle), cycle[0]))


def returning(source: Int[np.ndarray, " channel"], times: int) -> Bool[np.ndarray, " channel"]:
    """Mark the channels that applying a permutation some times brings back.

    Args:
        source: The channel that stands in for each channel.
        times: How often it is applied: 4 for a quarter turn.

    Returns:
        True for the channels in cycles whose length divides `times`.
    """
    after = np.arange(len(source))
    for _ in range(times):
        after = np.asarray(source)[after]
    back: np.ndarray = after == np.arange(len(source))
    return back
