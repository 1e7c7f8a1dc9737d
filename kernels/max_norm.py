"""Weights of each unit, pulled back where they are too long.

    w[:, j] = w[:, j] * most / norm    where norm = sqrt(sum over i of w[i, j]^2) > most

A column of w holds the weights of the inputs of one unit. Source: Hinton et al., "Improving neural
networks by preventing co-adaptation of feature detectors", 2012, section 2.
"""

from jitprop.kernels.compiler.inline import inline
from jitprop.kernels.compiler.simd import LANES, broadcast, fma, lanes_sum, load, sqrt, store, where
from jitprop.kernels.runtime.kernel import GRAIN, kernel


@inline
def _columns(w, *args):
    """A unit is as many columns as a vector has lanes."""
    rows, columns = w.shape
    return -(-columns // LANES), max(1, GRAIN // max(1, rows * LANES))


@inline
def _pull_back(w, at, rows, columns, count, most):
    """`count` columns from `at` on; four chains of sums, so that none waits for another."""
    a = b = c = d = broadcast(0, w)
    whole = rows - rows % 4
    for i in range(at, at + whole * columns, 4 * columns):
        x = load(w, i, count)
        a = fma(x, x, a)
        x = load(w, i + columns, count)
        b = fma(x, x, b)
        x = load(w, i + 2 * columns, count)
        c = fma(x, x, c)
        x = load(w, i + 3 * columns, count)
        d = fma(x, x, d)
    for i in range(at + whole * columns, at + rows * columns, columns):
        x = load(w, i, count)
        a = fma(x, x, a)
    norm = sqrt((a + b) + (c + d))
    longer = norm > most
    if lanes_sum(where(longer, 1, broadcast(0, w))) > 0:
        factor = where(longer, most / norm, 1)
        for i in range(at, at + rows * columns, columns):
            store(w, i, load(w, i, count) * factor, count)


@kernel("w!(rows,columns), most", units=_columns)
def max_norm(w, most, start, stop):
    """Make columns of w that are longer than `most` as long as that; others stay as they are.

    Parameters
    ----------
    w : (rows, columns) float32 or float64, updated
    most : number, above 0
    """
    rows, columns = w.shape
    for unit in range(start, stop):
        at = unit * LANES
        if columns - at >= LANES:
            _pull_back(w, at, rows, columns, LANES, most)
        else:
            _pull_back(w, at, rows, columns, columns - at, most)
