"""What researchers use today to align two maps: an Adam loop, scipy, kornia.

Each takes one pair, begins at the oracle's warp and returns the warp that it found.
"""

import warnings

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import least_squares
from torch import Tensor

from invariance_probe.plane import coordinates


def _read(moved: Tensor, theta: Tensor) -> Tensor:
    grid = F.affine_grid(theta, list(moved.shape), align_corners=False)
    return F.grid_sample(moved, grid, padding_mode="border", align_corners=False)


def adam(
    reference: Tensor,
    moved: Tensor,
    oracle: Tensor,
    region: Tensor,
    steps: int = 300,
    rate: float = 0.01,
) -> Tensor:
    """Descend with Adam through `grid_sample`; may be given many pairs at once.

    Args:
        reference: (pair, channel, height, width).
        moved: Likewise.
        oracle: (pair, 2, 3), normalised.
        region: (pair, height, width).
        steps: Number of steps.
        rate: Learning rate, on normalised parameters.

    Returns:
        The warp at the best step of each pair, (pair, 2, 3), normalised.
    """
    theta = oracle.to(reference).clone().requires_grad_()
    keep = region[:, None].to(reference)
    optimiser = torch.optim.Adam([theta], lr=rate)
    best = reference.new_full((len(reference),), torch.inf)
    best_theta = theta.detach().clone()
    for _ in range(steps):
        error = ((_read(moved, theta) - reference).square() * keep).flatten(1).sum(1)
        better = error.detach() < best
        best = torch.where(better, error.detach(), best)
        best_theta[better] = theta.detach()[better]
        optimiser.zero_grad()
        torch.autograd.backward(error.sum())
        optimiser.step()
    return best_theta.double()


def scipy_least_squares(reference: Tensor, moved: Tensor, oracle: Tensor, region: Tensor) -> Tensor:
    """Run MINPACK's Levenberg-Marquardt with finite differences on one pair.

    Args:
        reference: (1, channel, height, width).
        moved: Likewise.
        oracle: (1, 2, 3), normalised.
        region: (1, height, width).

    Returns:
        The warp, (1, 2, 3), normalised.
    """
    target = reference[0][:, region[0]]

    def residual(parameters: np.ndarray) -> np.ndarray:
        theta = torch.as_tensor(parameters.reshape(1, 2, 3), dtype=moved.dtype)
        return (_read(moved, theta)[0][:, region[0]] - target).flatten().double().numpy()

    # steps of 1e-3: smaller ones drown in float32
    found = least_squares(residual, oracle.flatten().numpy(), method="lm", diff_step=1e-3)
    return torch.as_tensor(found.x.reshape(1, 2, 3))


def kornia_similarity(reference: Tensor, moved: Tensor, oracle: Tensor, region: Tensor) -> Tensor:
    """Run kornia's `ImageRegistrator` for a similarity on one pair.

    It cannot be given a start, so it is given the moved map warped by the oracle, and the two warps
    are composed. It runs with its defaults, but for the mean squared error as its loss and a
    pyramid no deeper than the map allows.

    Args:
        reference: (1, channel, height, width).
        moved: Likewise.
        oracle: (1, 2, 3), normalised.
        region: Not used: kornia compares wherever its warp reads.

    Returns:
        The warp, (1, 2, 3), normalised.
    """
    del region
    from kornia.geometry.transform import ImageRegistrator

    levels = min(5, int(np.log2(min(moved.shape[-2:]))) - 1)
    registrator = ImageRegistrator("similarity", loss_fn=F.mse_loss, pyramid_levels=levels)
    registrator.to(moved.device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        homography = registrator.register(_read(moved, oracle.to(moved)), reference)
    assert isinstance(homography, Tensor)
    return (coordinates.homogeneous(oracle) @ homography.detach().double())[:, :2]
