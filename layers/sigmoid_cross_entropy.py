"""Cross-entropy of independent sigmoids: the sum over the outputs, and over the batch.

The gradient on logits is `sigmoid(z) - t`, and nothing is lost where a sigmoid is all but 0 or 1,
because the logarithm is never taken of one.
"""

import numpy.typing as npt

from jitprop import kernels
from jitprop.layers.batch import Array, Buffer, as_input, as_targets, remembered
from jitprop.layers.module import Loss


class SigmoidCrossEntropy(Loss):
    """Cross-entropy of logits, (batch, n), for several labels at once, with the sigmoid in it.

    Each output says by itself whether a label is there: targets are (batch, n), 1 where it is and 0
    where not, or from 0 to 1. One output is enough for two classes. The probabilities of a trained
    network are those of `Sigmoid` on what `predict` returns.

    Notes
    -----
    With `bprop(1 / batch)` this is the loss that scikit-learn's MLPClassifier has for several
    labels: the sum over outputs, the mean over the batch. PyTorch's BCEWithLogitsLoss is the mean
    over both: `bprop(1 / (batch * n))`.
    """

    target_range = (0, 1)
    _of_a_run = ("_last_gradient",)

    def __init__(self) -> None:
        self._last_gradient: Array | None = None
        self._rows = Buffer()
        self._gradient = Buffer()
        self._dz = Buffer()

    def rows(self, z: Array, t: npt.ArrayLike) -> Array:
        """Return the loss of each row, (batch,), of the logits `z`, (batch, n), for targets `t`.

        Targets are of the shape and dtype of `z`, or of bool or integers.
        """
        z = as_input(self, "z", z)
        targets = as_targets(self, t, z, self.target_range)
        losses = self._rows.rows(z.shape[:1], z.dtype)
        gradient = self._gradient.rows(z.shape, z.dtype)
        # Unscaled: a product with 1 is exact, so bprop gives the bits of scaling right here.
        kernels.sigmoid_cross_entropy(z, targets, 1.0, gradient, losses)
        self._last_gradient = gradient
        return losses

    def bprop(self, scale: float) -> Array:
        """Return `(sigmoid(z) - t) * scale`, (batch, n), of the dtype of `z`."""
        gradient = remembered(self, self._last_gradient)
        dz = self._dz.rows(gradient.shape, gradient.dtype)
        kernels.scale(gradient, scale, dz)
        return dz
