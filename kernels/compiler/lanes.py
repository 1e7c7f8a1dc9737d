"""Vectors of 16 elements as a type of numba's, and how a function on them becomes LLVM code."""

import numba
from llvmlite import ir
from numba import types
from numba.extending import lower_builtin, models, register_model

from jitprop.kernels.compiler.numba_private import (
    AbstractTemplate,
    cgutils,
    infer_global,
    signature,
)

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


def is_array(value) -> bool:
    """Whether a numba type is that of a C-contiguous array."""
    return isinstance(value, types.Array) and value.layout == "C"
