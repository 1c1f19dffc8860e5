"""Matrices that do to descriptors what a turn of the image does."""

import math
from collections.abc import Mapping

import scipy.linalg
import torch
from jaxtyping import Float
from torch import Tensor, nn

from invariance_probe.errors import InvalidInputError
from invariance_probe.errors.checks import check_maps, check_tensor

_ITERATIONS = 200
"""Most steps of a fit."""
_NEAREST = 1e-6
"""Weight of the identity beside descriptors of size 1: it decides only where they say nothing."""


class Steerer(nn.Module):
    """One generator A for all angles: a turn by an angle multiplies descriptors by exp(angle A).

    Bökman et al., "Steerers: a framework for rotation equivariant keypoint descriptors" (2024):
    steerers of SO(2); `fit_steerer` is the paper's setting A, in which descriptors stay as they
    are, and the generator, a parameter, can be trained along with them as in its setting B.

    Known answer: `fit_steerer` recovers a generator that was planted. No real generator turns the
    channels of a C4 network by a quarter: the part of them that changes its sign there has no
    square root among the real matrices, and stays unexplained; `fit_matrix` at that angle is exact.

    Attributes:
        generator: A, (channel, channel), for an angle in radians; a parameter.

    Args:
        generator: A.

    Raises:
        InvalidInputError: If it is no square matrix.

    Example:
        >>> import torch
        >>> from invariance_probe.operators import Steerer
        >>> steerer = Steerer(torch.tensor([[0.0, -1.0], [1.0, 0.0]]))
    """

    def __init__(self, generator: Float[Tensor, "channel also_channel"]) -> None:
        super().__init__()
        check_maps("generator", generator, "channel", "channel")
        if generator.shape[0] != generator.shape[1]:
            raise InvalidInputError(
                f"generator of shape {tuple(generator.shape)}: give a square matrix"
            )
        self.generator = nn.Parameter(generator.detach().clone())

    def matrix(self, degrees: float) -> Float[Tensor, "channel channel"]:
        """Say what a turn multiplies descriptors by.

        Args:
            degrees: Of the turn of the image, counter-clockwise.

        Returns:
            exp(angle A), in the dtype of the generator.

        Example:
            >>> steerer.matrix(90).round().tolist()
            [[0.0, -1.0], [1.0, 0.0]]
        """
        turn: Tensor = torch.linalg.matrix_exp(math.radians(degrees) * self.generator)
        return turn

    def forward(
        self, descriptors: Float[Tensor, "*batch channel"], degrees: float
    ) -> Float[Tensor, "*batch channel"]:
        """Turn descriptors.

        Args:
            descriptors: Descriptors, channels last.
            degrees: Of the turn of the image; negative to turn them back.

        Returns:
            What the descriptors become.

        Example:
            >>> steerer(torch.tensor([[2.0, 0.0]]), 90).round().abs().tolist()
            [[0.0, 2.0]]
        """
        return descriptors @ self.matrix(degrees).mT

    def left(
        self,
        reference: Float[Tensor, "sample channel"],
        moved: Float[Tensor, "sample channel"],
        degrees: float,
    ) -> float:
        """Judge the steerer at an angle, best one that it was not fitted at.

        Args:
            reference: Descriptors of upright images.
            moved: Of the same places after the turn.
            degrees: Of the turn.

        Returns:
            What is left, as a share of the variance, if `moved` is turned back: 0 is perfect, 1 no
            better than the mean descriptor (the metric ``fvu``).

        Example:
            >>> upright = torch.tensor([[2.0, 0.0], [0.0, 1.0], [-1.0, 3.0]])
            >>> steerer.left(upright, steerer(upright, 40), 40) < 1e-6
            True
        """
        back, wanted = self(moved, -degrees).double(), reference.double()
        variance = (wanted - wanted.mean(0)).square().sum()
        return float(((back - wanted).square().sum() / variance).item())


def fit_matrix(
    reference: Float[Tensor, "sample channel"], moved: Float[Tensor, "moved_sample channel"]
) -> Float[Tensor, "channel channel"]:
    """Fit one matrix that turns descriptors of moved images back, by least squares.

    For one transform, with nothing asked of those of others: what the probe's ``+linear`` mixes
    channels by, without its ridge.

    Args:
        reference: Descriptors of upright images.
        moved: Of the same places after the transform.

    Returns:
        M with ``moved @ M.mT`` nearest to `reference`, float64; the identity where the descriptors
        say nothing, as of a dead channel.

    Raises:
        InvalidInputError: If there are fewer descriptors than channels, or numbers differ.

    Example:
        >>> import torch
        >>> from invariance_probe.operators import fit_matrix
        >>> upright = torch.tensor([[2.0, 0.0], [0.0, 1.0], [-1.0, 3.0]])
        >>> fit_matrix(upright, upright[:, [1, 0]]).round().abs().tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    check_maps("reference", reference, "sample", "channel")
    check_tensor("moved", moved, "sample", "channel")
    samples, channels = reference.shape
    if len(moved) != samples or samples < channels:
        raise InvalidInputError(
            f"{samples} and {len(moved)} descriptors of {channels} channels were given; give the "
            "same places of both, at least as many as channels"
        )
    given, wanted = moved.double(), reference.double()
    still = _NEAREST * given.square().mean().sqrt() * torch.eye(channels).to(given)
    solution: Tensor = torch.linalg.lstsq(
        torch.cat([given, still]), torch.cat([wanted, still])
    ).solution
    return solution.mT


def fit_steerer(
    reference: Float[Tensor, "sample channel"],
    moved: Mapping[float, Float[Tensor, "sample channel"]],
) -> Steerer:
    """Fit one generator to descriptors of images turned by a few angles.

    Least squares over all angles of what is left when the turned descriptors are turned back.

    Args:
        reference: Descriptors of upright images.
        moved: Of the same places, by the angle of the turn in degrees. The fit starts from the
            smallest, which has to turn no part of the descriptors by half a turn or more.

    Returns:
        The steerer, float64.

    Raises:
        InvalidInputError: If there is no turn, there are fewer descriptors than channels, or
            numbers differ.

    Example:
        >>> import torch
        >>> from invariance_probe.operators import Steerer, fit_steerer
        >>> planted = Steerer(torch.tensor([[0.0, -2.0], [2.0, 0.0]]))
        >>> upright = torch.tensor([[2.0, 0.0], [0.0, 1.0], [-1.0, 3.0]])
        >>> turned = {a: planted(upright, a).detach() for a in (10.0, 25.0)}
        >>> fitted = fit_steerer(upright, turned)
        >>> torch.allclose(fitted.generator, planted.generator.double(), atol=1e-4)
        True
    """
    angles = sorted((angle for angle in moved if angle % 360), key=abs)
    if not angles:
        raise InvalidInputError(
            f"moved holds the angles {list(moved)}; give descriptors at one turn or more"
        )
    wanted = reference.double()
    matrices = {angle: fit_matrix(reference, moved[angle]) for angle in angles}
    logarithm = scipy.linalg.logm(matrices[angles[0]].numpy(force=True)).real
    start = torch.from_numpy(-logarithm / math.radians(angles[0])).to(wanted)
    steerer = Steerer(start.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0))
    # |Y M^T - X|^2 = |Y (M - L)^T|^2 + what L, the best matrix, leaves: one small product an angle,
    # whatever the number of descriptors, and no cancelling
    roots = {angle: torch.linalg.qr(moved[angle].double()).R for angle in angles}
    energy = len(angles) * wanted.square().sum()
    optimiser = torch.optim.LBFGS(
        steerer.parameters(),
        max_iter=_ITERATIONS,
        tolerance_grad=1e-10,
        tolerance_change=1e-12,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        gaps = [steerer.matrix(-angle) - matrices[angle] for angle in angles]
        parts = [
            (roots[angle] @ gap.mT).square().sum() for angle, gap in zip(angles, gaps, strict=True)
        ]
        loss = torch.stack(parts).sum() / energy
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it so
        return loss

    with torch.enable_grad():
        optimiser.step(closure)  # type: ignore[no-untyped-call]  # the same
    return steerer
