"""The compiled loops against the torch operations that define what they compute."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from invariance_probe.alignment import (
    distortion,
    kernels,
    objectives,
    schedule,
    search,
    solver,
)
from tests.alignment.test_objectives import _pairs

WARP = st.lists(st.floats(-1.5, 1.5, width=32), min_size=6, max_size=6)


def _maps(kind: int, level: objectives.Level) -> tuple[Any, ...]:
    """The arrays of the first pair."""
    positions, inside = level.chosen()
    rows = positions[0][inside[0]]
    grid = objectives.Grid(tuple(level.mask.shape[1:]), level.full_size, level.reference)
    target, source = level.reference[0].flatten(1), level.moved[0].flatten(1)
    squares = target[:, rows].square().sum(0).numpy()
    gram = np.empty((source.shape[1], 10), np.float32)
    if kind == kernels.CELLS:
        target, source = target.T, source.T
        height, width = level.mask.shape[1:]
        kernels._grams(source.contiguous().numpy(), height, width, gram)
    else:
        target = target[:, rows]
    n = len(rows)
    return (
        *(target.contiguous().numpy(), source.contiguous().numpy(), gram),
        *(rows.int().numpy(), squares, grid.points[:2, rows].contiguous().numpy(), n),
        np.int32(level.mask.shape[2]),
        np.full((n, kernels.SLOTS), -1, np.int32),
        np.empty((n, kernels.SLOTS, 4), np.float32),
        *(np.empty(n, np.int32), np.empty((14, n), np.float32)),
    )


def _loops(
    kind: int, level: objectives.Level, warp: np.ndarray, maps: tuple[Any, ...] | None = None
) -> np.ndarray:
    """Evaluate a warp of the first pair."""
    grid = objectives.Grid(tuple(level.mask.shape[1:]), level.full_size, level.reference)
    scales, out = (each[:, 0].numpy() for each in (grid.scale, grid.last)), np.empty(25)
    kernels._evaluate(kind, warp, maps or _maps(kind, level), *scales, out)
    return out


def _level(seed: int, height: int, width: int, count: int | None) -> objectives.Level:
    reference, moved, mask = (maps.float() for maps in _pairs(seed, height, width))
    mask[:, 0, 0] = 1  # somewhere to look
    full_size = (2 * height, 2 * width)
    return objectives.Level(
        reference=reference, moved=moved, mask=mask, full_size=full_size, count=count
    )


@pytest.mark.parametrize("kind", [kernels.CELLS, kernels.PLANES])
@given(seed=st.integers(0, 10**6), height=st.integers(2, 9), width=st.integers(2, 9))
def test_one_evaluation_is_what_the_objectives_say(
    kind: int, seed: int, height: int, width: int
) -> None:
    """Error, gradient and matrix agree with those in double precision."""
    level = _level(seed, height, width, None)
    warp = torch.randn(1, 2, 3, generator=torch.Generator().manual_seed(seed)).double()
    sums = _loops(kind, level, warp.flatten().numpy())
    reference, moved, mask = (each.double() for each in (level.reference, level.moved, level.mask))
    objective = objectives.InnerProducts(reference, moved, mask, level.full_size)
    first = torch.zeros(1, dtype=torch.long)
    truth = objective.normal(warp, first)
    size = float(truth.matrix.diagonal(dim1=1, dim2=2).sum()) + float(truth.error) + 1
    assert sums[0] == pytest.approx(float(truth.error), abs=1e-4 * size)
    # at borders of cells the derivative jumps, and rounding may fall on either side
    places = objective._places(warp.clone(), first)
    assume(((places - places.round()).abs() > 1e-4).all())
    matrix = np.empty((6, 6))
    kernels._unfold(sums, matrix)
    np.testing.assert_allclose(sums[1:7], truth.gradient[0].numpy(), atol=1e-4 * size)
    np.testing.assert_allclose(matrix, truth.matrix[0].numpy(), atol=1e-4 * size)


def test_what_is_remembered_of_other_warps_changes_nothing() -> None:
    """On a map with more cells than are remembered, a warp's sums are the same before and after."""
    level = _level(0, 12, 13, None)
    assert kernels.SLOTS < 11 * 12
    warps = np.random.default_rng(0).standard_normal((40, 6))
    maps = _maps(kernels.CELLS, level)
    for warp in (*warps, warps[0]):
        sums = _loops(kernels.CELLS, level, warp, maps)
        assert np.array_equal(sums, _loops(kernels.CELLS, level, warp))


@pytest.mark.parametrize("size", [(7, 7), (14, 11), (28, 20)])
def test_a_pair_begins_as_in_torch(size: tuple[int, int]) -> None:
    """Averaged maps, starts and warps beside others are those of the search of other devices."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(1, 3, *size, generator=generator)
    out, new = np.empty((16, 3), np.float32), np.array([4, 4])
    kernels._shrunk(maps[0].flatten(1).T.contiguous().numpy(), np.array(size), out, new)
    expected = torch.nn.functional.adaptive_avg_pool2d(maps, (4, 4))[0].flatten(1).T
    np.testing.assert_allclose(out, expected.numpy(), atol=1e-6)
    oracle, warps = torch.randn(2, 1, 2, 3, generator=generator).double()
    moves = (each.numpy() for each in search._far_moves(search.SearchOptions()))
    starts = kernels._far_starts(oracle[0].flatten().numpy(), *moves)
    expected = search._far_starts(oracle, search.SearchOptions())[0].flatten(1)
    np.testing.assert_allclose(starts, expected.numpy(), atol=1e-12)
    nudges = (schedule.nudges(max(size), reach).numpy() for reach in (2, 1))
    given = warps.flatten(1).numpy(), oracle[0].flatten().numpy()
    beside = kernels._with_nudges(*given, *nudges, True)
    parts = (
        warps[None],
        search._nudged(oracle, max(size), 2),
        search._nudged(warps, max(size), 1),
    )
    expected = torch.cat(parts, dim=1)[0].flatten(1)
    np.testing.assert_allclose(beside, expected.numpy(), atol=1e-12)


@given(warp=WARP, bound=st.sampled_from([1.0, 1.5, 2.0]))
def test_warps_are_brought_back_as_in_torch(warp: list[float], bound: float) -> None:
    """The same warps count as outside, and end at the same place."""
    oracle = np.array([0.8, -0.6, 0.1, 0.6, 0.8, 0.0])
    here = np.array(warp)
    outside = kernels._limit(here, oracle, bound)
    points = (torch.tensor(each, dtype=torch.float64).view(1, 2, 3) for each in (warp, oracle))
    there, was = distortion.limit_distortion(*points, bound)
    assert outside == bool(was)
    torch.testing.assert_close(torch.from_numpy(here).view(1, 2, 3), there, atol=1e-9, rtol=1e-9)


def test_steps_solve_the_damped_equations() -> None:
    """A step is -(H + damping diag H)^-1 g; without any gradient it is none."""
    generator = np.random.default_rng(0)
    jacobian = generator.standard_normal((20, 6))
    matrix, gradient = jacobian.T @ jacobian, generator.standard_normal(6)
    factor, step = np.zeros((6, 6)), np.zeros(6)
    kernels._solve(matrix, gradient, 0.5, factor, step)
    damped = matrix + 0.5 * np.diag(np.diag(matrix))
    np.testing.assert_allclose(step, -np.linalg.solve(damped, gradient), rtol=1e-6)
    kernels._solve(np.zeros((6, 6)), np.zeros(6), 0.5, factor, step)
    assert not step.any()


@pytest.mark.parametrize("kind", [kernels.CELLS, kernels.PLANES])
@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
def test_a_warp_that_is_no_number_reads_inside_the_maps(kind: int, value: float) -> None:
    """Its error is infinite or that of the border, and nothing else is read."""
    warp = np.array([value, 0.0, 0.0, 0.0, -value, 0.0])
    sums = _loops(kind, _level(0, 5, 7, None), warp)
    assert sums[0] > 0


def test_the_best_are_kept_as_in_torch() -> None:
    """Order, near duplicates and what is not finite: as in the search of other devices."""
    generator, many = torch.Generator().manual_seed(0), 120
    points = torch.randn(1, many, 6, generator=generator)
    points[0, 10:15] = points[0, 5:10] + 1e-4
    error = torch.rand(many, generator=generator)
    error[10:15], error[3] = error[5:10] * 1.0001, math.inf
    # duplicates just within reach of each other in the order of errors, and just beyond it
    order = error.argsort()
    points[0, order[70]] = points[0, order[70 - search.DUPLICATES_WITHIN + 1]]
    points[0, order[90]] = points[0, order[90 - search.DUPLICATES_WITHIN]]
    nothing = torch.zeros(many)
    state = solver.State(
        points=points[0],
        error=error,
        gradient=torch.zeros(many, 6),
        matrix=torch.zeros(many, 6, 6),
        damping=nothing,
        n_iter=nothing.long(),
        converged=nothing.bool(),
        at_limit=nothing.bool(),
    )
    for count in (1, 4, 9, 20, 60, 110):
        ranks = np.empty(many, np.int64)
        arrays = error.double().numpy(), points[0].double().numpy()
        kept = kernels._best(*arrays, many, count, ranks)
        expected = search._best(state, pairs=1, count=count)
        assert torch.equal(points[0][torch.from_numpy(ranks[:kept])], expected.points)
        assert torch.equal(error[torch.from_numpy(ranks[:kept])], expected.error)
