"""Logarithm of the softmax of each row.

    y[j]  = x[j] - max x - log(sum over k of exp(x[k] - max x))
    dx[j] = dy[j] - exp(y[j]) * sum over k of dy[k]

Source: the logarithm of kernels/softmax.py, taken before anything can underflow. Sums have the same
order as there.
"""

import numpy as np

from jitprop.kernels.compiler.simd import LANES, broadcast, fma, lanes_sum, load, store
from jitprop.kernels.functions import exp, log
from jitprop.kernels.runtime.kernel import kernel
from jitprop.kernels.softmax import row_max, rows_of_exp


@kernel("x(batch,n) -> out(batch,n)", units=rows_of_exp, inplace="x")
def log_softmax_fprop(x, out, start, stop):
    """`out = log(softmax(x))`, row by row.

    Parameters
    ----------
    x : (batch, n) float32 or float64; a row may hold -inf, but not only that
    out : (batch, n), overwritten; may be x
    """
    n = x.shape[1]
    for i in range(start, stop):
        row = i * n
        largest = row_max(x, row, n)
        total = broadcast(0, x)
        for j in range(0, n, LANES):
            total += exp(load(x, row + j, n - j, -np.inf) - largest)
        log_total = log(broadcast(lanes_sum(total), x))
        for j in range(0, n, LANES):
            store(out, row + j, load(x, row + j, n - j) - largest - log_total, n - j)


@kernel("y(batch,n), dy(batch,n) -> out(batch,n)", units=rows_of_exp, inplace="y dy")
def log_softmax_bprop(y, dy, out, start, stop):
    """`out = dy - exp(y) * sum(dy)`, row by row.

    Parameters
    ----------
    y : (batch, n) float32 or float64, what log_softmax_fprop returned
    dy : (batch, n), the gradient with respect to y
    out : (batch, n), the gradient with respect to x, overwritten; may be y or dy
    """
    n = y.shape[1]
    for i in range(start, stop):
        row = i * n
        total = broadcast(0, y)
        for j in range(0, n, LANES):
            total += load(dy, row + j, n - j)
        total = broadcast(lanes_sum(total), y)
        for j in range(0, n, LANES):
            p = exp(load(y, row + j, n - j))
            store(out, row + j, fma(-p, total, load(dy, row + j, n - j)), n - j)
