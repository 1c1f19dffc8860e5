"""The continuum with an exact receptive field: filters that read finitely many points.

A layer (G f)(x, c) = sum_j w_cj f(x - p_j) reads the image at the points p_j and nowhere else, so
a stack of such layers, with any nonlinearity, is semi-local with a radius known exactly, at every
depth and for any image that can be evaluated at a point.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from proofs.worlds.gaussians import ZERO, GaussianSum
from proofs.worlds.plane_maps import Matrix, Points, Vector, scaling

LEAK = 0.5
"""Slope of the nonlinearity below 0: no unit is ever dead."""


NOTICEABLE = 1e-7
"""A smaller change of the features is not counted as seen; weights and rounding are far from it."""


@dataclass(frozen=True)
class Bump:
    """A smooth hill, exactly 0 at and beyond its radius.

    Args:
        centre: position.
        radius: positive.
        height: value at the centre.
    """

    centre: Vector
    radius: float
    height: float = 1.0

    def __call__(self, points: Points) -> Float64[np.ndarray, "points"]:
        """Values at any real points.

        Args:
            points: positions, n x 2.

        Returns:
            The n values.
        """
        squared = ((points - self.centre) ** 2).sum(axis=1) / self.radius**2
        values: Float64[np.ndarray, points] = self.height * np.maximum(0.0, 1 - squared) ** 2
        return values


@dataclass(frozen=True)
class Scene:
    """An image: a sum of Gaussians, and perhaps a bump.

    Args:
        ground: the sum.
        bump: what is added.
    """

    ground: GaussianSum
    bump: Bump | None = None

    def __call__(self, points: Points) -> Float64[np.ndarray, "points"]:
        """Values at any real points.

        Args:
            points: positions, n x 2.

        Returns:
            The n values.
        """
        values = self.ground(points)
        return values if self.bump is None else values + self.bump(points)

    def scaled(self, factor: float) -> "Scene":
        """T_(s I) of the image.

        Args:
            factor: s, not 0.

        Returns:
            The image, s times as large.

        Raises:
            ValueError: the factor is 0 or not finite.
        """  # noqa: DOC502 - raised by `scaling`
        h: Matrix = scaling(factor)
        bump = self.bump and replace(
            self.bump, centre=factor * self.bump.centre, radius=abs(factor) * self.bump.radius
        )
        return Scene(self.ground.moved(h), bump)


@dataclass(frozen=True)
class Stencil:
    """One layer.

    Args:
        offsets: the points p_j, taps x 2.
        weights: w, out x in x taps.
    """

    offsets: Float64[np.ndarray, "taps 2"]
    weights: Float64[np.ndarray, "out in taps"]


@dataclass(frozen=True)
class StencilNetwork:
    """Stencils with a leaky ReLU after each.

    Args:
        layers: applied in order; the first takes one channel.
    """

    layers: tuple[Stencil, ...]

    def __call__(self, image: Scene, points: Points) -> Float64[np.ndarray, "points channels"]:
        """Feature vectors at any real points.

        Args:
            image: one channel.
            points: positions, n x 2.

        Returns:
            n x C features.
        """
        read = points
        for layer in reversed(self.layers):
            read = (read[:, None] - layer.offsets).reshape(-1, 2)
        values = image(read)[:, None]
        for layer in self.layers:
            taps = values.reshape(-1, len(layer.offsets), values.shape[1])
            values = np.einsum("nti,oit->no", taps, layer.weights)
            values = np.where(values > 0, values, LEAK * values)
        return values

    def taps(self) -> Points:
        """Where the network reads, relative to where it is asked: all sums of one offset a layer.

        Returns:
            The distinct displacements p, with the image read at x - p; nearest first.
        """
        sums = np.zeros((1, 2))
        for layer in self.layers:
            sums = (sums[:, None] + layer.offsets).reshape(-1, 2)
        distinct = np.unique(np.round(sums, 12), axis=0)
        return np.asarray(distinct[np.argsort(np.linalg.norm(distinct, axis=1), kind="stable")])

    def absolute(self) -> "StencilNetwork":
        """The network with nothing cancelling, the scale of rounding.

        Returns:
            The network with absolute weights.
        """
        return StencilNetwork(tuple(Stencil(s.offsets, np.abs(s.weights)) for s in self.layers))

    def pointwise(self) -> "StencilNetwork":
        """The same weights with every tap moved to the centre: nothing is filtered.

        Returns:
            The network of radius 0.
        """
        return StencilNetwork(
            tuple(Stencil(np.zeros_like(s.offsets), s.weights) for s in self.layers)
        )


def felt(network: StencilNetwork, image: Scene, other: Scene, x: Vector) -> float:
    """How much a change of the image changes the features at one position.

    Args:
        network: the extractor.
        image: one image.
        other: the other.
        x: position.

    Returns:
        Largest difference over channels.
    """
    return float(np.abs(network(image, x[None]) - network(other, x[None])).max())


def felt_taps(network: StencilNetwork) -> Points:
    """The taps that matter: those where a small bump on a dark image changes the features.

    Weights may cancel along different paths to one tap, so not every tap is felt.

    Args:
        network: the extractor.

    Returns:
        A part of `StencilNetwork.taps`, nearest first.
    """
    taps = network.taps()
    apart = np.linalg.norm(taps[:, None] - taps, axis=-1)
    radius = min(apart[apart > 0].min(initial=1.0) / 2, 1.0)
    dark, origin = Scene(ZERO), np.zeros(2)
    kept = [
        any(
            felt(network, dark, Scene(ZERO, Bump(-tap, radius, sign)), origin) > NOTICEABLE
            for sign in (1.0, -1.0)
        )
        for tap in taps
    ]
    return np.asarray(taps[kept])


def told_apart(
    network: StencilNetwork, ground: GaussianSum, x: Vector, centre: Vector, reach: float
) -> tuple[Scene, Scene] | None:
    """Two images that differ in a bump only, and in the features at one position.

    Args:
        network: the extractor.
        ground: tried first as the rest of the image, then a dark one.
        x: position at which the features must differ.
        centre: of the bump.
        reach: its radius, tried first at full and then smaller.

    Returns:
        The images without and with the bump, or None if none of them is told apart.
    """
    for part in (1.0, 0.5, 0.25):
        for image in (ground, ZERO):
            without, with_bump = Scene(image), Scene(image, Bump(centre, part * reach))
            if felt(network, without, with_bump, x) > NOTICEABLE:
                return without, with_bump
    return None
