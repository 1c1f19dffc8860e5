"""The loops of `pooled`, compiled by numba: pooling, and gradients that visit what it kept.

Arrays are float32, channels last and contiguous. Where windows of 2 x 2 cells were pooled, `kept`
says which cell's value was kept, row by row, and `DROPPED` where the rectifier let nothing through.
So a gradient g (image, row, column, filter) of the rectified maps belongs to one cell of the
convolution's maps, or to none, and the patch that was read there to g:
- weight[f] gets the sum of g times the patch, over all g of the filter;
- the patch's pixels get the sum of g times weight[f], over all g of the position.
Both are rows of a few numbers, times a factor, on top of others: `_add_rows`, in registers.

Filters are (filter, row, `row_length`): a row's taps and channels side by side, then zeros up to
whole vectors. What lies behind a patch's row is read along with it, and counts for nothing.
"""

from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import njit, types
from numba.extending import intrinsic

DROPPED = 4
WIDTH = 16 if binding.get_host_cpu_features().get("avx512f") else 8
"""Numbers of a vector, of the widest registers there are; elsewhere two of them make one."""
_MOST_VECTORS = 9
"""Added up at once: of 16 registers some are left for what is read. A filter of 9 rows has 9."""
_CELLS, _NUMBERS = 128, 2**13
"""Cells whose gradients are sorted at once, and numbers of the maps that a vector's way through
them reads or writes: they stay in the first cache."""

# Products are fused with sums where a processor can; sums may be vectors. NaN keeps its meaning: a
# training that diverged is told by it. The interpreter's lock is released, so that threads can take
# filters or images.
_loop: Any = njit(
    fastmath={"reassoc", "contract", "nsz", "arcp"}, cache=True, error_model="numpy", nogil=True
)
# an index that cannot be negative need not be looked at before it is used
_index = np.uint64


def row_length(side: int, channels: int) -> int:
    """Numbers of a filter's row, in whole vectors."""
    return -(-side * channels // WIDTH) * WIDTH


@intrinsic
def _add_rows(
    _, vectors, out, at, out_apart, rows, start, rows_apart, first, moves, factors, begin, end
):
    """Add rows times factors to numbers that stay in registers meanwhile.

    Vector v of `vectors`, from `first` on: out[at + out_apart[v]] += the sum over q from `begin`
    to `end` of factors[q] * rows[start + rows_apart[v] + moves[q]]. The compiler would read and
    write the sums for each q anew, as it cannot know that `rows` and `out` are different arrays.
    """  # noqa: DOC201  (numba has it that a type and a builder are returned, for its own use)
    given = (vectors, out, at, out_apart, rows, start, rows_apart, first, moves, factors)

    def build(context, builder, signature, args):
        array = [
            context.make_array(kind)(context, builder, arg).data
            if isinstance(kind, types.Array)
            else arg
            for kind, arg in zip(signature.args, args, strict=True)
        ]
        done = builder.append_basic_block("done")
        choice = builder.switch(array[0], done)
        for count in range(1, _MOST_VECTORS + 1):
            block = builder.append_basic_block(f"vectors{count}")
            choice.add_case(_number(count), block)
            builder.position_at_end(block)
            _write_sum(builder, count, *array[1:], done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return types.void(*given, begin, end), build


_VECTOR = ir.VectorType(ir.FloatType(), WIDTH)


def _number(value):
    return ir.Constant(ir.IntType(64), value)


def _write_sum(
    builder, count, out, at, out_apart, rows, start, rows_apart, first, moves, factors, begin, end,
    done,
):  # fmt: skip
    """Write the loop of `_add_rows` for so many vectors, in the compiler's language."""

    def item(array, index):
        return builder.load(builder.gep(array, [index]))

    def vector(array, index):
        return builder.bitcast(builder.gep(array, [index]), _VECTOR.as_pointer())

    numbers = [builder.add(first, _number(v)) for v in range(count)]
    targets = [vector(out, builder.add(at, item(out_apart, v))) for v in numbers]
    sources = [builder.gep(rows, [builder.add(start, item(rows_apart, v))]) for v in numbers]
    before = [builder.load(target, align=4) for target in targets]
    entry, body = builder.block, builder.append_basic_block("sum")
    builder.branch(body)
    builder.position_at_end(body)
    q = builder.phi(ir.IntType(64))
    sums = [builder.phi(_VECTOR) for _ in before]
    move = builder.sext(item(moves, q), ir.IntType(64))
    nothing, lane = ir.Constant(_VECTOR, ir.Undefined), ir.IntType(32)
    factor = builder.insert_element(nothing, item(factors, q), ir.Constant(lane, 0))
    everywhere = ir.Constant(ir.VectorType(lane, WIDTH), [0] * WIDTH)
    factor = builder.shuffle_vector(factor, nothing, everywhere)
    after = []
    for total, source in zip(sums, sources, strict=True):
        product = builder.fmul(
            factor, builder.load(vector(source, move), align=4), flags=("contract",)
        )
        after.append(builder.fadd(total, product, flags=("contract",)))
    following = builder.add(q, _number(1))
    for value, initial, updated in zip(
        [q, *sums], [begin, *before], [following, *after], strict=True
    ):
        value.add_incoming(initial, entry)
        value.add_incoming(updated, body)
    last = builder.append_basic_block("store")
    builder.cbranch(builder.icmp_unsigned("<", following, end), body, last)
    builder.position_at_end(last)
    for total, target in zip(after, targets, strict=True):
        builder.store(total, target, align=4)
    builder.branch(done)


@_loop
def pool(maps, first, last, out, kept):
    """Keep the largest of 2 x 2 cells of some images, where it is positive; NaN is largest."""
    for b in range(first, last):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                upper, lower = maps[b, 2 * i], maps[b, 2 * i + 1]
                right = 2 * j + 1
                for f in range(out.shape[3]):
                    # the first of equals and the last NaN, as torch has it
                    best, at = upper[2 * j, f], np.uint8(0)
                    if upper[right, f] > best or upper[right, f] != upper[right, f]:
                        best, at = upper[right, f], np.uint8(1)
                    if lower[2 * j, f] > best or lower[2 * j, f] != lower[2 * j, f]:
                        best, at = lower[2 * j, f], np.uint8(2)
                    if lower[right, f] > best or lower[right, f] != lower[right, f]:
                        best, at = lower[right, f], np.uint8(3)
                    if best <= np.float32(0):
                        best, at = np.float32(0), np.uint8(DROPPED)
                    out[b, i, j, f], kept[b, i, j, f] = best, at


@_loop
def _vectors(filters, pitch):
    """Where the vectors of a filter lie, and those of a patch in an image of so long rows."""
    a_row = filters.shape[2] // WIDTH
    near = np.empty(filters.shape[1] * a_row, np.int64)
    apart = np.empty_like(near)
    for v in range(len(near)):
        near[v], apart[v] = v * WIDTH, v // a_row * pitch + v % a_row * WIDTH
    return near, apart


@_loop
def _rows_at_once(columns, channels):
    reach = _MOST_VECTORS * WIDTH
    return max(1, min(_CELLS // columns, _NUMBERS // (4 * columns * min(channels, reach))))


@_loop
def weight_gradient(images, size, pitch, channels, gradient, kept, first, last, out, biases):
    """Add the gradients of some filters and of their biases to zeros.

    `images` are flat, `size` numbers an image and `pitch` a row. Each filter's sum goes over the
    images in order, whoever does the others.
    """
    rows, columns, filters = gradient.shape[1:]
    near, apart = _vectors(out, pitch)
    tiles = -(-len(near) // _MOST_VECTORS)
    many = _rows_at_once(columns, channels)
    room, own = _index(many * columns + 1), last - first
    moves, factors = np.zeros(own * room, np.int32), np.zeros(own * room, np.float32)
    ends, corners = np.zeros(own, np.uint64), np.zeros(many * columns, np.int32)
    within = np.array([0, channels, pitch, pitch + channels, 0], np.int32)
    flat, gradients, cells = out.reshape(out.size), gradient.reshape(kept.size), kept.reshape(-1)
    for top in range(0, len(gradient) * rows, many):
        bottom = min(top + many, len(gradient) * rows)
        origin, count = top // rows * size, 0
        for row in range(top, bottom):
            for column in range(columns):
                corner = row // rows * size + row % rows * 2 * pitch + column * 2 * channels
                corners[count] = corner - origin
                count += 1
        for f in range(own):
            begin = end = _index(f) * room
            at = _index(top * columns * filters + first + f)
            total = np.float32(0)
            for cell in range(_index(count)):
                # written in any case and kept if it counts: no branch that could go either way
                moves[end] = corners[cell] + within[_index(cells[at])]
                factors[end] = gradients[at]
                end += _index(cells[at] < DROPPED)
                at += _index(filters)
            for q in range(begin, end):
                total += factors[q]
            biases[first + f] += total
            ends[f] = end
        for tile in range(tiles):
            v = tile * len(near) // tiles
            vectors = (tile + 1) * len(near) // tiles - v
            for f in range(own):
                begin, at = _index(f) * room, (first + f) * out[0].size
                if begin < ends[f]:
                    _add_rows(
                        vectors, flat, at, near, images, origin, apart, v, moves, factors, begin,
                        ends[f],
                    )  # fmt: skip


@_loop
def image_gradient(filters, channels, gradient, kept, size, pitch, first, last, out):
    """Write the gradients of some images, which are flat, `size` numbers each, `pitch` a row."""
    rows, columns, count = gradient.shape[1:]
    near, apart = _vectors(filters, pitch)
    tiles = -(-len(near) // _MOST_VECTORS)
    many = _rows_at_once(columns, channels)
    room = many * columns * 4 * count
    # the last is for what was dropped
    moves, factors = np.zeros(room + 1, np.int32), np.zeros(room + 1, np.float32)
    ends, now = np.zeros(many * columns * 4, np.uint64), np.zeros(5, np.uint64)
    places = np.zeros(many * columns * 4, np.int64)
    flat, gradients, cells = filters.reshape(filters.size), gradient.reshape(-1), kept.reshape(-1)
    out[first * size : last * size] = 0
    for top in range(first * rows, last * rows, many):
        bottom = min(top + many, last * rows)
        # Positions below each other follow each other: sums that were just written are read again
        # as a whole or not at all, where those beside each other would wait for half of them.
        for row in range(top, bottom):
            corner = row // rows * size + row % rows * 2 * pitch
            for column in range(columns):
                for cell in range(4):
                    p = (column * 4 + cell) * (bottom - top) + row - top
                    places[p] = corner + cell // 2 * pitch + (column * 2 + cell % 2) * channels
                    now[cell] = p * count
                now[DROPPED], at, move = room, _index((row * columns + column) * count), 0
                for f in range(_index(count)):
                    cell = _index(cells[at + f])
                    moves[now[cell]], factors[now[cell]] = move, gradients[at + f]
                    now[cell] += _index(cell < _index(DROPPED))
                    move += filters[0].size
                for cell in range(4):
                    ends[(column * 4 + cell) * (bottom - top) + row - top] = now[cell]
        for tile in range(tiles):
            v = tile * len(near) // tiles
            vectors = (tile + 1) * len(near) // tiles - v
            for p in range((bottom - top) * columns * 4):
                if p * count < ends[p]:
                    _add_rows(
                        vectors, out, places[p], apart, flat, 0, near, v, moves, factors,
                        _index(p * count), ends[p],
                    )  # fmt: skip
