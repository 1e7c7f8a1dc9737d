"""The task of an estimator: a network, a loss, and examples in the form that batches take."""

from dataclasses import dataclass, replace
from math import log2
from typing import Any

import numpy as np

from jitprop import kernels
from jitprop.layers import Loss, Module
from jitprop.training.batches import SPARSE_DENSITY, Batches
from jitprop.training.examples import Array, dtype_of

SAMPLE = 1000  # rows that stand for all
PIXELS = 64  # of the smallest images


@dataclass(frozen=True)
class Task:
    """A network, its loss, and the examples that it learns.

    Attributes
    ----------
    net : Module
        The network, trained in place.
    loss : Loss
        The loss of its output.
    gain : float
        How much smaller the gradient of `loss` is than that of scikit-learn's loss.
    factor : float
        How much smaller `loss` is than the one that scikit-learn reports.
    x : (n, features) of the network's dtype or uint8 pixels, or CSR matrix
    t : (n,) int64, or (n, outputs) of the network's dtype
        Targets, as `loss` takes them.
    weights : (n,) float64 or None
        How much each row counts, above 0; None: all the same.
    y : (n,) or (n, outputs)
        The targets for scores: numbers, or classes as `_encoded` numbers them.
    """

    net: Module
    loss: Loss
    gain: float
    factor: float
    x: Any
    t: Array
    weights: Array | None
    y: Array

    def __len__(self) -> int:
        return len(self.t)

    def batches(self, size: int) -> Batches:
        """Return the examples in batches of this size."""
        return Batches(
            self.net,
            self.x,
            self.t,
            size,
            loss=self.loss,
            pixels=self.x.dtype == np.uint8,
            weights=self.weights,
        )

    def of(self, rows: Array) -> "Task":
        """Return the task with only some of the rows."""
        weights = None if self.weights is None else self.weights[rows]
        return replace(self, x=self.x[rows], t=self.t[rows], weights=weights, y=self.y[rows])

    def in_numbers(self) -> "Task":
        """Return the task with bytes as the numbers that a network learns from them."""
        if self.x.dtype != np.uint8:
            return self
        dtype = dtype_of(self.net)
        return replace(self, x=self.x.astype(dtype) / dtype.type(255))

    def amounts(self, order: Array, size: int) -> Array:
        """Return for each batch of an order the rows, or the sum of their weights: float64."""
        starts = np.arange(0, len(order), size)
        if self.weights is None:
            return np.diff(starts, append=len(order)).astype(np.float64)
        return np.add.reduceat(self.weights[order], starts)

    def unit(self, batches: Batches) -> float:
        """Return what a weight of 1 becomes in these batches, which divide by a power of two."""
        if self.weights is None:
            return 1.0
        return 2.0 ** round(log2(batches.weight() / self.weights.sum()))


def as_pixels(x: Any) -> Any:
    """Return a table of pixels that were divided by 255 as the bytes before the division.

    A network then leaves out their zeros, and its results have the same bits. Another table, or one
    with few zeros, comes back as it is.

    Parameters
    ----------
    x : (n, features) float32 or float64, or sparse matrix
    """
    if not isinstance(x, np.ndarray) or x.shape[1] < PIXELS:
        return x
    sample = x[:: max(1, len(x) // SAMPLE)]
    if np.count_nonzero(sample) > SPARSE_DENSITY * sample.size or _pixels(sample) is None:
        return x
    found = _pixels(x)
    return x if found is None else found


def _pixels(x: Array) -> Array | None:
    """Return the bytes that were divided by 255; None if a number is not such a byte."""
    found, strange = np.empty(x.shape, np.uint8), np.empty(len(x), np.int64)
    kernels.pixels_of(np.ascontiguousarray(x), strange, found)
    return None if strange.any() else found
