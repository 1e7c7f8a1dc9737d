"""Sigmoid and cross-entropy in one: the loss of logits for several labels, and its gradient.

    loss = sum over rows and j of max(z[j], 0) - z[j] t[j] + log(1 + exp(-|z[j]|))
    dz   = (sigmoid(z) - t) * scale

Each output has a target t of its own, from 0 to 1. With w = t below z = 0 and w = 1 - t elsewhere,
and q = sigmoid(-|z|), this is

    loss = sum over rows and j of |z[j]| w[j] + log(1 + exp(-|z[j]|))
    dz   = (q - w) * scale below z = 0, (w - q) * scale elsewhere

No exponential overflows, nothing cancels in the loss, and for t of 0 and 1 no digit of the gradient
is lost. A w of 0 adds nothing, even where z is infinite.

Source: Bishop, "Pattern recognition and machine learning", 2006, equations 4.90 and 4.91, and
5.23 for several labels.
"""

import numpy as np

from jitprop.kernels.compiler.inline import inline
from jitprop.kernels.compiler.simd import (
    LANES,
    absolute,
    broadcast,
    fma,
    lanes_sum,
    load,
    store,
    where,
)
from jitprop.kernels.functions import exp, log
from jitprop.kernels.runtime.kernel import kernel
from jitprop.kernels.softmax import rows_of_exp


@inline
def _log1p(e, u, inverse):
    """log(1 + e) for e from 0 to 1; u is 1 + e, rounded, and `inverse` is 1 / u.

    The rounding lost e - (u - 1), which is exact: log(u (1 + lost / u)) is log(u) + lost / u.
    """
    return fma(e - (u - 1.0), inverse, log(u))


@kernel("z(batch,n), t(batch,n), scale -> out(batch,n), losses(batch)", units=rows_of_exp)
def sigmoid_cross_entropy(z, t, scale, out, losses, start, stop):
    """The loss of each row of logits, the sum over its n outputs, and its gradient.

    Parameters
    ----------
    z : (batch, n) float32 or float64, logits
    t : (batch, n) of the dtype of z, from 0 to 1
    scale : number, 1 / batch for the gradient of the mean over the batch
    out : (batch, n), (sigmoid(z) - t) * scale, overwritten
    losses : (batch,) of the dtype of z, overwritten; `total` sums them
    """
    n = z.shape[1]
    for i in range(start, stop):
        total = broadcast(0, z)
        for j in range(0, n, LANES):
            logit = load(z, i * n + j, n - j, -np.inf)  # beyond n, with a target of 0: no loss
            target = load(t, i * n + j, n - j)
            size, below = absolute(logit), logit < 0
            e = exp(-size)
            u = 1.0 + e
            inverse = 1.0 / u
            w, q = where(below, target, 1.0 - target), e * inverse
            gap = q - w
            store(out, i * n + j, where(below, gap, -gap) * scale, n - j)
            loss = _log1p(e, u, inverse)
            total += where(w == 0, loss, fma(size, w, loss))
        losses[i] = lanes_sum(total)
