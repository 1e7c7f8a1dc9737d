"""What people want to know about each batch: losses, errors, how large the weights are.

misses[i]  = 1 where the largest of z[i, :] is not that of the label, else 0
squares[k] = sum of w^2 over the k-th part of w     for weight_decay / 2 * sum of w^2, a penalty
history[b] = (sum of losses, sum of misses)         of batch b, in the order of the rows, in float64
"""

import numpy as np

from jitprop.kernels.compiler.inline import inline, within
from jitprop.kernels.compiler.simd import LANES, broadcast, fma, lanes_sum, load
from jitprop.kernels.runtime.kernel import GRAIN, kernel, once, rows


@kernel("z(batch,n), labels(batch)<n -> out(batch)", units=rows)
def misses(z, labels, out, start, stop):
    """`out = argmax(z) != labels`, row by row; of equal values the first counts, as in NumPy.

    Parameters
    ----------
    z : (batch, n) float32 or float64; a row that holds a NaN is a miss
    labels : (batch,) int64, in 0 .. n-1
    out : (batch,) of the dtype of z, overwritten with 0 and 1
    """
    for i in range(start, stop):
        label = within(labels[i], z.shape[1])
        chosen = z[i, label]
        wrong = np.isnan(chosen)
        for j in range(z.shape[1]):
            wrong |= not (z[i, j] < chosen) if j < label else not (z[i, j] <= chosen)
        out[i] = wrong


@inline
def _part(w, out):
    """Numbers in each part of w; the last may have fewer."""
    return -(-w.size // max(1, len(out)))


@inline
def _parts(w, out):
    return len(out), max(1, GRAIN // max(1, _part(w, out)))


@kernel("w(n) -> out(parts)", units=_parts)
def squares(w, out, start, stop):
    """The sum of the squares of each part of `w`; there are as many parts as `out` has numbers.

    Parameters
    ----------
    w : (n,) float32 or float64
    out : (parts,) of the dtype of w, overwritten
    """
    part = _part(w, out)
    for k in range(start, stop):
        first, last = min(k * part, w.size), min((k + 1) * part, w.size)
        whole = last - (last - first) % (4 * LANES)
        a = b = c = d = broadcast(0, w)  # four chains of sums, so that none waits for another
        for i in range(first, whole, 4 * LANES):
            x = load(w, i)
            a = fma(x, x, a)
            x = load(w, i + LANES)
            b = fma(x, x, b)
            x = load(w, i + 2 * LANES)
            c = fma(x, x, c)
            x = load(w, i + 3 * LANES)
            d = fma(x, x, d)
        for i in range(whole, last, LANES):
            x = load(w, i, last - i)
            a = fma(x, x, a)
        out[k] = lanes_sum((a + b) + (c + d))


@kernel("losses(rows), misses(batch), place!:int64(2), history!:float64(batches,2)", units=once)
def tally(losses, misses, place, history, start, stop):
    """`history[place[0]] = sum(losses), sum(misses)`, then `place[0] += 1`.

    Parameters
    ----------
    losses, misses : (rows,), (batch,) float32 or float64
    place : (2,) int64, updated; place[1] becomes 1 if the loss is not finite
    history : (batches, 2) float64, updated; where it is full, nothing happens
    """
    row = place[0]
    if not 0 <= row < len(history):
        return
    loss = missed = 0.0
    for i in range(len(losses)):
        loss += float(losses[i])
    for i in range(len(misses)):
        missed += float(misses[i])
    history[row, 0] = loss
    history[row, 1] = missed
    place[0] = row + 1
    if not np.isfinite(loss):
        place[1] = 1
