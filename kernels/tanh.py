"""Hyperbolic tangent, element by element.

    y  = tanh(x)               forwards
    dx = dy * (1 - y * y)      backwards

Source: Bishop, "Pattern recognition and machine learning", 2006, section 5.3.2. The
function itself is in kernels/functions.py.
"""

from jitprop.kernels.compiler.simd import LANES, load, store
from jitprop.kernels.functions import tanh, tanh_slope
from jitprop.kernels.runtime.kernel import kernel


@kernel("x(...) -> out(...)", inplace="x")
def tanh_fprop(x, out, start, stop):
    """`out = tanh(x)`, for float32 within 1 unit in the last place, for float64 within 2.

    Parameters
    ----------
    x : (...) float32 or float64
    out : shape and dtype of x, overwritten; may be x
    """
    whole = stop - (stop - start) % LANES  # without masks the loop is half as long again as fast
    for i in range(start, whole, LANES):
        store(out, i, tanh(load(x, i)))
    store(out, whole, tanh(load(x, whole, stop - whole)), stop - whole)


@kernel("y(...), dy(...) -> out(...)", inplace="y dy")
def tanh_bprop(y, dy, out, start, stop):
    """`out = dy * (1 - y * y)`, where 1 - y * y is rounded once.

    Parameters
    ----------
    y : (...) float32 or float64, what tanh_fprop returned
    dy : shape and dtype of y, the gradient of y
    out : shape and dtype of y, overwritten with the gradient of x; may be y or dy
    """
    whole = stop - (stop - start) % LANES
    for i in range(start, whole, LANES):
        store(out, i, tanh_slope(load(y, i), load(dy, i)))
    rest = stop - whole
    store(out, whole, tanh_slope(load(y, whole, rest), load(dy, whole, rest)), rest)
