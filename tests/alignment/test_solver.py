"""The descent, on problems whose minima are known."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from invariance_probe.alignment import solver


@dataclass(frozen=True)
class Lines(solver.Problem):
    """|A x - b|^2 for each start, x kept within a ball; A (start, n, p), b (start, n)."""

    A: Tensor
    b: Tensor
    radius: float = float("inf")

    def normal(self, points: Tensor, starts: Tensor) -> solver.Normal:
        A = self.A[starts]
        residual = (A @ points[:, :, None])[:, :, 0] - self.b[starts]
        gradient = (A.mT @ residual[:, :, None])[:, :, 0]
        return solver.Normal(error=residual.square().sum(1), gradient=gradient, matrix=A.mT @ A)

    def confine(self, points: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
        length = points.norm(dim=1, keepdim=True)
        outside = length[:, 0] > self.radius
        return torch.where(outside[:, None], points * self.radius / length, points), outside


class Banana(solver.Problem):
    """Rosenbrock's valley: r = (10 (y - x^2), 1 - x), least at (1, 1)."""

    def normal(self, points: Tensor, starts: Tensor) -> solver.Normal:
        x, y = points.unbind(1)
        r = torch.stack([10 * (y - x * x), 1 - x], 1)
        zero, one = torch.zeros_like(x), torch.ones_like(x)
        J = torch.stack([torch.stack([-20 * x, 10 * one], 1), torch.stack([-one, zero], 1)], 1)
        gradient = (J.mT @ r[:, :, None])[:, :, 0]
        return solver.Normal(error=r.square().sum(1), gradient=gradient, matrix=J.mT @ J)

    def confine(self, points: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
        return points, torch.zeros(len(points), dtype=torch.bool)


def _lines(starts: int, n: int = 7, p: int = 3, seed: int = 0) -> Lines:
    g = torch.Generator().manual_seed(seed)
    A = torch.randn(starts, n, p, generator=g, dtype=torch.float64)
    return Lines(A, torch.randn(starts, n, generator=g, dtype=torch.float64))


def _solve(problem: solver.Problem, points: Tensor, **options: float) -> solver.State:
    return solver.descend(solver.start(problem, points), problem, **options)


def test_linear_problems_are_solved() -> None:
    """From 0 the descent reaches the least squares solution of each start, whichever it is."""
    problem = _lines(9)
    found = _solve(problem, torch.zeros(9, 3).double(), max_steps=20, tolerance=1e-14)
    expected = torch.linalg.lstsq(problem.A, problem.b[:, :, None]).solution[:, :, 0]
    assert bool(found.converged.all())
    torch.testing.assert_close(found.points, expected, atol=1e-7, rtol=0)
    torch.testing.assert_close(found.error, problem.normal(expected, torch.arange(9)).error)
    assert not bool(found.at_limit.any())


def test_problems_of_many_parameters_are_solved_too() -> None:
    """Beyond some number of parameters steps come from a Cholesky factor, to the same end."""
    problem = _lines(3, n=120, p=50)
    found = _solve(problem, torch.zeros(3, 50).double(), max_steps=20, tolerance=1e-14)
    expected = torch.linalg.lstsq(problem.A, problem.b[:, :, None]).solution[:, :, 0]
    torch.testing.assert_close(found.points, expected, atol=1e-6, rtol=0)
    flat = Lines(torch.zeros(1, 60, 50).double(), torch.ones(1, 60).double())
    stays = _solve(flat, torch.ones(1, 50).double(), max_steps=5)
    assert torch.equal(stays.points, torch.ones(1, 50).double())


def test_a_curved_valley_is_followed() -> None:
    """Where the first steps are too long, damping grows until they are not."""
    starts = torch.tensor([[-1.2, 1.0], [2.0, -3.0], [0.0, 0.0]]).double()
    found = _solve(Banana(), starts, max_steps=100)
    torch.testing.assert_close(found.points, torch.ones(3, 2).double(), atol=1e-5, rtol=0)
    assert bool(found.converged.all())


def test_the_error_never_rises_and_steps_are_counted() -> None:
    """Each further step leaves no more than the one before; the states say how many were taken."""
    problem, starts = Banana(), torch.tensor([[-1.2, 1.0], [1.0, 1.0]]).double()
    state = solver.start(problem, starts)
    errors = [state.error]
    for step in range(1, 12):
        state = solver.descend(state, problem, max_steps=1)
        errors.append(state.error)
        assert int(state.n_iter[0]) == step
    assert bool((torch.stack(errors).diff(dim=0) <= 0).all())
    assert int(state.n_iter[1]) <= 1  # began at the minimum


def test_a_minimum_outside_the_set_is_met_at_its_edge() -> None:
    """The result lies in the set, and the state says that the last step was brought back."""
    plain = _lines(6)
    problem = Lines(plain.A, plain.b, radius=0.1)
    found = _solve(problem, torch.ones(6, 3).double(), max_steps=60)
    assert bool((found.points.norm(dim=1) <= 0.1 * (1 + 1e-9)).all())
    assert bool(found.at_limit.any())
    free = _solve(plain, torch.zeros(6, 3).double(), max_steps=20)
    assert bool((found.error >= free.error).all())


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_the_end_does_not_depend_on_units(scale: float) -> None:
    """Residuals in other units take the same steps to the same points."""
    plain = _lines(5, seed=3)
    scaled = Lines(scale * plain.A, scale * plain.b)
    one, other = (
        _solve(each, torch.zeros(5, 3).double(), max_steps=30) for each in (plain, scaled)
    )
    torch.testing.assert_close(one.points, other.points, atol=1e-6, rtol=0)
    assert one.n_iter.tolist() == other.n_iter.tolist()


def test_parameters_without_influence_stay() -> None:
    """A column of zeros, or no influence at all, gives no step and no NaN; it is an end."""
    plain = _lines(2)
    A = plain.A.clone()
    A[0, :, 1] = 0
    A[1] = 0
    found = _solve(Lines(A, plain.b), torch.ones(2, 3).double(), max_steps=10)
    assert bool(found.points.isfinite().all())
    assert float(found.points[0, 1]) == 1
    assert found.points[1].tolist() == [1, 1, 1]
    assert bool(found.converged.all())


def test_a_start_that_is_not_a_number_leaves_the_others_alone() -> None:
    """NaN is never taken for better, and the other rows end where they end without it."""
    plain = _lines(4)
    b = plain.b.clone()
    b[2, 0] = torch.nan
    found = _solve(Lines(plain.A, b), torch.zeros(4, 3).double(), max_steps=20)
    alone = _solve(plain, torch.zeros(4, 3).double(), max_steps=20)
    others = torch.tensor([0, 1, 3])
    torch.testing.assert_close(found.points[others], alone.points[others])
    assert not bool(found.converged[2])
