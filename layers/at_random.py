"""The base of modules that do something at random in training, and nothing in evaluation.

A seed and a step counter choose the random numbers: the same seed draws the same ones, on any
number of threads.
"""

from abc import abstractmethod

import numpy as np

from jitprop import kernels
from jitprop.layers.batch import (
    Array,
    Buffer,
    MaybeNone,
    as_generator,
    as_gradient,
    as_input,
    remembered,
)
from jitprop.layers.module import Module, State


class AtRandom(Module):
    """Changes (batch, features) at random, in another way at every `fprop` in training.

    Attributes
    ----------
    state : (2,) int64
        The seed, and how many calls of `fprop` there were in training. With it, a run that goes on
        from a checkpoint draws the same numbers as a run without a break.
    """

    _of_a_run = ("_last_y",)

    def __init__(self, rng: np.random.Generator | int | None) -> None:
        self.state = np.array([as_generator(type(self).__name__, rng).integers(2**63), 0])
        self._key = np.array(
            [0, 0, 0]
        )  # seed and step of the last fprop, and a number of the module's own
        self._last_y: Array | None = None
        self._changed = False
        self._y = Buffer()

    @abstractmethod
    def _forwards(self, x: Array, y: Array) -> None:
        """Write `y`, by the numbers of `self._key`."""

    @abstractmethod
    def _backwards(self, dy: Array) -> Array:
        """Return `dx`, by the same numbers."""

    def fprop(self, x: Array) -> Array:
        """Return `x`, changed at random; in evaluation `x` itself."""
        x = as_input(self, "x", x)
        self._changed = self.training
        if not self._changed:
            self._last_y = x
            return x
        y = self._y.rows(x.shape, x.dtype)
        kernels.dropout_step(self.state, self._key)
        self._forwards(x, y)
        self._last_y = y
        return y

    def bprop(self, dy: Array, need_dx: bool = True) -> Array | MaybeNone:
        """Return `dx`, by the random numbers of the last `fprop`, unless not needed."""
        y = remembered(self, self._last_y)
        dy = as_gradient(self, dy, y.shape, y.dtype)
        if not need_dx:
            return None
        return self._backwards(dy) if self._changed else dy

    def states(self) -> list[State]:
        """Return `state`."""
        return [State("state", self.state)]

    def out_width(self, *in_features: int) -> int:
        """Return the width of `x`."""
        (features,) = in_features
        return features
