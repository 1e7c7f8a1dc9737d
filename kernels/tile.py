"""The microkernel of every matrix product: one tile of the output, held in registers.

    out[r, c] = a[r, 0] * b[0, c] + a[r, 1] * b[1, c] + ...

Each output element is one chain of fused multiply-adds in the order k = 0, 1, 2, ..., started
from zero or from what `out` holds. Neither the tile's size nor the vector's width shows in the
bits: lanes are different columns, and no sum is ever split.

The tile is `rows` <= MR by `columns` <= NR, cut into vectors of the CPU's own width. One
step of k loads a row of b (NR / width vectors) and broadcasts MR elements of a, so MR * NR / width
multiply-adds wait for MR + NR / width loads: large tiles keep the multipliers busy, as long as
all accumulators fit the registers. The scheme is that of BLIS (Van Zee, van de Geijn, 2015).
"""

import functools
import itertools
from dataclasses import dataclass

import numba
import numpy as np
from llvmlite import ir
from numba import types

from jitprop.kernels.compiler.cpu import INSTRUCTIONS
from jitprop.kernels.compiler.inline import inline
from jitprop.kernels.compiler.lanes import I32, I64, Emit, llvm_element, lowers


@dataclass(frozen=True)
class Shape:
    """Size of a tile: MR rows by `vectors` registers of `bits` each."""

    bits: int
    rows: int
    vectors: int


# The key is the widest register that the compiler uses for a multiply-add of 16 floats. The
# accumulators, a row of b and one element of a fit in 32 registers (AVX-512, NEON) or 16 (AVX2).
SHAPES = {
    "avx512": Shape(512, 8, 3),
    "avx2": Shape(256, 4, 3),
    "neon": Shape(128, 8, 2),
    "plain": Shape(128, 4, 2),  # without a fused instruction each fma is a call: slow, same bits
}


SHAPE = SHAPES[INSTRUCTIONS]
MR = SHAPE.rows
VECTORS = SHAPE.vectors
# AVX-512 has registers for masks, so that one code serves whole and partly used vectors. Elsewhere
# the mask would take a register from the accumulators.
MASKS_ARE_FREE = INSTRUCTIONS == "avx512"
HEIGHTS = tuple(2**i for i in range(MR.bit_length()))  # there is code for 1, 2, 4, .. MR rows


def columns_per_tile(itemsize: int) -> int:
    return SHAPE.vectors * SHAPE.bits // 8 // itemsize


NR32 = columns_per_tile(4)
NR64 = columns_per_tile(8)


def tile(
    a, a_at, a_row, a_k, b, b_at, b_k, out, out_at, out_row, depth, rows, columns, resume,
    soon, soon_at, soon_row, soon_step, next_at, next_step,
):  # fmt: skip
    """One tile of `out`, from `depth` steps of k.

    Element (r, k) of the left operand is a.flat[a_at + r*a_row + k*a_k], element (k, c) of the
    right one b.flat[b_at + k*b_k + c], element (r, c) of the tile out.flat[out_at + r*out_row + c].
    With `resume`, the chains go on from what the tile holds. `1 <= rows <= MR`,
    `1 <= columns <= NR`.

    Each step asks for two cache lines that will be needed soon; they may lie outside the arrays.
    Step k = 0 .. MR-1 asks for those of element soon_at + k*soon_row of `soon` and element next_at
    + k*out_row of `out`. The next MR steps ask for those that lie soon_step and next_step elements
    further, and so on.
    """
    a, b, out = a.reshape(-1), b.reshape(-1), out.reshape(-1)
    wide = np.float64 if a.dtype == np.float32 else np.longdouble
    for r in range(rows):
        at = out_at + r * out_row
        total = out[at : at + columns].copy() if resume else np.zeros(columns, out.dtype)
        for k in range(depth):
            right = b[b_at + k * b_k : b_at + k * b_k + columns]
            with np.errstate(all="ignore"):
                total = (wide(a[a_at + r * a_row + k * a_k]) * right + total).astype(out.dtype)
        out[at : at + columns] = total


def _resolve_tile(*kinds):
    a, b, out = kinds[0], kinds[4], kinds[7]
    integers = [types.int64] * 3
    resolved = (a, *integers, b, *integers[:2], out, *integers[:2], *integers, types.boolean)
    resolved += (kinds[14], *integers, *integers[:2])
    return types.void, resolved


@lowers(tile, _resolve_tile)
def _tile(emit, result, kinds, args):
    builder = emit.builder
    a, a_at, a_row, a_k, b, b_at, b_k, out, out_at, out_row = args[:10]
    depth, rows, columns, resume = args[10:14]
    soon, soon_at, soon_row, soon_step, next_at, next_step = args[14:]
    values = [
        emit.pointer(kinds[0], a, a_at), a_row, a_k, emit.pointer(kinds[4], b, b_at), b_k,
        emit.pointer(kinds[7], out, out_at), out_row, depth, rows, columns, resume,
        emit.pointer(kinds[14], soon, soon_at), soon_row, soon_step,
        emit.pointer(kinds[7], out, next_at), next_step,
    ]  # fmt: skip
    if numba.config.BOUNDSCHECK:  # check the last element of each; a and b may have none
        mul, add, sub, some = builder.mul, builder.add, builder.sub, emit.at_most(depth, 1)
        row, column, k = (sub(count, I64(1)) for count in (rows, columns, depth))
        emit.pointer(kinds[0], a, add(a_at, add(mul(row, a_row), mul(k, a_k))), some)
        emit.pointer(kinds[4], b, add(b_at, add(mul(k, b_k), column)), some)
        emit.pointer(kinds[7], out, add(out_at, add(mul(row, out_row), column)), I64(1))
    dtype = kinds[7].dtype
    emit.call(f"jitprop.tile.{dtype}", values, functools.partial(_define_tile, dtype))
    return emit.context.get_dummy_value()


def _define_tile(dtype, emit, *args):
    """One block of code per size of tile, and a switch."""
    builder = emit.builder
    a, a_row, a_k, b, b_k, out, out_row, depth, rows, columns, resume = args[:11]
    soon, upcoming = args[11:14], (args[14], out_row, args[15])
    kind, row_kinds = kinds_of_rows(emit, dtype, columns, VECTORS)
    # As many rows as there is code for, then the rest: 7 rows are 4 and 2 and 1.
    entry = builder.block
    head, never = builder.append_basic_block("head"), builder.append_basic_block("never")
    next_rows, done = builder.append_basic_block("next"), builder.append_basic_block("done")
    builder.branch(head)
    builder.position_at_end(head)
    rows_left, a_now, out_now = builder.phi(I64), builder.phi(a.type), builder.phi(out.type)
    switch = builder.switch(builder.add(builder.mul(kind, I64(MR + 1)), rows_left), never)
    blocks = []
    for (number, row), height in itertools.product(enumerate(row_kinds), HEIGHTS):
        block = builder.append_basic_block(f"tile.{height}x{row[0]}")
        for row_count in range(height, min(2 * height, MR + 1)):
            switch.add_case(I64(number * (MR + 1) + row_count), block)
        builder.position_at_end(block)
        _Registers(emit, dtype, height, *row).multiply(
            (a_now, a_row, a_k), (b, b_k), (out_now, out_row), depth, resume, (soon, upcoming)
        )
        blocks.append((builder.block, height))
        builder.branch(next_rows)
    builder.position_at_end(never)
    builder.unreachable()
    builder.position_at_end(next_rows)
    height = builder.phi(I64)
    for block, rows_done in blocks:
        height.add_incoming(I64(rows_done), block)
    following = (
        (rows_left, rows, builder.sub(rows_left, height)),
        (a_now, a, builder.gep(a_now, [builder.mul(a_row, height)])),
        (out_now, out, builder.gep(out_now, [builder.mul(out_row, height)])),
    )
    for phi, first, then in following:
        phi.add_incoming(first, entry)
        phi.add_incoming(then, next_rows)
    builder.cbranch(builder.icmp_signed("==", following[0][2], I64(0)), done, head)
    builder.position_at_end(done)


def kinds_of_rows(emit: Emit, dtype, columns, most):
    """Which kind of row `columns` elements are, and all kinds.

    A kind is the number of vectors, 1 .. `most`, with the type of the last vector and its mask, or
    None. Where masks are free, the last vector is whole, or of half the width if that is enough: it
    takes half the time. Elsewhere it is whole, with a mask or without.
    """
    builder = emit.builder
    width = SHAPE.bits // dtype.bitwidth
    others = builder.sdiv(builder.sub(columns, I64(1)), I64(width))  # vectors but the last
    used = builder.sub(columns, builder.mul(others, I64(width)))  # elements of the last
    whole, half = (ir.VectorType(llvm_element(dtype), lanes) for lanes in (width, width // 2))
    if MASKS_ARE_FREE:
        # By bits: LLVM would repeat a comparison of lanes in each step of a loop.
        bits = builder.sub(builder.shl(I64(1), used), I64(1))
        lasts = [
            (
                kind,
                builder.bitcast(
                    builder.trunc(bits, ir.IntType(kind.count)),
                    ir.VectorType(ir.IntType(1), kind.count),
                ),
            )
            for kind in (whole, half)
        ]
        second = builder.icmp_signed("<=", used, I64(half.count))
    else:
        lasts = [(whole, None), (whole, emit.first(used, width))]
        second = builder.icmp_signed("!=", used, I64(width))
    kind = builder.add(builder.mul(builder.zext(second, I64), I64(most)), others)
    return kind, [(vectors, last) for last in lasts for vectors in range(1, most + 1)]


class Row:
    """Emits the code of `vectors` registers side by side, one of the `kinds_of_rows`."""

    def __init__(self, emit: Emit, dtype, vectors, last):
        self.emit = emit
        self.builder = emit.builder
        self.dtype = dtype
        self.align = dtype.bitwidth // 8
        self.width = SHAPE.bits // dtype.bitwidth
        kind, self.mask = last
        self.kinds = [ir.VectorType(kind.element, self.width)] * (vectors - 1) + [kind]
        self.zeros = [ir.Constant(kind, None) for kind in self.kinds]
        self.vectors = vectors

    def load(self, pointer):
        """The vectors at `pointer`."""
        return list(self.loads(pointer))

    def loads(self, pointer):
        """Load one vector after the other."""
        for place, kind, mask in self._places(pointer):
            if mask is None:
                yield self.builder.load(place, align=self.align, typ=kind)
            else:
                name = f"llvm.masked.load.{self._name(kind)}.p0"
                zero = ir.Constant(kind, None)
                yield self.emit.intrinsic(name, kind, place, I32(self.align), mask, zero)

    def store(self, pointer, row):
        for value, (place, kind, mask) in zip(row, self._places(pointer), strict=True):
            if mask is None:
                self.builder.store(value, place, align=self.align)
            else:
                name = f"llvm.masked.store.{self._name(kind)}.p0"
                align = I32(self.align)
                self.emit.intrinsic(name, ir.VoidType(), value, place, align, mask)

    def _places(self, pointer):
        masks = [None] * (self.vectors - 1) + [self.mask]
        for j, (kind, mask) in enumerate(zip(self.kinds, masks, strict=True)):
            moved = self.builder.gep(pointer, [I64(j * self.width)])
            yield self.builder.bitcast(moved, kind.as_pointer()), kind, mask

    def spread(self, element):
        """`element` in all lanes, once for each type of vector."""
        vectors = {str(kind): self.emit.splat(element, kind) for kind in self.kinds}
        return [vectors[str(kind)] for kind in self.kinds]

    def fma(self, x, y, z):
        """x * y + z, rounded once."""
        return self.emit.intrinsic(f"llvm.fma.{self._name(x.type)}", x.type, x, y, z)

    def _name(self, vector):
        """How LLVM calls a vector in the names of its intrinsics."""
        return f"v{vector.count}f{self.dtype.bitwidth}"


class _Registers(Row):
    """Emits the code of one size of tile: `rows` by `vectors`."""

    def __init__(self, emit: Emit, dtype, rows, vectors, last):
        super().__init__(emit, dtype, vectors, last)
        self.rows = rows

    def multiply(self, left, right, target, depth, resume, prefetched):
        builder = self.builder
        (a, a_row, a_k), (b, b_k), (out, out_row) = left, right, target
        out_rows = [builder.gep(out, [builder.mul(out_row, I64(r))]) for r in range(self.rows)]
        # Rows of a, four to a pointer.
        a_rows = [builder.mul(a_row, I64(r)) for r in range(4)]
        a_starts = [builder.gep(a, [builder.mul(a_row, I64(r))]) for r in range(0, self.rows, 4)]

        before = builder.block
        with builder.if_then(resume):
            held = [self.load(pointer) for pointer in out_rows]
            loaded = builder.block
        start = [
            [self._phi(before, *pair, loaded) for pair in zip(self.zeros, row, strict=True)]
            for row in held
        ]

        # MR steps of k at a time; each of them asks for another row.
        jumps = [builder.sub(step, builder.mul(row, I64(MR))) for _, row, step in prefetched]

        entry = builder.block
        loop, turn = builder.append_basic_block("tile.k"), builder.append_basic_block("tile.turn")
        done = builder.append_basic_block("tile.done")
        first_few = self._at_most(depth, MR)
        builder.cbranch(builder.icmp_signed(">", depth, I64(0)), loop, done)
        builder.position_at_end(loop)
        remaining, few, step = (builder.phi(I64) for _ in range(3))
        a_now, b_now = [builder.phi(a.type) for _ in a_starts], builder.phi(b.type)
        soon_now = [builder.phi(b.type) for _ in prefetched]
        sums = [[builder.phi(kind) for kind in self.kinds] for _ in range(self.rows)]
        # If LLVM knew how they move, it would keep a pointer to each row, three on the stack.
        a_here, b_here = [self._hide(at) for at in a_now], self._hide(b_now)
        if self.vectors > 1:  # a narrow tile waits for loads anyway
            for now in soon_now:
                self.emit.prefetch(now)
        b_row = self.load(b_here)
        totals = []
        for r in range(self.rows):
            pointer = builder.gep(a_here[r // 4], [a_rows[r % 4]])
            element = self.spread(builder.load(pointer, typ=self.kinds[0].element))
            totals.append([self.fma(*xyz) for xyz in zip(element, b_row, sums[r], strict=True)])
        step_next = builder.add(step, I64(1))
        a_next, b_next = [builder.gep(at, [a_k]) for at in a_here], builder.gep(b_here, [b_k])
        soon_next = [
            builder.gep(now, [row]) for now, (_, row, _) in zip(soon_now, prefetched, strict=True)
        ]
        back = builder.cbranch(builder.icmp_signed("<", step_next, few), loop, turn)
        back.set_metadata("llvm.loop", no_unrolling(builder.module))
        builder.position_at_end(turn)
        remaining_next = builder.sub(remaining, few)
        few_next = self._at_most(remaining_next, MR)
        soon_turned = [builder.gep(at, [jump]) for at, jump in zip(soon_next, jumps, strict=True)]
        back = builder.cbranch(builder.icmp_signed(">", remaining_next, I64(0)), loop, done)
        back.set_metadata("llvm.loop", no_unrolling(builder.module))
        for phi, first, following, turned in (
            (remaining, depth, remaining, remaining_next),
            (few, first_few, few, few_next),
            (step, I64(0), step_next, I64(0)),
            *zip(a_now, a_starts, a_next, a_next, strict=True),
            (b_now, b, b_next, b_next),
            *zip(soon_now, (at for at, _, _ in prefetched), soon_next, soon_turned, strict=True),
            *(
                (sums[r][j], start[r][j], totals[r][j], totals[r][j])
                for r, j in itertools.product(range(self.rows), range(self.vectors))
            ),
        ):
            phi.add_incoming(first, entry)
            phi.add_incoming(following, loop)
            phi.add_incoming(turned, turn)
        builder.position_at_end(done)
        final = [
            [self._phi(entry, *pair, turn) for pair in zip(*pairs, strict=True)]
            for pairs in zip(start, totals, strict=True)
        ]
        for pointer, row in zip(out_rows, final, strict=True):
            self.store(pointer, row)

    def _at_most(self, value, limit):
        few = self.builder.icmp_signed("<", value, I64(limit))
        return self.builder.select(few, value, I64(limit))

    def _hide(self, value):
        """The same value, but LLVM does not know that it is the same."""
        kind = ir.FunctionType(value.type, [value.type])
        return self.builder.call(ir.InlineAsm(kind, "", "=r,0"), [value])

    def _phi(self, block, value, other, other_block):
        phi = self.builder.phi(value.type)
        phi.add_incoming(value, block)
        phi.add_incoming(other, other_block)
        return phi


def no_unrolling(module):
    """Loop metadata: the body is a full pipeline already, copies of it only cost compile time."""
    if "jitprop.loop" not in module.namedmetadata:
        unroll = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
        loop = module.add_metadata([unroll])
        loop.operands = (loop, unroll)  # loop metadata names itself first
        module.add_named_metadata("jitprop.loop", loop)
    return module.namedmetadata["jitprop.loop"].operands[0]


@inline
def block(itemsize):
    """Rows, and columns, of the block that `transpose` turns: a row has 64 bytes."""
    return 64 // itemsize


def transpose(x, at, row, out, out_at, out_row):
    """Transpose a square block, whose rows have 64 bytes.

    out.flat[out_at + c*out_row + r] = x.flat[at + r*row + c]
    """
    x, out = x.reshape(-1), out.reshape(-1)
    for r in range(block(x.itemsize)):
        for c in range(block(x.itemsize)):
            out[out_at + c * out_row + r] = x[at + r * row + c]


@lowers(
    transpose,
    lambda x, at, row, out, out_at, out_row: (
        types.void,
        (x, types.int64, types.int64, out, types.int64, types.int64),
    ),
)
def _transpose(emit, result, kinds, args):
    x, at, row, out, out_at, out_row = args
    builder = emit.builder
    dtype = kinds[0].dtype
    align = dtype.bitwidth // 8
    size = 64 // align
    vector = ir.VectorType(llvm_element(dtype), size)
    index = ir.VectorType(I32, size)

    def place(array, position, stride, r):
        if numba.config.BOUNDSCHECK:
            of_row = builder.add(position, builder.mul(stride, I64(r)))
            emit.pointer(kinds[args.index(array)], array, of_row, I64(size))
        start = emit.pointer(kinds[args.index(array)], array, position)
        return builder.bitcast(
            builder.gep(start, [builder.mul(stride, I64(r))]), vector.as_pointer()
        )

    rows = [builder.load(place(x, at, row, r), align=align, typ=vector) for r in range(size)]
    # Interleave each row of the upper half with its partner below: log2(size) perfect shuffles
    # of the block, seen as one row of size * size elements, transpose it. (Swapping quadrants
    # does so too, but LLVM needs minutes to find instructions for it.)
    half = size // 2
    low = ir.Constant(index, [lane for i in range(half) for lane in (i, size + i)])
    high = ir.Constant(index, [lane for i in range(half, size) for lane in (i, size + i)])
    for _ in range(size.bit_length() - 1):
        pairs = zip(rows[:half], rows[half:], strict=True)
        rows = [builder.shuffle_vector(*pair, lanes) for pair in pairs for lanes in (low, high)]
    for c in range(size):
        builder.store(rows[c], place(out, out_at, out_row, c), align=align)
    return emit.context.get_dummy_value()
