"""Bias: one row added to every row.

    out[i, j] = x[i, j] + b[j]             forwards
    db[j]     = sum over i of dy[i, j]     backwards, added in the order i = 0, 1, 2, ...

Source: "broadcast b" on slide 8 of the exercise, "sum col-wise" on slide 10.
"""

from jitprop.kernels.compiler.inline import inline
from jitprop.kernels.compiler.simd import LANES, broadcast, load, store
from jitprop.kernels.runtime.kernel import GRAIN, kernel, rows


@kernel("x(batch,n), b(n) -> out(batch,n)", units=rows, inplace="x")
def bias_fprop(x, b, out, start, stop):
    """`out = x + b`, broadcast over rows.

    Parameters
    ----------
    x : (batch, n) float32 or float64
    b : (n,) of the dtype of x
    out : (batch, n), overwritten; may be x
    """
    n = x.shape[1]
    whole = n // LANES * LANES
    for i in range(start, stop):
        for j in range(0, whole, LANES):
            store(out, i * n + j, load(x, i * n + j) + load(b, j))
        if whole < n:
            rest = n - whole
            lanes = load(x, i * n + whole, rest) + load(b, whole, rest)
            store(out, i * n + whole, lanes, rest)


@inline
def _columns(dy, out):
    """Units are columns; a piece is many whole vectors, since neighbours read the same lines."""
    width = 4 * GRAIN // max(1, len(dy)) // LANES * LANES
    return dy.shape[1], max(LANES, width)


@kernel("dy(batch,n) -> out(n)", units=_columns)
def bias_bprop(dy, out, start, stop):
    """`out = sum of the rows of dy`, the gradient of the bias.

    Parameters
    ----------
    dy : (batch, n) float32 or float64
    out : (n,) of the dtype of dy, overwritten
    """
    batch, n = dy.shape
    for j in range(start, stop, LANES):
        total = broadcast(0, dy)
        for i in range(batch):
            total += load(dy, i * n + j, stop - j)
        store(out, j, total, stop - j)
