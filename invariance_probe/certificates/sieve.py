"""The loops of the any-warp bound, compiled by numba: each position's way through all cells.

What is computed is what `any_warp._to_nearest_hull` and `hulls` define, the first sieve in float32
and what is returned in float64; they are the truth that tests hold these loops against, and the
derivations stand there.
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

_STEPS = 2
"""Steps from a cell's mean before all its faces are tried: these leave three or four cells."""

_STRIP = 256
"""Cells that are looked at together: enough to make vectors of, and one kilobyte of each array."""

_FAR = np.float32(1e15)
"""Beyond all squares, which are those of maps in units of their longest vectors; its own square and
the product with another are within the range of float32."""
_BLUR = 4 * 1.1920929e-07
"""What a handful of operations in float32 may round, of the largest term."""

_NONE, _QUARTER, _HALF = np.float32(0), np.float32(0.25), np.float32(0.5)
_LESS, _MORE = np.float32(0.5 - _BLUR), np.float32(1 + _BLUR)


@_loop
def spreads(between, width, out):
    """The s_i of `hulls.separated` for weights of 1/4, and their sum / 8, cell by cell, in float32.

    A cell's place in `out` is that of its upper left corner, so that loops pass over a map in one
    go. Between the last corners of a row and the first of the next there is none: what is written
    there keeps everything away.
    """
    out[:] = -_FAR
    for cell in range(len(between)):
        ab, ac, ad, bc, bd, cd = between[cell]
        at = cell + cell // (width - 1)
        a, b, c, d = (ab + ac + ad) / 4, (ab + bc + bd) / 4, (ac + bc + cd) / 4, (ad + bd + cd) / 4
        # what float32 rounds in `_planes` is made up for here as far as it grows with these
        blur = _BLUR * max(max(a, b), max(c, d))
        out[0, at], out[1, at], out[2, at], out[3, at] = (
            a + 2 * blur,
            b + 2 * blur,
            c + 2 * blur,
            d + 2 * blur,
        )
        out[4, at] = (a + b + c + d) / 8 - blur


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
def _approach(near, apart, weights, enough, rounding):
    """What planes prove of a hull, at its mean and a few steps nearer; and how near these come."""
    # Steps are those of Frank and Wolfe: each towards the corner that supports the plane, as far as
    # the distance falls. They end where more than `enough` is proven.
    proven, nearest = 0.0, np.inf
    weights[:] = 0.25
    for step in range(_STEPS + 1):
        mean = inner = ahead = 0.0
        least, corner = np.inf, 0
        for i in range(4):
            spread = 0.0
            for j in range(4):
                spread += weights[j] * apart[i, j]
            mean += weights[i] * near[i]
            inner += weights[i] * spread / 2
            if near[i] - spread < least:
                least, corner, ahead = near[i] - spread, i, spread
        # as `hulls.separated` has it; |f - x|^2 = mean - inner, and |c_k - x|^2 = s_k - inner
        away = mean - inner
        reach = max((mean + least) / 2 - 1.5 * rounding, 0.0)
        proven = max(proven, reach * reach / max(away + 1.5 * rounding, _TINY))
        nearest = min(nearest, away)
        if proven > enough or step == _STEPS:
            break
        # any share in [0, 1] gives a point of the hull
        share = (away - (mean + least) / 2) / max(ahead - inner, _TINY)
        share = min(max(share, 0.0), 1.0)
        for i in range(4):
            weights[i] *= 1 - share
        weights[corner] += share
    return proven, nearest


@_loop
def _lower(above, below, spread, nearest):
    """Lower each of `nearest` to the squared distance to the mean of a cell, in one strip."""
    for x in range(len(spread)):
        mean = (above[x] + above[x + 1] + below[x] + below[x + 1]) * _QUARTER
        nearest[x] = min(nearest[x], mean - spread[x])


@_loop
def _nearest_mean(to, spread, width, nearest):
    """The cell whose mean is nearest."""
    # compilers make vectors of minima side by side, not of one minimum
    nearest[:] = np.inf
    cells = len(to) - width - 1
    for start in range(0, cells, _STRIP):
        stop = min(start + _STRIP, cells)
        above, below = to[start : stop + 1], to[start + width : stop + width + 1]
        _lower(above, below, spread[4, start:stop], nearest)
    place = nearest.argmin()
    least, at = np.inf, place
    for cell in range(place, cells, _STRIP):
        mean = (to[cell] + to[cell + 1] + to[cell + width] + to[cell + width + 1]) * _QUARTER
        if mean - spread[4, cell] < least:
            least, at = mean - spread[4, cell], cell
    return at


@_loop
def _planes(above, below, a, b, c, d, inner, enough, slack, surplus):
    """By how much a plane at each mean proves more than enough; how many cells do not have it."""
    left = 0
    for x in range(len(inner)):
        mean = (above[x] + above[x + 1] + below[x] + below[x + 1]) * _QUARTER
        least = min(
            min(above[x] - a[x], above[x + 1] - b[x]), min(below[x] - c[x], below[x + 1] - d[x])
        )
        # rounding is made up for: as far as it grows with the spreads, these hold it already
        reach = max(mean * _LESS + least * _HALF - slack, _NONE)
        # the square of `reach` over the distance is compared, without dividing
        surplus[x] = reach * reach - enough * max(mean * _MORE - inner[x] + slack, _NONE)
        left += surplus[x] <= _NONE
    return left


@_loop
def _possible(to, spread, width, enough, slack, surplus, left):
    """Write down the cells whose planes do not prove enough, and count them."""
    count, cells = 0, len(to) - width - 1
    for start in range(0, cells, _STRIP):
        stop = min(start + _STRIP, cells)
        above, below = to[start : stop + 1], to[start + width : stop + width + 1]
        a, b, c, d, inner = (
            spread[0, start:stop],
            spread[1, start:stop],
            spread[2, start:stop],
            spread[3, start:stop],
            spread[4, start:stop],
        )
        if _planes(above, below, a, b, c, d, inner, enough, slack, surplus):
            for x in range(stop - start):
                if surplus[x] <= _NONE:
                    left[count] = start + x
                    count += 1
    return count


@_loop
def _look(to, between, width, at, near, apart):
    """Write down the squared distances from a position to a cell's corners, and between these."""
    near[0], near[1], near[2], near[3] = to[at], to[at + 1], to[at + width], to[at + width + 1]
    cell = at - at // width
    ab, ac, ad = between[cell, 0], between[cell, 1], between[cell, 2]
    bc, bd, cd = between[cell, 3], between[cell, 4], between[cell, 5]
    apart[0, 1] = apart[1, 0] = ab
    apart[0, 2] = apart[2, 0] = ac
    apart[0, 3] = apart[3, 0] = ad
    apart[1, 2] = apart[2, 1] = bc
    apart[1, 3] = apart[3, 1] = bd
    apart[2, 3] = apart[3, 2] = cd


@_loop
def sieve(to_vectors, between, spread, width, rounding, low, high):
    """Squared distances from positions to the nearest hull, from below and from above.

    `to_vectors` (position, vector) holds squared distances to a map's vectors, `width` of them a
    row; `between` (cell, 6) those between corners; `spread` (5, vector) what `spreads` made of
    them. Cells go through three sieves, each of which leaves few to the next: the planes at their
    means, in float32, those of `_approach`, and all their faces.
    """
    rows, vectors = to_vectors.shape
    strip, rough = np.empty(_STRIP, np.float32), np.empty(vectors, np.float32)
    left, proven = np.empty(vectors + 1, np.int64), np.empty(vectors + 1)
    known = np.zeros((16, 4))
    for i in range(4):
        known[1 << i, i] = 1.0
    near, apart, weights = np.empty(4), np.zeros((4, 4)), np.empty(4)
    slack, margin = 1.5 * rounding, 4 * rounding
    for row in range(rows):
        to = to_vectors[row]
        for vector in range(vectors):
            rough[vector] = to[vector]
        _look(to, between, width, _nearest_mean(rough, spread, width, strip), near, apart)
        _, ceiling = _approach(near, apart, weights, np.inf, rounding)
        enough = np.float32(ceiling + margin)
        count = _possible(rough, spread, width, enough, np.float32(slack), strip, left)
        for k in range(count):
            _look(to, between, width, left[k], near, apart)
            proven[k], reached = _approach(near, apart, weights, ceiling + margin, rounding)
            ceiling = min(ceiling, reached)
        lowest = highest = np.inf
        for k in range(count):
            if proven[k] <= ceiling + margin:
                _look(to, between, width, left[k], near, apart)
                away = _nearest(near, apart, known, weights)
                lowest = min(lowest, _separated(near, apart, weights, away, rounding))
                highest = min(highest, away)
                ceiling = min(ceiling, away)
        low[row], high[row] = lowest, highest
