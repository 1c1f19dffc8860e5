"""The continuum, in closed form: signed sums of anisotropic Gaussians.

A sum ``f(x) = sum_i a_i exp(-(x - m_i)^T S_i^-1 (x - m_i) / 2)`` stays such a sum under an affine
map (m -> h m, S -> h S h^T), a shift, a convolution (means and covariances add) and a product, and
so under a polynomial without a constant term. It is known at every real point to float64 rounding:
there is no grid, no interpolation and no border.
The identities are elementary; see also Rasmussen and Williams, "Gaussian Processes for
Machine Learning" (2006), appendix A.2, for the product of two Gaussians.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int

from proofs.worlds.plane_maps import Matrix, Points, Vector, determinant, inverse, matrix, move

Scalars = Float64[np.ndarray, "terms"]
Matrices = Float64[np.ndarray, "terms 2 2"]

EXPONENTS_AT_ONCE = 1 << 20
"""Terms times points evaluated in one block: 8 MiB of exponents."""


@dataclass(frozen=True, eq=False, repr=False)
class GaussianSum:
    """A signed sum of anisotropic Gaussians; no terms at all is the zero function.

    Args:
        amplitudes: a, shape (terms,).
        means: m, shape (terms, 2).
        covariances: S, shape (terms, 2, 2), symmetric and positive definite.

    Raises:
        ValueError: the shapes disagree, a value is not finite, or a covariance is not symmetric
            and positive definite.
    """

    amplitudes: Scalars
    means: Float64[np.ndarray, "terms 2"]
    covariances: Matrices

    def __post_init__(self) -> None:
        n = len(self.amplitudes)
        if self.means.shape != (n, 2) or self.covariances.shape != (n, 2, 2):
            raise ValueError(
                f"{n} amplitudes, means of shape {self.means.shape} and covariances of shape "
                f"{self.covariances.shape} disagree: they must be (n,), (n, 2) and (n, 2, 2)."
            )
        for name, values in vars(self).items():
            if not np.isfinite(values).all():
                raise ValueError(f"{name} hold a value that is not finite.")
        # one reduction, not three: sums are made by the hundred thousand
        S = self.covariances
        symmetric = np.abs(S[:, 0, 1] - S[:, 1, 0]) <= 1e-9 * (S[:, 0, 0] + S[:, 1, 1])
        if not (symmetric & (S[:, 0, 0] > 0) & (_determinants(S) > 0)).all():
            raise ValueError("A covariance is not symmetric and positive definite.")

    def __repr__(self) -> str:
        terms = (
            f"{a:+.4g} N([{m[0]:.4g}, {m[1]:.4g}]; {S[0, 0]:.4g}, {S[0, 1]:.4g}, {S[1, 1]:.4g})"
            for a, m, S in zip(self.amplitudes, self.means, self.covariances, strict=True)
        )
        return " ".join(terms) or "0"

    def __call__(self, points: Points) -> Float64[np.ndarray, "points"]:
        """Values at any real points.

        Args:
            points: positions, n x 2.

        Returns:
            The n values.
        """
        S = self.covariances
        det = _determinants(S)
        xx, xy, yy = S[:, 1, 1] / det, -S[:, 0, 1] / det, S[:, 0, 0] / det
        values = np.empty(len(points))
        block = max(1, EXPONENTS_AT_ONCE // max(1, len(self.amplitudes)))
        for start in range(0, len(points), block):
            x, y = points[start : start + block].T
            dx = x[:, None] - self.means[:, 0]
            dy = y[:, None] - self.means[:, 1]
            squared = dx * (xx * dx + 2 * xy * dy) + yy * dy * dy
            values[start : start + block] = np.exp(-squared / 2) @ self.amplitudes
        return values

    def __add__(self, other: "GaussianSum") -> "GaussianSum":
        return GaussianSum(
            np.concatenate([self.amplitudes, other.amplitudes]),
            np.concatenate([self.means, other.means]),
            np.concatenate([self.covariances, other.covariances]),
        )

    def __sub__(self, other: "GaussianSum") -> "GaussianSum":
        return self + -1 * other

    def __rmul__(self, factor: float) -> "GaussianSum":
        return GaussianSum(factor * self.amplitudes, self.means, self.covariances)

    def moved(self, h: Matrix) -> "GaussianSum":
        """T_h f, the function whose content h has moved.

        Args:
            h: invertible 2 x 2 matrix.

        Returns:
            x -> f(h^-1 x).

        Raises:
            ValueError: h is singular or not finite.
        """  # noqa: DOC502 - raised by `matrix`
        h = matrix(h)
        S = h @ self.covariances @ h.T
        return GaussianSum(self.amplitudes, move(h, self.means), (S + S.swapaxes(1, 2)) / 2)

    def shifted(self, d: Vector) -> "GaussianSum":
        """D_d f, the function shifted by d.

        Args:
            d: shift, two numbers.

        Returns:
            x -> f(x - d).
        """
        return GaussianSum(self.amplitudes, self.means + d, self.covariances)

    def absolute(self) -> "GaussianSum":
        """The same terms with nothing cancelling: an upper bound of abs(f), the scale of rounding.

        Returns:
            The sum with absolute amplitudes.
        """
        return GaussianSum(np.abs(self.amplitudes), self.means, self.covariances)

    def convolved(self, other: "GaussianSum") -> "GaussianSum":
        """The convolution f * g: means and covariances add.

        Args:
            other: g.

        Returns:
            f * g, terms merged.
        """
        i, j = _pairs(self, other)
        S = self.covariances[i] + other.covariances[j]
        dets = _determinants(self.covariances)[i] * _determinants(other.covariances)[j]
        area = 2 * np.pi * np.sqrt(dets / _determinants(S))
        return _merged(
            self.amplitudes[i] * other.amplitudes[j] * area, self.means[i] + other.means[j], S
        )

    def multiplied(self, other: "GaussianSum") -> "GaussianSum":
        """The pointwise product f g: precisions add.

        Args:
            other: g.

        Returns:
            f g, terms merged; for a square each pair of terms is formed once.
        """
        if other is self:
            i, j = np.triu_indices(len(self.amplitudes))
            twice = np.where(i == j, 1.0, 2.0)
        else:
            i, j = _pairs(self, other)
            twice = np.ones(len(i))
        S1, S2 = self.covariances[i], other.covariances[j]
        m1, m2 = self.means[i], other.means[j]
        P = _inverses(S1 + S2)
        gap = m1 - m2
        overlap = np.exp(-np.einsum("ni,nij,nj->n", gap, P, gap) / 2)
        S = S1 @ P @ S2
        mean = (S2 @ P @ m1[:, :, None] + S1 @ P @ m2[:, :, None])[:, :, 0]
        return _merged(
            twice * self.amplitudes[i] * other.amplitudes[j] * overlap,
            mean,
            (S + S.swapaxes(1, 2)) / 2,
        )

    def polynomial(self, coefficients: Sequence[float]) -> "GaussianSum":
        """The pointwise polynomial c_1 f + c_2 f^2 + ...

        Args:
            coefficients: c_1, c_2, ...; there is no constant term, which no finite sum could hold.

        Returns:
            The polynomial of f, terms merged.
        """
        power = self
        result = coefficients[0] * self
        for c in coefficients[1:]:
            power = power.multiplied(self)
            result += c * power
        return result.merged()

    def merged(self) -> "GaussianSum":
        """The same function with equal terms (to 12 decimals) added up and empty ones left out.

        Returns:
            The shorter sum.
        """
        return _merged(self.amplitudes, self.means, self.covariances)

    def integral(self) -> float:
        """The integral over the plane.

        Returns:
            sum_i a_i 2 pi sqrt(det S_i).
        """
        return float(self.amplitudes @ (2 * np.pi * np.sqrt(_determinants(self.covariances))))

    def inner(self, other: "GaussianSum") -> float:
        """The inner product in L2, the integral of f g.

        Args:
            other: g.

        Returns:
            The integral over the plane.
        """
        return self.multiplied(other).integral()

    def norm(self) -> float:
        """The norm in L2.

        Returns:
            The root of the integral of f squared.
        """
        return float(np.sqrt(max(0.0, self.inner(self))))


def gaussian(
    amplitude: float = 1.0, mean: Sequence[float] = (0.0, 0.0), covariance: object = 1.0
) -> GaussianSum:
    """One Gaussian.

    Args:
        amplitude: value at the mean.
        mean: centre, two numbers.
        covariance: 2 x 2 covariance, or the variance of an isotropic Gaussian.

    Returns:
        The sum with this one term.
    """
    S = np.asarray(covariance, dtype=np.float64)
    S = S * np.eye(2) if S.ndim == 0 else S
    return GaussianSum(
        np.array([amplitude], dtype=np.float64), np.array([mean], dtype=np.float64), S[None]
    )


def total(terms: Sequence[GaussianSum]) -> GaussianSum:
    """The sum of several functions.

    Args:
        terms: the functions.

    Returns:
        Their sum, terms merged; zero for no functions.
    """
    parts = [ZERO, *terms]
    return _merged(
        np.concatenate([f.amplitudes for f in parts]),
        np.concatenate([f.means for f in parts]),
        np.concatenate([f.covariances for f in parts]),
    )


def warped_back(
    filter_: GaussianSum, h: Matrix, b: Vector | tuple[float, float] = (0.0, 0.0)
) -> GaussianSum:
    """The filter that a linear layer seems to have used once T_h f's map is warped by x -> h x + b.

    Source: Finnveden, Jansson, Lindeberg (ICPR 2020), theoretical analysis of one layer; the
    substitution y -> h y + b in the convolution integral.

    Args:
        filter_: l.
        h: invertible 2 x 2 matrix.
        b: shift of the warp.

    Returns:
        y -> l(h y + b) abs(det h).
    """
    return abs(determinant(h)) * filter_.shifted(-np.asarray(b)).moved(inverse(h))


def _merged(
    amplitudes: Scalars, means: Float64[np.ndarray, "terms 2"], covariances: Matrices
) -> GaussianSum:
    """A sum of these terms, equal ones added up and empty ones left out."""
    if len(amplitudes) > 1:
        S = covariances
        keys = np.column_stack([means, S[:, 0, 0], S[:, 0, 1], S[:, 1, 1]]).round(12)
        order = np.lexsort(keys.T)
        is_new = np.ones(len(order), dtype=bool)
        is_new[1:] = (keys[order[1:]] != keys[order[:-1]]).any(axis=1)
        amplitudes = np.add.reduceat(amplitudes[order], np.flatnonzero(is_new))
        means, covariances = means[order[is_new]], covariances[order[is_new]]
    kept = amplitudes != 0
    if not kept.all():
        amplitudes, means, covariances = amplitudes[kept], means[kept], covariances[kept]
    return GaussianSum(amplitudes, means, covariances)


def _determinants(S: Matrices) -> Scalars:
    det: Scalars = S[:, 0, 0] * S[:, 1, 1] - S[:, 0, 1] * S[:, 1, 0]
    return det


def _inverses(S: Matrices) -> Matrices:
    adjugate = np.stack([S[:, 1, 1], -S[:, 0, 1], -S[:, 1, 0], S[:, 0, 0]], axis=1)
    inverses: Matrices = adjugate.reshape(-1, 2, 2) / _determinants(S)[:, None, None]
    return inverses


def _pairs(
    f: GaussianSum, g: GaussianSum
) -> tuple[Int[np.ndarray, "pairs"], Int[np.ndarray, "pairs"]]:
    i, j = np.indices((len(f.amplitudes), len(g.amplitudes)))
    return i.ravel(), j.ravel()


ZERO = GaussianSum(np.zeros(0), np.zeros((0, 2)), np.zeros((0, 2, 2)))
"""The zero function."""
