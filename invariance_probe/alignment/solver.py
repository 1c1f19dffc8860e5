"""Levenberg-Marquardt for many small least-squares problems at once, from many starts each.

What is minimised is a `Problem`; the search for warps and the branch and bound each bring theirs.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Normal:
    """A squared error |r|^2 and its normal equations at some points; J is the Jacobian of r.

    Attributes:
        error: |r|^2.
        gradient: J^T r, *half* the derivative of the error.
        matrix: J^T J, the Gauss-Newton matrix.
    """

    error: Float[Tensor, " row"]
    gradient: Float[Tensor, "row parameter"]
    matrix: Float[Tensor, "row parameter parameter"]


class Problem(ABC):
    """A squared error, and the set of points among which its minimum is sought."""

    @abstractmethod
    def normal(self, points: Float[Tensor, "row parameter"], starts: Int[Tensor, " row"]) -> Normal:
        """Evaluate points.

        Args:
            points: Where.
            starts: Which of the starts each descends from.

        Returns:
            Error, gradient and matrix.
        """

    @abstractmethod
    def confine(
        self, points: Float[Tensor, "row parameter"], starts: Int[Tensor, " row"]
    ) -> tuple[Float[Tensor, "row parameter"], Bool[Tensor, " row"]]:
        """Bring points back into the set.

        Args:
            points: Where steps have led.
            starts: Which of the starts each descends from.

        Returns:
            Points of the set, and which of the given ones were outside.
        """


@dataclass
class State:
    """Where each start stands in its descent.

    Attributes:
        points: The best point so far.
        error: Its squared error.
        gradient: Its gradient, as in `Normal`.
        matrix: Its Gauss-Newton matrix.
        damping: Damping of its next step, relative to the diagonal.
        n_iter: Steps that it took.
        converged: Whether it is done.
        at_limit: Whether its last step had to be brought back into the set.
    """

    points: Float[Tensor, "row parameter"]
    error: Float[Tensor, " row"]
    gradient: Float[Tensor, "row parameter"]
    matrix: Float[Tensor, "row parameter parameter"]
    damping: Float[Tensor, " row"]
    n_iter: Int[Tensor, " row"]
    converged: Bool[Tensor, " row"]
    at_limit: Bool[Tensor, " row"]

    def take(self, rows: Int[Tensor, " taken"]) -> "State":
        """Copy some rows.

        Args:
            rows: Which.

        Returns:
            Their state.
        """
        return State(*(each[rows] for each in vars(self).values()))

    def put(self, rows: Int[Tensor, " taken"], part: "State") -> None:
        """Write some rows back.

        Args:
            rows: Which.
            part: Their state.
        """
        for mine, theirs in zip(vars(self).values(), vars(part).values(), strict=True):
            mine[rows] = theirs


def start(
    problem: Problem, points: Float[Tensor, "start parameter"], *, damping: float = 1e-3
) -> State:
    """Bring starts into the set and evaluate them.

    Args:
        problem: What is minimised.
        points: The starts.
        damping: Damping of the first step, relative to the diagonal.

    Returns:
        The state from which `descend` goes on.
    """
    starts = torch.arange(len(points), device=points.device)
    points, _ = problem.confine(points, starts)
    now = problem.normal(points, starts)
    return State(
        points=points,
        error=now.error,
        gradient=now.gradient,
        matrix=now.matrix,
        damping=torch.full_like(now.error, damping),
        n_iter=torch.zeros_like(starts),
        converged=torch.zeros_like(starts, dtype=torch.bool),
        at_limit=torch.zeros_like(starts, dtype=torch.bool),
    )


def descend(state: State, problem: Problem, *, max_steps: int, tolerance: float = 1e-6) -> State:
    """Minimise a squared error by Levenberg-Marquardt steps.

    Steps solve (H + damping diag H) s = -g and are brought back into the set before they are
    judged; a step that does not lower the error raises the damping tenfold, one that does lowers
    it as far (Marquardt 1963). A row is done when a step promises or brings less than `tolerance`
    of its error, which does not depend on the scale of the residuals.

    Args:
        state: Where `start` or an earlier descent left off.
        problem: What is minimised; its starts are the rows of `state`.
        max_steps: Steps allowed to each row.
        tolerance: Relative decrease of the error at which a row counts as converged.

    Returns:
        The best point met from each start.
    """
    starts = torch.arange(len(state.error), device=state.error.device)
    whole, state = state.take(starts), state.take(starts)
    for step in range(max_steps):
        if step % _STEPS_BETWEEN_SIEVES == 0:
            # finished rows are put aside now and then only, as sieving costs time as well
            left = torch.nonzero(~state.converged & state.error.isfinite()).flatten()
            if len(left) < len(starts):
                whole.put(starts, state)
                starts, state = starts[left], state.take(left)
            if len(left) == 0:
                break
        _step(state, problem, starts, tolerance)
    whole.put(starts, state)
    return whole


_STEPS_BETWEEN_SIEVES = 4


_SMALL = 32
"""Parameters up to which elimination is as quick as Cholesky's half of it."""


def _solved(matrix: Tensor, right: Tensor) -> Tensor:
    """Solve positive definite equations; if rounding makes them singular, no step comes of it."""
    solution: Tensor
    if matrix.shape[-1] <= _SMALL:
        solution, _ = torch.linalg.solve_ex(matrix, right)
    else:
        factor, _ = torch.linalg.cholesky_ex(matrix)
        solution = torch.cholesky_solve(right[:, :, None], factor)[:, :, 0]
    return solution


def _step(state: State, problem: Problem, starts: Tensor, tolerance: float) -> None:
    """Take one Levenberg-Marquardt step from every row that has not converged."""
    H, g, error = state.matrix, state.gradient, state.error
    diagonal = torch.diagonal(H, dim1=-2, dim2=-1)
    top = diagonal.amax(-1, keepdim=True)
    # Marquardt's scaling by the diagonal; the rest keeps H invertible where a parameter has no
    # influence, or none has
    lift = diagonal * state.damping[:, None] + 1e-9 * top + 1e-30
    # a point without any gradient (a warp that reads the border alone): its step is none, and it
    # is done
    step = _solved(H + torch.diag_embed(lift), -g).nan_to_num_(0.0, 0.0, 0.0)
    trial, outside = problem.confine(state.points + step, starts)
    there = problem.normal(trial, starts)
    running = ~state.converged
    gain = error - there.error
    better = (gain > 0) & running
    # |r + J s|^2 = |r|^2 + 2 s.g + s.H s: the model's gain, before the step was brought back
    promised = -(step * (2 * g + (H @ step[:, :, None])[:, :, 0])).sum(-1)
    bar = tolerance * error
    # a step that promises nothing is an end too: rounding may hide the gain itself
    done = (better & (gain <= bar)) | (promised <= bar)
    damping = torch.where(better, state.damping / 10, state.damping * 10).clamp_(1e-9, 1e12)
    # damped until steps are lost to rounding, and still not better
    done |= ~better & (damping > 1e8)
    # `top` is a squared residual a unit of parameter: below this error rounding is all there is
    done |= error <= 16 * torch.finfo(error.dtype).eps * top[:, 0]
    wide = better[:, None]
    state.points = torch.where(wide, trial, state.points)
    state.gradient = torch.where(wide, there.gradient, g)
    state.matrix = torch.where(wide[:, None], there.matrix, H)
    state.error = torch.where(better, there.error, error)
    state.at_limit = torch.where(better, outside, state.at_limit)
    state.damping = damping
    state.n_iter = state.n_iter + running
    state.converged = state.converged | (done & running)
