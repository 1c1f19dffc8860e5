"""Families of warps, their parameters, and where boxes of parameters make positions read.

Convention:
    Warps are pull-backs  phi(p) = L O (p - m) + t  in index coordinates, p a position of the
    reference, m the middle of its region, O the linear part of the oracle, and
    L = [[e + f, g - h], [g + h, e - f]]. The parameters are (e, h, t_x, t_y) of a similarity and
    (e, h, t_x, t_y, f, g) of an affine warp; L has the singular values  hypot(e, h) +- hypot(f, g).
    Index and isotropic coordinates share their linear parts: they differ by one factor and a shift.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from invariance_probe.alignment.distortion import limit_distortion
from invariance_probe.plane import coordinates

PARAMETERS = {"similarity": 4, "affine": 6}
"""Families of warps and their numbers of parameters."""


class Family:
    """The parameters of a family of warps about an oracle, and where they make positions read.

    Args:
        family: A key of `PARAMETERS`.
        oracle: The oracle's warp, normalised.
        region: Positions that count, at least one.
        moved_size: Height and width of the moved map.
        max_distortion: Largest singular value of L; the smallest is its reciprocal.
    """

    def __init__(
        self,
        family: str,
        oracle: Float[Tensor, "2 3"],
        region: Bool[Tensor, "height width"],
        moved_size: tuple[int, int],
        max_distortion: float,
    ) -> None:
        self.size = region.shape[0], region.shape[1]
        self.limit = max_distortion
        self.count = PARAMETERS[family]
        self.oracle = coordinates.index_matrix_from_theta(oracle, *self.size)
        rows, columns = torch.nonzero(region, as_tuple=True)
        points = torch.stack([columns, rows], -1).double()
        self.middle = points.mean(0)
        x, y = ((points - self.middle) @ self.oracle[:2, :2].T).unbind(1)
        one, zero = torch.ones_like(x), torch.zeros_like(x)
        jacobian = [
            torch.stack([x, -y, one, zero, x, y], -1),
            torch.stack([y, x, zero, one, -y, x], -1),
        ]
        self.jacobian = torch.stack(jacobian)[..., : self.count]
        """Derivatives of x and y by the parameters, (2, position, parameter)."""
        reach = max_distortion * float(torch.hypot(x, y).max())
        bend = (max_distortion - 1 / max_distortion) / 2
        last_y, last_x = (max(1, n - 1) for n in moved_size)
        # a shift that sends all positions beyond one border changes nothing by going farther
        low = [-max_distortion, -max_distortion, -reach, -reach, -bend, -bend]
        high = [max_distortion, max_distortion, last_x + reach, last_y + reach, bend, bend]
        self.low, self.high = x.new_tensor([low, high])[:, : self.count]
        self.travel = self.jacobian.square().sum(0).mean(0).sqrt()
        """Root mean square path of the positions, in pixels, per unit of each parameter."""

    def rectangles(self, centres: Tensor, halves: Tensor) -> tuple[Tensor, Tensor]:
        """Where boxes make positions read: middles and half sides, (2, box, position) each."""
        middles = centres @ self.jacobian.mT
        return middles, halves @ self.jacobian.abs().mT

    def meets(self, centres: Tensor, halves: Tensor) -> Tensor:
        """Tell which boxes may hold a warp within the limits of distortion."""
        far = centres.abs() + halves
        near = (centres.abs() - halves).clamp(min=0)
        least = torch.hypot(near[:, 0], near[:, 1])
        most = torch.hypot(far[:, 0], far[:, 1])
        bend = torch.hypot(near[:, 4], near[:, 5]) if self.count == 6 else torch.zeros_like(least)
        slack = 1 + 1e-6
        return (least + bend <= self.limit * slack) & (most - bend >= 1 / self.limit / slack)

    def confine(
        self, parameters: Float[Tensor, "warp parameter"]
    ) -> tuple[Float[Tensor, "warp parameter"], Bool[Tensor, " warp"]]:
        """Bring warps within the limits of distortion.

        Args:
            parameters: Of any warps.

        Returns:
            Those of warps within the limits, and which were outside.
        """
        warps = torch.cat([self.linear(parameters), parameters[:, 2:4, None]], -1)
        # L is relative to the oracle already
        identity = torch.eye(2, 3).to(warps).expand_as(warps)
        limited, outside = limit_distortion(warps, identity, self.limit)
        return self.from_linear(limited[:, :, :2], limited[:, :, 2]), outside

    def theta(self, parameters: Float[Tensor, "warp parameter"]) -> Float[Tensor, "warp 2 3"]:
        """Express warps in normalised coordinates.

        Args:
            parameters: Of warps.

        Returns:
            Pull-backs.
        """
        matrix = torch.eye(3).to(parameters).repeat(len(parameters), 1, 1)
        linear = self.linear(parameters) @ self.oracle[:2, :2]
        matrix[:, :2, :2] = linear
        matrix[:, :2, 2] = parameters[:, 2:4] - linear @ self.middle
        return coordinates.theta_from_index_matrix(matrix, *self.size)

    def linear(self, parameters: Tensor) -> Tensor:
        """L of warps, (warp, 2, 2)."""
        e, h = parameters[:, 0], parameters[:, 1]
        f = parameters[:, 4] if self.count == 6 else torch.zeros_like(e)
        g = parameters[:, 5] if self.count == 6 else torch.zeros_like(e)
        return torch.stack([torch.stack([e + f, g - h], -1), torch.stack([g + h, e - f], -1)], -2)

    def parameters(self, theta: Float[Tensor, "warp 2 3"]) -> Float[Tensor, "warp parameter"]:
        """Invert `theta`; what a similarity cannot express is dropped.

        Args:
            theta: Pull-backs, normalised.

        Returns:
            Parameters of the nearest warps in the family.
        """
        matrix = coordinates.index_matrix_from_theta(theta, *self.size)
        linear = matrix[:, :2, :2] @ self.oracle[:2, :2].inverse()
        shift = matrix[:, :2, :2] @ self.middle + matrix[:, :2, 2]
        return self.from_linear(linear, shift)

    def from_linear(self, linear: Tensor, shift: Tensor) -> Tensor:
        """Parameters of warps given by L (warp, 2, 2) and t (warp, 2)."""
        (a, b), (c, d) = (row.unbind(-1) for row in linear.unbind(-2))
        every = [(a + d) / 2, (c - b) / 2, *shift.unbind(-1), (a - d) / 2, (b + c) / 2]
        return torch.stack(every[: self.count], -1)
