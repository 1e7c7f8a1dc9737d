"""What Python has no word for: atomic reads and writes, and functions called by their address."""

import inspect

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from jitprop.kernels.compiler.numba_private import cgutils

RECORD = 1024  # bytes from one recorded call to the next
RECORD_ARGS = 48  # bytes of a record before the call's arguments


def _slot(builder, mailbox, slot):
    """Pointer to int64 number `slot` behind the address `mailbox`."""
    base = builder.inttoptr(mailbox, ir.IntType(64).as_pointer())
    return builder.gep(base, [slot])


@intrinsic
def peek(typingctx, mailbox, slot):
    """Atomic read of a slot."""

    def codegen(context, builder, signature, args):
        return builder.load_atomic(_slot(builder, *args), "seq_cst", 8, typ=ir.IntType(64))

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def poke(typingctx, mailbox, slot, value):
    """Atomic write of a slot."""

    def codegen(context, builder, signature, args):
        builder.store_atomic(args[2], _slot(builder, *args[:2]), "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def fetch_add(typingctx, mailbox, slot, value):
    """Atomic addition to a slot; returns what was there before."""

    def codegen(context, builder, signature, args):
        return builder.atomic_rmw("add", _slot(builder, *args[:2]), args[2], "seq_cst")

    return types.int64(types.int64, types.int64, types.int64), codegen


@intrinsic
def swap(typingctx, mailbox, slot, value):
    """Atomic exchange of a slot; returns what was there before."""

    def codegen(context, builder, signature, args):
        return builder.atomic_rmw("xchg", _slot(builder, *args[:2]), args[2], "seq_cst")

    return types.int64(types.int64, types.int64, types.int64), codegen


_TRAP = ir.FunctionType(ir.VoidType(), [])
# (data, start, stop, scratch)
_TRAMPOLINE = ir.FunctionType(ir.VoidType(), [ir.IntType(64)] * 4)


@intrinsic
def call(typingctx, function, data, start, stop, scratch):
    """Call the trampoline at the address `function`."""

    def codegen(context, builder, signature, args):
        builder.call(builder.inttoptr(args[0], _TRAMPOLINE.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), codegen


def takes_scratch(core) -> bool:
    """Whether a core's last parameter is the address of scratch memory."""
    return list(inspect.signature(core).parameters)[-1] == "scratch"


@intrinsic
def pointer(typingctx, number):
    """Pointer to the number in an array of no dimensions."""

    def codegen(context, builder, signature, args):
        return context.make_array(number)(context, builder, args[0]).data

    return types.CPointer(number.dtype)(number), codegen


@intrinsic
def trampoline(typingctx, core, args):
    """Address of a function `(data, start, stop, scratch)` that calls `core`.

    It calls `core(*args, start, stop)`, or `core(*args, start, stop, scratch)`, with the args that
    `data` points to. (A C compiler turns the body of an OpenMP loop into such a function.) For a
    `pointer` the core gets the number that it points to. Only the types of `args` count.
    """
    kinds = [kind.dtype if isinstance(kind, types.CPointer) else kind for kind in args.types]
    more = 3 if takes_scratch(core.dispatcher.py_func) else 2
    call = core.get_call_type(typingctx, (*kinds, *[types.int64] * more), {})

    def codegen(context, builder, signature, llvm_args):
        result = core.dispatcher.get_compile_result(call)
        context.active_code_library.add_linking_library(result.library)
        module = builder.module
        function = ir.Function(module, _TRAMPOLINE, module.get_unique_name("trampoline"))
        function.linkage = "internal"
        inner = ir.IRBuilder(function.append_basic_block())
        packed = context.get_value_type(args)
        data, *rest = function.args
        values = inner.load(inner.inttoptr(data, packed.as_pointer()))
        unpacked = cgutils.unpack_tuple(inner, values, len(args.types))
        for place, kind in enumerate(args.types):
            if kinds[place] is not kind:
                unpacked[place] = inner.load(unpacked[place])
        status, _ = context.call_internal_no_propagate(
            inner, result.fndesc, call, [*unpacked, *rest[:more]]
        )
        if numba.config.BOUNDSCHECK:  # an index out of range raises there, which nobody hears
            with inner.if_then(status.is_error, likely=False):
                inner.call(module.declare_intrinsic("llvm.trap", (), _TRAP), [])
        inner.ret_void()
        return builder.ptrtoint(function, ir.IntType(64))

    return types.int64(core, args), codegen


def _unowned(context, builder, kinds, values):
    """A tuple whose arrays hold no reference to their memory.

    The code that copies them does not count references, and may outlive numba's handles of the
    arrays. The caller keeps the memory alive.
    """
    for place, kind in enumerate(kinds.types):
        if isinstance(kind, types.Array):
            array = context.make_array(kind)(context, builder, builder.extract_value(values, place))
            array.meminfo = cgutils.get_null_value(array.meminfo.type)
            array.parent = cgutils.get_null_value(array.parent.type)
            values = builder.insert_value(values, array._getvalue(), place)
    return values


@intrinsic
def on_stack(typingctx, args):
    """Address of a copy of the tuple `args`, there until the caller returns."""

    def codegen(context, builder, signature, llvm_args):
        memory = cgutils.alloca_once_value(builder, _unowned(context, builder, args, *llvm_args))
        return builder.ptrtoint(memory, ir.IntType(64))

    return types.int64(args), codegen


@intrinsic
def words(typingctx, args):
    """Size of the tuple `args` in int64."""

    def codegen(context, builder, signature, llvm_args):
        size = context.get_abi_sizeof(llvm_args[0].type)
        if size > RECORD - RECORD_ARGS:
            raise NotImplementedError(f"arguments of {size} bytes")
        return ir.Constant(ir.IntType(64), -(-size // 8))

    return types.int64(args), codegen
