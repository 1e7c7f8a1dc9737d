"""The base of modules that compute `y` of the shape of `x`, and `dx` from `y` and `dy`."""

from typing import ClassVar

from jitprop.kernels.runtime.kernel import Kernel
from jitprop.layers.batch import Array, Buffer, MaybeNone, as_gradient, as_input, remembered
from jitprop.layers.module import Module


class Activation(Module):
    """A function of (batch, features), float32 or float64, without parameters.

    Attributes
    ----------
    forwards : Kernel
        Takes `x` and writes `y`.
    backwards : Kernel
        Takes `y` and `dy` and writes `dx`.
    """

    forwards: ClassVar[Kernel]
    backwards: ClassVar[Kernel]

    _of_a_run = ("_last_y",)

    def __init__(self) -> None:
        self._last_y: Array | None = None
        self._y = Buffer()
        self._dx = Buffer()

    def fprop(self, x: Array) -> Array:
        """Return `y`, of the shape and dtype of `x`."""
        x = as_input(self, "x", x)
        y = self._y.rows(x.shape, x.dtype)
        self.forwards(x, y)
        self._last_y = y
        return y

    def bprop(self, dy: Array, need_dx: bool = True) -> Array | MaybeNone:
        """Return `dx`, of the shape and dtype of `dy`, unless it is not needed."""
        y = remembered(self, self._last_y)
        dy = as_gradient(self, dy, y.shape, y.dtype)
        if not need_dx:
            return None
        dx = self._dx.rows(y.shape, y.dtype)
        self.backwards(y, dy, dx)
        return dx

    def out_width(self, *in_features: int) -> int:
        """Return the width of `x`."""
        (features,) = in_features
        return features
