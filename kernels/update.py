"""Gradient descent.

    w = w - rate * dw                                 the slides' update(rate)
    v = momentum * v + dw,   w = w - rate * v         with momentum, as PyTorch's SGD
                                                      (Sutskever et al., 2013, in its notation)

Each line is one fused multiply-add per element.
"""

from kernels.jit import kernel
from kernels.simd import LANES, fma, load, store


@kernel("w!(...), dw(...), rate")
def sgd_update(w, dw, rate, start, stop):
    """`w -= rate * dw`.

    Parameters
    ----------
    w : array of float32 or float64, updated
    dw : array of the shape and dtype of w
    rate : number
    """
    whole = stop - (stop - start) % LANES
    for i in range(start, whole, LANES):
        store(w, i, fma(load(dw, i), -rate, load(w, i)))
    rest = stop - whole
    store(w, whole, fma(load(dw, whole, rest), -rate, load(w, whole, rest)), rest)


@kernel("w!(...), dw(...), velocity!(...), rate, momentum")
def momentum_update(w, dw, velocity, rate, momentum, start, stop):
    """`velocity = momentum * velocity + dw`, then `w -= rate * velocity`.

    Parameters
    ----------
    w, velocity : arrays of float32 or float64, updated
    dw : array of the shape and dtype of w
    rate, momentum : numbers
    """
    whole = stop - (stop - start) % LANES
    for i in range(start, whole, LANES):
        v = fma(load(velocity, i), momentum, load(dw, i))
        store(velocity, i, v)
        store(w, i, fma(v, -rate, load(w, i)))
    rest = stop - whole
    v = fma(load(velocity, whole, rest), momentum, load(dw, whole, rest))
    store(velocity, whole, v, rest)
    store(w, whole, fma(v, -rate, load(w, whole, rest)), rest)
