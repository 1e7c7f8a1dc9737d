"""The microkernels of the sparse products, which hold one row in registers.

    sparse_row      out[c] = values[0] * right[columns[0], c] + values[1] * right[columns[1], c] ...
    sparse_column   out[columns[p], c] += values[p] * row[c]      for p = 0, 1, 2, ...

Each element is one chain of fused multiply-adds in the order of the entries, as in `kernels.tile`.
There an element of the left operand meets several rows, here it meets one: every multiply-add waits
for a load, in `sparse_column` also for a store. So one long row, of sums or of what is added, takes
all the registers, and an entry costs its vectors and little else.
"""

import numpy as np
from llvmlite import ir
from numba import types

from kernels.cpu import INSTRUCTIONS
from kernels.simd import I32, I64, Emit, lowers
from kernels.tile import MASKS, SHAPE, Row, no_unrolling

# Vectors of one sum. Beside them a broadcast element, the last vector's mask and (NEON) what is
# loaded need a register each.
VECTORS = {"avx512": 24, "avx2": 12, "neon": 24, "plain": 4}[INSTRUCTIONS]
STRIPE = min(VECTORS, 13 * 512 // SHAPE.bits)  # at most for `sparse_column`: 200 floats and a few
WIDTH32 = SHAPE.bits // 32
WIDTH64 = SHAPE.bits // 64


def sparse_row(columns, values, first, count, right, right_at, right_row, last, out, out_at, width):
    """`width` elements of `out`, from `count` entries.

    Entry p is columns.flat[first + p] and values.flat[first + p]; element (k, c) of the right
    operand is right.flat[right_at + k*right_row + c], element c of the result out.flat[out_at + c].
    `1 <= width <= VECTORS` vectors. A column beyond `last` counts as `last`.
    """
    columns, values, right, out = (x.reshape(-1) for x in (columns, values, right, out))
    wide = np.float64 if out.dtype == np.float32 else np.longdouble
    total = np.zeros(width, out.dtype)
    for p in range(first, first + count):
        start = right_at + min(int(np.uint32(columns[p])), last) * right_row
        with np.errstate(all="ignore"):
            total = (wide(values[p]) * right[start : start + width] + total).astype(out.dtype)
    out[out_at : out_at + width] = total


def sparse_column(columns, values, first, count, row, row_at, k0, last, out, out_row, width):
    """Add `width` elements of `row`, times the value of each entry, to a row of `out`.

    Entry p is columns.flat[first + p] and values.flat[first + p]; element c of the row is
    row.flat[row_at + c]. To out.flat[(column - k0) * out_row + c]; a distance beyond `last` counts
    as `last`. `1 <= width <= STRIPE` vectors; whole vectors of `out` are written.
    """
    columns, values, row, out = (x.reshape(-1) for x in (columns, values, row, out))
    wide = np.float64 if out.dtype == np.float32 else np.longdouble
    for p in range(first, first + count):
        start = min(int(np.uint32(columns[p] - k0)), last) * out_row
        total = out[start : start + width]
        with np.errstate(all="ignore"):
            total[:] = (wide(values[p]) * row[row_at : row_at + width] + total).astype(out.dtype)


def _resolve_sparse_row(*kinds):
    integers = [types.int64] * 3
    columns, values, right, out = kinds[0], kinds[1], kinds[4], kinds[8]
    return types.void, (columns, values, *integers[:2], right, *integers, out, *integers[:2])


@lowers(sparse_row, _resolve_sparse_row)
def _sparse_row(emit, result, kinds, args):
    columns, values, first, count, right, right_at, right_row, last, out, out_at, width = args
    parts = [
        emit.pointer(kinds[0], columns, first), emit.pointer(kinds[1], values, first), count,
        emit.pointer(kinds[4], right, right_at), right_row, last,
        emit.pointer(kinds[8], out, out_at), width,
    ]  # fmt: skip
    return _call(emit, "jitprop.sparse_row", kinds[8].dtype, parts, VECTORS, _sum)


@lowers(sparse_column, _resolve_sparse_row)
def _sparse_column(emit, result, kinds, args):
    columns, values, first, count, row, row_at, k0, last, out, out_row, width = args
    parts = [
        emit.pointer(kinds[0], columns, first), emit.pointer(kinds[1], values, first), count,
        emit.pointer(kinds[4], row, row_at), k0, last, emit.pointer(kinds[8], out, I64(0)), out_row,
        width,
    ]  # fmt: skip
    return _call(emit, "jitprop.sparse_column", kinds[8].dtype, parts, STRIPE, _add)


def _call(emit, name, dtype, parts, most, body):
    """Call the LLVM function `name` for a dtype, defined where the module has none yet."""
    name = f"{name}.{dtype}"
    if name not in emit.builder.module.globals:
        _define(emit, name, dtype, [part.type for part in parts], most, body)
    emit.builder.call(emit.builder.module.globals[name], parts)
    return emit.context.get_dummy_value()


def _define(outer, name, dtype, kinds, most, body):
    """The LLVM function `name`: one loop per number of vectors, up to `most`, and a switch."""
    function = ir.Function(outer.builder.module, ir.FunctionType(ir.VoidType(), kinds), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    builder = ir.IRBuilder(function.append_basic_block())
    emit = Emit(outer.context, builder)
    lanes = SHAPE.bits // dtype.bitwidth
    width = function.args[-1]
    vectors = builder.sdiv(builder.add(width, I64(lanes - 1)), I64(lanes))
    full = builder.mul(builder.sub(vectors, I64(1)), I64(lanes))
    mask = emit.first(builder.sub(width, full), lanes)
    masked = builder.zext(builder.icmp_signed("!=", width, builder.mul(vectors, I64(lanes))), I64)
    never, done = builder.append_basic_block("never"), builder.append_basic_block("done")
    switch = builder.switch(builder.add(builder.mul(masked, I64(most + 1)), vectors), never)
    for masks in MASKS:
        for count in range(1, most + 1):
            block = builder.append_basic_block(f"row.{count}")
            for is_masked in masks:
                switch.add_case(I64(is_masked * (most + 1) + count), block)
            builder.position_at_end(block)
            row = Row(emit, dtype, lanes, count, mask if True in masks else None)
            body(row, *function.args[:-1])
            builder.branch(done)
    builder.position_at_end(never)
    builder.unreachable()
    builder.position_at_end(done)
    builder.ret_void()


def _sum(row, columns, values, count, right, right_row, last, out):
    """The code of `sparse_row` for one number of vectors."""
    builder = row.builder
    zero = ir.Constant(row.vector, None)
    entry = builder.block
    loop, done = builder.append_basic_block("row.entry"), builder.append_basic_block("row.done")
    builder.cbranch(builder.icmp_signed(">", count, I64(0)), loop, done)
    builder.position_at_end(loop)
    p = builder.phi(I64)
    sums = [builder.phi(row.vector) for _ in range(row.vectors)]
    column = builder.zext(builder.load(builder.gep(columns, [p]), typ=I32), I64)
    column = builder.select(builder.icmp_unsigned("<", column, last), column, last)
    element = builder.load(builder.gep(values, [p]), typ=row.vector.element)
    start = builder.gep(right, [builder.mul(column, right_row)])
    totals = row.multiply_add(element, row.load(start), sums)
    following = builder.add(p, I64(1))
    back = builder.cbranch(builder.icmp_signed("<", following, count), loop, done)
    back.set_metadata("llvm.loop", no_unrolling(builder.module))
    builder.position_at_end(done)
    final = [builder.phi(row.vector) for _ in range(row.vectors)]
    p.add_incoming(I64(0), entry)
    p.add_incoming(following, loop)
    for before, after, result in zip(sums, totals, final, strict=True):
        for phi in (before, result):
            phi.add_incoming(zero, entry)
            phi.add_incoming(after, loop)
    row.store(out, final)


def _add(row, columns, values, count, source, k0, last, out, out_row):
    """The code of `sparse_column` for one number of vectors."""
    builder = row.builder
    held = row.load(source)
    whole = Row(row.emit, row.dtype, row.width, row.vectors, None)
    entry = builder.block
    loop, done = builder.append_basic_block("column.entry"), builder.append_basic_block("done")
    builder.cbranch(builder.icmp_signed(">", count, I64(0)), loop, done)
    builder.position_at_end(loop)
    p = builder.phi(I64)
    column = builder.zext(builder.load(builder.gep(columns, [p]), typ=I32), I64)
    column = builder.sub(column, k0)
    column = builder.select(builder.icmp_unsigned("<", column, last), column, last)
    element = builder.load(builder.gep(values, [p]), typ=row.vector.element)
    target = builder.gep(out, [builder.mul(column, out_row)])
    whole.store(target, whole.multiply_add(element, held, whole.load(target)))
    following = builder.add(p, I64(1))
    back = builder.cbranch(builder.icmp_signed("<", following, count), loop, done)
    back.set_metadata("llvm.loop", no_unrolling(builder.module))
    builder.position_at_end(done)
    p.add_incoming(I64(0), entry)
    p.add_incoming(following, loop)
