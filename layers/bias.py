"""Bias: `y = x + b`, `b` added to every row; `db` = column sums of `dy`, `dx = dy`."""

import numpy as np
import numpy.typing as npt

from jitprop import kernels
from jitprop.layers.batch import (
    Array,
    Buffer,
    MaybeNone,
    as_gradient,
    as_input,
    as_integer,
    remembered,
)
from jitprop.layers.module import Module, Parameter


class Bias(Module):
    """`y = x + b`.

    Parameters
    ----------
    features : int
        Width of `x` and `y`, at least 1.
    dtype : float32 or float64
        The dtype of `b` and of every array that passes through.

    Attributes
    ----------
    b : (features,) of `dtype`
        Zeros at first.
    db : (features,) of `dtype`
        Its gradient from the last `bprop`, zeros before it.

    Raises
    ------
    ValueError
        `features` is below 1.
    TypeError
        `features` is not an integer, or `dtype` is neither float32 nor float64.
    """

    _of_a_run = ("_last_y",)
    _gradients = ("db",)

    def __init__(self, features: int, dtype: npt.DTypeLike = np.float32) -> None:
        self.features = as_integer("Bias", "features", features)
        if self.features < 1:
            raise ValueError(f"{self!r}: the width must be at least 1")
        dtype = np.dtype(dtype)
        if dtype not in (np.float32, np.float64):
            raise TypeError(f"{self!r}: dtype is {dtype}, expected float32 or float64")
        self.b = np.zeros(self.features, dtype)
        self.db = np.zeros_like(self.b)
        self._last_y: Array | None = None
        self._y = Buffer()

    def fprop(self, x: Array) -> Array:
        """Return `x + b`, of the shape of `x`, (batch, features)."""
        x = as_input(self, "x", x, self.features, self.b.dtype)
        y = self._y.rows(x.shape, x.dtype)
        kernels.bias_fprop(x, self.b, y)
        self._last_y = y
        return y

    def bprop(self, dy: Array, need_dx: bool = True) -> Array | MaybeNone:
        """Overwrite `db`; return `dy` itself, unless it is not needed."""
        y = remembered(self, self._last_y)
        dy = as_gradient(self, dy, y.shape, y.dtype)
        kernels.bias_bprop(dy, self.db)
        return dy if need_dx else None

    def parameters(self) -> list[Parameter]:
        """Return `b`."""
        return [Parameter("b", self.b, self.db)]

    def out_width(self, *in_features: int) -> int:
        """Return the width of `x`."""
        if in_features != (self.features,):
            given = " and ".join(map(str, in_features))
            raise ValueError(f"{self!r}: x has {given} features, expected {self.features}")
        return self.features

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.features})"
