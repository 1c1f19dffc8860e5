"""The search of float32 maps on the CPU in compiled loops: arrays in, candidates out.

One evaluation of a warp is some twenty torch operations on short tensors, most of whose time goes
by between them. `kernels` does it in one loop over the positions. A pair is searched by one thread
from its first look to its last step, so that nothing depends on how many threads there are.
"""

import functools
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from invariance_probe.alignment import kernels, metrics, objectives
from invariance_probe.alignment.schedule import Stage
from invariance_probe.machine import loop_threads, over

_PAIRS_A_CALL = 8
"""Pairs that share one call of the loops, and its memory."""


def search_from_coarse(
    target: metrics.Target,
    moved: Float[Tensor, "pair channel height width"],
    oracle: Float[Tensor, "row 2 3"],
    rows: Int[Tensor, " row"],
    *,
    stages: tuple[Stage, ...],
    starts: tuple[np.ndarray, ...],
    max_distortion: float,
) -> Float[np.ndarray, "row 9"]:
    """Go through the stages of the search from coarse maps to fine ones.

    Args:
        target: The references with their regions and channel means.
        moved: Maps G to be warped, float32, on the CPU.
        oracle: The warp that theory leaves, in isotropic coordinates.
        rows: Which pairs to search.
        stages: As of `schedule.coarse_to_fine`.
        starts: As of `kernels.search_pairs`.
        max_distortion: Bound of the family; see `distortion.limit_distortion`.

    Returns:
        As of `search`, of the best warp.
    """
    size = (moved.shape[2], moved.shape[3])
    part = slice(int(rows[0]), int(rows[-1]) + 1)
    level = objectives.Level(
        reference=target.channels_last[part],
        moved=moved[part],
        mask=target.region[part].to(moved),
        full_size=size,
    ).widened()
    mean = target.channel_mean[part].float().contiguous().numpy()
    arrays = *map(_by_cell, (level.reference, level.moved)), mean, level.mask.flatten(1).numpy()
    # rounded as where the search is torch's
    oracles = oracle.float().double().flatten(1).numpy()
    plan = _levels(size, stages), _stages(stages), float(max_distortion)
    numbers, found = (rows - rows[0]).numpy(), np.empty((len(rows), 9))

    step = min(_PAIRS_A_CALL, -(-len(rows) // loop_threads()))

    def run(part: int) -> None:
        some = slice(step * part, step * (part + 1))
        kernels.search_pairs(oracles[some], numbers[some], arrays, starts, *plan, found[some])

    over(-(-len(rows) // step), run)
    return found


def _by_cell(maps: Tensor) -> np.ndarray:
    """(pair, cell, channel): a position's vector is contiguous, as where networks run so."""
    return maps.permute(0, 2, 3, 1).contiguous().flatten(1, 2).numpy()


@functools.lru_cache(maxsize=64)
def _levels(size: tuple[int, int], stages: tuple[Stage, ...]) -> tuple[Any, ...]:
    """Sizes, points, scales and last indices of the levels, and the order of positions."""
    sides = sorted({stage.side for stage in stages}, reverse=True)
    sizes = [(max(2, size[0]), max(2, size[1]))]
    sizes += [objectives.shrunk_size(size, side) for side in sides[1:]]
    grids = [objectives.Grid(each, size, torch.zeros(1)) for each in sizes]
    return (
        np.array(sizes),
        np.concatenate([grid.points[:2].numpy() for grid in grids], axis=1),
        np.stack([grid.scale[:, 0].numpy() for grid in grids]),
        np.stack([grid.last[:, 0].numpy() for grid in grids]),
        objectives.spread_order(sizes[0][0] * sizes[0][1], stages[-1].count).numpy(),
    )


@functools.lru_cache(maxsize=64)
def _stages(stages: tuple[Stage, ...]) -> tuple[Int[np.ndarray, "stage 5"], Any]:
    """What `kernels.search_pairs` takes of each stage, and rounds, padded to the longest."""
    sides = sorted({stage.side for stage in stages}, reverse=True)
    longest = max(len(stage.rounds) for stage in stages)
    rounds = np.zeros((len(stages), longest, 2), np.int64)
    for row, stage in zip(rounds, stages, strict=True):
        row[: len(stage.rounds)] = stage.rounds
    most = np.iinfo(np.int64).max
    return np.array([
        (sides.index(s.side), s.count or most, s.look, s.nudged, len(s.rounds)) for s in stages
    ]), rounds


def search(
    level: objectives.Level,
    oracle: Float[Tensor, "pair 2 3"],
    warps: Float[Tensor, "pair rank 2 3"],
    *,
    look: int,
    rounds: tuple[tuple[int, int], ...],
    max_distortion: float,
) -> Float[np.ndarray, "pair kept 9"]:
    """Improve warps of each pair, round by round.

    Args:
        level: Maps on which they are compared, float32, on the CPU.
        oracle: The warp that theory leaves, in isotropic coordinates.
        warps: Candidates, in isotropic coordinates.
        look: How many to keep after a look at all.
        rounds: Steps taken from each, and how many are kept after them.
        max_distortion: Bound of the family; see `distortion.limit_distortion`.

    Returns:
        The best of each pair, best first: six numbers of the warp; steps taken; 1 or 0 for whether
        it converged, and for whether its last step was brought back into the family.
    """
    pairs, _, height, width = level.reference.shape
    grid = objectives.Grid((height, width), level.full_size, level.reference)
    positions, inside = level.chosen()
    points = grid.points[:2][:, positions].transpose(0, 1).contiguous().numpy()
    counts = inside.sum(1).long().numpy()
    found = np.empty((pairs, rounds[-1][1], 9))
    starts = warps.flatten(2).double().contiguous().numpy()
    oracles = oracle.flatten(1).double().contiguous().numpy()
    scale, last = grid.scale[:, 0].numpy(), grid.last[:, 0].numpy()
    maps = level.reference.flatten(2)
    target = maps.gather(2, positions[:, None].expand(-1, maps.shape[1], -1)).numpy()
    source = level.moved.flatten(2).contiguous().numpy()
    least, order = min(look, starts.shape[1]), np.array(rounds)

    # what `kernels.CELLS` needs besides
    cells, few = np.empty((2, 0), np.int32), np.empty((2, 0), np.float32)
    none = few, cells[0], few[0]
    nothing = cells, np.empty((0, 0, 4), np.float32), cells[0], few

    def run(b: int) -> None:
        on = target[b], source[b], *none, points[b], int(counts[b]), np.int32(width), *nothing
        told = starts[b], oracles[b], least, order, float(max_distortion)
        kernels.search_pair(kernels.PLANES, *told, on, scale, last, found[b])

    over(pairs, run)
    return found
