"""Cross-entropy losses, summed over the batch: `-sum(t * log p)`.

On probabilities (`CrossEntropy`, after a `Softmax`) the gradient is `-t / p`. On logits
(`SoftmaxCrossEntropy`, in place of a `Softmax`) it is `softmax(z) - t`. Nothing is lost where a
probability underflows, because no logarithm of a probability is ever taken.

Targets `t` are class indices, (batch,) of any integer dtype, or one-hot or soft targets, (batch,
classes), with the dtype of `z`, or bool or integers.
"""

import math

import numpy as np
import numpy.typing as npt

from jitprop import kernels
from jitprop.layers.batch import Array, Buffer, as_input, as_number, remembered
from jitprop.layers.module import Loss
from jitprop.layers.one_pass import OnePass


class CrossEntropy(Loss):
    """Cross-entropy of probabilities, (batch, classes): `-sum(t * log z)` of each row.

    Targets are class indices, (batch,) of any integer dtype, or distributions, (batch, classes).
    """

    classification = True
    _of_a_run = ("_last",)

    def __init__(self) -> None:
        self._last: tuple[Array, Array] | None = None
        self._rows = Buffer()
        self._dz = Buffer()

    def rows(self, z: Array, t: npt.ArrayLike) -> Array:
        """Return the loss of each row, (batch,), of the probabilities `z`, (batch, classes)."""
        z = as_input(self, "z", z)
        labels = _as_labels(self, t, z)
        losses = self._rows.rows(z.shape[:1], z.dtype)
        kernels.cross_entropy_fprop(z, labels, losses)
        self._last = z, labels
        return losses

    def bprop(self, scale: float) -> Array:
        """Return `-t / z * scale`, (batch, classes), of the dtype of `z`."""
        z, labels = remembered(self, self._last)
        dz = self._dz.rows(z.shape, z.dtype)
        kernels.cross_entropy_bprop(z, labels, scale, dz)
        return dz

    def hint(self, value: float) -> str:
        """Return why a loss is infinite."""
        if value != math.inf:
            return ""
        return (
            ": CrossEntropy is infinite where a target class gets the probability 0; "
            "SoftmaxCrossEntropy on the logits, in place of Softmax and CrossEntropy, is not"
        )


class SoftmaxCrossEntropy(OnePass):
    """Cross-entropy of logits, (batch, classes), by log-sum-exp; it includes the softmax.

    Targets are those of `CrossEntropy`. The gradient is `softmax(z) - t`.

    Parameters
    ----------
    label_smoothing : float
        Share of the target, from 0 to 1, that all classes get in equal parts; the label gets the
        rest. Only for targets that are class indices.

    Raises
    ------
    ValueError
        `label_smoothing` is not from 0 to 1.
    TypeError
        `label_smoothing` is not a number.

    References
    ----------
    Szegedy et al., "Rethinking the Inception architecture", 2016, section 7, for smoothed labels.
    """

    classification = True

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = as_number("SoftmaxCrossEntropy", "label_smoothing", label_smoothing)
        if not 0 <= self.label_smoothing <= 1:
            raise ValueError(f"label smoothing must be from 0 to 1, not {label_smoothing}")
        super().__init__()

    def _targets(self, t: npt.ArrayLike, z: Array) -> Array:
        labels = _as_labels(self, t, z)
        if self.label_smoothing and labels.ndim != 1:
            raise ValueError(f"{self!r}: t has shape {labels.shape}, expected class indices")
        return labels

    def _compute(self, z: Array, t: Array, scale: float, gradient: Array, losses: Array) -> None:
        if self.label_smoothing:
            smoothing = self.label_smoothing
            kernels.smoothed_cross_entropy(z, t, smoothing, scale, gradient, losses)
        else:
            kernels.softmax_cross_entropy(z, t, scale, gradient, losses)

    def __repr__(self) -> str:
        smoothing = f"label_smoothing={self.label_smoothing}" if self.label_smoothing else ""
        return f"{type(self).__name__}({smoothing})"


def _as_labels(loss: Loss, t: npt.ArrayLike, z: Array) -> Array:
    """Return `t` as the kernels take it: int64 (batch,), or (batch, classes) of `z`'s dtype."""
    t = np.asarray(t, order="C")
    if t.shape != z.shape[:1] and t.shape != z.shape:
        raise ValueError(
            f"{loss!r}: t has shape {t.shape}, expected {z.shape[:1]} or {z.shape} "
            f"for z of shape {z.shape}"
        )
    if t.ndim == 1:
        if t.dtype.kind not in "iu":
            raise TypeError(f"{loss!r}: t is {t.dtype}, class indices must be integers")
        return t.astype(np.int64, copy=False)
    if t.dtype != z.dtype and t.dtype.kind not in "biu":
        raise TypeError(f"{loss!r}: t is {t.dtype}, z is {z.dtype}: convert one with astype")
    return t.astype(z.dtype, copy=False)
