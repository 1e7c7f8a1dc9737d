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
    for i in range(start, stop, LANES):
        count = stop - i
        store(w, i, fma(load(dw, i, count), -rate, load(w, i, count)), count)


@kernel("w!(...), dw(...), velocity!(...), rate, momentum")
def momentum_update(w, dw, velocity, rate, momentum, start, stop):
    """`velocity = momentum * velocity + dw`, then `w -= rate * velocity`.

    Parameters
    ----------
    w, velocity : arrays of float32 or float64, updated
    dw : array of the shape and dtype of w
    rate, momentum : numbers
    """
    for i in range(start, stop, LANES):
        count = stop - i
        v = fma(load(velocity, i, count), momentum, load(dw, i, count))
        store(velocity, i, v, count)
        store(w, i, fma(v, -rate, load(w, i, count)), count)
