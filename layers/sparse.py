"""Examples with mostly zeros, in the forms that the first layer of a network may take.

    y = x @ w + b      over the inputs of an example that are not zero
    dw = x.T @ dy      over the examples in which the input is not zero

Zero times a finite weight adds nothing to a chain of multiply-adds. So the results have the same
bits as the dense products.
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
        The dtype in which the network computes.

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

    def linear(self, *operands: Array) -> None:
        """Run the kernel for `index, w, b, out`."""
        kernels.sparse_linear_fprop(self.images, self.values, *operands)

    def tn(self, *operands: Array) -> None:
        """Run the kernel for `index, dy, out`."""
        kernels.sparse_tn(self.images, self.values, *operands)


class CompressedRows:
    """Rows that store only some of their numbers; the others are 0: see `jitprop.kernels.csr`.

    Parameters
    ----------
    data : (stored,) float32 or float64
        The numbers.
    indices : (stored,) int64
        Their columns, in rising order in each row.
    starts, ends : (n,) int64
        Where each row begins and ends.
    features : int
        Columns.

    Attributes
    ----------
    shape : tuple of int
        (n, features).
    dtype : float32 or float64
        Of the numbers. Before `astype` it may be any other.
    """

    def __init__(
        self, data: Array, indices: Array, starts: Array, ends: Array, features: int
    ) -> None:
        self.data, self.indices, self.starts, self.ends = data, indices, starts, ends
        self.shape = len(starts), features
        self.dtype = data.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> "CompressedRows":
        """Return some of the rows; nothing is copied."""
        starts, ends = self.starts[rows], self.ends[rows]
        return CompressedRows(self.data, self.indices, starts, ends, self.shape[1])

    def astype(self, dtype: npt.DTypeLike) -> "CompressedRows":
        """Return the rows in a dtype; what fits already is not copied."""
        data = np.require(self.data, dtype, ("C", "ALIGNED"))
        return CompressedRows(data, self.indices, self.starts, self.ends, self.shape[1])

    def place(self, at: int) -> tuple[int, int]:
        """Return the row and the column of a stored number."""
        return int(np.searchsorted(self.ends, at, "right")), int(self.indices[at])

    def stored(self, row: int) -> Array:
        """Return the numbers of a row."""
        return self.data[self.starts[row] : self.ends[row]]

    def density(self) -> float:
        """Return the share of the numbers that is stored."""
        stored = int(self.ends.sum() - self.starts.sum())
        return stored / max(1, self.shape[0] * self.shape[1])

    def take(self, index: Array) -> "SparseBatch":
        """Return the rows `index`, int64 (batch,), without copying them."""
        return SparseBatch(self, index)

    def linear(self, *operands: Array) -> None:
        """Run the kernel for `index, w, b, out`."""
        kernels.csr_linear_fprop(*self._rows(), *operands)

    def tn(self, *operands: Array) -> None:
        """Run the kernel for `index, dy, out`."""
        kernels.csr_tn(*self._rows(), *operands)

    def gather(self, index: Array, out: Array) -> None:
        """Write the rows `index` with all their zeros to `out`, (batch, features)."""
        kernels.csr_gather(*self._rows(), index, out)

    def _rows(self) -> tuple[Array, Array, Array, Array]:
        return self.data, self.indices, self.starts, self.ends


class SparseBatch:
    """The rows `index` of sparse examples; `Linear` takes them in place of (batch, features)."""

    ndim = 2

    def __init__(self, rows: SparseImages | CompressedRows, index: Array) -> None:
        self.rows, self.index = rows, index
        self.shape = len(index), rows.shape[1]
        self.dtype = rows.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def linear(self, w: Array, b: Array, out: Array) -> None:
        """Write `x @ w + b` to `out`, (batch, out_features)."""
        self.rows.linear(self.index, w, b, out)

    def tn(self, dy: Array, out: Array) -> None:
        """Write `x.T @ dy` to `out`, (features, out_features)."""
        self.rows.tn(self.index, dy, out)


class SparseRows(SparseBatch):
    """Rows of numbers, (batch, features), with many zeros: forwards only."""

    def __init__(self, x: Array) -> None:
        self.x, self.shape, self.dtype = x, x.shape, x.dtype

    def linear(self, w: Array, b: Array, out: Array) -> None:
        """Write `x @ w + b` to `out`, (batch, out_features)."""
        kernels.sparse_rows_fprop(self.x, w, b, out)
