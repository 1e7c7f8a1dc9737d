"""Each row times its weight, and the share of a batch that a weight of 1 has.

    out[i, j] = x[i, j] * weights[i]     0 where the weight is 0, whatever x is; also backwards
    out[0]    = 1 / sum(weights)         in the order of the rows, in float64; 0 if the sum is 0

So `sum(weights * losses) * share` is the weighted mean of the losses of a batch. Its gradient is
the gradient of the losses, times the same weights. Source: Murphy, "Probabilistic machine
learning", 2022, equation 4.5, if example i stands `weights[i]` times in the set.
"""

from jitprop.kernels.compiler.simd import LANES, broadcast, load, store
from jitprop.kernels.runtime.kernel import kernel, once, rows


@kernel("x(batch,n), weights(batch) -> out(batch,n)", units=rows, inplace="x")
def weigh(x, weights, out, start, stop):
    """`out = x * weights`, row by row; where a weight is 0, the row is 0.

    Parameters
    ----------
    x : (batch, n) float32 or float64
    weights : (batch,) of the dtype of x
    out : (batch, n), overwritten; may be x
    """
    n = x.shape[1]
    for i in range(start, stop):
        weight = weights[i]
        for j in range(0, n, LANES):
            if weight == 0:  # also of NaN and infinity
                store(out, i * n + j, broadcast(0, out), n - j)
            else:
                store(out, i * n + j, load(x, i * n + j, n - j) * weight, n - j)


@kernel("weights(batch) -> out:float64(1)", units=once)
def share(weights, out, start, stop):
    """`out = 1 / sum(weights)`, and 0 if the sum is 0.

    Parameters
    ----------
    weights : (batch,) float32 or float64
    out : (1,) float64, overwritten
    """
    total = 0.0
    for i in range(len(weights)):
        total += float(weights[i])
    out[0] = 0.0 if total == 0 else 1 / total
