"""The loops of the any-warp bound, compiled by numba: each position's way through all cells.

What is computed is what `any_warp._to_nearest_hull` and `hulls` define, in float64 throughout; they
are the truth that tests hold these loops against, and the derivations stand there.
"""

from typing import Any

import numpy as np
from numba import njit

# Products may be fused with sums, which errs less than what `hulls.separated` allows for; sums keep
# their order. Nothing is NaN, as maps that are not finite do not come this far. The global
# interpreter lock is released, so that threads can take positions.
_loop: Any = njit(fastmath={"contract", "nsz", "nnan"}, cache=True, error_model="numpy", nogil=True)

_TINY = 2.2250738585072014e-308
_FACES = np.array([3, 5, 6, 9, 10, 12, 7, 11, 13, 14, 15])
"""Edges, triangles and the whole, as sets of corners by their bits; smaller ones come first."""


@_loop
def spreads(between, out):
    """The s_i of `hulls.separated` for weights of 1/4, and their sum / 8, cell by cell."""
    for cell in range(between.shape[1]):
        ab, ac, ad, bc, bd, cd = between[:, cell]
        out[0, cell] = (ab + ac + ad) / 4
        out[1, cell] = (ab + bc + bd) / 4
        out[2, cell] = (ac + bc + cd) / 4
        out[3, cell] = (ad + bd + cd) / 4
        out[4, cell] = (out[0, cell] + out[1, cell] + out[2, cell] + out[3, cell]) / 8


@_loop
def _nearest(near, apart, known, weights):
    """The nearest point of a hull: its squared distance; its weights are written down."""
    best, at = near[0], 0
    for i in range(1, 4):
        if near[i] < best:
            best, at = near[i], i
    weights[:] = 0.0
    weights[at] = 1.0
    for face in _FACES:
        total, inside = 0.0, True
        for j in range(4):
            known[face, j] = 0.0
            if face >> j & 1:
                rest = face ^ (1 << j)
                first = 0
                while not rest >> first & 1:
                    first += 1
                # Johnson's recursion, as derived in `hulls._nearest`
                cofactor = 0.0
                for i in range(4):
                    if rest >> i & 1:
                        lean = near[first] - near[j] - apart[i, first] + apart[i, j]
                        cofactor += known[rest, i] * lean
                known[face, j] = cofactor
                total += cofactor
                inside &= cofactor >= 0
        if inside and total > 0:
            away = 0.0
            for i in range(4):
                share = known[face, i] / total
                away += share * near[i]
                for j in range(i):
                    away -= share * (known[face, j] / total) * apart[i, j]
            if away < best:
                best = away
                for i in range(4):
                    weights[i] = known[face, i] / total
    return max(best, 0.0)


@_loop
def _separated(near, apart, weights, away, rounding):
    """What `hulls.separated` proves of a hull."""
    least, mean = np.inf, 0.0
    for i in range(4):
        spread = 0.0
        for j in range(4):
            spread += weights[j] * apart[i, j]
        least = min(least, near[i] - spread)
        mean += weights[i] * near[i]
    reach = max((mean + least) / 2 - 1.5 * rounding, 0.0)
    return reach * reach / max(away + 1.5 * rounding, _TINY)


@_loop
def _planes(above, below, spread, slack, means, proven):
    """What one plane a cell proves, normal to the way to its mean, for a row of cells."""
    for x in range(len(means)):
        a, b, c, d = above[x], above[x + 1], below[x], below[x + 1]
        mean = (a + b + c + d) * 0.25
        least = min(
            min(a - spread[0, x], b - spread[1, x]), min(c - spread[2, x], d - spread[3, x])
        )
        away = mean - spread[4, x]
        reach = max((mean + least) * 0.5 - slack, 0.0)
        means[x] = away
        proven[x] = reach * reach / max(away + slack, _TINY)


@_loop
def sieve(to_vectors, between, spread, width, rounding, low, high):
    """Squared distances from positions to the nearest hull, from below and from above.

    `to_vectors` (position, vector) holds squared distances to a map's vectors, `width` of them a
    row; `between` (6, cell) those between corners; `spread` (5, cell) what `spreads` made of them.
    """
    rows, vectors = to_vectors.shape
    across, down = width - 1, vectors // width - 1
    means, proven = np.empty(across * down), np.empty(across * down)
    known = np.zeros((16, 4))
    for i in range(4):
        known[1 << i, i] = 1.0
    near, apart, weights = np.empty(4), np.zeros((4, 4)), np.empty(4)
    slack = 1.5 * rounding
    for row in range(rows):
        to = to_vectors[row]
        for y in range(down):
            here, above, below = (
                slice(y * across, (y + 1) * across),
                to[y * width : (y + 1) * width],
                to[(y + 1) * width : (y + 2) * width],
            )
            _planes(above, below, spread[:, here], slack, means[here], proven[here])
        first = means.argmin()
        # the cell whose mean is nearest, then all that may be nearer than the nearest so far
        lowest = highest = np.inf
        for turn in range(across * down + 1):
            cell = first if turn == 0 else turn - 1
            if turn > 0 and (cell == first or proven[cell] > highest + 4 * rounding):
                continue
            at = cell // across * width + cell % across
            near[0], near[1], near[2], near[3] = (
                to[at],
                to[at + 1],
                to[at + width],
                to[at + width + 1],
            )
            k = 0
            for i in range(4):
                for j in range(i + 1, 4):
                    apart[i, j] = apart[j, i] = between[k, cell]
                    k += 1
            away = _nearest(near, apart, known, weights)
            lowest = min(lowest, _separated(near, apart, weights, away, rounding))
            highest = min(highest, away)
        low[row], high[row] = lowest, highest
