"""Loss of counts: of each row the mean of `exp(z) - t z + t log(t) - t`, summed over the batch."""

import math

import numpy.typing as npt

from jitprop import kernels
from jitprop.layers.batch import Array, as_targets
from jitprop.layers.one_pass import OnePass


class PoissonLoss(OnePass):
    """Loss of counts, (batch, n), of which the network's output `z` is the logarithm of the rate.

    Targets are of the shape and dtype of `z`, or of bool or integers; they are at least 0, and need
    not be whole. The gradient is `(exp(z) - t) / n`. The loss is 0 where `exp(z)` is the target.
    The rates that a trained network gives are `numpy.exp(predict(net, x))`.

    Notes
    -----
    With `bprop(1 / batch)` this is half of scikit-learn's mean_poisson_deviance. The loss "poisson"
    of its MLPRegressor sums over the outputs: it is the same for one, n times as much for n.
    PyTorch's PoissonNLLLoss(log_input=True) has the same gradient; its number leaves out the
    constant `t log(t) - t`, or, with full=True, has Stirling's approximation in its place.
    """

    target_range = (0, math.inf)

    def _targets(self, t: npt.ArrayLike, z: Array) -> Array:
        return as_targets(self, t, z, self.target_range)

    def _compute(self, z: Array, t: Array, scale: float, gradient: Array, losses: Array) -> None:
        kernels.poisson_loss(z, t, scale, gradient, losses)

    def hint(self, value: float) -> str:
        """Return what an infinite loss means."""
        return ": exp(z), the rate, is too large for the dtype" if value == math.inf else ""
