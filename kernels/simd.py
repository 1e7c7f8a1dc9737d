"""Vectors of 16 elements for kernels: all that knows about width, registers and LLVM.

Numba's own vectoriser decides anew for each loop and CPU, and cannot touch the order of a sum.
Here a kernel says what it wants: `load` gives sixteen elements, `+ - * /`, comparisons, `where`,
`fma` work lane by lane, `lanes_sum` and `lanes_max` fold them in one fixed order. A vector is 16
lanes wide on every CPU; LLVM splits it into what the registers hold (one AVX-512, two AVX2, four
NEON registers for float32). So the bits do not depend on the CPU. Numbers in arithmetic take the
vector's dtype: `0.5 * x` does not widen a float32.

Every function is defined twice: as plain NumPy on arrays of 16, which is its documentation and
what runs with NUMBA_DISABLE_JIT=1, and as LLVM code, which is what numba compiles.
"""

import operator

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import lower_builtin, models, register_model

from jitprop.kernels.cpu import INSTRUCTIONS
from jitprop.kernels.numba_private import AbstractTemplate, cgutils, infer_global, signature

LANES = 16

I1 = ir.IntType(1)
I32 = ir.IntType(32)
I64 = ir.IntType(64)


class Lanes(types.Type):
    """The numba type of a vector of LANES elements of `dtype`; boolean for masks."""

    def __init__(self, dtype):
        self.dtype = dtype
        super().__init__(name=f"Lanes({dtype})")


@register_model(Lanes)
class LanesModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, ir.VectorType(llvm_element(fe_type.dtype), LANES))


def llvm_element(dtype) -> ir.Type:
    if dtype == types.boolean:
        return I1
    if dtype == types.float32:
        return ir.FloatType()
    if dtype == types.float64:
        return ir.DoubleType()
    return ir.IntType(dtype.bitwidth)


MASK = Lanes(types.boolean)


def integer_like(dtype):
    """The integer dtype as wide as a float dtype; an integer dtype as it is."""
    if isinstance(dtype, types.Integer):
        return dtype
    return types.int32 if dtype == types.float32 else types.int64


# --- Teaching numba -----------------------------------------------------------------------------


def lowers(function, resolve):
    """Decorate the LLVM code of `function`: `codegen(emit, result type, arg types, args)`.

    `resolve(*arg types)` returns (result type, arg types to cast to), or None where the function
    is not ours for these types.
    """

    class Template(AbstractTemplate):
        key = function

        def generic(self, args, kws):
            resolved = None if kws else resolve(*args)
            return resolved and signature(resolved[0], *resolved[1])

    infer_global(function)(Template)

    def decorate(codegen):
        def lower(context, builder, sig, args):
            return codegen(Emit(context, builder), sig.return_type, sig.args, args)

        lower_builtin(function, types.VarArg(types.Any))(lower)
        return codegen

    return decorate


class Emit:
    """The LLVM builder and numba's context, with the few things that recur."""

    def __init__(self, context, builder):
        self.context = context
        self.builder = builder

    def intrinsic(self, name, result, *args):
        """Call an LLVM intrinsic."""
        function_type = ir.FunctionType(result, [arg.type for arg in args])
        function = cgutils.get_or_insert_function(self.builder.module, function_type, name)
        return self.builder.call(function, args)

    def call(self, name, args, define):
        """Call the function `name`, which `define(emit, *args)` writes unless it is there."""
        module = self.builder.module
        if name not in module.globals:
            kind = ir.FunctionType(ir.VoidType(), [arg.type for arg in args])
            function = ir.Function(module, kind, name)
            function.linkage = "internal"
            function.attributes.add("noinline")
            builder = ir.IRBuilder(function.append_basic_block())
            define(Emit(self.context, builder), *function.args)
            builder.ret_void()
        self.builder.call(module.globals[name], args)

    def splat(self, element, vector):
        """A vector whose lanes all hold `element`."""
        undefined = ir.Constant(vector, ir.Undefined)
        single = self.builder.insert_element(undefined, element, I32(0))
        zeros = ir.Constant(ir.VectorType(I32, vector.count), [0] * vector.count)
        return self.builder.shuffle_vector(single, undefined, zeros)

    def pointer(self, array_type, array, index, count=None):
        """Pointer to element `index` of a C-contiguous array, counted in the order of memory.

        With NUMBA_BOUNDSCHECK=1, the process ends unless `count` elements from there on are in it.
        """
        struct = self.context.make_array(array_type)(self.context, self.builder, array)
        if count is not None and numba.config.BOUNDSCHECK:
            builder, some = self.builder, self.builder.icmp_signed(">", count, I64(0))
            end = builder.add(index, count)
            outside = builder.or_(
                builder.icmp_signed("<", index, I64(0)),
                builder.icmp_signed(">", end, struct.nitems),
            )
            with builder.if_then(builder.and_(some, outside), likely=False):
                self.intrinsic("llvm.trap", ir.VoidType())
        return self.builder.gep(struct.data, [index])

    def at_most(self, count, limit):
        """The smaller of a number and a constant."""
        less = self.builder.icmp_signed("<", count, I64(limit))
        return self.builder.select(less, count, I64(limit))

    def counting(self, start, stop):
        """The constant vector start, start + 1, .. stop - 1, which chooses lanes in a shuffle."""
        return ir.Constant(ir.VectorType(I32, stop - start), list(range(start, stop)))

    def halves(self, vector):
        """The lower and the upper half of the lanes."""
        undefined = ir.Constant(vector.type, ir.Undefined)
        count = vector.type.count
        return [
            self.builder.shuffle_vector(vector, undefined, self.counting(*ends))
            for ends in ((0, count // 2), (count // 2, count))
        ]

    def prefetch(self, pointer):
        """Ask for the cache line at `pointer`, into the second-level cache."""
        pointer = self.builder.bitcast(pointer, ir.IntType(8).as_pointer())
        read, keep, data = I32(0), I32(2), I32(1)
        self.intrinsic("llvm.prefetch.p0", ir.VoidType(), pointer, read, keep, data)

    def first(self, count, lanes=LANES):
        """Mask of the first `count` lanes; all of them from LANES on, none up to 0."""
        vector = ir.VectorType(I32, lanes)
        steps = ir.Constant(vector, list(range(lanes)))
        enough = self.builder.icmp_signed("<", count, I64(lanes))
        count = self.builder.trunc(self.builder.select(enough, count, I64(lanes)), I32)
        return self.builder.icmp_signed("<", steps, self.splat(count, vector))


def suffix(dtype) -> str:
    """How LLVM names a vector type in its intrinsics."""
    letter = "f" if isinstance(dtype, types.Float) else "i"
    return f"v{LANES}{letter}{dtype.bitwidth}"


def _array(value) -> bool:
    return isinstance(value, types.Array) and value.layout == "C"


# --- Memory -------------------------------------------------------------------------------------


def load(x, index, count=LANES, fill=0):
    """Elements `index .. index+15` of `x`, counted in the order of memory.

    With `count`, lanes from `count` on are `fill` and their memory is not read.
    """
    lanes = np.full(LANES, fill, x.dtype)
    count = max(0, min(count, LANES))
    lanes[:count] = x.reshape(-1)[index : index + count]
    return lanes


def store(x, index, lanes, count=LANES):
    """Write `lanes` to elements `index .. index+15`; with `count`, only the first `count`."""
    count = max(0, min(count, LANES))
    x.reshape(-1)[index : index + count] = lanes[:count]


@lowers(
    load,
    lambda x, index, *rest: (
        (Lanes(x.dtype), (x, types.int64, *((types.int64, x.dtype)[: len(rest)])))
        if _array(x)
        else None
    ),
)
def _load(emit, result, kinds, args):
    builder = emit.builder
    vector = ir.VectorType(llvm_element(result.dtype), LANES)
    count = emit.at_most(args[2], LANES) if len(args) > 2 else I64(LANES)
    pointer = emit.pointer(kinds[0], args[0], args[1], count)
    align = result.dtype.bitwidth // 8
    if len(args) == 2:
        wide = builder.bitcast(pointer, vector.as_pointer())
        return builder.load(wide, align=align, typ=vector)
    fill = args[3] if len(args) == 4 else ir.Constant(vector.element, 0)
    wide = builder.bitcast(pointer, vector.as_pointer())
    name = f"llvm.masked.load.{suffix(result.dtype)}.p0"
    return emit.intrinsic(
        name, vector, wide, I32(align), emit.first(args[2]), emit.splat(fill, vector)
    )


@lowers(
    store,
    lambda x, index, lanes, *rest: (
        (types.void, (x, types.int64, Lanes(x.dtype), *[types.int64] * len(rest)))
        if _array(x) and lanes == Lanes(x.dtype)
        else None
    ),
)
def _store(emit, result, kinds, args):
    builder = emit.builder
    count = emit.at_most(args[3], LANES) if len(args) > 3 else I64(LANES)
    pointer = emit.pointer(kinds[0], args[0], args[1], count)
    lanes = args[2]
    wide = builder.bitcast(pointer, lanes.type.as_pointer())
    align = kinds[0].dtype.bitwidth // 8
    if len(args) == 3:
        builder.store(lanes, wide, align=align)
    else:
        name = f"llvm.masked.store.{suffix(kinds[0].dtype)}.p0"
        emit.intrinsic(name, ir.VoidType(), lanes, wide, I32(align), emit.first(args[3]))
    return emit.context.get_dummy_value()


def steps(like):
    """0, 1, 2, ... in the lanes, integers as wide as the dtype of `like`."""
    return np.arange(LANES, dtype=f"i{like.dtype.itemsize}")


@lowers(
    steps,
    lambda like: (Lanes(integer_like(like.dtype)), (like,)) if isinstance(like, Lanes) else None,
)
def _steps(emit, result, kinds, args):
    vector = ir.VectorType(llvm_element(result.dtype), LANES)
    return ir.Constant(vector, list(range(LANES)))


def stack_array(count, like):
    """A scratch array of `count` (a constant) elements of the dtype of `like`, an array, or of the
    dtype that `like` is; not cleared."""
    return np.empty(count, like.dtype if isinstance(like, np.ndarray) else like)


def _resolve_stack(count, like):
    known = isinstance(like, (types.Array, types.NumberClass))
    if isinstance(count, types.IntegerLiteral) and known:
        return types.Array(like.dtype, 1, "C"), (count, like)
    return None


@lowers(stack_array, _resolve_stack)
def _stack_array(emit, result, kinds, args):
    builder = emit.builder
    element = llvm_element(result.dtype)
    count = kinds[0].literal_value
    # Not cgutils.alloca_once: it clears the memory, and LLVM takes a store that large apart.
    with builder.goto_entry_block():
        memory = builder.alloca(ir.ArrayType(element, count))
    memory.align = 64
    data = builder.bitcast(memory, element.as_pointer())
    return _array_of(emit, result, data, I64(count))


def scratch_array(scratch, count, like):
    """An array of `count` elements of the dtype of `like` at the address `scratch`; not cleared."""
    return np.empty(count, like.dtype)


@lowers(
    scratch_array,
    lambda scratch, count, like: (
        (types.Array(like.dtype, 1, "C"), (types.int64, types.int64, like))
        if _array(like)
        else None
    ),
)
def _scratch_array(emit, result, kinds, args):
    scratch, count, _ = args
    data = emit.builder.inttoptr(scratch, llvm_element(result.dtype).as_pointer())
    return _array_of(emit, result, data, count)


def prefetch(x, index):
    """Ask for the cache line of element `index` ahead of its use; may lie outside `x`."""


@lowers(prefetch, lambda x, index: (types.void, (x, types.int64)) if _array(x) else None)
def _prefetch(emit, result, kinds, args):
    emit.prefetch(emit.pointer(kinds[0], *args))
    return emit.context.get_dummy_value()


def flat(x):
    """The elements of a C-contiguous array, in the order of memory, as one dimension.

    Its type does not say whether `x` may be written: inputs are not, by convention.
    """
    return x.reshape(-1)


@lowers(flat, lambda x: (types.Array(x.dtype, 1, "C"), (x,)) if _array(x) else None)
def _flat(emit, result, kinds, args):
    context, builder = emit.context, emit.builder
    struct = context.make_array(kinds[0])(context, builder, args[0])
    return _array_of(emit, result, struct.data, struct.nitems)


def _array_of(emit, kind, data, count):
    """A one-dimensional array over memory that somebody else keeps."""
    array = emit.context.make_array(kind)(emit.context, emit.builder)
    size = I64(kind.dtype.bitwidth // 8)
    emit.context.populate_array(
        array, data=data, shape=[count], strides=[size], itemsize=size, meminfo=None
    )
    return array._getvalue()


def broadcast(value, like):
    """A vector of the dtype of `like` (a vector or an array) whose lanes all hold `value`."""
    return np.full(LANES, value, like.dtype)


@lowers(
    broadcast,
    lambda value, like: (
        (Lanes(like.dtype), (like.dtype, like)) if isinstance(like, (Lanes, types.Array)) else None
    ),
)
def _broadcast(emit, result, kinds, args):
    return emit.splat(args[0], ir.VectorType(llvm_element(result.dtype), LANES))


# --- Arithmetic ---------------------------------------------------------------------------------


def _same(*kinds):
    """All vectors of one dtype, with numbers among them taking that dtype."""
    vectors = [kind for kind in kinds if isinstance(kind, Lanes)]
    if not vectors or vectors.count(vectors[0]) != len(vectors):
        return None
    if not all(isinstance(kind, (Lanes, types.Number)) for kind in kinds):
        return None
    dtype = vectors[0].dtype
    return vectors[0], tuple(kind if isinstance(kind, Lanes) else dtype for kind in kinds)


def _spread(emit, args, kinds):
    """Numbers among the arguments become vectors."""
    vector = next(a.type for a, kind in zip(args, kinds, strict=True) if isinstance(kind, Lanes))
    return [
        arg if isinstance(kind, Lanes) else emit.splat(arg, vector)
        for arg, kind in zip(args, kinds, strict=True)
    ]


def _lower_binary(function, float_name, int_name):
    @lowers(function, _same)
    def codegen(emit, result, kinds, args):
        floating = isinstance(result.dtype, types.Float)
        name = float_name if floating else int_name
        return getattr(emit.builder, name)(*_spread(emit, args, kinds))


for _function in (operator.add, operator.iadd):
    _lower_binary(_function, "fadd", "add")
for _function in (operator.sub, operator.isub):
    _lower_binary(_function, "fsub", "sub")
for _function in (operator.mul, operator.imul):
    _lower_binary(_function, "fmul", "mul")
_lower_binary(operator.truediv, "fdiv", "sdiv")
_lower_binary(operator.and_, "", "and_")
_lower_binary(operator.or_, "", "or_")
_lower_binary(operator.xor, "", "xor")
_lower_binary(operator.lshift, "", "shl")
_lower_binary(operator.rshift, "", "ashr")


@lowers(operator.neg, _same)
def _negative(emit, result, kinds, args):
    return emit.builder.fneg(args[0])


def _comparison(*kinds):
    resolved = _same(*kinds)
    return resolved and (MASK, resolved[1])


def _lower_comparison(function, symbol):
    @lowers(function, _comparison)
    def codegen(emit, result, kinds, args):
        values = _spread(emit, args, kinds)
        dtype = next(kind.dtype for kind in kinds if isinstance(kind, Lanes))
        if not isinstance(dtype, types.Float):
            return emit.builder.icmp_signed(symbol, *values)
        if symbol == "!=":
            return emit.builder.fcmp_unordered(symbol, *values)
        return emit.builder.fcmp_ordered(symbol, *values)


for _function, _symbol in (
    (operator.lt, "<"),
    (operator.le, "<="),
    (operator.gt, ">"),
    (operator.ge, ">="),
    (operator.eq, "=="),
    (operator.ne, "!="),
):
    _lower_comparison(_function, _symbol)


def where(mask, x, y):
    """Lane by lane, `x` where the mask holds, else `y`."""
    return np.where(mask, x, y).astype(np.result_type(x, y))


def _choice(mask, x, y):
    resolved = _same(x, y) if mask == MASK else None
    return resolved and (resolved[0], (MASK, *resolved[1]))


@lowers(where, _choice)
def _where(emit, result, kinds, args):
    return emit.builder.select(args[0], *_spread(emit, args[1:], kinds[1:]))


def fma(x, y, z):
    """`x * y + z`, rounded once. (The plain twin rounds twice where float64 is the dtype.)"""
    dtype = np.result_type(*(v for v in (x, y, z) if isinstance(v, (np.ndarray, np.generic))))
    wide = np.float64 if dtype == np.float32 else np.longdouble
    x, y, z = (np.asarray(v, dtype).astype(wide) for v in (x, y, z))
    with np.errstate(all="ignore"):
        return (x * y + z).astype(dtype)


@lowers(fma, _same)
def _fma(emit, result, kinds, args):
    x, y, z = _spread(emit, args, kinds)
    return emit.intrinsic(f"llvm.fma.{suffix(result.dtype)}", x.type, x, y, z)


def absolute(x):
    """The magnitude; clears the sign of zero and of NaN."""
    return np.abs(x)


@lowers(absolute, _same)
def _absolute(emit, result, kinds, args):
    return emit.intrinsic(f"llvm.fabs.{suffix(result.dtype)}", args[0].type, args[0])


def sqrt(x):
    """The square root, correctly rounded; NaN below 0."""
    return np.sqrt(x)


@lowers(sqrt, _same)
def _sqrt(emit, result, kinds, args):
    return emit.intrinsic(f"llvm.sqrt.{suffix(result.dtype)}", args[0].type, args[0])


def copysign(x, sign):
    """The magnitude of `x` with the sign of `sign`."""
    return np.copysign(x, sign)


@lowers(copysign, _same)
def _copysign(emit, result, kinds, args):
    x, sign = _spread(emit, args, kinds)
    return emit.intrinsic(f"llvm.copysign.{suffix(result.dtype)}", x.type, x, sign)


# --- Bits ---------------------------------------------------------------------------------------


def bits(x):
    """The floats' bit patterns as integers of the same width."""
    return x.view(np.int32 if x.dtype == np.float32 else np.int64)


def from_bits(x):
    """The floats that have these bit patterns."""
    return x.view(np.float32 if x.dtype == np.int32 else np.float64)


def to_integer(x):
    """Rounded towards zero to an integer of the same width; any value where that overflows."""
    with np.errstate(invalid="ignore"):
        return x.astype(np.int32 if x.dtype == np.float32 else np.int64)


def to_float(x):
    """Integers as floats of the same width."""
    return x.astype(np.float32 if x.dtype == np.int32 else np.float64)


def as_float(x, like):
    """Unsigned bytes as floats of the dtype of `like`."""
    return x.astype(like.dtype)


@lowers(
    as_float,
    lambda x, like: (Lanes(like.dtype), (x, like)) if x == Lanes(types.uint8) else None,
)
def _as_float(emit, result, kinds, args):
    return emit.builder.uitofp(args[0], ir.VectorType(llvm_element(result.dtype), LANES))


def _floats_to_integers(x):
    if isinstance(x, Lanes) and isinstance(x.dtype, types.Float):
        return Lanes(integer_like(x.dtype)), (x,)
    return None


def _integers_to_floats(x):
    if isinstance(x, Lanes) and x.dtype in (types.int32, types.int64):
        return Lanes(types.float32 if x.dtype == types.int32 else types.float64), (x,)
    return None


@lowers(bits, _floats_to_integers)
@lowers(from_bits, _integers_to_floats)
def _bits(emit, result, kinds, args):
    return emit.builder.bitcast(args[0], ir.VectorType(llvm_element(result.dtype), LANES))


@lowers(to_integer, _floats_to_integers)
def _to_integer(emit, result, kinds, args):
    return emit.builder.fptosi(args[0], ir.VectorType(llvm_element(result.dtype), LANES))


@lowers(to_float, _integers_to_floats)
def _to_float(emit, result, kinds, args):
    return emit.builder.sitofp(args[0], ir.VectorType(llvm_element(result.dtype), LANES))


# --- Across lanes -------------------------------------------------------------------------------


def _fold(lanes, combine):
    """Halves onto each other until one lane is left: 16 -> 8 -> 4 -> 2 -> 1."""
    while len(lanes) > 1:
        half = len(lanes) // 2
        lanes = combine(lanes[:half], lanes[half:])
    return lanes[0]


def lanes_sum(x):
    """The sum of all lanes, always added in one order."""
    return _fold(x, np.add)


def lanes_max(x):
    """The largest lane. Beside a NaN it may be any lane: whoever needs NaN finds it in the sum."""
    return _fold(x, lambda x, y: np.where(x > y, x, y))


def _lower_fold(function, combine):
    @lowers(function, lambda x: (x.dtype, (x,)) if isinstance(x, Lanes) else None)
    def codegen(emit, result, kinds, args):
        builder, x = emit.builder, args[0]
        while x.type.count > 1:
            x = combine(builder, *emit.halves(x))
        return builder.extract_element(x, I32(0))


def _larger(builder, x, y):
    return builder.select(builder.fcmp_ordered(">", x, y), x, y)  # one instruction on x86


_lower_fold(lanes_sum, lambda builder, x, y: builder.fadd(x, y))
_lower_fold(lanes_max, _larger)


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
        if _array(x) and lanes == Lanes(x.dtype) and mask == MASK
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


# --- Tables -------------------------------------------------------------------------------------

ENTRIES = 32  # of a row of a table: two AVX-512 registers


def lookup(table, row, index):
    """`table[row, index % 32]` lane by lane; `table` is float32 (rows, 32), `index` int32."""
    return table[row, index % ENTRIES]


@lowers(
    lookup,
    lambda table, row, index: (
        (Lanes(types.float32), (table, types.int64, Lanes(types.int32)))
        if _array(table) and table.dtype == types.float32 and table.ndim == 2
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


# --- Constants ----------------------------------------------------------------------------------


def for_dtype(x, single, double):
    """`single` where the dtype of `x` is float32, else `double`; chosen when numba compiles."""
    return single if x.dtype == np.float32 else double


def _resolve_for_dtype(x, single, double):
    if not isinstance(x, (Lanes, types.Array)):
        return None
    return (single if x.dtype == types.float32 else double), (x, single, double)


@lowers(for_dtype, _resolve_for_dtype)
def _for_dtype(emit, result, kinds, args):
    return args[1] if kinds[0].dtype == types.float32 else args[2]


def polynomial(x, coefficients):
    """`c[0] + c[1] x + c[2] x**2 + ...` of a tuple of numbers, by Horner's rule with `fma`."""
    value = broadcast(coefficients[-1], x)
    for coefficient in coefficients[-2::-1]:
        value = fma(value, x, coefficient)
    return value


@lowers(
    polynomial,
    lambda x, coefficients: (
        (x, (x, types.UniTuple(x.dtype, len(coefficients)))) if isinstance(x, Lanes) else None
    ),
)
def _polynomial(emit, result, kinds, args):
    x, coefficients = args
    splats = [emit.splat(c, x.type) for c in cgutils.unpack_tuple(emit.builder, coefficients)]
    value = splats.pop()
    while splats:
        value = emit.intrinsic(f"llvm.fma.{suffix(result.dtype)}", x.type, value, x, splats.pop())
    return value
