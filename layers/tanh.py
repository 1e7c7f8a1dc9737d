"""Hyperbolic tangent, elementwise: `y = tanh(x)`, `dx = dy * (1 - y * y)`."""

import kernels
from layers.batch import Array, Buffer, MaybeNone, as_gradient, as_input, remembered
from layers.module import Module


class Tanh(Module):
    """`y = tanh(x)`, elementwise on (batch, features), float32 or float64."""

    def __init__(self) -> None:
        self._last_y: Array | None = None
        self._y = Buffer()
        self._dx = Buffer()

    def fprop(self, x: Array) -> Array:
        """Return `tanh(x)`, of the shape and dtype of `x`."""
        x = as_input(self, "x", x)
        y = self._y.rows(x.shape, x.dtype)
        kernels.tanh_fprop(x, y)
        self._last_y = y
        return y

    def bprop(self, dy: Array, need_dx: bool = True) -> Array | MaybeNone:
        """Return `dy * (1 - y * y)`, unless it is not needed."""
        y = remembered(self, self._last_y)
        dy = as_gradient(self, dy, y.shape, y.dtype)
        if not need_dx:
            return None
        dx = self._dx.rows(y.shape, y.dtype)
        kernels.tanh_bprop(y, dy, dx)
        return dx

    def out_features(self, *in_features: int) -> int:
        """Return the width of `x`."""
        return in_features[0]
