"""Networks on the whole plane whose maps are known at every real point.

Images and filters are signed sums of Gaussians, nonlinearities are polynomials, so every map of
every layer is again such a sum (`proofs.worlds.gaussians`).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from proofs.worlds.gaussians import GaussianSum, total
from proofs.worlds.plane_maps import Matrix, Points, Vector, move, rotation

Image = tuple[GaussianSum, ...]
"""An image of K channels, or the maps of a layer."""


@dataclass(frozen=True, eq=False, repr=False)
class Layer:
    """A convolution followed by one polynomial at every point.

    Args:
        filters: filters[c][k] takes input channel k to output channel c.
        polynomial: c_1, c_2, ... of the pointwise nonlinearity; (1,) for a linear layer.
    """

    filters: tuple[tuple[GaussianSum, ...], ...]
    polynomial: tuple[float, ...] = (1.0,)

    def __repr__(self) -> str:
        rows = "; ".join(", ".join(map(repr, row)) for row in self.filters)
        return f"[{rows}]" + (f" then {self.polynomial}" if self.polynomial != (1.0,) else "")

    def absolute(self) -> "Layer":
        """The layer with nothing cancelling.

        Returns:
            The layer with absolute amplitudes and coefficients.
        """
        return Layer(
            tuple(tuple(f.absolute() for f in row) for row in self.filters),
            tuple(abs(c) for c in self.polynomial),
        )


@dataclass(frozen=True, eq=False, repr=False)
class Network:
    """A translation covariant network of convolutions and polynomials on the whole plane.

    Args:
        layers: applied in order.
    """

    layers: tuple[Layer, ...]

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.layers))

    def preactivations(self, image: Image) -> Image:
        """The last layer's maps before its polynomial.

        Args:
            image: one GaussianSum per channel.

        Returns:
            One GaussianSum per output channel.

        Raises:
            ValueError: the image has another number of channels than the filters expect.
        """
        maps = image
        for depth, layer in enumerate(self.layers):
            if len(maps) != len(layer.filters[0]):
                raise ValueError(
                    f"Layer {depth} takes {len(layer.filters[0])} channels, but got {len(maps)}."
                )
            if depth:
                maps = tuple(m.polynomial(self.layers[depth - 1].polynomial) for m in maps)
            maps = tuple(
                total([m.convolved(f) for m, f in zip(maps, row, strict=True)])
                for row in layer.filters
            )
        return maps

    def maps(self, image: Image) -> Image:
        """The last layer's maps as functions.

        Args:
            image: one GaussianSum per channel.

        Returns:
            One GaussianSum per output channel.
        """
        last = self.layers[-1].polynomial
        return tuple(m.polynomial(last) for m in self.preactivations(image))

    def __call__(self, image: Image, points: Points) -> Float64[np.ndarray, "points channels"]:
        """Feature vectors at any real points; the last polynomial is applied to values.

        Args:
            image: one GaussianSum per channel.
            points: positions, n x 2.

        Returns:
            n x C features.
        """
        values = np.column_stack([m(points) for m in self.preactivations(image)])
        powers = np.stack([
            c * values**k for k, c in enumerate(self.layers[-1].polynomial, start=1)
        ])
        return np.asarray(powers.sum(axis=0), dtype=np.float64)

    def magnitude(self, image: Image, points: Points) -> float:
        """What the features would reach if no two terms cancelled: the scale of rounding errors.

        Args:
            image: one GaussianSum per channel.
            points: positions, n x 2.

        Returns:
            The largest such value over points and channels.
        """
        absolute = Network(tuple(layer.absolute() for layer in self.layers))
        return float(absolute(tuple(f.absolute() for f in image), points).max(initial=0.0))


def image_moved(image: Image, h: Matrix) -> Image:
    """T_h of every channel.

    Args:
        image: one GaussianSum per channel.
        h: invertible 2 x 2 matrix.

    Returns:
        The moved image.
    """
    return tuple(f.moved(h) for f in image)


def image_shifted(image: Image, d: Vector) -> Image:
    """D_d of every channel.

    Args:
        image: one GaussianSum per channel.
        d: shift.

    Returns:
        The shifted image.
    """
    return tuple(f.shifted(d) for f in image)


def probes(extent: float = 2.5) -> Points:
    """Positions at which maps are compared: a slightly turned grid, so that none is special.

    Args:
        extent: half width.

    Returns:
        25 points.
    """
    side = np.linspace(-extent, extent, 5)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    points: Points = move(rotation(11), grid) + np.array([0.13, -0.07])
    return points


def feature_gap(
    network: Network, image: Image, points: Points, other: Image, other_points: Points
) -> float:
    """How far the features of one image lie from those of another, point by point.

    Args:
        network: the feature extractor.
        image: one image.
        points: where it is looked at, n x 2.
        other: the other image.
        other_points: where that one is looked at, n x 2.

    Returns:
        The largest difference, relative to what the features would be if nothing cancelled.
    """
    gap = np.abs(network(image, points) - network(other, other_points)).max()
    scale = max(network.magnitude(image, points), network.magnitude(other, other_points))
    return float(gap / scale) if scale else 0.0
