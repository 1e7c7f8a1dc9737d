"""Features side by side, `y = [x0 x1 ...]`, and apart again, `y0, y1, ... = x`.

Each is the other's gradient.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise

import numpy as np

from jitprop import kernels
from jitprop.layers.batch import (
    Array,
    Buffer,
    MaybeNone,
    as_gradient,
    as_input,
    as_inputs,
    as_integer,
    remembered,
)
from jitprop.layers.module import Module


class Concatenate(Module):
    """`y = [x0 x1 ...]`: (batch, n0), (batch, n1), ... become (batch, n0 + n1 + ...)."""

    _of_a_run = ("_last_y",)

    def __init__(self) -> None:
        self._widths: tuple[int, ...] = ()
        self._columns: list[Array] = []
        self._last_y: Array | None = None
        self._y = Buffer()
        self._dxs: list[Buffer] = []

    def fprop(self, *xs: Array) -> Array:
        """Return the inputs side by side, in their order; all have the same batch and dtype."""
        if not xs:
            raise TypeError(f"{self!r}: no inputs, expected 1 or more")
        arrays = as_inputs(self, xs, same_width=False)
        widths = tuple(x.shape[1] for x in arrays)
        if widths != self._widths:
            self._widths, self._columns = widths, _columns(widths)
            self._dxs = [Buffer() for _ in widths]
        y = self._y.rows((len(arrays[0]), sum(widths)), arrays[0].dtype)
        for x, columns in zip(arrays, self._columns, strict=True):
            kernels.concatenate_fprop(x, columns, y)
        self._last_y = y
        return y

    def bprop(self, dy: Array, need_dx: bool = True) -> tuple[Array, ...] | MaybeNone:
        """Return for each input its columns of `dy`, unless they are not needed."""
        y = remembered(self, self._last_y)
        dy = as_gradient(self, dy, y.shape, y.dtype)
        return _apart(dy, self._columns, self._dxs) if need_dx else None

    def out_width(self, *in_features: int) -> int:
        """Return the sum of the widths."""
        return sum(in_features)


class Split(Module):
    """`y0, y1, ... = x`: (batch, n0 + n1 + ...) becomes (batch, n0), (batch, n1), ...

    Parameters
    ----------
    widths : sequence of int
        n0, n1, ..., each at least 1.

    Raises
    ------
    ValueError
        There is no width, or one is below 1.
    TypeError
        `widths` is not a sequence of integers.
    """

    _of_a_run = ("_last_ys",)

    def __init__(self, widths: Sequence[int]) -> None:
        if not isinstance(widths, Iterable) or isinstance(widths, str | bytes):
            raise TypeError(f"Split: widths is {widths!r}, expected a list of integers")
        self.widths = tuple(as_integer("Split", "a width", width) for width in widths)
        if not self.widths or min(self.widths) < 1:
            raise ValueError(f"{self!r}: expected widths of at least 1, and at least one of them")
        self.outputs = len(self.widths)
        self._columns = _columns(self.widths)
        self._last_ys: tuple[Array, ...] | None = None
        self._ys = [Buffer() for _ in self.widths]
        self._dx = Buffer()

    def fprop(self, x: Array) -> tuple[Array, ...]:
        """Return the parts of `x`, from left to right."""
        x = as_input(self, "x", x, sum(self.widths))
        self._last_ys = _apart(x, self._columns, self._ys)
        return self._last_ys

    def bprop(self, *dys: Array, need_dx: bool = True) -> Array | MaybeNone:
        """Return the gradients of the parts side by side, unless they are not needed."""
        ys = remembered(self, self._last_ys)
        if len(dys) != len(ys):
            raise TypeError(f"{self!r}: bprop of {len(dys)} gradients, expected {len(ys)}")
        dys = tuple(as_gradient(self, dy, y.shape, y.dtype) for dy, y in zip(dys, ys, strict=True))
        if not need_dx:
            return None
        dx = self._dx.rows((len(dys[0]), sum(self.widths)), dys[0].dtype)
        for dy, columns in zip(dys, self._columns, strict=True):
            kernels.concatenate_fprop(dy, columns, dx)
        return dx

    def out_width(self, *in_features: int) -> tuple[int, ...]:
        """Return the widths of the parts.

        Raises
        ------
        ValueError
            The width of `x` is not their sum.
        """
        if in_features != (sum(self.widths),):
            given = " and ".join(map(str, in_features))
            raise ValueError(f"{self!r}: x has {given} features, expected {sum(self.widths)}")
        return self.widths

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.widths)})"


def _columns(widths: Iterable[int]) -> list[Array]:
    """Return the columns, int64, of each array when arrays of these widths stand side by side."""
    return [np.arange(*ends, dtype=np.int64) for ends in pairwise(accumulate(widths, initial=0))]


def _apart(x: Array, columns: list[Array], buffers: list[Buffer]) -> tuple[Array, ...]:
    """Return these columns of `x`, each copied to its buffer."""
    parts = tuple(
        buffer.rows((len(x), len(part)), x.dtype)
        for part, buffer in zip(columns, buffers, strict=True)
    )
    for out, part in zip(parts, columns, strict=True):
        kernels.concatenate_bprop(x, part, out)
    return parts
