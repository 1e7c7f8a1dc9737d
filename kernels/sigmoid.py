"""Logistic sigmoid, element by element.

    y  = 1 / (1 + exp(-x))     forwards
    dx = dy * y * (1 - y)      backwards

Forwards it uses e = exp(-|x|), which cannot overflow: 1 / (1 + e), or e / (1 + e) for x below 0.
Source: Bishop, "Pattern recognition and machine learning", 2006, sections 4.2 and 4.3.2.
"""

from jitprop.kernels.compiler.inline import inline
from jitprop.kernels.compiler.simd import LANES, absolute, load, store, where
from jitprop.kernels.functions import exp
from jitprop.kernels.runtime.kernel import kernel


@inline
def _sigmoid(x):
    e = exp(-absolute(x))
    return where(x < 0, e, 1.0) / (1.0 + e)


@kernel("x(...) -> out(...)", inplace="x")
def sigmoid_fprop(x, out, start, stop):
    """`out = 1 / (1 + exp(-x))`, off by at most 2 eps of itself, for float64 by 3.

    Parameters
    ----------
    x : (...) float32 or float64
    out : shape and dtype of x, overwritten; may be x
    """
    whole = stop - (stop - start) % LANES
    for i in range(start, whole, LANES):
        store(out, i, _sigmoid(load(x, i)))
    store(out, whole, _sigmoid(load(x, whole, stop - whole)), stop - whole)


@kernel("y(...), dy(...) -> out(...)", inplace="y dy")
def sigmoid_bprop(y, dy, out, start, stop):
    """`out = dy * (y * (1 - y))`.

    Parameters
    ----------
    y : (...) float32 or float64, what sigmoid_fprop returned
    dy : shape and dtype of y, the gradient of y
    out : shape and dtype of y, overwritten with the gradient of x; may be y or dy
    """
    whole = stop - (stop - start) % LANES
    for i in range(start, whole, LANES):
        lanes = load(y, i)
        store(out, i, load(dy, i) * (lanes * (1.0 - lanes)))
    lanes = load(y, whole, stop - whole)
    store(out, whole, load(dy, whole, stop - whole) * (lanes * (1.0 - lanes)), stop - whole)
