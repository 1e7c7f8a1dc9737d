"""Lanes that move: each reads its entry in a table or an array, or the chosen ones close up."""

from llvmlite import ir
from numba import types

from jitprop.kernels.compiler.cpu import INSTRUCTIONS
from jitprop.kernels.compiler.lanes import (
    I1,
    I32,
    I64,
    LANES,
    MASK,
    Lanes,
    is_array,
    lowers,
    suffix,
)

ENTRIES = 32  # in a row of a table: two AVX-512 registers


def lookup(table, row, index):
    """`table[row, index % 32]` lane by lane; `table` is float32 (rows, 32), `index` int32."""
    return table[row, index % ENTRIES]


@lowers(
    lookup,
    lambda table, row, index: (
        (Lanes(types.float32), (table, types.int64, Lanes(types.int32)))
        if is_array(table) and table.dtype == types.float32 and table.ndim == 2
        else None
    ),
)
def _lookup(emit, result, kinds, args):
    builder = emit.builder
    table, row, index = args
    start = emit.pointer(kinds[0], table, builder.mul(row, I64(ENTRIES)))

    def entries(first, count):
        """Elements `first .. first+count-1` of the row."""
        vector = ir.VectorType(ir.FloatType(), count)
        pointer = builder.bitcast(builder.gep(start, [I64(first)]), vector.as_pointer())
        return builder.load(pointer, align=4, typ=vector)

    if INSTRUCTIONS == "avx512":  # one instruction chooses among 32 elements of two registers
        low, high = entries(0, LANES), entries(LANES, LANES)
        return emit.intrinsic("llvm.x86.avx512.vpermi2var.ps.512", low.type, low, index, high)
    if INSTRUCTIONS == "avx2":  # one among the 8 of a register: take all four and choose
        halves = [_choose_of_four(emit, entries, half) for half in emit.halves(index)]
        return builder.shuffle_vector(*halves, emit.counting(0, LANES))
    index = builder.and_(index, emit.splat(I32(ENTRIES - 1), index.type))
    value = ir.Constant(ir.VectorType(ir.FloatType(), LANES), ir.Undefined)
    for lane in range(LANES):
        at = builder.extract_element(index, I32(lane))
        value = builder.insert_element(value, builder.load(builder.gep(start, [at])), I32(lane))
    return value


def _choose_of_four(emit, entries, index):
    """Lookup of 8 lanes: bits 0 to 2 of an index are a place in a register, 3 and 4 tell which."""
    builder = emit.builder
    eight = ir.VectorType(ir.FloatType(), 8)
    zero = ir.Constant(index.type, None)
    found = [
        emit.intrinsic("llvm.x86.avx2.permps", eight, entries(first, 8), index)
        for first in range(0, ENTRIES, 8)
    ]
    for bit in (3, 4):  # to the sign, where a blend instruction looks for it
        shifted = builder.shl(index, emit.splat(I32(31 - bit), index.type))
        mask = builder.icmp_signed("<", shifted, zero)
        found = [
            builder.select(mask, high, low)
            for low, high in zip(found[::2], found[1::2], strict=True)
        ]
    return found[0]


def pick(x, index):
    """`x[index]` lane by lane; `x` and `index` are int32, and every index lies in `x`."""
    return x.reshape(-1)[index]


@lowers(
    pick,
    lambda x, index: (
        (index, (x, index))
        if is_array(x) and x.dtype == types.int32 and index == Lanes(types.int32)
        else None
    ),
)
def _pick(emit, result, kinds, args):
    builder = emit.builder
    x, index = args
    # For NUMBA_BOUNDSCHECK=1: check the largest; as unsigned, one below 0 is larger than any other.
    largest = emit.intrinsic("llvm.vector.reduce.umax.v16i32", I32, index)
    emit.pointer(kinds[0], x, builder.zext(largest, I64), I64(1))
    start = builder.ptrtoint(emit.pointer(kinds[0], x, I64(0)), I64)
    wide = ir.VectorType(I64, LANES)
    places = builder.mul(builder.sext(index, wide), emit.splat(I64(4), wide))
    addresses = builder.add(places, emit.splat(start, wide))
    pointers = builder.inttoptr(addresses, ir.VectorType(I32.as_pointer(), LANES))
    whole = ir.Constant(ir.VectorType(I1, LANES), [1] * LANES)
    nothing = ir.Constant(index.type, ir.Undefined)
    name = "llvm.masked.gather.v16i32.v16p0"
    return emit.intrinsic(name, index.type, pointers, I32(4), whole, nothing)


def append(x, at, lanes, mask):
    """Write the lanes where the mask holds, in their order, to `x` from element `at` on.

    Returns the place behind them. Up to LANES elements may be written.
    """
    chosen = lanes[mask]
    x[at : at + len(chosen)] = chosen
    return at + len(chosen)


@lowers(
    append,
    lambda x, at, lanes, mask: (
        (types.int64, (x, types.int64, lanes, mask))
        if is_array(x) and lanes == Lanes(x.dtype) and mask == MASK
        else None
    ),
)
def _append(emit, result, kinds, args):
    x, at, lanes, mask = args
    builder = emit.builder
    word = builder.bitcast(mask, ir.IntType(LANES))
    start = emit.pointer(kinds[0], x, I64(0))
    if INSTRUCTIONS == "avx512":
        name = f"llvm.experimental.vector.compress.{suffix(kinds[0].dtype)}"
        lanes = emit.intrinsic(name, lanes.type, lanes, mask, ir.Constant(lanes.type, None))
        pointer = builder.bitcast(builder.gep(start, [at]), lanes.type.as_pointer())
        builder.store(lanes, pointer, align=kinds[0].dtype.bitwidth // 8)
        count = emit.intrinsic(f"llvm.ctpop.i{LANES}", word.type, word)
        return builder.add(at, builder.zext(count, I64))
    # Each lane is written where the next chosen one goes: no branch that could be mispredicted.
    word = builder.zext(word, I64)
    for lane in range(LANES):
        builder.store(builder.extract_element(lanes, I32(lane)), builder.gep(start, [at]))
        at = builder.add(at, builder.and_(builder.lshr(word, I64(lane)), I64(1)))
    return at
