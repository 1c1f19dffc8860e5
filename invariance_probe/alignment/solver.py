"""Batched Levenberg-Marquardt over affine warps; warps and objectives are those of `objectives`."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from invariance_probe.alignment.objectives import Objective


def limit_distortion(
    warps: Float[Tensor, "warp 2 3"], oracle: Float[Tensor, "warp 2 3"], max_distortion: float
) -> tuple[Float[Tensor, "warp 2 3"], Bool[Tensor, " warp"]]:
    """Bring warps into the family: singular values relative to the oracle within the limits.

    The linear part is taken as  L O, O that of the oracle; the singular values of L are clamped to
    [1 / max_distortion, max_distortion], and mirrored warps are turned back, at the smaller end.

    Args:
        warps: Pull-backs in isotropic coordinates.
        oracle: The oracle's, for each of them.
        max_distortion: Largest stretch; the smallest is its reciprocal.

    Returns:
        The warps inside the family, and which of them were outside.
    """
    linear = warps[:, :, :2]
    reference = oracle[:, :, :2]
    relative = linear @ torch.linalg.inv(reference)
    # closed form of a 2 x 2 singular value decomposition: a rotation-scaling part (e, h) and a
    # mirrored one (f, g), whose lengths are half the sum and half the difference of the values
    e = (relative[:, 0, 0] + relative[:, 1, 1]) / 2
    f = (relative[:, 0, 0] - relative[:, 1, 1]) / 2
    g = (relative[:, 1, 0] + relative[:, 0, 1]) / 2
    h = (relative[:, 1, 0] - relative[:, 0, 1]) / 2
    q, r = torch.hypot(e, h), torch.hypot(f, g)
    large, small = q + r, q - r
    tolerance = 1e-6
    low, high = 1 / max_distortion, max_distortion
    outside = (large > high * (1 + tolerance)) | (small < low * (1 - tolerance))
    if not bool(outside.any()):
        return warps, outside
    new_large, new_small = large.clamp(low, high), small.clamp(low, high)
    new_q, new_r = (new_large + new_small) / 2, (new_large - new_small) / 2
    tiny = torch.finfo(warps.dtype).tiny
    turn = torch.where(q > 0, new_q / q.clamp(min=tiny), torch.zeros_like(q))
    flip = torch.where(r > 0, new_r / r.clamp(min=tiny), torch.zeros_like(r))
    e = torch.where(q > 0, e * turn, new_q)
    h, f, g = h * turn, f * flip, g * flip
    clamped = torch.stack([torch.stack([e + f, g - h], -1), torch.stack([g + h, e - f], -1)], -2)
    limited = torch.cat([clamped @ reference, warps[:, :, 2:]], dim=-1)
    return torch.where(outside[:, None, None], limited, warps), outside


@dataclass
class State:
    """Where each of a list of warps stands in the descent.

    Attributes:
        warps: The best warp so far, in isotropic coordinates.
        error: Its squared error.
        gradient: Its gradient.
        matrix: Its Gauss-Newton matrix.
        damping: Damping of its next step, relative to the diagonal.
        n_iter: Steps that it took.
        converged: Whether it is done.
        at_limit: Whether its last step had to be brought back into the family.
    """

    warps: Float[Tensor, "warp 2 3"]
    error: Float[Tensor, " warp"]
    gradient: Float[Tensor, "warp 6"]
    matrix: Float[Tensor, "warp 6 6"]
    damping: Float[Tensor, " warp"]
    n_iter: Int[Tensor, " warp"]
    converged: Bool[Tensor, " warp"]
    at_limit: Bool[Tensor, " warp"]

    def take(self, rows: Int[Tensor, " row"]) -> "State":
        """Copy some warps' state.

        Args:
            rows: Which.

        Returns:
            Their state.
        """
        return State(*(each[rows] for each in vars(self).values()))

    def put(self, rows: Int[Tensor, " row"], part: "State") -> None:
        """Write some warps' state back.

        Args:
            rows: Which.
            part: Their state.
        """
        for mine, theirs in zip(vars(self).values(), vars(part).values(), strict=True):
            mine[rows] = theirs


def start(
    objective: Objective,
    warps: Float[Tensor, "warp 2 3"],
    pairs: Int[Tensor, " warp"],
    oracle: Float[Tensor, "warp 2 3"],
    *,
    max_distortion: float,
    damping: float = 1e-3,
) -> State:
    """Bring warps into the family and evaluate them.

    Args:
        objective: The squared error.
        warps: Starts, in isotropic coordinates.
        pairs: Which pair of maps each start is for.
        oracle: The oracle's warp for each start.
        max_distortion: Bound of the family; see `limit_distortion`.
        damping: Damping of the first step, relative to the diagonal.

    Returns:
        The state from which `descend` goes on.
    """
    warps, _ = limit_distortion(warps, oracle, max_distortion)
    now = objective.normal(warps, pairs)
    return State(
        warps=warps,
        error=now.error,
        gradient=now.gradient,
        matrix=now.matrix,
        damping=torch.full_like(now.error, damping),
        n_iter=torch.zeros_like(pairs),
        converged=torch.zeros_like(pairs, dtype=torch.bool),
        at_limit=torch.zeros_like(pairs, dtype=torch.bool),
    )


def descend(
    state: State,
    objective: Objective,
    pairs: Int[Tensor, " warp"],
    oracle: Float[Tensor, "warp 2 3"],
    *,
    max_distortion: float,
    max_steps: int,
    tolerance: float = 1e-6,
) -> State:
    """Minimise a squared error over warps of the family by Levenberg-Marquardt steps.

    Steps solve (H + damping diag H) s = -g and are brought back into the family before they are
    judged; a step that does not lower the error raises the damping tenfold, one that does lowers
    it as far (Marquardt 1963). A warp is done when a step promises or brings less than `tolerance`
    of its error, which does not depend on the scale of the maps.

    Args:
        state: Where `start` or an earlier descent left off.
        objective: The squared error.
        pairs: Which pair of maps each warp is for.
        oracle: The oracle's warp for each warp.
        max_distortion: Bound of the family; see `limit_distortion`.
        max_steps: Steps allowed to each warp.
        tolerance: Relative decrease of the error at which a warp counts as converged.

    Returns:
        The best warp met from each start.
    """
    everything = torch.arange(len(pairs), device=pairs.device)
    whole, active, state = state.take(everything), everything, state.take(everything)
    for step in range(max_steps):
        if step % _STEPS_BETWEEN_SIEVES == 0:
            # finished warps are put aside now and then only, as sieving costs time as well
            left = torch.nonzero(~state.converged & state.error.isfinite()).flatten()
            if len(left) < len(active):
                whole.put(active, state)
                active, state = active[left], state.take(left)
            if len(left) == 0:
                break
        _step(state, objective, pairs[active], oracle[active], max_distortion, tolerance)
    whole.put(active, state)
    return whole


_STEPS_BETWEEN_SIEVES = 4


def _step(
    state: State,
    objective: Objective,
    pairs: Tensor,
    oracle: Tensor,
    max_distortion: float,
    tolerance: float,
) -> None:
    """Take one Levenberg-Marquardt step from every warp that has not converged."""
    H, g, error = state.matrix, state.gradient, state.error
    diagonal = torch.diagonal(H, dim1=-2, dim2=-1)
    top = diagonal.amax(-1, keepdim=True)
    lift = diagonal * state.damping[:, None] + 1e-9 * top + 1e-30
    # a warp that reads the border alone has no gradient: its step is none, and it is done
    step = torch.linalg.solve_ex(H + torch.diag_embed(lift), -g)[0].nan_to_num_(0.0, 0.0, 0.0)
    trial, clamped = limit_distortion(state.warps + step.view(-1, 2, 3), oracle, max_distortion)
    there = objective.normal(trial, pairs)
    running = ~state.converged
    gain = error - there.error
    better = (gain > 0) & running
    promised = -(step * (2 * g + (H @ step[:, :, None])[:, :, 0])).sum(-1)
    bar = tolerance * error
    # a step that promises nothing is an end too: rounding may hide the gain itself
    done = (better & (gain <= bar)) | (promised <= bar)
    damping = torch.where(better, state.damping / 10, state.damping * 10).clamp_(1e-9, 1e12)
    done |= ~better & (damping > 1e8)
    done |= error <= 16 * torch.finfo(error.dtype).eps * top[:, 0]
    wide = better[:, None]
    state.warps = torch.where(wide[:, None], trial, state.warps)
    state.gradient = torch.where(wide, there.gradient, g)
    state.matrix = torch.where(wide[:, None], there.matrix, H)
    state.error = torch.where(better, there.error, error)
    state.at_limit = torch.where(better, clamped, state.at_limit)
    state.damping = damping
    state.n_iter = state.n_iter + running
    state.converged = state.converged | (done & running)
