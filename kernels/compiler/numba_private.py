"""All that this package uses of numba beyond its documented interface, checked in this one place.

Numba may change these parts with any release. Where one is missing, importing the package ends in
one line that says which versions of numba have them.
"""

from typing import Any

import numba
import numpy as np

OLDEST, NEWEST = "0.63.1", "0.68"  # as in pyproject.toml


def _unfit(missing: object) -> ImportError:
    line = f"jitprop works with numba {OLDEST} to {NEWEST}, this is {numba.__version__}: {missing}"
    return ImportError(line, name="numba")


try:
    # Numba would import the first two for the first kernel that is loaded from the cache.
    import numba.cpython.charseq
    import numba.np.arrayobj
    from llvmlite.binding import ffi
    from numba.core import cgutils
    from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
    from numba.core.compiler import CompilerBase, CompileResult, DefaultPassBuilder
    from numba.core.compiler_lock import global_compiler_lock as compiler_lock
    from numba.core.dispatcher import Dispatcher
    from numba.core.registry import cpu_target
    from numba.core.runtime import _nrt_python
    from numba.core.serialize import dumps
    from numba.core.typing.templates import AbstractTemplate, infer_global, signature
    from numba.misc.appdirs import AppDirs
    from numba.np.numpy_support import as_dtype
except ImportError as error:
    raise _unfit(error) from None

__all__ = [
    "AbstractTemplate",
    "AppDirs",
    "CompilerBase",
    "DefaultPassBuilder",
    "JITCodeLibrary",
    "as_dtype",
    "cgutils",
    "codegen",
    "compiler_lock",
    "dumps",
    "host",
    "infer_global",
    "keep_in",
    "llvm_lock",
    "on_new_types",
    "rebuild",
    "reduce",
    "runtime_functions",
    "signature",
    "type_of",
]

_USED = {
    type(compiler_lock): ("acquire", "release", "is_locked"),
    type(ffi.lib): ("_lock",),
    CompileResult: ("_reduce", "_rebuild"),
    Dispatcher: ("compile", "_compile_for_args", "enable_caching"),
    JITCPUCodegen: ("magic_tuple", "_get_host_cpu_name"),
    JITCodeLibrary: ("_optimize_final_module", "_finalize_final_module", "get_pointer_to_function"),
    CompilerBase: ("define_pipelines",),
    DefaultPassBuilder: ("define_nopython_pipeline",),
    _nrt_python: ("c_helpers",),
}
for _owner, _names in _USED.items():
    for _name in _names:
        if not hasattr(_owner, _name):
            raise _unfit(f"{_owner.__name__} has no {_name}")

llvm_lock: Any = ffi.lib._lock  # each call into LLVM takes it


def _expect(owner: Any, *names: str) -> None:
    """Raise ImportError unless an object that exists only now has these attributes."""
    for name in names:
        if not hasattr(owner, name):
            raise _unfit(f"{type(owner).__name__} has no {name}")


def codegen() -> Any:
    """The object that turns LLVM code into machine code. The first call fixes the CPU."""
    return cpu_target.target_context.codegen()


def host() -> tuple[str, str, str]:
    """The target as LLVM names it: the triple, the CPU, its features."""
    made = codegen()
    _expect(made, "_llvm_module", "_tm_features")
    return made._llvm_module.triple, made._get_host_cpu_name(), made._tm_features


def runtime_functions() -> dict[str, int]:
    """Addresses, by name, of the functions of numba's runtime that compiled code calls."""
    return {
        name if name.startswith("_") else f"NRT_{name}": address
        for name, address in _nrt_python.c_helpers.items()
    }


def reduce(result: Any) -> tuple:
    """A compiled function as a tuple that can be pickled; the library of its code comes first."""
    return result._reduce()


def rebuild(target_context: Any, reduced: tuple) -> Any:
    """The compiled function that `reduce` took apart."""
    return CompileResult._rebuild(target_context, *reduced)


def keep_in(dispatcher: Any, cache: Any) -> None:
    """Have a dispatcher load its machine code from `cache`, and leave it there."""
    _expect(dispatcher, "_cache", "overloads")
    dispatcher._cache = cache


def on_new_types(dispatcher: Any, function: Any) -> None:
    """Have a dispatcher call `function` for arguments of types that it has not met before."""
    dispatcher._compile_for_args = function


_TYPES: dict[tuple, numba.types.Type] = {}


def type_of(value: Any) -> numba.types.Type:
    """Return `numba.typeof(value)`, kept for arrays: to find it takes longer than many kernels."""
    if type(value) is not np.ndarray:
        return numba.typeof(value)
    key = value.dtype, value.ndim, value.flags.num
    if key not in _TYPES:
        _TYPES[key] = numba.typeof(value)
    return _TYPES[key]
