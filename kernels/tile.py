"""The microkernel of every matrix product: one tile of the output, held in registers.

    out[r, c] = a[r, 0] * b[0, c] + a[r, 1] * b[1, c] + ...

Each output element is one chain of fused multiply-adds in the order k = 0, 1, 2, ..., started
from zero or from what `out` holds. Neither the tile's size nor the vector's width shows in the
bits: lanes are different columns, and no sum is ever split.

The tile is `rows` <= MR by `columns` <= NR, taken apart into vectors of the CPU's own width. One
step of k loads a row of b (NR / width vectors) and broadcasts MR elements of a, so MR * NR / width
multiply-adds wait for MR + NR / width loads: large tiles keep the multipliers busy, as long as
all accumulators fit the registers. The scheme is that of BLIS (Van Zee, van de Geijn, 2015).
"""

import itertools
from dataclasses import dataclass

import numpy as np
from llvmlite import ir
from numba import types

from kernels.cpu import INSTRUCTIONS
from kernels.inline import inline
from kernels.simd import I32, I64, Emit, llvm_element, lowers


@dataclass(frozen=True)
class Shape:
    """Size of a tile: MR rows by `vectors` registers of `bits` each."""

    bits: int
    rows: int
    vectors: int


# By what the compiler makes of a multiply-add of 16 floats: the widest register it uses. The
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
# Whether the last vector is cut short by a mask. AVX-512 has registers for masks: one code serves
# both. Elsewhere the mask would take a register from the accumulators.
MASKS = ((False, True),) if INSTRUCTIONS == "avx512" else ((False,), (True,))
HEIGHTS = tuple(2**i for i in range(MR.bit_length()))  # there is code for 1, 2, 4, .. MR rows


def columns_per_tile(itemsize: int) -> int:
    return SHAPE.vectors * SHAPE.bits // 8 // itemsize


NR32 = columns_per_tile(4)
NR64 = columns_per_tile(8)


def tile(
    a, a_at, a_row, a_k, b, b_at, b_k, out, out_at, out_row, depth, rows, columns, resume,
    soon, soon_at, soon_k,
):  # fmt: skip
    """One tile of `out`, from `depth` steps of k.

    Element (r, k) of the left operand is a.flat[a_at + r*a_row + k*a_k], element (k, c) of the
    right one b.flat[b_at + k*b_k + c], element (r, c) of the tile out.flat[out_at + r*out_row + c].
    With `resume`, the chains go on from what the tile holds. `1 <= rows <= MR`,
    `1 <= columns <= NR`. Each step asks for one cache line that will be wanted soon, the one of
    element soon_at + k*soon_k of `soon`, wherever that lies.
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
    soon = (kinds[14], *integers[:2])
    resolved = (a, *integers, b, *integers[:2], out, *integers[:2], *integers, types.boolean)
    resolved += soon
    return types.void, resolved


@lowers(tile, _resolve_tile)
def _tile(emit, result, kinds, args):
    (a, a_at, a_row, a_k, b, b_at, b_k, out, out_at, out_row, depth, rows, columns, resume) = args[
        :14
    ]
    soon, soon_at, soon_k = args[14:]
    values = [
        emit.pointer(kinds[0], a, a_at), a_row, a_k, emit.pointer(kinds[4], b, b_at), b_k,
        emit.pointer(kinds[7], out, out_at), out_row, depth, rows, columns, resume,
        emit.pointer(kinds[14], soon, soon_at), soon_k,
    ]  # fmt: skip
    name = f"jitprop.tile.{kinds[7].dtype}"
    if name not in emit.builder.module.globals:
        _define_tile(emit, name, kinds[7].dtype, [value.type for value in values])
    emit.builder.call(emit.builder.module.globals[name], values)
    return emit.context.get_dummy_value()


def _define_tile(outer, name, dtype, kinds):
    """The LLVM function `name`: one block of code per size of tile, and a switch."""
    function = ir.Function(outer.builder.module, ir.FunctionType(ir.VoidType(), kinds), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    builder = ir.IRBuilder(function.append_basic_block())
    emit = Emit(outer.context, builder)
    a, a_row, a_k, b, b_k, out, out_row, depth, rows, columns, resume = function.args[:11]
    soon = function.args[11:]
    width = SHAPE.bits // dtype.bitwidth
    vectors = builder.sdiv(builder.add(columns, I64(width - 1)), I64(width))
    full = builder.mul(builder.sub(vectors, I64(1)), I64(width))
    mask = emit.first(builder.sub(columns, full), width)
    # As many rows as there is code for, then the rest: 7 rows are 4 and 2 and 1.
    entry = builder.block
    head, never = builder.append_basic_block("head"), builder.append_basic_block("never")
    next_rows, done = builder.append_basic_block("next"), builder.append_basic_block("done")
    builder.branch(head)
    builder.position_at_end(head)
    rows_left, a_now, out_now = builder.phi(I64), builder.phi(a.type), builder.phi(out.type)
    masked = builder.zext(builder.icmp_signed("!=", columns, builder.mul(vectors, I64(width))), I64)
    kind = builder.add(builder.mul(masked, I64(VECTORS + 1)), vectors)
    switch = builder.switch(builder.add(builder.mul(kind, I64(MR + 1)), rows_left), never)
    ends = []
    for masks in MASKS:
        for vector_count, height in itertools.product(range(1, VECTORS + 1), HEIGHTS):
            block = builder.append_basic_block(f"tile.{height}x{vector_count}")
            for is_masked in masks:
                kind = is_masked * (VECTORS + 1) + vector_count
                for row_count in range(height, min(2 * height, MR + 1)):
                    switch.add_case(I64(kind * (MR + 1) + row_count), block)
            builder.position_at_end(block)
            last = mask if True in masks else None
            registers = _Registers(emit, dtype, width, height, vector_count, last)
            registers.multiply(
                (a_now, a_row, a_k), (b, b_k), (out_now, out_row), depth, resume, soon
            )
            ends.append((builder.block, height))
            builder.branch(next_rows)
    builder.position_at_end(never)
    builder.unreachable()
    builder.position_at_end(next_rows)
    height = builder.phi(I64)
    for block, rows_done in ends:
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
    builder.ret_void()


class Row:
    """Emits the code of `vectors` registers side by side, the last masked if there is a mask."""

    def __init__(self, emit: Emit, dtype, width, vectors, mask):
        self.emit = emit
        self.builder = emit.builder
        self.dtype = dtype
        self.vector = ir.VectorType(llvm_element(dtype), width)
        self.align = dtype.bitwidth // 8
        self.name = f"v{width}f{dtype.bitwidth}"
        self.width, self.vectors, self.mask = width, vectors, mask

    def _at(self, pointer, j):
        moved = self.builder.gep(pointer, [I64(j * self.width)])
        return self.builder.bitcast(moved, self.vector.as_pointer())

    def load(self, pointer):
        """The vectors at `pointer`."""
        return list(self.loads(pointer))

    def loads(self, pointer):
        """Load one vector after the other."""
        for j in range(self.vectors - 1):
            yield self._load(self._at(pointer, j))
        yield self._load(self._at(pointer, self.vectors - 1), self.mask)

    def store(self, pointer, row):
        for j in range(self.vectors - 1):
            self._store(row[j], self._at(pointer, j))
        self._store(row[-1], self._at(pointer, self.vectors - 1), self.mask)

    def _load(self, pointer, mask=None):
        if mask is None:
            return self.builder.load(pointer, align=self.align, typ=self.vector)
        zero = ir.Constant(self.vector, None)
        name = f"llvm.masked.load.{self.name}.p0"
        return self.emit.intrinsic(name, self.vector, pointer, I32(self.align), mask, zero)

    def _store(self, value, pointer, mask=None):
        if mask is None:
            self.builder.store(value, pointer, align=self.align)
        else:
            name = f"llvm.masked.store.{self.name}.p0"
            align = I32(self.align)
            self.emit.intrinsic(name, ir.VoidType(), value, pointer, align, mask)

    def fma(self, x, y, z):
        return self.emit.intrinsic(f"llvm.fma.{self.name}", self.vector, x, y, z)

    def multiply_add(self, element, row, sums):
        """`element * row + sums`, each rounded once."""
        spread = self.emit.splat(element, self.vector)
        return [self.fma(spread, vector, total) for vector, total in zip(row, sums, strict=True)]


class _Registers(Row):
    """Emits the code of one size of tile: `rows` by `vectors`."""

    def __init__(self, emit: Emit, dtype, width, rows, vectors, mask):
        super().__init__(emit, dtype, width, vectors, mask)
        self.rows = rows

    def multiply(self, left, right, target, depth, resume, soon):
        builder = self.builder
        (a, a_row, a_k), (b, b_k), (out, out_row) = left, right, target
        zero = ir.Constant(self.vector, None)
        out_rows = [builder.gep(out, [builder.mul(out_row, I64(r))]) for r in range(self.rows)]
        # Rows of a, four to a pointer. Left to itself LLVM walks from row to row by additions that
        # wait for each other, 8 in a step of k, and finds out whatever is not hidden from it.
        a_rows = [builder.mul(a_row, I64(r)) for r in range(3)] + [
            self._hide(builder.mul(a_row, I64(3)))
        ]
        a_starts = [a] + [
            self._hide(builder.gep(a, [builder.mul(a_row, I64(r))])) for r in range(4, self.rows, 4)
        ]

        before = builder.block
        with builder.if_then(resume):
            held = [self.load(pointer) for pointer in out_rows]
            loaded = builder.block
        start = [[self._phi(before, zero, loaded, v) for v in row] for row in held]

        entry = builder.block
        loop = builder.append_basic_block("tile.k")
        done = builder.append_basic_block("tile.done")
        builder.cbranch(builder.icmp_signed(">", depth, I64(0)), loop, done)
        builder.position_at_end(loop)
        k = builder.phi(I64)
        a_now, b_now = [builder.phi(a.type) for _ in a_starts], builder.phi(b.type)
        soon_now = builder.phi(b.type)
        sums = [[builder.phi(self.vector) for _ in range(self.vectors)] for _ in range(self.rows)]
        if self.vectors > 1:  # a narrow tile waits for loads as it is
            self.emit.prefetch(soon_now)
        soon_next = builder.gep(soon_now, [soon[1]])
        b_row = self.load(b_now)
        totals = []
        for r in range(self.rows):
            element = builder.load(
                builder.gep(a_now[r // 4], [a_rows[r % 4]]), typ=self.vector.element
            )
            totals.append(self.multiply_add(element, b_row, sums[r]))
        k_next = builder.add(k, I64(1))
        a_next, b_next = [builder.gep(at, [a_k]) for at in a_now], builder.gep(b_now, [b_k])
        latch = builder.block
        back = builder.cbranch(builder.icmp_signed("<", k_next, depth), loop, done)
        back.set_metadata("llvm.loop", no_unrolling(builder.module))
        for phi, first, following in (
            (k, I64(0), k_next),
            *zip(a_now, a_starts, a_next, strict=True),
            (b_now, b, b_next),
            (soon_now, soon[0], soon_next),
        ):
            phi.add_incoming(first, entry)
            phi.add_incoming(following, latch)
        builder.position_at_end(done)
        for r in range(self.rows):
            for j in range(self.vectors):
                sums[r][j].add_incoming(start[r][j], entry)
                sums[r][j].add_incoming(totals[r][j], latch)
        final = [
            [self._phi(entry, start[r][j], latch, totals[r][j]) for j in range(self.vectors)]
            for r in range(self.rows)
        ]
        for pointer, row in zip(out_rows, final, strict=True):
            self.store(pointer, row)

    def _hide(self, value):
        """The same value, of which LLVM does not know that it is."""
        kind = ir.FunctionType(value.type, [value.type])
        return self.builder.call(ir.InlineAsm(kind, "", "=r,0"), [value])

    def _phi(self, block, value, other_block, other):
        phi = self.builder.phi(self.vector)
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
    """Rows and columns of what `transpose` turns: 64 bytes of each row."""
    return 64 // itemsize


def transpose(x, at, row, out, out_at, out_row):
    """Transpose a block of 64 bytes by as many rows as these are elements.

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
