"""Labelled images, gathered batch by batch into memory that is allocated once."""

from typing import Any

import numpy as np
import numpy.typing as npt

import kernels
from layers import Module

Array = npt.NDArray[Any]


class Batches:
    """Examples, one a row, for a network to run on.

    Args:
        net: the network; its parameters' dtype is that of the batches.
        x: uint8 (n, ...), images, divided by 255 as they are gathered; or floats (n, features).
        t: integers (n,), class labels; or floats (n, features), targets.
        size: examples in a batch, None or more than there are for all.
    """

    def __init__(self, net: Module, x: npt.ArrayLike, t: npt.ArrayLike, size: int | None) -> None:
        parameters = net.parameters()
        dtype = parameters[0].value.dtype if parameters else np.dtype(np.float32)
        x, t = np.asarray(x), np.asarray(t)
        if x.ndim == 0 or t.ndim == 0 or len(x) != len(t) or len(x) == 0:
            raise ValueError(f"x of shape {x.shape}, t of shape {t.shape}: expected (n, ...) each")
        self._x = _inputs(x, dtype)
        self._t = _targets(t, dtype)
        self.size = min(size or len(self._x), len(self._x))
        self._batch_x = np.zeros((self.size, self._x.shape[1]), dtype)
        self._batch_t = np.zeros((self.size, *self._t.shape[1:]), self._t.dtype)
        self._misses = np.zeros(self.size, dtype)
        self._highest_label = self._t.max() if self._t.ndim == 1 else -1

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self._x)

    def take(self, index: Array) -> tuple[Array, Array]:
        """Return the inputs and the targets of the examples `index`, int64 (batch,).

        Both are valid until the next call.
        """
        x, t = self._batch_x[: len(index)], self._batch_t[: len(index)]
        (kernels.gather if self._x.dtype == np.uint8 else kernels.gather_rows)(self._x, index, x)
        (kernels.gather_labels if t.ndim == 1 else kernels.gather_rows)(self._t, index, t)
        return x, t

    def misses(self, z: Array, t: Array) -> Array:
        """Return for each row 1 if its largest value is not that of its label, else 0.

        Of targets that are no labels, no row.
        """
        if t.ndim != 1:
            return self._misses[:0]
        if self._highest_label >= z.shape[1]:
            raise ValueError(
                f"t holds the label {self._highest_label}, the network has {z.shape[1]} outputs"
            )
        out = self._misses[: len(t)]
        kernels.misses(z, t, out)
        return out


def _inputs(x: Array, dtype: np.dtype) -> Array:
    if x.dtype == np.uint8 and x.ndim >= 2:
        return np.ascontiguousarray(x.reshape(len(x), -1))
    if x.dtype.kind != "f" or x.ndim != 2:
        raise TypeError(
            f"x is {x.dtype} of shape {x.shape}, expected images, uint8 of 2 or more dimensions, "
            "or floats of shape (n, features)"
        )
    return np.ascontiguousarray(x, dtype)


def _targets(t: Array, dtype: np.dtype) -> Array:
    if t.dtype.kind in "iu" and t.ndim == 1:
        if len(t) and t.min() < 0:
            raise ValueError(f"t holds the label {t.min()}, expected 0 or more")
        return t.astype(np.int64)
    if t.dtype.kind != "f" or t.ndim != 2:
        raise TypeError(
            f"t is {t.dtype} of shape {t.shape}, expected class labels, integers of shape (n,), "
            "or floats of shape (n, features)"
        )
    return np.ascontiguousarray(t, dtype)
