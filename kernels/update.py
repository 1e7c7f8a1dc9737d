"""Steps of gradient descent; each is named and written as in PyTorch.

    sgd       w = w - rate * dw                       slide 7 of the exercise
    momentum  v = momentum * v + dw
              w = w - rate * v                        Sutskever et al., 2013, in PyTorch's notation
    nesterov  v = momentum * v + dw
              w = w - rate * (dw + momentum * v)      as above
    adam      m = beta1 * m + (1 - beta1) * dw
              v = beta2 * v + (1 - beta2) * dw^2
              w = w - rate * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
                                                      Kingma and Ba, 2015, algorithm 1; step t
    adamw     w = w - rate * weight_decay * w, then as adam
                                                      Loshchilov and Hutter, 2019, algorithm 2

Weight decay in momentum, nesterov and adam adds weight_decay * w to dw first: the gradient of
weight_decay / 2 * w^2. Multiply-adds are fused.
"""

from jitprop.kernels.compiler.inline import inline
from jitprop.kernels.compiler.simd import LANES, absolute, fma, load, sqrt, store, where
from jitprop.kernels.runtime.kernel import kernel, once


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


ROOT = 2.0**10  # a root of v counts from so many times `least` on

# Each rule is written once: for the lanes of a parameter from `at` on, `count` or LANES of them,
# and the lanes `g` of its gradient.


@inline
def _decayed(g, w, weight_decay):
    return fma(w, weight_decay, g) if weight_decay != 0 else g


@inline
def sgd_step(w, at, count, g, rate):
    store(w, at, fma(g, -rate, load(w, at, count)), count)


@inline
def momentum_step(w, at, count, g, velocity, rate, momentum, weight_decay):
    x = load(w, at, count)
    v = fma(load(velocity, at, count), momentum, _decayed(g, x, weight_decay))
    store(velocity, at, v, count)
    store(w, at, fma(v, -rate, x), count)


@inline
def _nesterov_step(w, at, count, g, velocity, rate, momentum, weight_decay):
    x = load(w, at, count)
    g = _decayed(g, x, weight_decay)
    v = fma(load(velocity, at, count), momentum, g)
    store(velocity, at, v, count)
    store(w, at, fma(fma(v, momentum, g), -rate, x), count)


@inline
def running_mean(old, new, beta):
    """`beta * old + (1 - beta) * new`, by the smaller share, which float32 holds more finely."""
    return fma(new - old, 1 - beta, old) if beta >= 0.5 else fma(old - new, beta, new)


@inline
def _mean_square(old, g, beta):
    """`beta * old + (1 - beta) * g^2`, all terms positive; g^2 alone may be too large.

    float32 holds a beta close to 1 too coarsely. So two numbers stand for it: its first 20 bits or
    so, and the rest. The rest is above 0, so an infinite mean stays infinite, as in other float
    arithmetic.
    """
    part = g * (1 - beta)
    if beta == 0:
        return g * part
    high = int(beta * 2**20 - 0.5) / 2**20
    return fma(old, high, fma(g, part, old * (beta - high)))


@inline
def _adam_step(w, at, count, x, g, m, v, step, root, beta1, beta2, eps, least):
    if least > 0:
        g = where(absolute(g) < least, 0, g)
    new_m = running_mean(load(m, at, count), g, beta1)
    new_v = _mean_square(load(v, at, count), g, beta2)
    if least > 0:
        new_m = where(absolute(new_m) < least, 0, new_m)
        new_v = where(new_v < (least * ROOT) * (least * ROOT), 0, new_v)
    store(m, at, new_m, count)
    store(v, at, new_v, count)
    store(w, at, fma(new_m / fma(sqrt(new_v), root, eps), -step, x), count)


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
        sgd_step(w, i, LANES, load(dw, i), rate)
    sgd_step(w, whole, stop - whole, load(dw, whole, stop - whole), rate)


@kernel("w!(...), dw(...), velocity!(...), rate, momentum, weight_decay")
def momentum_update(w, dw, velocity, rate, momentum, weight_decay, start, stop):
    """`velocity = momentum * velocity + dw`, then `w -= rate * velocity`.

    Parameters
    ----------
    w : array of float32 or float64, updated
    dw : array of the shape and dtype of w
    velocity : array of the shape and dtype of w, updated
    rate, momentum : numbers
    weight_decay : number; `weight_decay * w` is added to dw first
    """
    whole, rest = stop - (stop - start) % LANES, (stop - start) % LANES
    for i in range(start, whole, LANES):
        momentum_step(w, i, LANES, load(dw, i), velocity, rate, momentum, weight_decay)
    g = load(dw, whole, rest)
    momentum_step(w, whole, rest, g, velocity, rate, momentum, weight_decay)


@kernel("w!(...), dw(...), velocity!(...), rate, momentum, weight_decay")
def nesterov_update(w, dw, velocity, rate, momentum, weight_decay, start, stop):
    """`velocity = momentum * velocity + dw`, then `w -= rate * (dw + momentum * velocity)`.

    Parameters
    ----------
    w, dw, velocity, rate, momentum, weight_decay : as for `momentum_update`
    """
    whole, rest = stop - (stop - start) % LANES, (stop - start) % LANES
    for i in range(start, whole, LANES):
        _nesterov_step(w, i, LANES, load(dw, i), velocity, rate, momentum, weight_decay)
    g = load(dw, whole, rest)
    _nesterov_step(w, whole, rest, g, velocity, rate, momentum, weight_decay)


@kernel("w!(...), dw(...), m!(...), v!(...), step, root, beta1, beta2, eps, weight_decay")
def adam_update(w, dw, m, v, step, root, beta1, beta2, eps, weight_decay, start, stop):
    """Move m and v towards dw and dw^2, then `w -= step * m / (root * sqrt(v) + eps)`.

    Parameters
    ----------
    w : array of float32 or float64, updated
    dw : array of the shape and dtype of w
    m, v : arrays of the shape and dtype of w, updated
    step : number, rate / (1 - beta1^t) in step t, counted from 1
    root : number, 1 / sqrt(1 - beta2^t)
    beta1, beta2 : numbers from 0 to below 1, how much m and v keep of what they were
    eps : number
    weight_decay : number; `weight_decay * w` is added to dw first
    """
    whole, rest = stop - (stop - start) % LANES, (stop - start) % LANES
    for i in range(start, whole, LANES):
        x = load(w, i)
        g = _decayed(load(dw, i), x, weight_decay)
        _adam_step(w, i, LANES, x, g, m, v, step, root, beta1, beta2, eps, 0)
    x = load(w, whole, rest)
    g = _decayed(load(dw, whole, rest), x, weight_decay)
    _adam_step(w, whole, rest, x, g, m, v, step, root, beta1, beta2, eps, 0)


@kernel("w!(...), dw(...), m!(...), v!(...), step, root, beta1, beta2, eps, weight_decay, least")
def adam_update_above(w, dw, m, v, step, root, beta1, beta2, eps, weight_decay, least, start, stop):
    """As `adam_update`, but small numbers count as 0.

    They are gradients and m below `least`, and roots of v below 2^10 * least. Where a gradient is
    0, weight_decay makes w, m and v fall to subnormal numbers, and m stays there: 0.9 of the
    smallest is rounded to itself. A step with such numbers takes a hundred times as long. If they
    are far below eps, to leave them out changes no weight.

    Parameters
    ----------
    w, dw, m, v, step, root, beta1, beta2, eps, weight_decay : as for `adam_update`
    least : number, at least 0
    """
    for i in range(start, stop, LANES):
        rest = stop - i
        x = load(w, i, rest)
        g = _decayed(load(dw, i, rest), x, weight_decay)
        _adam_step(w, i, rest, x, g, m, v, step, root, beta1, beta2, eps, least)


@kernel("w!(...), dw(...), m!(...), v!(...), step, root, decay, beta1, beta2, eps")
def adamw_update(w, dw, m, v, step, root, decay, beta1, beta2, eps, start, stop):
    """`w -= decay * w`, then as `adam_update` without weight decay.

    Parameters
    ----------
    w, dw, m, v, step, root : as for `adam_update`
    decay : number, rate * weight_decay
    beta1, beta2, eps : as for `adam_update`
    """
    whole, rest = stop - (stop - start) % LANES, (stop - start) % LANES
    for i in range(start, whole, LANES):
        x = load(w, i)
        x = fma(x, -decay, x)
        _adam_step(w, i, LANES, x, load(dw, i), m, v, step, root, beta1, beta2, eps, 0)
    x = load(w, whole, rest)
    x = fma(x, -decay, x)
    g = load(dw, whole, rest)
    _adam_step(w, whole, rest, x, g, m, v, step, root, beta1, beta2, eps, 0)
