"""How channels changed: the best permutation, rotation and linear mixing between two sets of maps.

Everything is fitted from second moments of the feature vectors, which add up over positions and
images: memory is C x C, however many images there are. A fit is to be scored on images that it has
not seen, as C^2 numbers overfit.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int, Int64
from scipy.optimize import linear_sum_assignment
from torch import Tensor


class Kind(StrEnum):
    """A family of mixings.

    ``permutation``: channels reassigned one to one (P8: what a filter bank closed under a group
    needs). ``orthogonal``: vectors turned, their lengths kept. ``linear``: any C x C matrix and an
    offset. The last two are pulled towards no mixing, ``linear`` towards predicting the channel
    means where that is better, by a penalty that is chosen on images outside the fit. So where
    nothing can be learnt ``linear`` leaves what there was, or an ``fvu`` of 1, whichever is less.
    """

    PERMUTATION = "permutation"
    ORTHOGONAL = "orthogonal"
    LINEAR = "linear"


RIDGES = tuple(10.0**power for power in range(-6, 4))
"""Penalties tried, relative to the variance (``orthogonal``: the mean power) of a channel."""
UNCHECKED_RIDGE = 0.1
"""Penalty where there are too few images to choose one: a tenth of a channel's variance."""
_NOTHING = 1e-12
"""Share of the largest eigenvalue below which one is rounding noise."""


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

    def __getitem__(self, index: int | slice | Tensor) -> "Moments":
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


def fit(kind: Kind, training: Moments, validation: Moments | None = None) -> Mixing:
    """Fit the mixing that leaves the smallest squared error.

    Args:
        kind: Which family.
        training: Moments to fit to; no leading axes.
        validation: Moments of other images, on which the penalty is chosen before the fit to both
            together. Without them ``linear`` takes `UNCHECKED_RIDGE`, ``orthogonal`` none.

    Returns:
        The mixing.
    """
    everything = training if validation is None else training + validation
    if kind == Kind.PERMUTATION:
        return fit_permutation(everything)
    if kind == Kind.ORTHOGONAL:
        if validation is None:
            return fit_orthogonal(training)
        best = _best([fit_orthogonal(training, ridge) for ridge in RIDGES], validation)
        return fit_orthogonal(everything, RIDGES[best])
    if validation is None:
        return fit_linear(training, UNCHECKED_RIDGE)
    return fit_linear(everything, *choose_ridge(training, validation))


def _best(fits: Sequence[Mixing], moments: Moments) -> int:
    return int(torch.stack([one.error(moments) for one in fits]).argmin())


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


def fit_linear(moments: Moments, ridge: float, prior: float = 0.0) -> Linear:
    """Regress the reference channels on the warped ones (ridge regression, Hoerl and Kennard 1970).

    Args:
        moments: Moments to fit to; no leading axes.
        ridge: Penalty relative to the variance of a channel, > 0. Channels are standardised for it,
            so that a channel's scale does not matter; the offset is not penalised.
        prior: What the penalty pulls towards, as a multiple of the identity matrix: 0, so that
            channels are predicted by their means, or 1, so that they are left as they are.

    Returns:
        Matrix and offset.
    """
    seen = _Standardised.of(moments)
    start = prior * seen.scale[:, None]  # of a diagonal matrix: products with it scale rows
    factor = torch.linalg.cholesky(seen.outer + torch.diag(torch.full_like(seen.scale, ridge)))
    change = torch.cholesky_solve((seen.cross - start * seen.outer).T, factor).T
    matrix = (torch.diag(start[:, 0]) + change) * seen.inverse
    return Linear(matrix, seen.mean - matrix @ seen.warped_mean, ridge)


def choose_ridge(training: Moments, validation: Moments) -> tuple[float, float]:
    """Choose the penalty, and what it pulls towards, whose fit predicts other images best.

    Args:
        training: Moments to fit to; no leading axes.
        validation: Moments of other images; no leading axes.

    Returns:
        One of `RIDGES`, and 0 or 1: see `fit_linear`.
    """
    seen = _Standardised.of(training)
    other = _Standardised.of(validation, like=seen)
    values, vectors = torch.linalg.eigh(seen.outer)
    # fewer positions than channels leave directions without any data: nothing is fitted along them
    first = int((values <= _NOTHING * values[-1]).sum())
    values, vectors = values[first:], vectors[:, first:]
    shrink = 1 / (values + torch.tensor(RIDGES).to(values)[:, None])
    # everything in the coordinates of the eigenvectors, computed once for both priors
    fitted, judged = seen.cross @ vectors, other.cross @ vectors
    judged_outer = other.outer @ vectors
    turned = vectors.T @ judged_outer
    errors = []
    for prior in (0.0, 1.0):
        # the fit is start + weights diag(shrink) vectors^T: its error is quadratic in the shrinkage
        start = prior * seen.scale
        weights = fitted - start[:, None] * (vectors * values)
        along = (weights * (start[:, None] * judged_outer - judged)).sum(0)
        steady = start @ (start * other.outer.diagonal() - 2 * other.cross.diagonal())
        square = ((shrink @ ((weights.T @ weights) * turned)) * shrink).sum(1)
        errors.append(steady + 2 * shrink @ along + square)
    best = int(torch.cat(errors).argmin())
    return RIDGES[best % len(RIDGES)], float(best // len(RIDGES))


@dataclass(frozen=True)
class _Standardised:
    """Second moments about the means, the warped channels scaled to unit variance."""

    mean: Tensor
    warped_mean: Tensor
    scale: Tensor
    inverse: Tensor
    cross: Tensor
    outer: Tensor

    @classmethod
    def of(cls, moments: Moments, like: "_Standardised | None" = None) -> "_Standardised":
        """Standardise by the moments' own means and scales, or by those of others."""
        count = moments.count.clamp(min=1)
        f, g = moments.reference / count, moments.warped / count
        outer, cross = moments.outer / count, moments.cross / count
        mean, warped_mean = (f, g) if like is None else (like.mean, like.warped_mean)
        outer = outer - torch.outer(g, warped_mean) - torch.outer(warped_mean, g - warped_mean)
        cross = cross - torch.outer(f, warped_mean) - torch.outer(mean, g - warped_mean)
        if like is None:
            variance = outer.diagonal()
            # a constant channel has a variance of rounding noise: it predicts nothing
            alive = variance > 1e-10 * moments.outer.diagonal() / count
            scale = torch.where(alive, variance, 0.0).sqrt()
            inverse = torch.where(alive, variance, torch.inf).rsqrt()
        else:
            scale, inverse = like.scale, like.inverse
        outer = outer * torch.outer(inverse, inverse)
        return cls(mean, warped_mean, scale, inverse, cross * inverse, outer)


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
