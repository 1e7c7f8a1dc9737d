"""Loss of counts, whose rate is the exponential of the network's output, and its gradient.

    loss = sum over rows of (sum over j of exp(z[j]) - t[j] z[j] + t[j] log(t[j]) - t[j]) / n
    dz   = (exp(z) - t) / n * scale

The loss is the negative logarithm of a Poisson distribution with the rate exp(z), minus its
smallest value, which it has at z = log(t). Here 0 log(0) is 0. In the form t (log(t) - z) +
(exp(z) - t), fewer digits cancel where z is close to log(t).

Source: McCullagh and Nelder, "Generalized linear models", 1989, section 2.3: half the deviance of
the Poisson distribution.
"""

import numpy as np

from jitprop.kernels.compiler.simd import (
    LANES,
    broadcast,
    fma,
    lanes_sum,
    load,
    stack_array,
    store,
    where,
)
from jitprop.kernels.functions import exp, log
from jitprop.kernels.runtime.kernel import kernel
from jitprop.kernels.softmax import rows_of_exp


@kernel("z(batch,n), t(batch,n), scale -> out(batch,n), losses(batch)", units=rows_of_exp)
def poisson_loss(z, t, scale, out, losses, start, stop):
    """The loss of each row of logarithms of rates, the mean over its n outputs, and its gradient.

    Parameters
    ----------
    z : (batch, n) float32 or float64, logarithms of rates
    t : (batch, n) of the dtype of z, counts, at least 0; below 0 the loss is NaN
    scale : number, 1 / batch for the gradient of the mean over the batch
    out : (batch, n), (exp(z) - t) * (scale / n), overwritten
    losses : (batch,) of the dtype of z, overwritten; `total` sums them
    """
    n = z.shape[1]
    factor = broadcast(scale, z) / n
    sums = stack_array(LANES, out)
    for block in range(start, stop, LANES):
        count = min(LANES, stop - block)
        for i in range(block, block + count):
            total = broadcast(0, z)
            for j in range(0, n, LANES):
                log_rate = load(z, i * n + j, n - j, -np.inf)  # beyond n: a rate and a count of 0
                target = load(t, i * n + j, n - j)
                rate = exp(log_rate)
                gap = rate - target
                store(out, i * n + j, gap * factor, n - j)
                total += where(target == 0, rate, fma(target, log(target) - log_rate, gap))
            sums[i - block] = lanes_sum(total)
        store(losses, block, load(sums, 0, count) / n, count)
