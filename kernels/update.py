"""Steps of gradient descent.

    w = w - rate * dw                                 the slides' update(rate)
    v = momentum * v + dw,   w = w - rate * v         with momentum, as PyTorch's SGD
                                                      (Sutskever et al., 2013, in its notation)

Each line is one fused multiply-add per element. Weight decay adds weight_decay * w to dw first.
"""

from kernels.jit import inline, kernel, once
from kernels.simd import LANES, fma, load, store


@kernel("table:float64(steps,n), place!:int64(1), out!:float64(n)", units=once)
def next_numbers(table, place, out, start, stop):
    """`out = table[place]`, then `place += 1`: numbers that differ from step to step.

    Parameters
    ----------
    table : (steps, n) float64
    place : (1,) int64, updated; where no row is left, it stays and so does out
    out : (n,) float64, overwritten; `out[i : i + 1].reshape(())` is a number for other kernels
    """
    row = place[0]
    if 0 <= row < len(table):
        for i in range(len(out)):
            out[i] = table[row, i]
        place[0] = row + 1


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


@inline
def _decayed(dw, w, weight_decay):
    """The gradient with that of weight_decay / 2 * w^2."""
    return fma(w, weight_decay, dw) if weight_decay != 0 else dw


@kernel("w!(...), dw(...), velocity!(...), rate, momentum, weight_decay")
def momentum_update(w, dw, velocity, rate, momentum, weight_decay, start, stop):
    """`velocity = momentum * velocity + dw`, then `w -= rate * velocity`.

    Parameters
    ----------
    w, velocity : arrays of float32 or float64, updated
    dw : array of the shape and dtype of w
    rate, momentum : numbers
    weight_decay : number; `weight_decay * w` is added to dw first
    """
    whole = stop - (stop - start) % LANES
    for i in range(start, whole, LANES):
        x = load(w, i)
        v = fma(load(velocity, i), momentum, _decayed(load(dw, i), x, weight_decay))
        store(velocity, i, v)
        store(w, i, fma(v, -rate, x))
    rest = stop - whole
    x = load(w, whole, rest)
    v = _decayed(load(dw, whole, rest), x, weight_decay)
    v = fma(load(velocity, whole, rest), momentum, v)
    store(velocity, whole, v, rest)
    store(w, whole, fma(v, -rate, x), rest)
