"""Softmax and cross-entropy in one: the loss of logits, and its gradient.

    loss = sum over rows of log(sum over k of exp(z[k])) - z[label]
    dz   = (softmax(z) - onehot(label)) * scale

The logarithm of a sum of exponentials is taken relative to the largest logit, so logits of any
size are safe. Targets t that are distributions, or any weights, take the place of onehot(label):

    loss = sum over rows of sum over j of t[j] * (log(sum over k of exp(z[k])) - z[j])
    dz   = (softmax(z) * sum(t) - t) * scale

Smoothed labels are such targets, with a sum of 1:

    t[label] = 1 - smoothing + smoothing / n,   t[j] = smoothing / n elsewhere

Sources: Bishop, "Pattern recognition and machine learning", 2006, equations 4.108 and 4.109; for
smoothed labels Szegedy et al., "Rethinking the Inception architecture", 2016, section 7.
"""

import numpy as np

from jitprop.kernels.compiler.inline import inline, within
from jitprop.kernels.compiler.simd import (
    LANES,
    broadcast,
    fma,
    lanes_max,
    lanes_sum,
    load,
    stack_array,
    steps,
    store,
    where,
)
from jitprop.kernels.functions import exp, log
from jitprop.kernels.losses import is_targets
from jitprop.kernels.runtime.kernel import kernel
from jitprop.kernels.softmax import row_exp, row_max, rows_of_exp


@inline
def _gradient(p, label, scale):
    """(p - onehot(label)) * scale, for a label counted from the first lane of p."""
    return where(steps(p) == label, p - 1, p) * scale


@kernel("logits(batch,n), labels(batch)<n, scale -> out(batch,n), losses(batch)", units=rows_of_exp)
def _of_labels(logits, labels, scale, out, losses, start, stop):
    n = logits.shape[1]
    sums, gaps = stack_array(LANES, out), stack_array(LANES, out)
    for block in range(start, stop, LANES):
        count = min(LANES, stop - block)
        for i in range(block, block + count):
            row, label = i * n, within(labels[i], n)
            if n <= LANES:
                z = load(logits, row, n, -np.inf)
                largest = lanes_max(z)
                e = exp(z - largest)
                total = lanes_sum(e)
                store(out, row, _gradient(e / total, label, scale), n)
            else:
                largest = row_max(logits, row, n)
                total = row_exp(logits, row, n, largest, out)
                for j in range(0, n, LANES):
                    p = load(out, row + j, n - j) / total
                    store(out, row + j, _gradient(p, label - j, scale), n - j)
            sums[i - block] = total
            gaps[i - block] = largest - logits[i, label]
        store(losses, block, log(load(sums, 0, count, 1)) + load(gaps, 0, count), count)


@kernel("logits(batch,n), labels(batch,n), scale -> out(batch,n), losses(batch)", units=rows_of_exp)
def _of_targets(logits, labels, scale, out, losses, start, stop):
    n = logits.shape[1]
    for i in range(start, stop):
        row = i * n
        largest = row_max(logits, row, n)
        total = row_exp(logits, row, n, largest, out)
        log_total = log(broadcast(total, out))
        weight, loss = broadcast(0, out), broadcast(0, out)
        for j in range(0, n, LANES):
            t = load(labels, row + j, n - j)
            gap = (largest - load(logits, row + j, n - j)) + log_total
            loss += where(t == 0, 0, t * gap)  # 0 * inf is 0 here: no weight, no loss
            weight += t
        weights = lanes_sum(weight)
        for j in range(0, n, LANES):
            dz = load(out, row + j, n - j) / total * weights - load(labels, row + j, n - j)
            store(out, row + j, dz * scale, n - j)
        losses[i] = lanes_sum(loss)


@kernel(
    "logits(batch,n), labels(batch)<n, smoothing, scale -> out(batch,n), losses(batch)",
    units=rows_of_exp,
)
def smoothed_cross_entropy(logits, labels, smoothing, scale, out, losses, start, stop):
    """As `softmax_cross_entropy`, for the smoothed targets of labels.

    Parameters
    ----------
    logits : (batch, n) float32 or float64
    labels : (batch,) int64, the class of each row, in 0 .. n-1
    smoothing : number, from 0 to 1: the share of the target that all classes have in equal parts
    scale : number
    out : (batch, n), (softmax(logits) - t) * scale, overwritten
    losses : (batch,) of the dtype of logits, overwritten
    """
    n = logits.shape[1]
    each = broadcast(smoothing, out) / n
    kept = 1 - broadcast(smoothing, out)
    sums, gaps = stack_array(LANES, out), stack_array(LANES, out)
    all_gaps = stack_array(LANES, out)
    for block in range(start, stop, LANES):
        count = min(LANES, stop - block)
        for i in range(block, block + count):
            row, label = i * n, within(labels[i], n)
            largest = row_max(logits, row, n)
            total = row_exp(logits, row, n, largest, out)
            gap = broadcast(0, out)
            for j in range(0, n, LANES):
                p = load(out, row + j, n - j) / total
                p = where(steps(p) == label - j, p - (kept + each), p - each)
                store(out, row + j, p * scale, n - j)
                gap += largest - load(logits, row + j, n - j, largest)
            sums[i - block] = total
            gaps[i - block] = largest - logits[i, label]
            all_gaps[i - block] = lanes_sum(gap)
        gap = fma(load(gaps, 0, count), kept, load(all_gaps, 0, count) * each)
        store(losses, block, log(load(sums, 0, count, 1)) + gap, count)


def softmax_cross_entropy(logits, labels, scale, out, losses) -> None:
    """The loss of each row of logits, -log softmax(logits)[label], and its gradient.

    Parameters
    ----------
    logits : (batch, n) float32 or float64
    labels : (batch,) int64, the class of each row, in 0 .. n-1;
        or (batch, n) targets of the dtype of logits
    scale : number, 1 / batch for the gradient of the mean
    out : (batch, n), (softmax(logits) - onehot(labels)) * scale, overwritten
    losses : (batch,) of the dtype of logits, overwritten; `total` sums them
    """
    kernel = _of_targets if is_targets(labels) else _of_labels
    kernel(logits, labels, scale, out, losses)


_of_labels.__name__ = _of_targets.__name__ = "softmax_cross_entropy"
