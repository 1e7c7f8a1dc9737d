"""Images with mostly zero pixels, as the first layer of a network may take them.

    y = x @ w + b      over the pixels that are not zero
    dw = x.T @ dy      over the images in which the pixel is not zero

Zero times a finite weight adds nothing to a chain of multiply-adds: the results are the bits of the
dense products.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop import kernels

Array = npt.NDArray[Any]


class SparseImages:
    """Images divided by 255, for products that leave out their zeros.

    Parameters
    ----------
    images : (n, pixels) uint8
    dtype : float32 or float64
        The dtype that the network computes with.

    Attributes
    ----------
    shape : tuple of int
        (n, pixels).
    dtype : float32 or float64
        That dtype.
    """

    def __init__(self, images: Array, dtype: npt.DTypeLike) -> None:
        self.shape = images.shape
        self.dtype = np.dtype(dtype)
        self.images = images
        self.values = np.arange(256, dtype=self.dtype) / self.dtype.type(255)

    def __len__(self) -> int:
        return self.shape[0]

    def take(self, index: Array) -> "SparseBatch":
        """Return the images `index`, int64 (batch,), without copying them."""
        return SparseBatch(self, index)


class SparseBatch:
    """A batch of `SparseImages`: what `Linear` takes in the place of an array (batch, pixels)."""

    ndim = 2

    def __init__(self, images: SparseImages, index: Array) -> None:
        self.images, self.index = images, index
        self.shape = len(index), images.shape[1]
        self.dtype = images.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def linear(self, w: Array, b: Array, out: Array) -> None:
        """Write `x @ w + b` to `out`, (batch, out_features)."""
        kernels.sparse_linear_fprop(*self._rows(), w, b, out)

    def tn(self, dy: Array, out: Array) -> None:
        """Write `x.T @ dy` to `out`, (pixels, out_features)."""
        kernels.sparse_tn(*self._rows(), dy, out)

    def _rows(self) -> tuple[Array, Array, Array]:
        return self.images.images, self.images.values, self.index


class SparseRows(SparseBatch):
    """Rows of numbers, (batch, features), many of which are zero: forwards only."""

    def __init__(self, x: Array) -> None:
        self.x, self.shape, self.dtype = x, x.shape, x.dtype

    def linear(self, w: Array, b: Array, out: Array) -> None:
        """Write `x @ w + b` to `out`, (batch, out_features)."""
        kernels.sparse_rows_fprop(self.x, w, b, out)
