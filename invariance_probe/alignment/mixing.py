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
from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int, Int64
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

    @abstractmethod
    def __call__(
        self, maps: Float[Tensor, "*batch channel position"]
    ) -> Float[Tensor, "*batch channel position"]:
        """Mix the channels.

        Args:
            maps: Warped maps, channel by position.

        Returns:
            What is compared with the reference.
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

    def __call__(
        self, maps: Float[Tensor, "*batch channel position"]
    ) -> Float[Tensor, "*batch channel position"]:
        """Draw the channels towards their means."""
        factor, mean = (each.to(maps)[:, None] for each in (self.factor, self.mean))
        return mean + factor * (maps - mean)

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

    def __call__(
        self, maps: Float[Tensor, "*batch channel position"]
    ) -> Float[Tensor, "*batch channel position"]:
        """Reassign the channels."""
        return maps.index_select(-2, self.source.to(maps.device))

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

    def __call__(
        self, maps: Float[Tensor, "*batch channel position"]
    ) -> Float[Tensor, "*batch channel position"]:
        """Mix the channels."""
        return self.matrix.to(maps) @ maps + self.offset.to(maps)[:, None]

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
    errors = torch.cat([_errors(kind, whole - groups[k], groups[[k]]) for k in range(count)])
    return _fit_with(kind, whole, _penalties(kind)[int(errors.sum(0).argmin())])


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
    errors = whole.power.new_zeros(count, len(_penalties(kind)))
    for pair in combinations(range(count), 2):
        trial = whole - groups[list(pair)].sum()
        # left out with the first, the second chooses the first one's penalty, and the reverse
        errors[list(pair[::-1])] += _errors(kind, trial, groups[list(pair)])
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


def _errors(kind: Kind, training: Moments, judged: Moments) -> Float64[Tensor, "group penalty"]:
    """What fits under all penalties leave on other groups, up to a constant for each group."""
    if kind == Kind.LINEAR:
        return _linear_errors(training, judged)
    trials = [fit_orthogonal(training, ridge) for ridge in TURN_RIDGES]
    groups = range(len(judged.count))
    return torch.stack([torch.stack([one.error(judged[k]) for one in trials]) for k in groups])


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
    seen = _Centred.of(moments)
    penalised = seen.outer + torch.diag(seen.mean_variance.mul(ridge).expand(len(seen.outer)))
    factor = torch.linalg.cholesky(penalised)
    change = torch.cholesky_solve((seen.cross - seen.gain * seen.outer).T, factor).T
    matrix = torch.diag(seen.gain.expand(len(seen.outer))) + change
    return Linear(matrix, seen.mean - matrix @ seen.warped_mean, ridge)


def _linear_errors(training: Moments, judged: Moments) -> Float64[Tensor, "group ridge"]:
    """What linear fits under `RIDGES` leave on other groups, up to a constant for each group."""
    seen = _Centred.of(training)
    values, vectors = torch.linalg.eigh(seen.outer)
    ridges = torch.tensor(RIDGES).to(values)[:, None]
    shrink = 1 / (values.clamp(min=0) + ridges * seen.mean_variance)
    # in the eigenvectors the fit is gain + weights diag(shrink): quadratic in the shrinkage
    weights = (seen.cross - seen.gain * seen.outer) @ vectors
    squared = weights.T @ weights
    errors = []
    for k in range(len(judged.count)):
        other = _Centred.of(judged[k], seen.mean, seen.warped_mean)
        outer = other.outer @ vectors
        along = (weights * (seen.gain * outer - other.cross @ vectors)).sum(0)
        square = ((shrink @ (squared * (vectors.T @ outer))) * shrink).sum(1)
        errors.append(judged.count[k] * (2 * shrink @ along + square))
    return torch.stack(errors)


@dataclass(frozen=True)
class _Centred:
    """Means and second moments about them, per position.

    Attributes:
        mean: What the reference vectors are taken about.
        warped_mean: What the warped vectors are taken about.
        cross: Mean of (f - mean) (g - warped_mean)^T.
        outer: Mean of (g - warped_mean) (g - warped_mean)^T.
        mean_variance: Mean of the diagonal of `outer`, kept above rounding noise and above 0.
    """

    mean: Float64[Tensor, " channel"]
    warped_mean: Float64[Tensor, " channel"]
    cross: Float64[Tensor, "channel channel"]
    outer: Float64[Tensor, "channel channel"]
    mean_variance: Float64[Tensor, ""]

    @classmethod
    def of(
        cls, moments: Moments, mean: Tensor | None = None, warped_mean: Tensor | None = None
    ) -> "_Centred":
        """Centre moments about their own means, or about others."""
        count = moments.count.clamp(min=1)
        f, g = moments.reference / count, moments.warped / count
        outer, cross = moments.outer / count, moments.cross / count
        power = outer.diagonal().mean()
        mean = f if mean is None else mean
        warped_mean = g if warped_mean is None else warped_mean
        outer = outer - torch.outer(g, warped_mean) - torch.outer(warped_mean, g - warped_mean)
        cross = cross - torch.outer(f, warped_mean) - torch.outer(mean, g - warped_mean)
        smallest = (_ROUNDING * power).clamp(min=torch.finfo(power.dtype).tiny)
        return cls(mean, warped_mean, cross, outer, outer.diagonal().mean().maximum(smallest))

    @property
    def gain(self) -> Float64[Tensor, ""]:
        """Of all channels together, the gain in [0, 1] that brings them nearest the reference."""
        return (self.cross.diagonal().mean() / self.mean_variance).clamp(0, 1)


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
