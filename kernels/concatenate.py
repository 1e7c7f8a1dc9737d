"""Features side by side: a batch becomes some columns of a larger batch, and back.

    out[:, columns] = x       forwards, once for each x
    dx = dout[:, columns]     backwards

To split a batch is the reverse: bprop forwards, fprop backwards.
"""

from jitprop.kernels.compiler.inline import inline, within
from jitprop.kernels.compiler.simd import LANES, load, store
from jitprop.kernels.runtime.kernel import kernel, rows


@inline
def _consecutive(columns):
    """The first column if columns are consecutive and rows are copied in vectors, else -1."""
    if len(columns) == 0:
        return -1
    first = columns[0]
    for j in range(1, len(columns)):
        if columns[j] != first + j:
            return -1
    return first


@kernel("x(batch,n), columns(n)<m, out!(batch,m)", units=rows)
def concatenate_fprop(x, columns, out, start, stop):
    """`out[:, columns] = x`; the other columns of `out` stay as they are.

    Parameters
    ----------
    x : (batch, n) float32 or float64
    columns : (n,) int64, in 0 .. m-1; fastest if consecutive
    out : (batch, m) of the dtype of x, written in these columns
    """
    n, m = x.shape[1], out.shape[1]
    first = _consecutive(columns)
    for i in range(start, stop):
        if 0 <= first <= m - n:
            for j in range(0, n, LANES):
                store(out, i * m + first + j, load(x, i * n + j, n - j), n - j)
        else:
            for j in range(n):
                out[i, within(columns[j], m)] = x[i, j]


@kernel("dy(batch,m), columns(n)<m -> out(batch,n)", units=rows)
def concatenate_bprop(dy, columns, out, start, stop):
    """`out = dy[:, columns]`.

    Parameters
    ----------
    dy : (batch, m) float32 or float64
    columns : (n,) int64, in 0 .. m-1; fastest if consecutive
    out : (batch, n) of the dtype of dy, overwritten
    """
    m, n = dy.shape[1], out.shape[1]
    first = _consecutive(columns)
    for i in range(start, stop):
        if 0 <= first <= m - n:
            for j in range(0, n, LANES):
                store(out, i * n + j, load(dy, i * m + first + j, n - j), n - j)
        else:
            for j in range(n):
                out[i, j] = dy[i, within(columns[j], m)]
