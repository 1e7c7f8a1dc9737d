"""Rectified linear unit, element by element.

    y  = max(x, 0)                  forwards
    dx = dy where y > 0, else 0     backwards

NaN stays NaN. At 0 there is no derivative; this kernel takes 0. Source: Nair and Hinton,
"Rectified linear units improve restricted Boltzmann machines", 2010.
"""

from jitprop.kernels.compiler.simd import LANES, load, store, where
from jitprop.kernels.runtime.kernel import kernel


@kernel("x(...) -> out(...)", inplace="x")
def relu_fprop(x, out, start, stop):
    """`out = max(x, 0)`.

    Parameters
    ----------
    x : (...) float32 or float64
    out : shape and dtype of x, overwritten; may be x
    """
    whole = stop - (stop - start) % LANES
    for i in range(start, whole, LANES):
        lanes = load(x, i)
        store(out, i, where(lanes <= 0, 0, lanes))
    lanes = load(x, whole, stop - whole)
    store(out, whole, where(lanes <= 0, 0, lanes), stop - whole)


@kernel("y(...), dy(...) -> out(...)", inplace="y dy")
def relu_bprop(y, dy, out, start, stop):
    """`out = dy` where `y` is above 0 or NaN, else 0.

    Parameters
    ----------
    y : (...) float32 or float64, what relu_fprop returned, or its x
    dy : shape and dtype of y, the gradient of y
    out : shape and dtype of y, overwritten with the gradient of x; may be y or dy
    """
    whole = stop - (stop - start) % LANES
    for i in range(start, whole, LANES):
        store(out, i, where(load(y, i) <= 0, 0, load(dy, i)))
    rest = stop - whole
    store(out, whole, where(load(y, whole, rest) <= 0, 0, load(dy, whole, rest)), rest)
