"""Softmax of each row.

    y[j]  = exp(x[j] - max x) / sum over k of exp(x[k] - max x)
    dx[j] = y[j] * (dy[j] - sum over k of dy[k] * y[k])

Source: Bishop, "Pattern recognition and machine learning", 2006, equations 4.104 and 4.106. The
maximum is subtracted so that no exponential overflows. A row is added up in 16 partial sums, the
lanes of a vector; then these are added, in one order on every CPU. A row of up to 16 classes stays
in one vector from beginning to end.
"""

import numpy as np

from jitprop.kernels.compiler.inline import inline
from jitprop.kernels.compiler.simd import (
    LANES,
    broadcast,
    fma,
    lanes_max,
    lanes_sum,
    load,
    store,
    where,
)
from jitprop.kernels.functions import exp
from jitprop.kernels.runtime.kernel import kernel


@inline
def rows_of_exp(x, *args):
    """Units are rows of x; a piece is about 1,000 exponentials, half a microsecond."""
    return len(x), max(1, 1024 * len(x) // max(1, x.size))


@inline
def row_max(x, row, n):
    """Largest of the n elements from `row` on; any of them if there is a NaN."""
    largest = broadcast(-np.inf, x)
    for j in range(0, n, LANES):
        lanes = load(x, row + j, n - j, -np.inf)
        largest = where(lanes > largest, lanes, largest)
    return lanes_max(largest)


@inline
def row_exp(x, row, n, largest, out):
    """Write exp(x - largest); return its sum."""
    total = broadcast(0, x)
    for j in range(0, n, LANES):
        e = exp(load(x, row + j, n - j, -np.inf) - largest)
        store(out, row + j, e, n - j)
        total += e
    return lanes_sum(total)


@kernel("x(batch,n) -> out(batch,n)", units=rows_of_exp, inplace="x")
def softmax_fprop(x, out, start, stop):
    """`out = softmax(x)`, row by row.

    Parameters
    ----------
    x : (batch, n) float32 or float64; a row may hold -inf, but not only that
    out : (batch, n), overwritten; may be x
    """
    n = x.shape[1]
    for i in range(start, stop):
        row = i * n
        if n <= LANES:
            lanes = load(x, row, n, -np.inf)
            e = exp(lanes - lanes_max(lanes))
            store(out, row, e / lanes_sum(e), n)
        else:
            total = row_exp(x, row, n, row_max(x, row, n), out)
            for j in range(0, n, LANES):
                store(out, row + j, load(out, row + j, n - j) / total, n - j)


@kernel("y(batch,n), dy(batch,n) -> out(batch,n)", units=rows_of_exp, inplace="y dy")
def softmax_bprop(y, dy, out, start, stop):
    """`out = y * (dy - sum(dy * y))`, row by row.

    Parameters
    ----------
    y : (batch, n) float32 or float64, what softmax_fprop returned
    dy : (batch, n), the gradient with respect to y
    out : (batch, n), the gradient with respect to x, overwritten; may be y or dy
    """
    n = y.shape[1]
    for i in range(start, stop):
        row = i * n
        products = broadcast(0, y)
        for j in range(0, n, LANES):
            products = fma(load(dy, row + j, n - j), load(y, row + j, n - j), products)
        total = lanes_sum(products)
        for j in range(0, n, LANES):
            dx = load(y, row + j, n - j) * (load(dy, row + j, n - j) - total)
            store(out, row + j, dx, n - j)
