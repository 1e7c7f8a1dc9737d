"""Images of which most pixels are zero, as the first layer of a network may take them.

    y = x @ w + b      over the pixels that are not zero
    dw = x.T @ dy      over the images in which the pixel is not zero

Zero times a finite weight adds nothing to a chain of multiply-adds: the results are the bits of the
dense products.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

import kernels

Array = npt.NDArray[Any]


class SparseImages:
    """Images without their zeros, divided by 255.

    Args:
        images: uint8 (n, pixels).
        dtype: float32 or float64, of what the network computes with.

    Attributes:
        shape: (n, pixels).
        dtype: that dtype.
    """

    def __init__(self, images: Array, dtype: npt.DTypeLike) -> None:
        self.shape = images.shape
        self.dtype = np.dtype(dtype)
        self.entries = kernels.sparse_rows(images, self.dtype)

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
        """Write `x @ w + b`."""
        kernels.sparse_linear_fprop(*self.images.entries, self.index, w, b, out)

    def tn(self, dy: Array, out: Array) -> None:
        """Write `x.T @ dy`."""
        kernels.sparse_tn(*self.images.entries, self.index, dy, out)
