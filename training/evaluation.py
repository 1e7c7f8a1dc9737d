"""How well a network does on labelled images."""

from typing import NamedTuple

import numpy as np

from layers import Loss, Module
from training.batches import Array, Batches

BATCH = 500  # its activations stay in the cache, its matrix products keep two cores busy


class Evaluation(NamedTuple):
    """How many of `images` images the network takes for another class, and the mean loss."""

    errors: int
    images: int
    loss: float


def evaluate(net: Module, loss: Loss, images: Array, labels: Array) -> Evaluation:
    """Run `net` over images, uint8 (n, ...), and compare with the class labels, integers (n,)."""
    batches = Batches(net, images, labels, BATCH)
    index = np.arange(len(batches))
    errors, total = 0, 0.0
    for first in range(0, len(batches), BATCH):
        x, t = batches.take(index[first : first + BATCH])
        z = net.fprop(x)
        total += loss.fprop(z, t)
        errors += count_errors(z, t)
    return Evaluation(errors, len(batches), total / len(batches))


def count_errors(z: Array, t: Array) -> int:
    """Count the rows of `z`, (batch, classes), whose largest value is not that of class `t`."""
    return int(np.count_nonzero(z.argmax(axis=1) != t))
