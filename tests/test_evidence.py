"""What the machine code of the kernels holds, and what it does not."""

import functools
import importlib
import itertools
import os
import pkgutil
import re
import subprocess
import sys

import numba
import numpy as np
import outputs
import pytest
from numba import types
from numba.core.runtime import _nrt_python
from numba.core.runtime.nrt import rtsys

from jitprop import kernels
from jitprop.kernels import matmul
from jitprop.kernels.compiler.inline import FLAGS
from jitprop.kernels.runtime.intrinsics import takes_scratch
from jitprop.kernels.runtime.kernel import Kernel
from jitprop.kernels.sparse_tile import ROWS
from jitprop.kernels.sparse_tile import VECTORS as SPARSE_VECTORS
from jitprop.kernels.tile import INSTRUCTIONS, MR, VECTORS

pytestmark = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="there is no machine code")
x86 = pytest.mark.skipif(INSTRUCTIONS not in ("avx512", "avx2"), reason="reads x86 with FMA")
REGISTERS = {"avx512": "zmm", "avx2": "ymm"}

LIBM = (
    "exp", "expm1", "exp2", "log", "log1p", "log2", "log10", "tanh", "sinh", "cosh", "pow", "fma",
    "sqrt", "fmod", "round", "floor", "ceil", "rint", "nearbyint", "ldexp", "frexp", "copysign",
    "fmax", "fmin",
)  # fmt: skip
LIBM_CALL = re.compile(rf"\$({'|'.join(LIBM)}|__svml_\w+|_ZGV\w+)f?[0-9]*[,@ ]|[^.\w](__svml|_ZGV)")
DOUBLE = re.compile(r"^v?(add|sub|mul|div|sqrt|max|min|fn?m(add|sub|addsub|subadd)\d*)[sp]d$")
ALLOCATION = re.compile(r"NRT_(Allocate|MemInfo_(new|alloc)|Reallocate)|\$(malloc|calloc)\b")


def every_kernel():
    """All kernels, the two forms of a loss apart, under the names of where they are defined."""
    found = {}
    for module in pkgutil.iter_modules(kernels.__path__):
        for name, value in vars(importlib.import_module(f"jitprop.kernels.{module.name}")).items():
            if isinstance(value, Kernel) and value.__module__ == f"jitprop.kernels.{module.name}":
                found[f"{module.name}.{name}"] = value
    return found


KERNELS = every_kernel()


@functools.cache  # several tests look at the large ones
def machine_code(kernel, dtype):
    """Functions of the serial core: name -> lines of assembly. Without what Python calls it by."""
    kinds = []
    for argument in kernel.signature.arguments:
        if argument.dims is None:
            kinds.append(types.float64)
        else:
            ndim = 2 if argument.dims == ("...",) else len(argument.dims)
            kinds.append(numba.typeof(np.zeros((2,) * ndim, argument.dtype or dtype)))
    more = 3 if takes_scratch(kernel.core.py_func) else 2  # start, stop, scratch
    signature = (*kinds, *[types.int64] * more)
    core = numba.njit(**FLAGS)(kernel.core.py_func)
    core.compile(signature)
    functions, current = {}, None
    for line in core.inspect_asm(signature).splitlines():
        if label := re.match(r"([^.\s][^\s:]*|\.?jitprop[^\s:]*):", line):
            current = functions.setdefault(label[1].strip('"'), [])
        elif current is not None:
            current.append(line.strip())
    wrappers = ("_ZN7cpython", "cfunc.", ".const", "NRT_", "numba_")
    return {name: code for name, code in functions.items() if not name.startswith(wrappers)}


def mnemonics(lines):
    return [line.split()[0] for line in lines if line and line[0] not in ".#"]


def blocks(lines):
    """Basic blocks: what stands between labels and jumps."""
    block = []
    for line in lines:
        if line.startswith(".L") and line.endswith(":"):
            yield block
            block = []
        block.append(line)
        if line.startswith("j"):
            yield block
            block = []
    yield block


def loops_of(code, multiply_add):
    """How many multiply-adds: the blocks that have so many."""
    loops = {}
    for block in blocks(code):
        if count := sum(bool(multiply_add.match(line)) for line in block):
            loops.setdefault(count, []).append(block)
    return loops


def spilled(loops):
    """Lines that use the stack. Where a mask takes a register (AVX2), it may be there."""
    unmasked = [loop for loop in loops if not any("vmaskmov" in line for line in loop)]
    assert unmasked
    return [line for loop in unmasked for line in loop if "(%rsp" in line]


@pytest.mark.slow
@x86
@pytest.mark.parametrize(("dtype", "letter"), [(np.float32, "s"), (np.float64, "d")])
def test_products_are_packed_fused_multiply_adds(dtype, letter):
    """The tile's inner loop: MR x VECTORS of them, as wide as registers are, and no spills."""
    functions = machine_code(kernels.matmul_nn, dtype)
    (code,) = [lines for name, lines in functions.items() if "jitprop.tile" in name]
    packed = re.compile(rf"vfmadd\d+p{letter}\s.*%{REGISTERS[INSTRUCTIONS]}\d+$")
    loops = loops_of(code, packed)
    assert max(loops) == MR * VECTORS
    assert not spilled(loops[MR * VECTORS])
    assert not [name for name in mnemonics(code) if re.match(r"vfn?m(add|sub)\d+s[sd]", name)]
    assert not [name for name in mnemonics(code) if re.match(r"v?(mul|add)p", name)]


@pytest.mark.slow
@x86
@pytest.mark.parametrize("kernel", [kernels.sparse_linear_fprop, kernels.sparse_tn])
def test_tiles_of_sparse_products_stay_in_registers(kernel):
    """A loop for each size of tile: so many multiply-adds, and no spills."""
    functions = machine_code(kernel, np.float32)
    (code,) = [lines for name, lines in functions.items() if "jitprop.sparse_" in name]
    loops = loops_of(code, re.compile("vfmadd"))
    sizes = itertools.product(range(1, ROWS + 1), range(1, SPARSE_VECTORS + 1))
    assert loops.keys() == {rows * vectors for rows, vectors in sizes}
    assert not spilled(itertools.chain(*loops.values()))


@pytest.mark.skipif(INSTRUCTIONS != "avx512", reason="this CPU has AVX2 itself, or has it not")
@pytest.mark.ci
def test_products_for_avx2():
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CPU_FEATURES"}
    command = [sys.executable, "-m", "pytest", "-k", "products and not avx2", __file__]
    environment["NUMBA_CPU_NAME"] = "haswell"
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout


# Their machine code is that of others: all dense products are the one that matmul_nn has, and of
# the sparse ones there is one that does all of what these do, and more.
REPEATED = {
    "matmul.matmul_nt", "matmul.matmul_tn", "matmul.matmul_nt_tanh_bprop", "matmul.linear_fprop",
    "matmul.linear_tanh_fprop", "sparse.sparse_tn_sgd", "sparse.sparse_rows_fprop",
    "sparse.sparse_linear_tanh_fprop",
}  # fmt: skip


def test_what_is_repeated_is_the_same_code():
    dense = {f"matmul.{name}" for name in vars(matmul) if f"matmul.{name}" in KERNELS}
    assert dense - REPEATED == {"matmul.matmul_nn"}
    assert {KERNELS[name].shared for name in dense} == {matmul.product}


# They sum in float64, once a batch, or draw a map in it, once an image.
IN_DOUBLE = ("tally.tally", "weigh.share", "distort.distort")


@x86
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.ci) if name in REPEATED else name for name in KERNELS],
)
def test_float32_kernels(name):
    """No arithmetic in double precision, no call into a maths library, no allocation."""
    functions = machine_code(KERNELS[name], np.float32)
    assert functions
    for code in functions.values():
        double = [i for i in mnemonics(code) if DOUBLE.match(i)]
        if name.startswith(("update.adam", "average")):  # some numbers of its own, once a call
            double = [i for i in double if i.endswith("pd")]
        if name not in IN_DOUBLE:
            assert not double
        assert not [line for line in code if LIBM_CALL.search(line)]
        assert not [line for line in code if ALLOCATION.search(line)]


@x86
@pytest.mark.parametrize("name", ["tanh.tanh_fprop", "softmax.softmax_fprop"])
def test_float64_functions_are_ours_too(name):
    for code in machine_code(KERNELS[name], np.float64).values():
        assert not [line for line in code if LIBM_CALL.search(line)]
        assert not [line for line in code if ALLOCATION.search(line)]


@x86
def test_the_patterns_find_what_they_look_for():
    """Compiled code that does all that a kernel must not."""

    @numba.njit
    def bad(x):
        y = np.empty(len(x))
        for i in range(len(x)):
            y[i] = np.tanh(x[i]) * 0.3
        return y

    bad(np.ones(3, np.float32))
    (assembly,) = bad.inspect_asm().values()
    lines = [line.strip() for line in assembly.splitlines()]
    assert any(DOUBLE.match(name) for name in mnemonics(lines))
    assert any(LIBM_CALL.search(line) for line in lines)
    assert any(ALLOCATION.search(line) for line in lines)


def test_no_kernel_allocates():
    sizes = {"products": [(110, 530, 1100), (7, 5, 3)], "shapes": [(211, 113), (5, 3)]}
    calls = list(outputs.calls(np.float32, **sizes))
    for name, arguments in calls:
        getattr(kernels, name)(*arguments)  # compile
    enabled = _nrt_python.memsys_stats_enabled()
    _nrt_python.memsys_enable_stats()
    try:
        for name, arguments in calls:
            before = rtsys.get_allocation_stats()
            getattr(kernels, name)(*arguments)
            after = rtsys.get_allocation_stats()
            assert after == before, name
    finally:
        if not enabled:
            _nrt_python.memsys_disable_stats()
