"""Loss of counts: the mean of `exp(z) - t z + t log(t) - t` in each row, summed over the batch."""

import math

import numpy.typing as npt

from jitprop import kernels
from jitprop.layers.batch import Array, as_targets
from jitprop.layers.one_pass import OnePass


class PoissonLoss(OnePass):
    """Loss of counts, (batch, n); the network's output `z` is the logarithm of their rate.

    Targets have the shape and dtype of `z`, or are bool or integers. They are at least 0, and need
    not be whole. The gradient is `(exp(z) - t) / n`. The loss is 0 where `exp(z)` is the target.
    `numpy.exp(predict(net, x))` gives the rates of a trained network.

    Notes
    -----
    With `bprop(1 / batch)` this is half of scikit-learn's mean_poisson_deviance. The loss "poisson"
    of its MLPRegressor sums over the outputs: it is n times as much for n outputs.
    PyTorch's PoissonNLLLoss(log_input=True) has the same gradient. Its value leaves out the
    constant `t log(t) - t`, or, with full=True, has Stirling's approximation in its place.
    """

    target_range = (0, math.inf)

    def _targets(self, t: npt.ArrayLike, z: Array) -> Array:
        return as_targets(self, t, z, self.target_range)

    def _compute(self, z: Array, t: Array, scale: float, gradient: Array, losses: Array) -> None:
        kernels.poisson_loss(z, t, scale, gradient, losses)

    def hint(self, value: float) -> str:
        """Return why a loss is infinite."""
        return ": exp(z), the rate, is too large for the dtype" if value == math.inf else ""
