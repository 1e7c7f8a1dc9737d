"""Difference of two inputs, elementwise: `y = x0 - x1`, `dx0 = dy`, `dx1 = -dy`."""

from jitprop import kernels
from jitprop.layers.batch import (
    Array,
    Buffer,
    MaybeNone,
    as_gradient,
    as_inputs,
    expect_inputs,
    remembered,
    same_features,
)
from jitprop.layers.module import Module
from jitprop.layers.node import OPERATIONS


class Subtract(Module):
    """`y = x0 - x1`, both (batch, features) of one shape and dtype."""

    _of_a_run = ("_last_y",)

    def __init__(self) -> None:
        self._last_y: Array | None = None
        self._y = Buffer()
        self._dx = Buffer()

    def fprop(self, x0: Array, x1: Array) -> Array:
        """Return the difference, of the shape and dtype of both inputs."""
        x0, x1 = as_inputs(self, (x0, x1))
        y = self._y.rows(x0.shape, x0.dtype)
        kernels.subtract(x0, x1, y)
        self._last_y = y
        return y

    def bprop(self, dy: Array, need_dx: bool = True) -> tuple[Array, Array] | MaybeNone:
        """Return `dy` itself and `-dy`, unless they are not needed."""
        y = remembered(self, self._last_y)
        dy = as_gradient(self, dy, y.shape, y.dtype)
        if not need_dx:
            return None
        dx = self._dx.rows(y.shape, y.dtype)
        kernels.scale(dy, -1.0, dx)
        return dy, dx

    def out_width(self, *in_features: int) -> int:
        """Return the width that both inputs have."""
        expect_inputs(self, len(in_features), 2)
        return same_features(self, in_features)


OPERATIONS["Subtract"] = Subtract
