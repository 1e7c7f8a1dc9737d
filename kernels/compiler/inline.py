"""Helpers that only other compiled code calls: they are compiled only as far as LLVM's language.

By itself, numba makes machine code of every function, and again of each function that calls it. A
helper here waits until it is part of a kernel. Only there is it optimised and made machine code,
once. So the kernels of mlp200 compile in half the time.
"""

import ctypes

import numba

from jitprop.kernels.compiler.numba_private import CompilerBase, DefaultPassBuilder, JITCodeLibrary

# The flags of every kernel. `fastmath` is empty: NaN, infinities, signed zeros and the order of
# sums are NumPy's, and a multiply-add is fused where the source says `fma` and nowhere else, so
# that every CPU computes the same bits. `error_model`: x / 0 is an infinity, not an exception.
FLAGS = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": set(),
    "boundscheck": False,
    "no_cfunc_wrapper": True,
    "_nrt": False,
}


class _Library(JITCodeLibrary):
    """The LLVM module of a helper and of those that it calls."""

    @property
    def codegen(self):
        return self

    def set_env(self, name, environment):
        """What numba does for functions that use Python objects."""

    def get_pointer_to_function(self, name):
        """What Python would call: a function that raises TypeError."""
        return ctypes.cast(ctypes.pythonapi.PyErr_BadArgument, ctypes.c_void_p).value

    def _optimize_final_module(self):
        pass

    def _finalize_final_module(self):
        self._finalized = True


class _Compiler(CompilerBase):
    """Numba's compiler, except for where the code goes."""

    def define_pipelines(self):
        name = self.state.func_id.func_qualname
        self.state.library = _Library(self.state.targetctx.codegen(), name)
        return [DefaultPassBuilder.define_nopython_pipeline(self.state)]


def inline(function):
    """Compile a helper that kernels call: LLVM inlines it, nothing of it is cached by itself."""
    return numba.njit(**FLAGS, no_cpython_wrapper=True, pipeline_class=_Compiler)(function)


@inline
def within(place, bound):
    """`place`, or the nearest to it in 0 .. bound-1.

    It was in range when the call was checked. But it lies in memory that another thread may have
    changed since then. So may an output, if a file is mapped twice.
    """
    return min(max(place, 0), bound - 1)
