"""Cross-entropy of probabilities.

    loss     = sum over rows of -log p[label]          dp[label] = -1 / p[label] * scale, else 0
    loss     = sum over rows and j of -t[j] log p[j]   dp[j]     = -t[j] / p[j] * scale

The second line is for targets t that are distributions; a target of 0 adds nothing, even where
p is 0. Source: Bishop, "Pattern recognition and machine learning", 2006, equation 4.108.
"""

from jitprop.kernels.compiler.inline import within
from jitprop.kernels.compiler.simd import (
    LANES,
    broadcast,
    lanes_sum,
    load,
    stack_array,
    steps,
    store,
    where,
)
from jitprop.kernels.functions import log
from jitprop.kernels.losses import is_targets
from jitprop.kernels.runtime.kernel import kernel, rows


@kernel("p(batch,n), labels(batch)<n -> losses(batch)", units=rows)
def _fprop_of_labels(p, labels, losses, start, stop):
    chosen = stack_array(LANES, p)
    for block in range(start, stop, LANES):
        count = min(LANES, stop - block)
        for i in range(count):
            chosen[i] = p[block + i, within(labels[block + i], p.shape[1])]
        store(losses, block, -log(load(chosen, 0, count, 1)), count)


@kernel("p(batch,n), labels(batch,n) -> losses(batch)", units=rows)
def _fprop_of_targets(p, labels, losses, start, stop):
    n = p.shape[1]
    for i in range(start, stop):
        loss = broadcast(0, p)
        for j in range(0, n, LANES):
            t = load(labels, i * n + j, n - j)
            loss -= where(t == 0, 0, t * log(load(p, i * n + j, n - j, 1)))
        losses[i] = lanes_sum(loss)


@kernel("p(batch,n), labels(batch)<n, scale -> out(batch,n)", units=rows, inplace="p")
def _bprop_of_labels(p, labels, scale, out, start, stop):
    n = p.shape[1]
    for i in range(start, stop):
        for j in range(0, n, LANES):
            q = load(p, i * n + j, n - j, 1)
            dp = where(steps(q) == labels[i] - j, -1 / q * scale, 0)
            store(out, i * n + j, dp, n - j)


@kernel("p(batch,n), labels(batch,n), scale -> out(batch,n)", units=rows, inplace="p")
def _bprop_of_targets(p, labels, scale, out, start, stop):
    n = p.shape[1]
    for i in range(start, stop):
        for j in range(0, n, LANES):
            q, t = load(p, i * n + j, n - j, 1), load(labels, i * n + j, n - j)
            store(out, i * n + j, where(t == 0, 0, -t / q * scale), n - j)


def cross_entropy_fprop(p, labels, losses) -> None:
    """The loss of each row, -log p[label]; `total` sums them.

    Parameters
    ----------
    p : (batch, n) float32 or float64, probabilities
    labels : (batch,) int64, the class of each row, in 0 .. n-1;
        or (batch, n) targets of the dtype of p
    losses : (batch,) of the dtype of p, overwritten
    """
    kernel = _fprop_of_targets if is_targets(labels) else _fprop_of_labels
    kernel(p, labels, losses)


_fprop_of_labels.__name__ = _fprop_of_targets.__name__ = "cross_entropy_fprop"


def cross_entropy_bprop(p, labels, scale, out) -> None:
    """The gradient of cross_entropy_fprop, times `scale`.

    Parameters
    ----------
    p : (batch, n) float32 or float64, probabilities
    labels : (batch,) int64, the class of each row, in 0 .. n-1;
        or (batch, n) targets of the dtype of p
    scale : number, 1 / batch for the gradient of the mean
    out : (batch, n), overwritten; may be p
    """
    kernel = _bprop_of_targets if is_targets(labels) else _bprop_of_labels
    kernel(p, labels, scale, out)


_bprop_of_labels.__name__ = _bprop_of_targets.__name__ = "cross_entropy_bprop"
