"""What one wants to know of each batch of a training: its loss, and how often it was wrong.

misses[i]  = 1 where the largest of z[i, :] is not that of the label, else 0
history[b] = (sum of losses, sum of misses)      of batch b, in the order of the rows, in float64
"""

import numpy as np

from jitprop.kernels.compiler.inline import within
from jitprop.kernels.runtime.kernel import kernel, once, rows


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
