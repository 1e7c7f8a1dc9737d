"""Dropout: `y = x * mask / (1 - p)`, `dx = dy * mask / (1 - p)`; in evaluation `y = x`.

The mask, 1 with probability 1 - p, is a new one for every `fprop`. A seed and a step counter choose
it: the same seed draws the same masks, on any number of threads.
"""

import numpy as np

from jitprop import kernels
from jitprop.layers.batch import (
    Array,
    Buffer,
    MaybeNone,
    as_generator,
    as_gradient,
    as_input,
    as_number,
    remembered,
)
from jitprop.layers.module import Module, State


class Dropout(Module):
    """Sets elements of (batch, features) to zero at random while `training`.

    Parameters
    ----------
    p : float
        The probability of a zero, at least 0 and below 1.
    rng : Generator, int or None
        A NumPy Generator, a seed for one, or None for a fresh one. It draws the seed in `state`.
        Layers of one network should share a Generator.

    Attributes
    ----------
    state : (2,) int64
        The seed, and how many calls of `fprop` there were in training. With it, a run that goes on
        from a checkpoint draws the same masks as a run without a break.

    Raises
    ------
    ValueError
        `p` is out of range.
    TypeError
        `p` is not a number.

    References
    ----------
    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014.
    """

    _of_a_run = ("_last_y",)

    def __init__(self, p: float = 0.5, rng: np.random.Generator | int | None = None) -> None:
        self.p = as_number("Dropout", "p", p)
        if not 0 <= self.p < 1:
            raise ValueError(f"{self!r}: p must be at least 0 and below 1")
        self.state = np.array([as_generator("Dropout", rng).integers(2**63), 0])
        self._key = np.array([0, 0, round(self.p * 2**32)])  # of the last fprop
        self._last_y: Array | None = None
        self._dropped = False
        self._y = Buffer()
        self._dx = Buffer()

    def fprop(self, x: Array) -> Array:
        """Return `x` with zeros, and `1 / (1 - p)` times the rest; in evaluation `x` itself."""
        x = as_input(self, "x", x)
        self._dropped = self.training
        if not self._dropped:
            self._last_y = x
            return x
        y = self._y.rows(x.shape, x.dtype)
        kernels.dropout_step(self.state, self._key)
        kernels.dropout(x, self._key, 1 / (1 - self.p), y)
        self._last_y = y
        return y

    def bprop(self, dy: Array, need_dx: bool = True) -> Array | MaybeNone:
        """Return `dy` with the zeros and the factor of the last `fprop`, unless not needed."""
        y = remembered(self, self._last_y)
        dy = as_gradient(self, dy, y.shape, y.dtype)
        if not need_dx:
            return None
        if not self._dropped:
            return dy
        dx = self._dx.rows(y.shape, y.dtype)
        kernels.dropout(dy, self._key, 1 / (1 - self.p), dx)
        return dx

    def states(self) -> list[State]:
        """Return `state`."""
        return [State("state", self.state)]

    def out_width(self, *in_features: int) -> int:
        """Return the width of `x`."""
        (features,) = in_features
        return features

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.p})"
