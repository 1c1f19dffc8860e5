"""The loops of reading between cells, compiled by numba: bilinear, and cubic B-splines.

What is computed is what `sampling` and `splines` define in torch's operations, on float32 arrays of
one image. torch's sampler computes weights anew for each of a spline's taps, and its Fourier
transforms spend most of their time on the borders of small maps: these loops take a tenth.
"""

import math
from typing import Any

import numpy as np
from numba import njit

# Products may be fused with sums; nothing else, so that what is not a number stays so. The global
# interpreter lock is released, so that images can be read by threads.
_loop: Any = njit(fastmath={"contract"}, cache=True, error_model="numpy", nogil=True)
# sums may be taken in any order, which vectors need
_sum: Any = njit(fastmath={"contract", "reassoc"}, cache=True, error_model="numpy", nogil=True)

_POLE = np.float32(math.sqrt(3) - 2)
"""Of the recursions that a cubic B-spline's coefficients come from: Unser, "Splines: a perfect fit
for signal and image processing" (1999), box 2."""
_GAIN = np.float32(36)
"""Of the recursions along both axes: 6 along each."""
_SUM = np.float32(1 / (3 - math.sqrt(3)))
"""1 / (1 - pole): what a recursion over equal values ends at, in units of these."""
_0, _1, _3, _4, _6 = (np.float32(number) for number in (0, 1, 3, 4, 6))


@_loop
def _corner(x, y, height, width):
    """The upper left of the cells around a position, clipped to the map, and the way from it."""
    x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
    # clipped once more: a position that is not a number must not be read outside the map
    left = min(max(np.int64(x), 0), max(width - 2, 0))
    top = min(max(np.int64(y), 0), max(height - 2, 0))
    return top * width + left, np.float32(x - left), np.float32(y - top)


@_loop
def _neighbours(height, width):
    """How far on the cells to the right and below lie."""
    # a map of one cell along an axis has no neighbour there, and nothing to weigh it with
    return min(width - 1, 1), width if height > 1 else 0


@_loop
def _corners(x, y, height, width):
    """List what `_corner` says of positions, as what the four cells around each count."""
    count = len(x)
    # numba looks whether an index counts from the end, unless that has no sign: twice the time
    cell = np.empty(count, np.uint32)
    # weights of left and right, of upper and lower: with one of them 0 the other reads its cell to
    # the last bit, which adding a share of the difference does not
    weights = np.empty((4, count), np.float32)
    for p in range(count):
        cell[p], u, v = _corner(x[p], y[p], height, width)
        weights[0, p], weights[1, p], weights[2, p], weights[3, p] = _1 - u, u, _1 - v, v
    east, south = _neighbours(height, width)
    return cell, weights, np.uint32(east), np.uint32(south)


@_loop
def bilinear(maps, x, y, height, width, out):
    """Read maps (channel, cell) at positions, into (channel, position), clipped to the maps."""
    cell, weights, east, south = _corners(x, y, height, width)
    for c in range(len(maps)):
        plane, read = maps[c], out[c]
        for p in range(len(cell)):
            at = cell[p]
            above = weights[0, p] * plane[at] + weights[1, p] * plane[at + east]
            below = weights[0, p] * plane[at + south] + weights[1, p] * plane[at + south + east]
            read[p] = weights[2, p] * above + weights[3, p] * below


@_sum
def compared(maps, references, means, keep, matrices, out, size, tolerance):
    """Read maps through warps as `bilinear` does, and sum squares over the positions kept.

    Maps and references are (map, cell, channel), so that a position's channels are read at once;
    `keep` is 1 or 0 (map, cell), `matrices` hold pull-backs in index coordinates (map, warp, 6). A
    warp all of whose positions are within `tolerance` of cells' centres reads there. Into `out`
    (map, warp, 2): sums of what is read, less a mean by channel, and less the reference.
    """
    height, width = size
    east, south = _neighbours(height, width)
    for b in range(len(maps)):
        for w in range(matrices.shape[1]):
            warp, on_cells = matrices[b, w], True
            for i in range(height * width):
                x, y = _read_at(warp, i, width)
                if not max(abs(x - np.rint(x)), abs(y - np.rint(y))) <= tolerance:
                    on_cells = False
                    break
            power = error = 0.0
            for i in range(height * width):
                if keep[b, i] == 0:
                    continue
                x, y = _read_at(warp, i, width)
                if on_cells:
                    x, y = np.rint(x), np.rint(y)
                at, u, v = _corner(x, y, height, width)
                nw, ne, sw, se = (_1 - u) * (_1 - v), u * (_1 - v), (_1 - u) * v, u * v
                for k in range(maps.shape[2]):
                    read = nw * maps[b, at, k] + ne * maps[b, at + east, k]
                    below = sw * maps[b, at + south, k] + se * maps[b, at + south + east, k]
                    value = np.float64(read + below - means[b, k])
                    apart = np.float64(read + below - references[b, i, k])
                    power += value * value
                    error += apart * apart
            out[b, w, 0], out[b, w, 1] = power, error


@_loop
def _read_at(warp, i, width):
    x, y = i % width, i // width
    return warp[0] * x + warp[1] * y + warp[2], warp[3] * x + warp[4] * y + warp[5]


@_loop
def coefficients(maps, pad, out):
    """Find the B-spline coefficients of maps (channel, height, width), cells first.

    The result is (height, width, channel), `pad` cells wider on every side, where the border's
    values go on for ever.
    """
    channels, height, width = maps.shape
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                out[pad + y, pad + x, c] = _GAIN * maps[c, y, x]
    for y in range(pad, pad + height):
        _recursions(out[y], pad)
    # a row of all columns and channels goes down the second axis at once
    _recursions(out.reshape(len(out), -1), pad)


@_loop
def _recursions(lines, pad):
    """Filter lines (step, number) along their steps, forward and back, in place."""
    steps, numbers = lines.shape
    for k in range(pad):
        lines[k] = lines[pad]
        lines[steps - 1 - k] = lines[steps - 1 - pad]
    for i in range(numbers):
        lines[0, i] *= _SUM
    for k in range(1, steps):
        for i in range(numbers):
            lines[k, i] += _POLE * lines[k - 1, i]
    # of equal values that go on for ever, in closed form
    for i in range(numbers):
        lines[steps - 1, i] *= -_POLE * _SUM
    for k in range(steps - 2, -1, -1):
        for i in range(numbers):
            lines[k, i] = _POLE * (lines[k + 1, i] - lines[k, i])


@_loop
def _weights(t):
    """Of the four coefficients around a position, t of a cell after the second."""
    s = _1 - t
    return (
        s * s * s / _6,
        (_4 + t * t * (_3 * t - _6)) / _6,
        (_4 + s * s * (_3 * s - _6)) / _6,
        t * t * t / _6,
    )


@_loop
def spline(found, x, y, pad, out):
    """Evaluate splines (height, width, channel) at positions x, y, into (position, channel)."""
    height, width, channels = found.shape
    cells = found.reshape(height * width, channels)
    for p in range(len(x)):
        # beyond the padding all coefficients are equal
        at_x, at_y = min(max(x[p] + pad, 1.0), width - 2.0), min(max(y[p] + pad, 1.0), height - 2.0)
        left, top = min(int(at_x), width - 3), min(int(at_y), height - 3)
        u0, u1, u2, u3 = _weights(np.float32(at_x - left))
        v0, v1, v2, v3 = _weights(np.float32(at_y - top))
        first = (top - 1) * width + left - 1
        a, b = cells[first : first + 4], cells[first + width : first + width + 4]
        third, fourth = first + 2 * width, first + 3 * width
        c, d = cells[third : third + 4], cells[fourth : fourth + 4]
        # all sixteen in one expression, a vector of channels at a time
        read = out[p]
        for i in range(channels):
            read[i] = (
                v0 * (u0 * a[0, i] + u1 * a[1, i] + u2 * a[2, i] + u3 * a[3, i])
                + v1 * (u0 * b[0, i] + u1 * b[1, i] + u2 * b[2, i] + u3 * b[3, i])
                + v2 * (u0 * c[0, i] + u1 * c[1, i] + u2 * c[2, i] + u3 * c[3, i])
                + v3 * (u0 * d[0, i] + u1 * d[1, i] + u2 * d[2, i] + u3 * d[3, i])
            )
