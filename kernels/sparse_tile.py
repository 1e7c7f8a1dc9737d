"""The microkernel of the sparse products: a few rows in registers, and only steps that matter.

    out[r, c] = values[left[r, p0]] * right[p0, c] + values[left[r, p1]] * right[p1, c] + ...

Each element is one chain of fused multiply-adds in the order of the places p0, p1, ..., as in
`tile`. The places are the steps of k at which at least one of the rows is not zero. The left
operand stays bytes, as in the images. A table of 256 numbers says what each byte stands for.

Three rows share each load of the right operand, so that the second-level cache keeps up with
the multiplications. With more rows, fewer steps have only zeros. Of 100 pixels of MNIST, 19 are not
zero; in two images together 29, in three 35, in four 39; in three pixels side by side 25.
"""

import functools
import itertools

import numpy as np
from llvmlite import ir
from numba import types

from jitprop.kernels.compiler.cpu import INSTRUCTIONS
from jitprop.kernels.compiler.lanes import I32, I64, lowers
from jitprop.kernels.compiler.simd import LANES
from jitprop.kernels.tile import SHAPE, Row, kinds_of_rows, no_unrolling

ROWS = 3
# Vectors of one row. Beside the sums, registers hold a vector of the right operand, and an element
# for each row.
VECTORS = {"avx512": 9, "avx2": 4, "neon": 8, "plain": 2}[INSTRUCTIONS]
WIDTH32 = SHAPE.bits // 32
WIDTH64 = SHAPE.bits // 64
BYTES = 64  # columns that `transpose_bytes` turns

I8 = ir.IntType(8)


def sparse_tile(
    places, count, left, left_at, starts, values, right, right_at, right_row,
    out, out_at, out_row, rows, columns, resume,
):  # fmt: skip
    """One tile of `out`, from the first `count` of `places`.

    Element (r, p) of the left operand is values[left.flat[left_at + starts[r] + p]]; where `left`
    holds floats, it is the number in `left` itself. Element (p, c) of the right one is
    right.flat[right_at + p*right_row + c], element (r, c) of the tile out.flat[out_at + r*out_row +
    c]. With `resume`, the chains go on from what the tile holds.
    `1 <= rows <= ROWS`, `1 <= columns <= VECTORS` vectors.
    """
    left, right, out = left.reshape(-1), right.reshape(-1), out.reshape(-1)
    wide = np.float64 if out.dtype == np.float32 else np.longdouble
    for r in range(rows):
        at = out_at + r * out_row
        total = out[at : at + columns].copy() if resume else np.zeros(columns, out.dtype)
        for p in map(int, places[:count]):
            element = left[left_at + starts[r] + p]
            element = wide(values[element] if left.dtype == np.uint8 else element)
            start = right_at + p * right_row
            with np.errstate(all="ignore"):
                total = (element * right[start : start + columns] + total).astype(out.dtype)
        out[at : at + columns] = total


def _resolve_sparse_tile(*kinds):
    i = types.int64
    places, left, starts, values, right, out = (kinds[at] for at in (0, 2, 4, 5, 6, 9))
    resolved = (places, i, left, i, starts, values, right, i, i, out, i, i, i, i, types.boolean)
    return types.void, resolved


@lowers(sparse_tile, _resolve_sparse_tile)
def _sparse_tile(emit, result, kinds, args):
    (places, count, left, left_at, starts, values, right, right_at, right_row) = args[:9]
    out, out_at, out_row, rows, columns, resume = args[9:]
    parts = [
        emit.pointer(kinds[0], places, I64(0)), count,
        emit.pointer(kinds[2], left, left_at), emit.pointer(kinds[4], starts, I64(0)),
        emit.pointer(kinds[5], values, I64(0)),
        emit.pointer(kinds[6], right, right_at), right_row,
        emit.pointer(kinds[9], out, out_at), out_row, resume, rows, columns,
    ]  # fmt: skip
    dtype = kinds[9].dtype
    name = f"jitprop.sparse_tile.{dtype}.{kinds[2].dtype}"
    emit.call(name, parts, functools.partial(_define, dtype))
    return emit.context.get_dummy_value()


def _define(dtype, emit, *args):
    """One loop per size of tile, and a switch."""
    builder = emit.builder
    *operands, rows, columns = args
    kind, row_kinds = kinds_of_rows(emit, dtype, columns, VECTORS)
    never, done = builder.append_basic_block("never"), builder.append_basic_block("done")
    switch = builder.switch(builder.add(builder.mul(kind, I64(ROWS + 1)), rows), never)
    for (number, row), height in itertools.product(enumerate(row_kinds), range(1, ROWS + 1)):
        block = builder.append_basic_block(f"sparse.{height}x{row[0]}")
        switch.add_case(I64(number * (ROWS + 1) + height), block)
        builder.position_at_end(block)
        _multiply(Row(emit, dtype, *row), height, *operands)
        builder.branch(done)
    builder.position_at_end(never)
    builder.unreachable()
    builder.position_at_end(done)


def _multiply(
    row, rows, places, count, left, starts, values, right, right_row, out, out_row, resume
):
    """The code of `sparse_tile` for one size of tile."""
    builder = row.builder
    offsets = [builder.load(builder.gep(starts, [I64(r)]), typ=I64) for r in range(rows)]
    lefts = [builder.gep(left, [offset]) for offset in offsets]
    outs = [builder.gep(out, [builder.mul(out_row, I64(r))]) for r in range(rows)]
    zeros = row.zeros * rows
    before = builder.block
    with builder.if_then(resume):
        held = [vector for pointer in outs for vector in row.load(pointer)]
        loaded = builder.block
    start = _phis(builder, (zeros, before), (held, loaded))
    entry = builder.block
    loop, done = builder.append_basic_block("sparse.place"), builder.append_basic_block("done")
    builder.cbranch(builder.icmp_signed(">", count, I64(0)), loop, done)
    builder.position_at_end(loop)
    (at,) = _phis(builder, ([I64(0)], entry))
    sums = _phis(builder, (start, entry))
    place = builder.sext(builder.load(builder.gep(places, [at]), typ=I32), I64)
    spread = []
    for pointer in lefts:
        pointer = builder.gep(pointer, [place])
        if pointer.type == I8.as_pointer():
            byte = builder.zext(builder.load(pointer, typ=I8), I64)
            pointer = builder.gep(values, [byte])
        element = builder.load(pointer, typ=row.kinds[0].element)
        spread.append(row.spread(element))
    # Vector by vector: each is in a register only while all rows need it.
    totals = list(sums)
    for j, vector in enumerate(row.loads(builder.gep(right, [builder.mul(place, right_row)]))):
        for r in range(rows):
            at_sum = r * row.vectors + j
            totals[at_sum] = row.fma(spread[r][j], vector, sums[at_sum])
    following = builder.add(at, I64(1))
    back = builder.cbranch(builder.icmp_signed("<", following, count), loop, done)
    back.set_metadata("llvm.loop", no_unrolling(builder.module))
    for phi, value in zip([at, *sums], [following, *totals], strict=True):
        phi.add_incoming(value, loop)
    builder.position_at_end(done)
    final = _phis(builder, (start, entry), (totals, loop))
    for r, pointer in enumerate(outs):
        row.store(pointer, final[r * row.vectors : (r + 1) * row.vectors])


def _phis(builder, *edges):
    """Merge values that come from several blocks: (values, block), ..."""
    phis = [builder.phi(value.type) for value in edges[0][0]]
    for values, block in edges:
        for phi, value in zip(phis, values, strict=True):
            phi.add_incoming(value, block)
    return phis


def transpose_bytes(x, out, at, row):
    """Transpose LANES rows of BYTES bytes: out.flat[at + c*row + r] = x.flat[r*BYTES + c]."""
    x, out = x.reshape(-1), out.reshape(-1)
    for r in range(LANES):
        for c in range(BYTES):
            out[at + c * row + r] = x[r * BYTES + c]


@lowers(
    transpose_bytes,
    lambda x, out, at, row: (types.void, (x, out, types.int64, types.int64)),
)
def _transpose_bytes(emit, result, kinds, args):
    x, out, at, row = args
    builder = emit.builder
    vector, part = ir.VectorType(I8, BYTES), ir.VectorType(I8, LANES)
    start, target = emit.pointer(kinds[0], x, I64(0)), emit.pointer(kinds[1], out, at)
    rows = []
    for r in range(LANES):
        pointer = builder.bitcast(builder.gep(start, [I64(r * BYTES)]), vector.as_pointer())
        rows.append(builder.load(pointer, align=1, typ=vector))
    # As in `tile.transpose`, but each LANES bytes by themselves: instructions of x86 shuffle bytes
    # no further.
    index, half = ir.VectorType(I32, BYTES), LANES // 2
    low, high = (
        [first + lane for first in range(0, BYTES, LANES) for i in ends for lane in (i, BYTES + i)]
        for ends in (range(half), range(half, LANES))
    )
    for _ in range(LANES.bit_length() - 1):
        pairs = zip(rows[:half], rows[half:], strict=True)
        rows = [
            builder.shuffle_vector(*pair, ir.Constant(index, lanes))
            for pair in pairs
            for lanes in (low, high)
        ]
    nothing = ir.Constant(vector, ir.Undefined)
    for c in range(BYTES):
        first = c // LANES * LANES
        lanes = emit.counting(first, first + LANES)
        pointer = builder.gep(target, [builder.mul(row, I64(c))])
        builder.store(
            builder.shuffle_vector(rows[c % LANES], nothing, lanes),
            builder.bitcast(pointer, part.as_pointer()),
            align=1,
        )
    return emit.context.get_dummy_value()
