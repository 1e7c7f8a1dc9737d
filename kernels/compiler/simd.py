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

import numpy as np
from llvmlite import ir
from numba import types

from jitprop.kernels.compiler.lanes import (
    I32,
    I64,
    LANES,
    MASK,
    Lanes,
    integer_like,
    is_array,
    llvm_element,
    lowers,
    suffix,
)
from jitprop.kernels.compiler.numba_private import cgutils

# --- Memory --------------------------------------------------------------------------------------


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
        if is_array(x)
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
        if is_array(x) and lanes == Lanes(x.dtype)
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
    """A scratch array of `count` (a constant) elements; not cleared.

    Its dtype is that of `like`, an array, or `like` itself.
    """
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
    # Not cgutils.alloca_once: it clears the memory, and LLVM would split so large a store.
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
        if is_array(like)
        else None
    ),
)
def _scratch_array(emit, result, kinds, args):
    scratch, count, _ = args
    data = emit.builder.inttoptr(scratch, llvm_element(result.dtype).as_pointer())
    return _array_of(emit, result, data, count)


def prefetch(x, index):
    """Ask for the cache line of element `index` ahead of its use; may lie outside `x`."""


@lowers(prefetch, lambda x, index: (types.void, (x, types.int64)) if is_array(x) else None)
def _prefetch(emit, result, kinds, args):
    emit.prefetch(emit.pointer(kinds[0], *args))
    return emit.context.get_dummy_value()


def flat(x):
    """The elements of a C-contiguous array, in the order of memory, as one dimension.

    Its type does not say whether `x` may be written: inputs are not, by convention.
    """
    return x.reshape(-1)


@lowers(flat, lambda x: (types.Array(x.dtype, 1, "C"), (x,)) if is_array(x) else None)
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


# --- Arithmetic ----------------------------------------------------------------------------------


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
    """`x * y + z`, rounded once.

    The plain twin rounds twice where float64 is the dtype.
    """
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


# --- Bits ----------------------------------------------------------------------------------------


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


def low_bytes(x):
    """The lowest byte of each integer."""
    return (x & 255).astype(np.uint8)


def _floats_to_integers(x):
    floats = isinstance(x, Lanes) and isinstance(x.dtype, types.Float)
    return (Lanes(integer_like(x.dtype)), (x,)) if floats else None


def _integers_to_floats(x):
    floats = {Lanes(types.int32): types.float32, Lanes(types.int64): types.float64}
    return (Lanes(floats[x]), (x,)) if x in floats else None


def _bytes_to_floats(x, like):
    return (Lanes(like.dtype), (x, like)) if x == Lanes(types.uint8) else None


def _integers_to_bytes(x):
    return _integers_to_floats(x) and (Lanes(types.uint8), (x,))


def _lower_conversion(function, resolve, instruction):
    @lowers(function, resolve)
    def convert(emit, result, kinds, args):
        vector = ir.VectorType(llvm_element(result.dtype), LANES)
        return getattr(emit.builder, instruction)(args[0], vector)


_lower_conversion(bits, _floats_to_integers, "bitcast")
_lower_conversion(from_bits, _integers_to_floats, "bitcast")
_lower_conversion(to_integer, _floats_to_integers, "fptosi")
_lower_conversion(to_float, _integers_to_floats, "sitofp")
_lower_conversion(as_float, _bytes_to_floats, "uitofp")
_lower_conversion(low_bytes, _integers_to_bytes, "trunc")


# --- Across lanes --------------------------------------------------------------------------------


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
    """The largest lane. With a NaN in some lane it may be any lane; the sum shows the NaN."""
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


# --- Constants -----------------------------------------------------------------------------------


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
