"""Fully connected layer.

    y  = x @ w + b       (batch, in_features) (in_features, out_features) (out_features,)
    dw = x.T @ dy        db = column sums of dy        dx = dy @ w.T

Slides 5 to 7 of the exercise derive these for one sample, slides 10 and 11 for a batch. There a
sample is a column of `x`, here it is a row.
"""

from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop import kernels
from jitprop.layers.batch import (
    Array,
    Buffer,
    MaybeNone,
    as_generator,
    as_gradient,
    as_input,
    as_integer,
    remembered,
)
from jitprop.layers.module import Module, Parameter
from jitprop.layers.sparse import SparseBatch


class Linear(Module):
    """`y = x @ w + b`.

    Parameters
    ----------
    in_features : int
        Width of `x`, at least 1.
    out_features : int
        Width of `y`, at least 1.
    rng : Generator, int or None
        A NumPy Generator, a seed for one, or None for a fresh one. Layers of one network should
        share a Generator: the same seed twice draws the same numbers twice.
    dtype : float32 or float64
        The dtype of the parameters and of every array that passes through.
    init : str
        How `w` is drawn: "glorot", or "he" for a layer before a ReLU, which lets half pass.

    Attributes
    ----------
    w : (in_features, out_features) of `dtype`
        Drawn from N(0, sqrt(2 / (in_features + out_features))), as on slide 14 of the exercise
        (Glorot and Bengio 2010), or from N(0, sqrt(2 / in_features)) (He, Zhang, Ren and Sun,
        "Delving deep into rectifiers", 2015, equation 10). The numbers are drawn in float64 and
        rounded to `dtype`, so that both precisions start from the same network.
    b : (out_features,) of `dtype`
        Zeros at first.
    dw, db : arrays of the shapes and dtype of `w` and `b`
        Their gradients from the last `bprop`, zeros before it.

    Raises
    ------
    ValueError
        A width is below 1, or `init` is neither "glorot" nor "he".
    TypeError
        A width is not an integer, or `dtype` is neither float32 nor float64.
    """

    _of_a_run = ("_x",)
    _gradients = ("dw", "db")

    def __init__(
        self,
        in_features: int,
        out_features: int,
        rng: np.random.Generator | int | None = None,
        dtype: npt.DTypeLike = np.float32,
        init: str = "glorot",
    ) -> None:
        self.in_features = as_integer("Linear", "in_features", in_features)
        self.out_features = as_integer("Linear", "out_features", out_features)
        if self.in_features < 1 or self.out_features < 1:
            raise ValueError(f"{self!r}: both sizes must be at least 1")
        dtype = np.dtype(dtype)
        if dtype not in (np.float32, np.float64):
            raise TypeError(f"{self!r}: dtype is {dtype}, expected float32 or float64")
        if init not in ("glorot", "he"):
            raise ValueError(f"{self!r}: init is {init!r}, expected glorot or he")
        deviation = sqrt(2 / (self.in_features + (self.out_features if init == "glorot" else 0)))
        normal = as_generator("Linear", rng).standard_normal((self.in_features, self.out_features))
        self.w = kernels.aligned_zeros(normal.shape, dtype)
        self.w[...] = normal * deviation
        self.b = np.zeros(self.out_features, dtype)
        self.dw = kernels.aligned_zeros(self.w.shape, dtype)
        self.db = np.zeros_like(self.b)
        self._x: Any = None
        self._y = Buffer()
        self._dx = Buffer()

    def fprop(self, x: Array | SparseBatch) -> Array:
        """Return `x @ w + b`, (batch, out_features), for `x` of shape (batch, in_features)."""
        x = as_input(self, "x", x, self.in_features, self.w.dtype, sparse=True)
        y = self._y.rows((len(x), self.out_features), x.dtype)
        if isinstance(x, SparseBatch):
            x.linear(self.w, self.b, y)
        else:
            kernels.linear_fprop(x, self.w, self.b, y)
        self._x = x
        return y

    def bprop(self, dy: Array, need_dx: bool = True) -> Array | MaybeNone:
        """Overwrite `dw = x.T @ dy` and `db`, the column sums of `dy`; return `dx = dy @ w.T`.

        `dx` is (batch, in_features); None where it is not needed.
        """
        x = remembered(self, self._x)
        dy = as_gradient(self, dy, (len(x), self.out_features), x.dtype)
        if isinstance(x, SparseBatch):
            x.tn(dy, self.dw)
        else:
            kernels.matmul_tn(x, dy, self.dw)
        kernels.bias_bprop(dy, self.db)
        if not need_dx:
            return None
        dx = self._dx.rows((len(x), self.in_features), x.dtype)
        kernels.matmul_nt(dy, self.w, dx)
        return dx

    def parameters(self) -> list[Parameter]:
        """Return `w` and `b`."""
        return [Parameter("w", self.w, self.dw), Parameter("b", self.b, self.db)]

    def out_width(self, *in_features: int) -> int:
        """Return the width of `y`."""
        if in_features != (self.in_features,):
            given = " and ".join(map(str, in_features))
            raise ValueError(f"{self!r}: x has {given} features, expected {self.in_features}")
        return self.out_features

    def multiply_adds(self, *in_features: int) -> int:
        """Return `in_features * out_features`: one for each weight."""
        return self.in_features * self.out_features

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.in_features}, {self.out_features})"
