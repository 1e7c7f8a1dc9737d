"""Losses whose kernel computes the gradient together with the loss."""

from abc import abstractmethod
from typing import Any

import numpy.typing as npt

from jitprop import kernels
from jitprop.layers.batch import Array, Buffer, as_input, remembered
from jitprop.layers.module import Loss


class OnePass(Loss):
    """A loss that computes its gradient together with its rows; `bprop` only scales it.

    A class of this kind defines `_compute`.
    """

    _of_a_run = ("_last_gradient",)

    def __init__(self) -> None:
        self._last_gradient: Array | None = None
        self._rows = Buffer()
        self._gradient = Buffer()
        self._dz = Buffer()

    def rows(self, z: Array, t: npt.ArrayLike) -> Array:
        """Return the loss of each row, (batch,), of the outputs `z`, (batch, n), for targets `t`.

        The class says which targets it takes.
        """
        z = as_input(self, "z", z)
        targets = self._targets(t, z)
        losses = self._rows.rows(z.shape[:1], z.dtype)
        gradient = self._gradient.rows(z.shape, z.dtype)
        # Not scaled: a product with 1 is exact, so bprop gives the same bits as scaling here.
        self._compute(z, targets, 1.0, gradient, losses)
        self._last_gradient = gradient
        return losses

    def bprop(self, scale: float) -> Array:
        """Return the gradient times `scale`, (batch, n), of the dtype of `z`."""
        gradient = remembered(self, self._last_gradient)
        dz = self._dz.rows(gradient.shape, gradient.dtype)
        kernels.scale(gradient, scale, dz)
        return dz

    @abstractmethod
    def _targets(self, t: npt.ArrayLike, z: Array) -> Array:
        """Return `t` as the kernel takes it, for the outputs `z`."""

    @abstractmethod
    def _compute(self, z: Array, t: Array, scale: float, gradient: Array, losses: Array) -> Any:
        """Write the gradient, times `scale`, and the loss of each row."""
