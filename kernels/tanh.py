"""Hyperbolic tangent, element by element.

y  = tanh(x)            forwards
dx = dy * (1 - y * y)   backwards
"""

from kernels.functions import tanh
from kernels.jit import kernel
from kernels.simd import LANES, fma, load, store


@kernel("x(...) -> out(...)", inplace="x")
def tanh_fprop(x, out, start, stop):
    for i in range(start, stop, LANES):
        store(out, i, tanh(load(x, i, stop - i)), stop - i)


@kernel("y(...), dy(...) -> out(...)", inplace="y dy")
def tanh_bprop(y, dy, out, start, stop):
    for i in range(start, stop, LANES):
        lanes = load(y, i, stop - i)
        store(out, i, load(dy, i, stop - i) * fma(-lanes, lanes, 1.0), stop - i)
