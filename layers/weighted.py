"""A loss with a weight for each row: `sum(weights * losses)`."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from jitprop import kernels
from jitprop.layers.batch import Array, Buffer, remembered
from jitprop.layers.module import Loss
from jitprop.layers.node import what


class Weighted(Loss):
    """`Weighted(SoftmaxCrossEntropy())`, whose targets are a pair `(t, weights)`.

    `weights` are (batch,) finite numbers of at least 0, one for each row; `t` is what the loss
    itself takes. A row of weight 0 has no loss and no gradient, whatever its output is. Weights of
    1 give the same bits as the loss without weights. `bprop(1 / sum(weights))` gives the gradient
    of the weighted mean.

    `fit` makes it by itself: see its argument `sample_weight`.

    Parameters
    ----------
    loss : Loss
        Any loss that defines `rows`, the loss of each row.

    Attributes
    ----------
    loss : Loss
        As given. `classification` and `target_range` are those of this loss.

    Raises
    ------
    TypeError
        `loss` is not a loss, or it defines only `fprop`.
    """

    _of_a_run = ("_last_weights",)

    def __init__(self, loss: Loss) -> None:
        if not isinstance(loss, Loss):
            given = what(loss)
            raise TypeError(f"Weighted: loss is {given}, expected one such as MeanSquaredError()")
        without = next((one for one in loss._within() if type(one).rows is Loss.rows), None)
        if without is not None:
            raise TypeError(
                f"{without!r} has no rows(z, t), the loss of each row, which weights are for"
            )
        self.loss = loss
        self.classification = loss.classification
        self.target_range = loss.target_range
        self._last_weights: Array | None = None
        self._rows = Buffer()
        self._dzs: list[Buffer] = []

    def rows(self, z: Any, t: Any) -> Array:
        """Return the weighted loss of each row, (batch,), for the targets `t`, `(t, weights)`.

        Weights are (batch,), of the dtype of `z` or of other numbers, which it converts.
        """
        if not (isinstance(t, tuple | list) and len(t) == 2):
            raise TypeError(f"{self!r}: t is {what(t)}, expected a pair (t, weights)")
        losses = np.asarray(self.loss.rows(z, t[0]))
        weights = self._last_weights = self._as_weights(t[1], losses)
        return _weighed(losses, weights, self._rows)

    def bprop(self, scale: Any) -> Any:
        """Return the gradient of `scale * loss` by `z`; for several outputs a tuple."""
        weights = remembered(self, self._last_weights)
        buffers = self._buffers()

        def weighed(dz: Any) -> Any:
            if isinstance(dz, tuple):
                return tuple(map(weighed, dz))
            return _weighed(np.asarray(dz), weights, next(buffers))

        return weighed(self.loss.bprop(scale))

    def _within(self) -> Iterator[Loss]:
        yield self
        yield from self.loss._within()

    def hint(self, value: float) -> str:
        """Return the hint of the loss itself."""
        return self.loss.hint(value)

    def _as_weights(self, given: Any, losses: Array) -> Array:
        weights = np.asarray(given, order="C")
        if losses.ndim != 1 or weights.shape != losses.shape:
            raise ValueError(
                f"{self!r}: weights have shape {weights.shape}, the losses of the rows "
                f"{losses.shape}, expected (batch,)"
            )
        if weights.dtype.kind not in "biuf":
            raise TypeError(f"{self!r}: weights are {weights.dtype}, expected numbers")
        # A tape does not check them again: `fit` has checked all of them before.
        if weights.size and not (weights.min() >= 0 and weights.max() < np.inf):
            wrong = weights[~((weights >= 0) & (weights < np.inf))][0]
            raise ValueError(f"{self!r}: a weight is {wrong}, expected finite numbers, 0 or more")
        return weights.astype(_kind(losses), copy=False)

    def _buffers(self) -> Iterator[Buffer]:
        """Yield the buffers of the gradients, one for each output."""
        yield from self._dzs
        while True:
            self._dzs.append(Buffer())
            yield self._dzs[-1]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.loss!r})"


def _kind(x: Array) -> Any:
    """Return the dtype in which `x` is weighed; a person's own loss may return any dtype."""
    return x.dtype if x.dtype in (np.float32, np.float64) else np.float64


def _weighed(x: Array, weights: Array, buffer: Buffer) -> Array:
    """Return the rows of `x`, each times its weight, in a buffer."""
    x = np.asarray(x, _kind(x), order="C")
    out = buffer.rows(x.shape, x.dtype)
    flat = len(x), int(np.prod(x.shape[1:]))
    kernels.weigh(x.reshape(flat), weights.astype(x.dtype, copy=False), out.reshape(flat))
    return out
