"""Loss of counts: of each row the mean of `exp(z) - t z + t log(t) - t`, summed over the batch."""

import math

import numpy.typing as npt

from jitprop import kernels
from jitprop.layers.batch import Array, Buffer, as_input, as_targets, remembered
from jitprop.layers.module import Loss


class PoissonLoss(Loss):
    """Loss of counts, (batch, n), of which the network's output `z` is the logarithm of the rate.

    Targets are at least 0, and need not be whole. The loss is 0 where `exp(z)` is the target. The
    rates that a trained network gives are `numpy.exp(predict(net, x))`.

    Notes
    -----
    With `bprop(1 / batch)` this is half of scikit-learn's mean_poisson_deviance. The loss "poisson"
    of its MLPRegressor sums over the outputs: it is the same for one, n times as much for n.
    PyTorch's PoissonNLLLoss(log_input=True) has the same gradient; its number leaves out the
    constant `t log(t) - t`, or, with full=True, has Stirling's approximation in its place.
    """

    target_range = (0, math.inf)
    _of_a_run = ("_last_gradient",)

    def __init__(self) -> None:
        self._last_gradient: Array | None = None
        self._rows = Buffer()
        self._gradient = Buffer()
        self._dz = Buffer()

    def rows(self, z: Array, t: npt.ArrayLike) -> Array:
        """Return the loss of each row, (batch,), of the logarithms of rates `z`, (batch, n).

        Targets are counts of the shape and dtype of `z`, or of bool or integers.
        """
        z = as_input(self, "z", z)
        targets = as_targets(self, t, z, self.target_range)
        losses = self._rows.rows(z.shape[:1], z.dtype)
        gradient = self._gradient.rows(z.shape, z.dtype)
        # Unscaled: a product with 1 is exact, so bprop only multiplies by the scale.
        kernels.poisson_loss(z, targets, 1.0, gradient, losses)
        self._last_gradient = gradient
        return losses

    def bprop(self, scale: float) -> Array:
        """Return `(exp(z) - t) / n * scale`, (batch, n), of the dtype of `z`."""
        gradient = remembered(self, self._last_gradient)
        dz = self._dz.rows(gradient.shape, gradient.dtype)
        kernels.scale(gradient, scale, dz)
        return dz

    def hint(self, value: float) -> str:
        """Return what an infinite loss means."""
        return ": exp(z), the rate, is too large for the dtype" if value == math.inf else ""
