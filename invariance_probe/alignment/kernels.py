"""The loops of the search, compiled by numba: one warp's evaluation, its descent, a pair's rounds.

What is computed is what `objectives`, `distortion`, `solver` and `search` define, on float32
arrays; they are the truth that tests hold these loops against. `fused` prepares the arrays.

A pair's maps are a tuple (target, source, gram, chosen, squares, points, count, width, tags,
entries, cells, work), in one of two forms:
- `CELLS`: F (cell, channel) and G (cell, channel); the ten inner products of each cell (cell, 10);
  the cells of the positions that count, and for these <F(p), F(p)>; then `count`, of how many
  entries the arrays by position are in use. What is known of <F(p), G(q)> is kept in `entries`
  (position, slot, 4) for the cells that `tags` (position, slot) names: it is computed where a warp
  first reads. `cells` and `work` are room for an evaluation;
- `PLANES`: F (channel, position) and G (channel, cell), for few channels; nothing of the rest but
  `count`;
in both, `points` are the positions' isotropic coordinates (2, position), and `width` is the map's,
in cells.
"""

import math
from typing import Any

import numpy as np
from numba import njit

CELLS, PLANES = range(2)

SLOTS = 64
"""Cells of which a position remembers what it has in common with them: a warp and those beside it
read from fewer. A power of two."""

_ERROR, _SLOPES, _MATRIX, _SUMS = 0, 1, 7, 25
"""Where the sums of an evaluation lie: the error; six of J^T r; three times six of J^T J, whose
blocks X X, X Y and Y Y are symmetric."""

# Sums may be taken in any order and products fused with them, which vectors need. NaN and infinity
# keep their meaning: errors that are not finite are told by it. The global interpreter lock is
# released, so that pairs can be searched by threads.
_step_by_step: Any = njit(cache=True, error_model="numpy", nogil=True)
# What makes no arrays need not count who refers to them, which took a third of the time.
_uncounted: Any = {"_nrt": False}
_plain: Any = njit(cache=True, error_model="numpy", nogil=True, **_uncounted)
_loop: Any = njit(
    cache=True,
    error_model="numpy",
    nogil=True,
    fastmath={"reassoc", "contract", "nsz", "arcp"},
    **_uncounted,
)

_EPSILON, _TINY = 1.1920929e-07, 1.1754944e-38
DUPLICATES_WITHIN = 32
_0, _1, _2 = np.float32(0), np.float32(1), np.float32(2)


@_plain
def _copy(values, out):
    # assigning to a slice brings its errors' texts, which take seconds to compile
    for i in range(len(values)):
        out[i] = values[i]


@_loop
def _places(warp, scale, last):
    """Bring an affine warp from isotropic coordinates to indices."""
    # in single precision, as torch does it: in double, warps near quarter turns no longer read
    # exactly at cells' centres, whose minima are then missed
    sx, sy, half = scale[0], scale[1], np.float32(0.5)
    return (
        np.float32(warp[0]) * sx,
        np.float32(warp[1]) * sx,
        np.float32(warp[2]) * sx + last[0] * half,
        np.float32(warp[3]) * sy,
        np.float32(warp[4]) * sy,
        np.float32(warp[5]) * sy + last[1] * half,
    )


@_loop
def _corner(places, x, y, scale, last, width, most):
    """The cell that is read, the fractions within it, and how they move with the warp."""
    free_x = places[0] * x + places[1] * y + places[2]
    free_y = places[3] * x + places[4] * y + places[5]
    at_x, at_y = min(max(free_x, _0), last[0]), min(max(free_y, _0), last[1])
    # beyond the border the sampler repeats it: nothing changes with the warp there
    unit_x = scale[0] if free_x == at_x else _0
    unit_y = scale[1] if free_y == at_y else _0
    left, top = min(np.floor(at_x), last[0] - _1), min(np.floor(at_y), last[1] - _1)
    # clamped once more: a warp that is NaN must not read outside the maps
    cell = min(max(np.int32(top) * width + np.int32(left), np.int32(0)), most)
    return cell, at_x - left, at_y - top, unit_x, unit_y


@_loop
def _added(sums, x, y, rr, rx, ry, xx, xy, yy):
    """Add what one position brings; J has G_x (x, y, 1) and G_y (x, y, 1) in its columns."""
    ax, ay = xx * x, xx * y
    bx, by = xy * x, xy * y
    cx, cy = yy * x, yy * y
    # a row a block of J^T J, which the formatter would write a line a sum
    # a row of three is (x, y, 1) times one number: the formatter is kept from parting them
    return (
        sums[0] + rr,
        sums[1] + rx * x, sums[2] + rx * y, sums[3] + rx,
        sums[4] + ry * x, sums[5] + ry * y, sums[6] + ry,
        sums[7] + ax * x, sums[8] + ax * y, sums[9] + ax,
        sums[10] + ay * y, sums[11] + ay, sums[12] + xx,
        sums[13] + bx * x, sums[14] + bx * y, sums[15] + bx,
        sums[16] + by * y, sums[17] + by, sums[18] + xy,
        sums[19] + cx * x, sums[20] + cx * y, sums[21] + cx,
        sums[22] + cy * y, sums[23] + cy, sums[24] + yy,
    )  # fmt: skip


_NOTHING = (_0,) * _SUMS


@_loop
def _sums_of_planes(warp, maps, scale, last, out):
    target, source, _, _, _, points, count, width, _, _, _, _ = maps
    places, most = _places(warp, scale, last), np.int32(source.shape[1] - width - 2)
    sums = _NOTHING
    for k in range(len(target)):
        plane, wanted = source[k], target[k]
        for i in range(count):
            x, y = points[0, i], points[1, i]
            at, u, v, unit_x, unit_y = _corner(places, x, y, scale, last, width, most)
            nw, sw = plane[at], plane[at + width]
            n, s = plane[at + np.int32(1)] - nw, plane[at + width + np.int32(1)] - sw
            above = nw + u * n
            gx, gy = n + v * (s - n), sw + u * s - above
            r = above + v * gy - wanted[i]
            gx, gy = gx * unit_x, gy * unit_y
            sums = _added(sums, x, y, r * r, gx * r, gy * r, gx * gx, gx * gy, gy * gy)
    for i in range(_SUMS):
        out[i] = sums[i]


@_loop
def _sums_of_cells(warp, maps, scale, last, out):
    target, source, gram, chosen, squares, points, count, width, tags, entries, cells, work = maps
    places, most = _places(warp, scale, last), np.int32(len(source) - width - 2)
    for i in range(count):
        at, u, v, unit_x, unit_y = _corner(
            places, points[0, i], points[1, i], scale, last, width, most
        )
        cells[i] = at
        work[0, i], work[1, i], work[2, i], work[3, i] = u, v, unit_x, unit_y
    for i in range(count):
        at = cells[i]
        if tags[i, at & (SLOTS - 1)] != at:
            _fill(target, source, gram, squares, chosen, i, at, width, tags, entries)
    for i in range(count):
        at = cells[i]
        slot = at & (SLOTS - 1)
        for k in range(4):
            work[4 + k, i] = entries[i, slot, k]
        for k in range(6):
            work[8 + k, i] = gram[at, 4 + k]
    sums = _NOTHING
    for i in range(count):
        u, v, unit_x, unit_y = work[0, i], work[1, i], work[2, i], work[3, i]
        e, p, q, r = work[4, i], work[5, i], work[6, i], work[7, i]
        bb, bc, cc = work[8, i], work[9, i], work[10, i]
        bd, cd, dd = work[11, i], work[12, i], work[13, i]
        dv = cd + u * dd
        xx, xy, yy = bb + v * (_2 * bd + v * dd), bc + u * bd + v * dv, cc + u * (dv + cd)
        t = p + v * (r + v * cd)
        rx, ry = t + u * xx, q + u * (r + u * bd) + v * yy
        rr = e + u * (t + rx) + v * (_2 * q + v * cc)
        rx, ry = rx * unit_x, ry * unit_y
        xx, xy, yy = xx * unit_x * unit_x, xy * unit_x * unit_y, yy * unit_y * unit_y
        sums = _added(sums, points[0, i], points[1, i], rr, rx, ry, xx, xy, yy)
    for i in range(_SUMS):
        out[i] = sums[i]


@_loop
def _fill(target, source, gram, squares, chosen, i, at, width, tags, entries):
    """Coefficients of the error of a position inside a cell; see `objectives.InnerProducts`."""
    fa = right = below = across = _0
    here = chosen[i]
    for k in range(target.shape[1]):
        f = target[here, k]
        fa += f * source[at, k]
        right += f * source[at + 1, k]
        below += f * source[at + width, k]
        across += f * source[at + width + 1, k]
    slot = at & (SLOTS - 1)
    tags[i, slot] = at
    entries[i, slot, 0] = gram[at, 0] - _2 * fa + squares[i]
    entries[i, slot, 1] = gram[at, 1] - right + fa
    entries[i, slot, 2] = gram[at, 2] - below + fa
    entries[i, slot, 3] = gram[at, 3] - across + right + below - fa


@_plain
def _evaluate(kind, warp, maps, scale, last, out):
    """Error, gradient and Gauss-Newton matrix of a warp, as sums; NaN becomes infinite."""
    if kind == CELLS:
        _sums_of_cells(warp, maps, scale, last, out)
    else:
        _sums_of_planes(warp, maps, scale, last, out)
    if not math.isfinite(out[_ERROR]):
        out[_ERROR] = math.inf


@_plain
def _limit(warp, oracle, bound):
    """`distortion.limit_distortion` of one warp, in place; True if it was outside."""
    det = oracle[0] * oracle[4] - oracle[1] * oracle[3]
    i00, i01, i10, i11 = oracle[4] / det, -oracle[1] / det, -oracle[3] / det, oracle[0] / det
    r00, r01 = warp[0] * i00 + warp[1] * i10, warp[0] * i01 + warp[1] * i11
    r10, r11 = warp[3] * i00 + warp[4] * i10, warp[3] * i01 + warp[4] * i11
    e, f, g, h = (r00 + r11) / 2, (r00 - r11) / 2, (r10 + r01) / 2, (r10 - r01) / 2
    q, r = math.hypot(e, h), math.hypot(f, g)
    large, small = q + r, q - r
    if not (large > bound * (1 + 1e-6) or small < (1 - 1e-6) / bound):
        return False
    large, small = min(max(large, 1 / bound), bound), min(max(small, 1 / bound), bound)
    if q > 0:
        e, h = e * (large + small) / 2 / q, h * (large + small) / 2 / q
    else:
        e, h = (large + small) / 2, 0.0
    flip = (large - small) / 2 / r if r > 0 else 0.0
    f, g = f * flip, g * flip
    warp[0] = (e + f) * oracle[0] + (g - h) * oracle[3]
    warp[1] = (e + f) * oracle[1] + (g - h) * oracle[4]
    warp[3] = (g + h) * oracle[0] + (e - f) * oracle[3]
    warp[4] = (g + h) * oracle[1] + (e - f) * oracle[4]
    return True


@_plain
def _unfold(sums, matrix):
    """Write the 18 different sums of J^T J as the 6 x 6 matrix."""
    for block, row, column in ((0, 0, 0), (1, 0, 3), (2, 3, 3)):
        at = _MATRIX + 6 * block
        for i in range(3):
            for j in range(i, 3):
                matrix[row + i, column + j] = sums[at]
                matrix[row + j, column + i] = sums[at]
                at += 1
    for i in range(3):
        for j in range(3):
            matrix[3 + i, j] = matrix[j, 3 + i]


@_plain
def _solve(matrix, gradient, damping, factor, step):
    """Solve (H + damping diag H) s = -g by Cholesky; the largest entry of H's diagonal."""
    top = 0.0
    for i in range(6):
        top = max(top, matrix[i, i])
    for i in range(6):
        for j in range(i + 1):
            v = matrix[i, j]
            if i == j:
                v += matrix[i, i] * damping + 1e-9 * top + 1e-30
            for k in range(j):
                v -= factor[i, k] * factor[j, k]
            factor[i, j] = math.sqrt(max(v, 1e-30)) if i == j else v / factor[j, j]
    for i in range(6):
        v = -gradient[i]
        for k in range(i):
            v -= factor[i, k] * step[k]
        step[i] = v / factor[i, i]
    for i in range(5, -1, -1):
        v = step[i]
        for k in range(i + 1, 6):
            v -= factor[k, i] * step[k]
        step[i] = v / factor[i, i]
    for i in range(6):
        if not math.isfinite(step[i]):
            step[i] = 0.0
    return top


@_step_by_step
def _best(error, warps, alive, count, order):
    """Numbers of the best warps, near duplicates last, as `search._best`."""
    ranked = np.argsort(error[:alive], kind="mergesort")
    most = min(2 * count, alive)
    repeated = np.zeros(most, np.bool_)
    if count > 1:
        for i in range(most):
            for j in range(max(0, i - DUPLICATES_WITHIN + 1), i):
                apart = 0.0
                for t in range(6):
                    apart = max(apart, abs(warps[ranked[i], t] - warps[ranked[j], t]))
                if apart < 1e-3:
                    repeated[i] = True
                    break
    kept = 0
    for again in (False, True):
        for i in range(most):
            if repeated[i] == again and kept < count:
                order[kept] = ranked[i]
                kept += 1
    return kept


@_plain
def _descend(kind, warp, here, damping, steps, oracle, bound, maps, scale, last, work):
    """Take up to `steps` Levenberg-Marquardt steps from a warp, in place, as `solver._step` does.

    Returns:
        The damping, the steps taken, whether it is done, and 1 or 0 if the last step that was an
        improvement did or did not have to be brought back into the family, -1 without one.
    """
    matrix, factor, step, trial, there = work
    limited, taken, done = -1, 0, False
    while taken < steps and not done and here[_ERROR] < math.inf:
        _unfold(here, matrix)
        top = _solve(matrix, here[_SLOPES:], damping, factor, step)
        for t in range(6):
            trial[t] = warp[t] + step[t]
        outside = _limit(trial, oracle, bound)
        _evaluate(kind, trial, maps, scale, last, there)
        promised = 0.0
        for t in range(6):
            along = 0.0
            for k in range(6):
                along += matrix[t, k] * step[k]
            promised -= step[t] * (2 * here[_SLOPES + t] + along)
        error, gain = here[_ERROR], here[_ERROR] - there[_ERROR]
        better = gain > 0
        done = (better and gain <= 1e-6 * error) or promised <= 1e-6 * error
        damping = min(max(damping / 10 if better else damping * 10, 1e-9), 1e12)
        done = done or (not better and damping > 1e8) or error <= 16 * _EPSILON * top
        taken += 1
        if better:
            limited = int(outside)
            _copy(trial, warp)
            _copy(there, here)
    return damping, taken, done, limited


@_plain
def _assessed(kind, warps, confined, known, oracle, bound, maps, scale, last, sums):
    """Evaluate warps, if wanted brought into the family; known ones only where that moves them."""
    for i in range(len(warps)):
        moved = confined and _limit(warps[i], oracle, bound)
        if moved or not known:
            _evaluate(kind, warps[i], maps, scale, last, sums[i])


@_plain
def _round(kind, steps, warps, sums, damping, taken, flags, oracle, bound, maps, scale, last, work):
    """Take up to `steps` steps from all warps that are not done."""
    for i in range(len(warps)):
        if flags[i, 0]:
            continue
        damping[i], more, flags[i, 0], outside = _descend(
            kind, warps[i], sums[i], damping[i], steps, oracle, bound, maps, scale, last, work
        )
        taken[i] += more
        if outside >= 0:
            flags[i, 1] = outside > 0


@_step_by_step
def search_pair(kind, warps, oracle, look, rounds, bound, maps, scale, last, found):
    """Search one pair on one level: look at all warps, then take and keep, round by round.

    `rounds` has a row (steps, warps kept) a round; `found` gets, warp by warp, its six numbers, the
    steps taken, and 1 or 0 for "done" and "brought back into the family".
    """
    work = np.zeros((6, 6)), np.zeros((6, 6)), np.zeros(6), np.empty(6), np.empty(_SUMS)
    warps, alive, looked = warps.copy(), len(warps), look < len(warps)
    sums = np.empty((alive, _SUMS))
    if looked:
        _assessed(kind, warps, False, False, oracle, bound, maps, scale, last, sums)
        kept = np.argsort(sums[:, _ERROR], kind="mergesort")[:look]
        warps, sums, alive = warps[kept], sums[kept], look
    _assessed(kind, warps, True, looked, oracle, bound, maps, scale, last, sums)
    damping, taken = np.full(alive, 1e-3), np.zeros(alive, np.int64)
    flags, order = np.zeros((alive, 2), np.bool_), np.empty(alive, np.int64)
    for steps, count in rounds:
        _round(
            kind, steps, warps, sums, damping, taken, flags, oracle, bound, maps, scale, last, work
        )
        kept = order[: _best(sums[:, _ERROR], warps, alive, count, order)]
        alive = len(kept)
        warps, sums, damping = warps[kept], sums[kept], damping[kept]
        taken, flags = taken[kept], flags[kept]
    for i in range(len(found)):
        j = min(i, alive - 1)
        _copy(warps[j], found[i])
        found[i, 6], found[i, 7], found[i, 8] = taken[j], flags[j, 0], flags[j, 1]


@_loop
def _grams(source, height, width, out):
    """The ten inner products of each cell's corner combinations; see `objectives.InnerProducts`."""
    for i in range(height - 1):
        for j in range(width - 1):
            at = i * width + j
            nw, ne, sw, se = source[at], source[at + 1], source[at + width], source[at + width + 1]
            aa = ab = ac = ad = bb = bc = cc = bd = cd = dd = _0
            for k in range(source.shape[1]):
                a = nw[k]
                b, c = ne[k] - a, sw[k] - a
                d = se[k] - a - b - c
                aa += a * a
                ab += a * b
                ac += a * c
                ad += a * d
                bb += b * b
                bc += b * c
                cc += c * c
                bd += b * d
                cd += c * d
                dd += d * d
            out[at, 0], out[at, 1], out[at, 2], out[at, 3] = aa, ab, ac, ad + bc
            out[at, 4], out[at, 5], out[at, 6] = bb, bc, cc
            out[at, 7], out[at, 8], out[at, 9] = bd, cd, dd


@_loop
def _centred(maps, mean, factor, out):
    for i in range(len(maps)):
        for k in range(len(mean)):
            out[i, k] = (maps[i, k] - mean[k]) * factor


@_loop
def _energy(maps, mean):
    total = 0.0
    for i in range(len(maps)):
        here = _0
        for k in range(len(mean)):
            here += (maps[i, k] - mean[k]) ** 2
        total += here
    return total


@_loop
def _shrunk(maps, size, out, new_size):
    """Average maps down, as `torch.nn.functional.adaptive_avg_pool2d`."""
    height, width, new_height, new_width = size[0], size[1], new_size[0], new_size[1]
    for i in range(new_height):
        rows = range(i * height // new_height, -(-(i + 1) * height // new_height))
        for j in range(new_width):
            columns = range(j * width // new_width, -(-(j + 1) * width // new_width))
            mean = out[i * new_width + j]
            for k in range(len(mean)):
                mean[k] = _0
            for y in rows:
                for x in columns:
                    cell = maps[y * width + x]
                    for k in range(len(mean)):
                        mean[k] += cell[k]
            share = np.float32(1 / (len(rows) * len(columns)))
            for k in range(len(mean)):
                mean[k] *= share


@_step_by_step
def search_pairs(oracles, rows, maps, starts, levels, stages, bound, found):
    """Search pairs from the coarsest level to the finest; see `schedule.coarse_to_fine`.

    Args:
        oracles: (row, 6), in isotropic coordinates.
        rows: Which pairs they are for.
        maps: F and G (pair, cell, channel), channel means (pair, channel), 1 in the region and 0
            outside (pair, cell).
        starts: Rotations with scalings (turn, 2, 2) and shifts (side, 2) of the oracle, as
            `schedule.far_moves`; nudges of the oracle and of the best so far, as `schedule.nudges`.
        levels: Sizes of the maps (level, 2), full ones first; points of all their cells, one level
            after another (2, cell); scale and last index (level, 2) each; the order in which
            positions of the full map are chosen.
        stages: Number of the level, positions that count at most, look, 1 if warps beside others
            join, and number of rounds (stage, 5); the rounds (stage, round, 2).
        bound: Of the family.
        found: Gets what `search_pair` finds, (row, 9).
    """
    sizes, most = levels[0], 0
    first = np.zeros(len(sizes) + 1, np.int64)
    for n in range(len(sizes)):
        first[n + 1] = first[n] + sizes[n, 0] * sizes[n, 1]
    for stage in stages[0]:
        most = max(most, min(stage[1], first[stage[0] + 1] - first[stage[0]]))
    channels, total = maps[0].shape[2], first[-1]
    # unpacked from one array, numba would not know that they are contiguous
    target = np.empty((total, channels), np.float32)
    source = np.empty((total, channels), np.float32)
    inside, gram = np.empty((total, 1), np.float32), np.empty((total, 10), np.float32)
    tags, entries = np.empty((most, SLOTS), np.int32), np.empty((most, SLOTS, 4), np.float32)
    chosen, squares = np.empty(most, np.int32), np.empty(most, np.float32)
    points, cells = np.empty((2, most), np.float32), np.empty(most, np.int32)
    work = np.empty((14, most), np.float32)
    for row in range(len(rows)):
        b, oracle = rows[row], oracles[row]
        _averaged(b, maps, sizes, first, target, source, inside, gram)
        warps = _far_starts(oracle, starts[0], starts[1])
        for s in range(len(stages[0])):
            n, limit, look, nudged, taken = stages[0][s]
            here = slice(first[n], first[n + 1])
            if nudged:
                warps = _with_nudges(warps, oracle, starts[2], starts[3], s > 0)
            count = _choose(limit, n, first, inside, target, levels, chosen, points, squares)
            tags[:count] = -1
            on = (
                *(target[here], source[here], gram[here], chosen, squares, points, count),
                *(np.int32(sizes[n, 1]), tags, entries, cells, work),
            )
            rounds = stages[1][s, :taken]
            kept = np.empty((rounds[-1, 1], 9))
            told = CELLS, warps, oracle, min(look, len(warps)), rounds, bound
            search_pair(*told, on, levels[2][n], levels[3][n], kept)
            warps = np.ascontiguousarray(kept[:, :6])
        _copy(kept[0], found[row])


@_plain
def _averaged(b, maps, sizes, first, target, source, inside, gram):
    """Centre and scale a pair's maps, and average them down, level by level."""
    references, moved, means, regions = maps
    mean, cells = means[b], first[1]
    # centring keeps inner products small beside the error that they add up to
    unit = math.sqrt(_energy(references[b], mean) / (cells * references.shape[2]))
    factor = np.float32(1 / max(unit, _TINY))
    _centred(references[b], mean, factor, target)
    _centred(moved[b], mean, factor, source)
    for i in range(cells):
        inside[i, 0] = regions[b, i]
    for n in range(len(sizes)):
        here, finer = first[n], first[n - 1]
        if n > 0:
            for each in (target, source, inside):
                _shrunk(each[finer:], sizes[n - 1], each[here:], sizes[n])
            for i in range(here, first[n + 1]):
                inside[i, 0] = np.float32(inside[i, 0] > np.float32(0.5))
        _grams(source[here:], sizes[n, 0], sizes[n, 1], gram[here:])


@_plain
def _choose(limit, n, first, inside, target, levels, chosen, points, squares):
    """Choose positions of the region, as `objectives.Level.chosen`; how many they are."""
    count, start = 0, first[n]
    for k in range(first[n + 1] - start):
        i = levels[4][k] if n == 0 else k
        if count < limit and inside[start + i, 0] > 0:
            chosen[count] = i
            points[0, count], points[1, count] = levels[1][0, start + i], levels[1][1, start + i]
            squares[count] = _square(target, start + i)
            count += 1
    return count


@_loop
def _square(maps, i):
    total = _0
    for k in range(maps.shape[1]):
        total += maps[i, k] * maps[i, k]
    return total


@_step_by_step
def _far_starts(oracle, turns, sides):
    """`search._far_starts` of one pair."""
    warps = np.zeros((2 + len(turns) * len(sides), 6))
    warps[1, 0] = warps[1, 4] = 1
    _copy(oracle, warps[0])
    for i in range(len(turns)):
        for j in range(len(sides)):
            warp, turn = warps[2 + i * len(sides) + j], turns[i]
            for k in range(2):
                for t in range(2):
                    warp[3 * k + t] = turn[k, 0] * oracle[t] + turn[k, 1] * oracle[3 + t]
                warp[3 * k + 2] = oracle[3 * k + 2] + sides[j, k]
    return warps


@_step_by_step
def _with_nudges(warps, oracle, near, nearest, of_best):
    """Add warps beside the oracle and, if wanted, beside the best."""
    count = len(warps) + len(near) + len(nearest) * int(of_best)
    every = np.empty((count, 6))
    for i in range(len(warps)):
        _copy(warps[i], every[i])
    for i in range(len(warps), count):
        j = i - len(warps)
        beside, nudge = (oracle, near[j]) if j < len(near) else (warps[0], nearest[j - len(near)])
        _copy(beside, every[i])
        every[i, 2] += nudge[0]
        every[i, 5] += nudge[1]
    return every
