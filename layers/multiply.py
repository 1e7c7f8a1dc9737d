"""Product, elementwise: two inputs, `y = x0 * x1`, or an input and a number, `y = x * constant`.

dx0 = dy * x1,  dx1 = dy * x0          dx = dy * constant
"""

from jitprop import kernels
from jitprop.layers.batch import (
    Array,
    Buffer,
    MaybeNone,
    as_gradient,
    as_inputs,
    as_number,
    expect_inputs,
    remembered,
    same_features,
)
from jitprop.layers.module import Module
from jitprop.layers.node import OPERATIONS


class Multiply(Module):
    """`y = x0 * x1`, both (batch, features) of one shape and dtype.

    Parameters
    ----------
    constant : float or None
        A number: then there is one input, `y = x * constant`.

    Raises
    ------
    TypeError
        `constant` is not a number.
    """

    _of_a_run = ("_xs",)

    def __init__(self, constant: float | None = None) -> None:
        self.constant = None if constant is None else as_number("Multiply", "constant", constant)
        self._xs: list[Array] | None = None
        self._y = Buffer()
        self._dxs = Buffer(), Buffer()

    def fprop(self, *xs: Array) -> Array:
        """Return the product, of the shape and dtype of the inputs."""
        expect_inputs(self, len(xs), self._inputs())
        arrays = as_inputs(self, xs)
        y = self._y.rows(arrays[0].shape, arrays[0].dtype)
        if self.constant is None:
            kernels.multiply(*arrays, y)
        else:
            kernels.scale(*arrays, self.constant, y)
        self._xs = arrays
        return y

    def bprop(self, dy: Array, need_dx: bool = True) -> Array | tuple[Array, Array] | MaybeNone:
        """Return `dy` times the other input, for both; or `dy * constant`. None if not needed."""
        xs = remembered(self, self._xs)
        shape, dtype = xs[0].shape, xs[0].dtype
        dy = as_gradient(self, dy, shape, dtype)
        if not need_dx:
            return None
        if self.constant is not None:
            dx = self._dxs[0].rows(shape, dtype)
            kernels.scale(dy, self.constant, dx)
            return dx
        dx0, dx1 = (buffer.rows(shape, dtype) for buffer in self._dxs)
        kernels.multiply(dy, xs[1], dx0)
        kernels.multiply(dy, xs[0], dx1)
        return dx0, dx1

    def out_width(self, *in_features: int) -> int:
        """Return the width that the inputs have."""
        expect_inputs(self, len(in_features), self._inputs())
        return same_features(self, in_features)

    def _inputs(self) -> int:
        return 2 if self.constant is None else 1

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'' if self.constant is None else self.constant})"


OPERATIONS["Multiply"] = Multiply
