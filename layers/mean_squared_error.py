"""Mean squared error: `mean((z - t)^2)` of each row, summed over the batch; `dz = 2 (z - t) / n`.

With `bprop(1 / batch)` this is PyTorch's MSELoss.
"""

import numpy.typing as npt

from jitprop import kernels
from jitprop.layers.batch import Array, Buffer, as_input, as_targets, remembered
from jitprop.layers.module import Loss


class MeanSquaredError(Loss):
    """Squared error of (batch, n): the mean over the n features, summed over the batch."""

    _of_a_run = ("_last",)

    def __init__(self) -> None:
        self._last: tuple[Array, Array] | None = None
        self._rows = Buffer()
        self._dz = Buffer()

    def rows(self, z: Array, t: npt.ArrayLike) -> Array:
        """Return the loss of each row, (batch,), of `z`, (batch, n), for targets `t` of that shape.

        Targets have the dtype of `z`, or are bool or integers.
        """
        z = as_input(self, "z", z)
        targets = as_targets(self, t, z)
        losses = self._rows.rows(z.shape[:1], z.dtype)
        kernels.mean_squared_error_fprop(z, targets, losses)
        self._last = z, targets
        return losses

    def bprop(self, scale: float) -> Array:
        """Return `(z - t) * 2 / n * scale`, (batch, n)."""
        z, targets = remembered(self, self._last)
        dz = self._dz.rows(z.shape, z.dtype)
        kernels.mean_squared_error_bprop(z, targets, scale, dz)
        return dz
