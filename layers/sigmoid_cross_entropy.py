"""Cross-entropy of independent sigmoids: the sum over the outputs, and over the batch.

The gradient on logits is `sigmoid(z) - t`. Nothing is lost where a sigmoid is almost 0 or 1,
because no logarithm of a sigmoid is ever taken.
"""

import numpy.typing as npt

from jitprop import kernels
from jitprop.layers.batch import Array, as_targets
from jitprop.layers.one_pass import OnePass


class SigmoidCrossEntropy(OnePass):
    """Cross-entropy of logits, (batch, n), for several labels at once; it includes the sigmoid.

    Each output says by itself whether a label is there. Targets are (batch, n): 1 if the label is
    there, 0 if not, or a number between. They have the dtype of `z`, or are bool or integers. One
    output is enough for two classes. `Sigmoid` turns what `predict` returns into probabilities.

    Notes
    -----
    With `bprop(1 / batch)` this is the loss that scikit-learn's MLPClassifier has for several
    labels: the sum over outputs, the mean over the batch. PyTorch's BCEWithLogitsLoss is the mean
    over both: `bprop(1 / (batch * n))`.
    """

    target_range = (0, 1)

    def _targets(self, t: npt.ArrayLike, z: Array) -> Array:
        return as_targets(self, t, z, self.target_range)

    def _compute(self, z: Array, t: Array, scale: float, gradient: Array, losses: Array) -> None:
        kernels.sigmoid_cross_entropy(z, t, scale, gradient, losses)
