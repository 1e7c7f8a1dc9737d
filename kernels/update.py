"""Steps of gradient descent; each is named and written as in PyTorch.

    sgd       w = w - rate * dw                       the slides' update(rate)
    momentum  v = momentum * v + dw
              w = w - rate * v                        Sutskever et al., 2013, in PyTorch's notation
    nesterov  v = momentum * v + dw
              w = w - rate * (dw + momentum * v)      as above
    adam      m = m + (1 - beta1) * (dw - m)
              v = v + (1 - beta2) * (dw^2 - v)
              w = w - rate * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
                                                      Kingma and Ba, 2015, algorithm 1; step t
    adamw     w = w - rate * weight_decay * w, then as adam
                                                      Loshchilov and Hutter, 2019, algorithm 2

Weight decay in momentum, nesterov and adam adds weight_decay * w to dw first: the gradient of
weight_decay / 2 * w^2. Multiply-adds are fused.
"""

from kernels.jit import inline, kernel, once
from kernels.simd import LANES, fma, load, sqrt, store


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


@kernel("w!(...), dw(...), velocity!(...), rate, momentum, weight_decay")
def nesterov_update(w, dw, velocity, rate, momentum, weight_decay, start, stop):
    """`velocity = momentum * velocity + dw`, then `w -= rate * (dw + momentum * velocity)`.

    Parameters
    ----------
    as of `momentum_update`
    """
    whole = stop - (stop - start) % LANES
    for i in range(start, whole, LANES):
        x = load(w, i)
        g = _decayed(load(dw, i), x, weight_decay)
        v = fma(load(velocity, i), momentum, g)
        store(velocity, i, v)
        store(w, i, fma(fma(v, momentum, g), -rate, x))
    rest = stop - whole
    x = load(w, whole, rest)
    g = _decayed(load(dw, whole, rest), x, weight_decay)
    v = fma(load(velocity, whole, rest), momentum, g)
    store(velocity, whole, v, rest)
    store(w, whole, fma(fma(v, momentum, g), -rate, x), rest)


@inline
def _moments(g, m, v, gain1, gain2):
    return fma(g - m, gain1, m), fma(fma(g, g, -v), gain2, v)


@inline
def _adam(x, m, v, step, root, eps):
    return fma(m / fma(sqrt(v), root, eps), -step, x)


@kernel("w!(...), dw(...), m!(...), v!(...), step, root, gain1, gain2, eps, weight_decay")
def adam_update(w, dw, m, v, step, root, gain1, gain2, eps, weight_decay, start, stop):
    """m and v move towards dw and dw^2, then `w -= step * m / (root * sqrt(v) + eps)`.

    Parameters
    ----------
    w, m, v : arrays of float32 or float64, updated
    dw : array of the shape and dtype of w
    step : number, rate / (1 - beta1^t) in step t, counted from 1
    root : number, 1 / sqrt(1 - beta2^t)
    gain1, gain2 : numbers, 1 - beta1 and 1 - beta2
    eps : number
    weight_decay : number; `weight_decay * w` is added to dw first
    """
    whole = stop - (stop - start) % LANES
    for i in range(start, whole, LANES):
        x = load(w, i)
        g = _decayed(load(dw, i), x, weight_decay)
        new_m, new_v = _moments(g, load(m, i), load(v, i), gain1, gain2)
        store(m, i, new_m)
        store(v, i, new_v)
        store(w, i, _adam(x, new_m, new_v, step, root, eps))
    rest = stop - whole
    x = load(w, whole, rest)
    g = _decayed(load(dw, whole, rest), x, weight_decay)
    new_m, new_v = _moments(g, load(m, whole, rest), load(v, whole, rest), gain1, gain2)
    store(m, whole, new_m, rest)
    store(v, whole, new_v, rest)
    store(w, whole, _adam(x, new_m, new_v, step, root, eps), rest)


@kernel("w!(...), dw(...), m!(...), v!(...), step, root, decay, gain1, gain2, eps")
def adamw_update(w, dw, m, v, step, root, decay, gain1, gain2, eps, start, stop):
    """`w -= decay * w`, then as `adam_update` without weight decay.

    Parameters
    ----------
    decay : number, rate * weight_decay
    the others : as of `adam_update`
    """
    whole = stop - (stop - start) % LANES
    for i in range(start, whole, LANES):
        x = load(w, i)
        new_m, new_v = _moments(load(dw, i), load(m, i), load(v, i), gain1, gain2)
        store(m, i, new_m)
        store(v, i, new_v)
        store(w, i, _adam(fma(x, -decay, x), new_m, new_v, step, root, eps))
    rest = stop - whole
    x = load(w, whole, rest)
    g = load(dw, whole, rest)
    new_m, new_v = _moments(g, load(m, whole, rest), load(v, whole, rest), gain1, gain2)
    store(m, whole, new_m, rest)
    store(v, whole, new_v, rest)
    store(w, whole, _adam(fma(x, -decay, x), new_m, new_v, step, root, eps), rest)
