"""Sum of inputs, elementwise: `y = x0 + x1 + ...`, added from left to right; every `dx = dy`."""

from jitprop import kernels
from jitprop.layers.batch import (
    Array,
    Buffer,
    MaybeNone,
    as_gradient,
    as_inputs,
    remembered,
    same_features,
)
from jitprop.layers.module import Module
from jitprop.layers.node import OPERATIONS


class Add(Module):
    """`y = x0 + x1 + ...`, of two inputs or more, all (batch, features) of one shape and dtype."""

    _of_a_run = ("_last",)

    def __init__(self) -> None:
        self._last: tuple[Array, int] | None = None
        self._y = Buffer()

    def fprop(self, *xs: Array) -> Array:
        """Return the sum, of the shape and dtype of each `x`."""
        self._expect_two(len(xs))
        first, second, *rest = as_inputs(self, xs)
        y = self._y.rows(first.shape, first.dtype)
        kernels.add(first, second, y)
        for x in rest:
            kernels.add(y, x, y)
        self._last = y, len(xs)
        return y

    def bprop(self, dy: Array, need_dx: bool = True) -> tuple[Array, ...] | MaybeNone:
        """Return `dy` itself, once for each input, unless it is not needed."""
        y, inputs = remembered(self, self._last)
        dy = as_gradient(self, dy, y.shape, y.dtype)
        return (dy,) * inputs if need_dx else None

    def out_width(self, *in_features: int) -> int:
        """Return the width that all inputs have."""
        self._expect_two(len(in_features))
        return same_features(self, in_features)

    def _expect_two(self, inputs: int) -> None:
        if inputs < 2:
            raise TypeError(f"{self!r}: {inputs} inputs, expected 2 or more")


OPERATIONS["Add"] = Add
