"""Dropout: `y = x * mask / (1 - p)`, `dx = dy * mask / (1 - p)`; in evaluation `y = x`.

The mask, 1 with probability 1 - p, is a new one for every `fprop`.
"""

import numpy as np

from jitprop import kernels
from jitprop.layers.at_random import AtRandom
from jitprop.layers.batch import Array, Buffer, as_number


class Dropout(AtRandom):
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
        The seed, and how many calls of `fprop` there were in training.

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

    def __init__(self, p: float = 0.5, rng: np.random.Generator | int | None = None) -> None:
        self.p = as_number("Dropout", "p", p)
        if not 0 <= self.p < 1:
            raise ValueError(f"{self!r}: p must be at least 0 and below 1")
        super().__init__(rng)
        self._key[2] = round(self.p * 2**32)
        self._dx = Buffer()

    def _forwards(self, x: Array, y: Array) -> None:
        kernels.dropout(x, self._key, 1 / (1 - self.p), y)

    def _backwards(self, dy: Array) -> Array:
        dx = self._dx.rows(dy.shape, dy.dtype)
        self._forwards(dy, dx)
        return dx

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.p})"
