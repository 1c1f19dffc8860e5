"""When the search for affine warps does what: its stages, and the starts that it lays out."""

import functools
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Rounds = tuple[tuple[int, int], ...]

TABLE_LEVELS = (7, 14, 28)
"""Longest sides, in cells, of the coarser maps that are searched before the full one; up to the
last a pair's table of inner products is worth its memory."""
FIRST_LOOK = 40
FIRST_ROUNDS: Rounds = ((4, 8), (6, 3))
"""At the coarsest level: warps kept after a look at all starts; then, round by round, steps taken
from every warp, and how many are kept after them."""
ONLY_LOOK = 64
ONLY_ROUNDS: Rounds = ((5, 16), (10, 5))
"""The same for maps so small that there is no coarser level."""
MIDDLE_ROUNDS: Rounds = ((5, 2),)
"""At the levels between."""
LAST_LOOK = 6
LAST_ROUNDS: Rounds = ((3, 2), (5, 1))
"""On the full maps, before the last warps are followed to the end."""
SCOUT_POSITIONS, POLISH_POSITIONS = 512, 2048
"""Positions of a large map on which warps are compared, and on which the last one is polished."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of the search: some of the candidates are improved on maps of one size.

    Attributes:
        side: Longest side of the maps, in cells.
        look: Candidates kept after a look at all.
        rounds: Steps taken from each, and how many are kept after them.
        nudged: Whether warps beside the oracle and beside the best so far join the candidates.
        count: On how many positions warps are compared; see `objectives.Level`.
    """

    side: int
    look: int
    rounds: Rounds
    nudged: bool = False
    count: int | None = None


@functools.lru_cache(maxsize=64)
def coarse_to_fine(longest: int, max_steps: int) -> tuple[Stage, ...]:
    """Lay out how starts all over the family are followed from coarser maps to finer ones.

    Args:
        longest: Longest side of the full maps, in cells.
        max_steps: Steps allowed to the last warp.

    Returns:
        The stages, the coarsest first.
    """
    coarser = [side for side in TABLE_LEVELS if side < longest]
    if not coarser:
        return ending(longest, ONLY_LOOK, ONLY_ROUNDS, max_steps)
    return (
        Stage(side=coarser[0], look=FIRST_LOOK, rounds=FIRST_ROUNDS),
        *(Stage(side=side, look=FIRST_LOOK, rounds=MIDDLE_ROUNDS) for side in coarser[1:]),
        *ending(longest, LAST_LOOK, LAST_ROUNDS, max_steps),
    )


def ending(longest: int, look: int, rounds: Rounds, max_steps: int) -> tuple[Stage, ...]:
    """Lay out the stages on the full maps.

    Args:
        longest: Their longest side, in cells.
        look: Candidates kept after a look at all.
        rounds: What is done before the last warps are followed to the end.
        max_steps: Steps allowed to these.

    Returns:
        One stage; on large maps two, on some of the positions.
    """
    final = (max_steps, 1)
    if longest <= TABLE_LEVELS[-1]:
        return (Stage(side=longest, look=look, rounds=(*rounds, final), nudged=True),)
    return (
        Stage(side=longest, look=look, rounds=rounds, nudged=True, count=SCOUT_POSITIONS),
        Stage(side=longest, look=1, rounds=(final,), count=POLISH_POSITIONS),
    )


@functools.lru_cache(maxsize=64)
def far_moves(
    angles: int, scales: tuple[float, ...], shift: float
) -> tuple[Float[Tensor, "turn 2 2"], Float[Tensor, "side 2"]]:
    """List by what the starts differ from the oracle.

    Args:
        angles: As of `search.SearchOptions`.
        scales: Likewise.
        shift: Likewise.

    Returns:
        Rotations with scalings, and shifts, float64.
    """
    turns = [
        [[s * math.cos(a), s * math.sin(a)], [-s * math.sin(a), s * math.cos(a)]]
        for a in (2 * math.pi * k / angles for k in range(angles))
        for s in scales
    ]
    sides = [[0, 0], [shift, 0], [-shift, 0], [0, shift], [0, -shift]]
    return torch.tensor(turns).double(), torch.tensor(sides).double()


@functools.lru_cache(maxsize=64)
def nudges(cells: int, reach: int) -> Float[Tensor, "nudge 2"]:
    """List shifts to all sides in steps of half a cell.

    Args:
        cells: Longest side of the map, in cells.
        reach: Steps to either side.

    Returns:
        Shifts, float64.
    """
    # where a warp meets the cells' centres, as near quarter turns, reading between two or four
    # neighbours averages them: each such place is a minimum of its own
    steps = [step / cells for step in range(-reach, reach + 1)]
    return torch.tensor([[x, y] for x in steps for y in steps]).double()
