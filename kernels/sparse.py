"""The first layer's products where most of the input is zero: 81 of 100 pixels of MNIST.

    y  = x @ w + b      forwards
    dw = x.T @ dy       backwards, to the weights

A zero adds nothing to a chain of fused multiply-adds. Left out, the other entries of a row in the
order of k give the bits of `linear_fprop` and `matmul_tn`, for finite weights and gradients. (The
sign of a result that is exactly zero is the one thing that may differ, after an underflow.)

The images stay in memory as compressed rows: entry p of `columns` and `values` is one pixel that
is not zero, entries starts[i, 0] .. starts[i, -1]-1 are those of image i in the order of their
columns, and those of its columns block*BLOCK .. (block+1)*BLOCK-1 begin with starts[i, block]. A
batch is an `index` of rows. Backwards, so many rows of dw as a block has columns stay in the
first-level cache, while the entries of that block of one image after the other are added to them.
"""

import numpy as np

from kernels.jit import inline, kernel
from kernels.jit import rows as by_rows
from kernels.simd import (
    LANES,
    broadcast,
    for_dtype,
    load,
    prefetch,
    stack_array,
    store,
)
from kernels.sparse_row import STRIPE, VECTORS, WIDTH32, WIDTH64, sparse_column, sparse_row
from kernels.update import momentum_step, sgd_step

BLOCK = 64  # columns: rows of dw that lie in a cache together while entries are added to them
SCRATCH = BLOCK * STRIPE * WIDTH32
MANY = 8  # images that together have entries in most columns
PIECE = 2**15  # multiply-adds that are worth another thread's claim: 1 us


@inline
def _ceil(x, y):
    return -(-x // y)


@inline
def _width(out):
    return for_dtype(out, WIDTH32, WIDTH64)


@inline
def _panels(out, most):
    """How many panels of columns `out` is cut into, each of at most so many vectors."""
    return _ceil(_ceil(out.shape[1], _width(out)), most)


@inline
def _place(out, rows, unit, most):
    """(row, first column, last column + 1) of a unit: one of `rows` rows of one panel."""
    vectors, panels, panel = _ceil(out.shape[1], _width(out)), _panels(out, most), unit // rows
    j0, j1 = vectors * panel // panels * _width(out), vectors * (panel + 1) // panels * _width(out)
    return unit - panel * rows, j0, min(j1, out.shape[1])


@inline
def _entries(starts, i, block, end, columns):
    """(first, end) of the entries of blocks block .. end-1 of row i; whatever `starts` holds,
    inside `columns`."""
    if not 0 <= block < end < starts.shape[1]:
        return 0, 0
    first = max(0, starts[i, block])
    return first, max(first, min(starts[i, end], len(columns)))


@inline
def _units_fprop(starts, columns, values, index, w, b, out):
    """(units, units per piece): each row of a panel is a unit."""
    units = _panels(out, VECTORS) * len(out)
    entries = len(columns) // max(1, len(starts)) + 1
    return units, max(1, PIECE // max(1, entries * out.shape[1]))


@kernel(
    "starts:int64(n,bounds), columns:int32(entries), values(entries), index(batch)<n, w(K,N),"
    " b(N) -> out(batch,N)",
    units=_units_fprop,
)
def sparse_linear_fprop(starts, columns, values, index, w, b, out, start, stop):
    """`out = x @ w + b` for the rows of x that `index` names: linear_fprop, same bits.

    Parameters
    ----------
    starts, columns, values : the rows, as `sparse_rows` makes them, with columns in 0 .. K-1
    index : (batch,) int64, in 0 .. n-1
    w : (K, N) of the dtype of values
    b : (N,)
    out : (batch, N), overwritten
    """
    blocks, last, n = starts.shape[1] - 1, len(w) - 1, len(b)
    for unit in range(start, stop):
        i, j0, j1 = _place(out, len(out), unit, VECTORS)
        if j0 == 0:
            _prefetch(starts, columns, values, index, i)
        first, end = _entries(starts, index[i], 0, blocks, columns)
        count = end - first if len(w) else 0
        sparse_row(columns, values, first, count, w, j0, n, last, out, i * n + j0, j1 - j0)
        for j in range(j0, j1, LANES):
            y = load(out, i * n + j, j1 - j) + load(b, j, j1 - j)
            store(out, i * n + j, y, j1 - j)


@inline
def _prefetch(starts, columns, values, index, i):
    """Ask for row i + 1 of a batch, and for where row i + 2 is: rows lie anywhere in memory."""
    if i + 2 < len(index):
        prefetch(starts, index[i + 2] * starts.shape[1])
    if i + 1 < len(index):
        first, end = _entries(starts, index[i + 1], 0, starts.shape[1] - 1, columns)
        for p in range(first, end, 64 // columns.itemsize):
            prefetch(columns, p)
        for p in range(first, end, 64 // values.itemsize):
            prefetch(values, p)


@inline
def _blocks(out):
    return _ceil(len(out), BLOCK)


@inline
def _units_tn(starts, columns, values, index, dy, out):
    """(units, units per piece): each block of rows of a panel is a unit. A piece of a single
    image's is not worth fetching weights from another thread's cache."""
    units = _panels(out, STRIPE) * _blocks(out)
    entries = len(columns) * len(index) // max(1, len(starts)) + 1
    return units, max(1, 4 * PIECE * units // max(1, entries * out.shape[1]))


@inline
def _sum(starts, columns, values, index, dy, out, unit, dw, seen):
    """The unit of x.T @ dy, of the shape of `out`: a block of rows, some columns.

    Row k0 + k from column j0 on is dw[k * pitch :], where it has entries; there seen[k] is 1,
    elsewhere 0. Returns (k0, rows, j0, end of the columns, pitch).
    """
    block, j0, j1 = _place(out, _blocks(out), unit, STRIPE)
    k0, n, pitch = block * BLOCK, dy.shape[1], STRIPE * _width(out)
    last = min(BLOCK, len(out) - k0) - 1
    many = len(index) >= MANY
    for k in range(BLOCK):
        seen[k] = many
    if many:
        for at in range(0, BLOCK * pitch, LANES):
            store(dw, at, broadcast(0, dw))
    for r in range(len(index)):
        first, end = _entries(starts, index[r], block, block + 1, columns)
        if not many:
            for p in range(np.uint64(first), np.uint64(end)):
                k = min(max(columns[p] - k0, 0), last)
                if seen[k] == 0:
                    seen[k] = 1
                    for j in range(0, pitch, LANES):
                        store(dw, k * pitch + j, broadcast(0, dw), pitch - j)
        if r + 2 < len(index):
            soon, soon_end = _entries(starts, index[r + 2], block, block + 1, columns)
            prefetch(columns, soon)
            prefetch(values, soon)
            prefetch(columns, soon_end)
            prefetch(values, soon_end)
        if end > first:
            count, at = end - first, r * n + j0
            sparse_column(columns, values, first, count, dy, at, k0, last, dw, pitch, j1 - j0)
    return k0, last + 1, j0, j1, pitch


@inline
def _row(dw, seen, k, pitch, j, count):
    """Lanes of row k of what `_sum` left, from the `j`th of its columns on."""
    return load(dw, k * pitch + j, count) if seen[k] != 0 else broadcast(0, dw)


@kernel(
    "starts:int64(n,bounds), columns:int32(entries), values(entries), index(batch)<n, dy(batch,N)"
    " -> out(K,N)",
    units=_units_tn,
)
def sparse_tn(starts, columns, values, index, dy, out, start, stop):
    """`out = x.T @ dy` for the rows of x that `index` names: matmul_tn, same bits.

    Parameters
    ----------
    starts, columns, values : the rows, as `sparse_rows` makes them, with columns in 0 .. K-1
    index : (batch,) int64, in 0 .. n-1
    dy : (batch, N) of the dtype of values
    out : (K, N), overwritten
    """
    n = out.shape[1]
    dw, seen = stack_array(SCRATCH, out), stack_array(BLOCK, out)
    for unit in range(start, stop):
        k0, rows, j0, j1, pitch = _sum(starts, columns, values, index, dy, out, unit, dw, seen)
        for k in range(rows):
            row = (k0 + k) * n
            for j in range(j0, j1, LANES):
                g = _row(dw, seen, k, pitch, j - j0, j1 - j)
                store(out, row + j, g, j1 - j)


@inline
def _units_sgd(starts, columns, values, index, dy, w, rate):
    return _units_tn(starts, columns, values, index, dy, w)


@kernel(
    "starts:int64(n,bounds), columns:int32(entries), values(entries), index(batch)<n,"
    " dy(batch,N), w!(K,N), rate",
    units=_units_sgd,
)
def sparse_tn_sgd(starts, columns, values, index, dy, w, rate, start, stop):
    """`w -= rate * (x.T @ dy)`: sparse_tn, then sgd_update, same bits.

    With few images, a row of w whose column of x has no entries is not touched. The gradient is
    nowhere stored.

    Parameters
    ----------
    starts, columns, values, index, dy : as of `sparse_tn`
    w : (K, N), updated
    rate : number, finite
    """
    n = w.shape[1]
    dw, seen = stack_array(SCRATCH, w), stack_array(BLOCK, w)
    for unit in range(start, stop):
        k0, rows, j0, j1, pitch = _sum(starts, columns, values, index, dy, w, unit, dw, seen)
        for k in range(rows):
            if seen[k] != 0:
                row = (k0 + k) * n
                for j in range(j0, j1, LANES):
                    sgd_step(w, row + j, j1 - j, load(dw, k * pitch + j - j0, j1 - j), rate)


@inline
def _units_momentum(starts, columns, values, index, dy, w, velocity, rate, momentum, weight_decay):
    return _panels(w, STRIPE) * _blocks(w), 1


@kernel(
    "starts:int64(n,bounds), columns:int32(entries), values(entries), index(batch)<n,"
    " dy(batch,N), w!(K,N), velocity!(K,N), rate, momentum, weight_decay",
    units=_units_momentum,
)
def sparse_tn_momentum(
    starts, columns, values, index, dy, w, velocity, rate, momentum, weight_decay, start, stop
):
    """sparse_tn, then momentum_update, same bits. The gradient is nowhere stored.

    Parameters
    ----------
    starts, columns, values, index, dy : as of `sparse_tn`
    w, velocity : (K, N), updated
    rate, momentum, weight_decay : numbers
    """
    n = w.shape[1]
    dw, seen = stack_array(SCRATCH, w), stack_array(BLOCK, w)
    for unit in range(start, stop):
        k0, rows, j0, j1, pitch = _sum(starts, columns, values, index, dy, w, unit, dw, seen)
        for k in range(rows):
            row = (k0 + k) * n
            for j in range(j0, j1, LANES):
                g = _row(dw, seen, k, pitch, j - j0, j1 - j)
                momentum_step(w, row + j, j1 - j, g, velocity, rate, momentum, weight_decay)


@kernel("images:uint8(n,pixels) -> starts:int64(n,bounds)", units=by_rows)
def sparse_count(images, starts, start, stop):
    """How many pixels are not zero, in each block of each image."""
    pixels = images.shape[1]
    for i in range(start, stop):
        starts[i, 0] = 0
        for block in range(starts.shape[1] - 1):
            count = 0
            for j in range(block * BLOCK, min((block + 1) * BLOCK, pixels)):
                count += images[i, j] != 0
            starts[i, block + 1] = count


@kernel(
    "images:uint8(n,pixels), starts:int64(n,bounds), scale(levels)"
    " -> columns:int32(entries), values(entries)",
    units=by_rows,
)
def sparse_fill(images, starts, scale, columns, values, start, stop):
    """The entries of each image; scale[pixel] is what becomes of a pixel."""
    for i in range(start, stop):
        p, end = _entries(starts, i, 0, starts.shape[1] - 1, columns)
        for j in range(images.shape[1]):
            if p == end:
                break
            pixel = images[i, j]
            columns[p] = j
            values[p] = scale[pixel]
            p += pixel != 0


def sparse_rows(images, dtype):
    """The rows of `images / 255` without their zeros: what `gather` makes of them, compressed.

    Parameters
    ----------
    images : (n, pixels) uint8
    dtype : float32 or float64

    Returns
    -------
    starts : (n, blocks + 1) int64, where the entries of each block of BLOCK columns begin
    columns : (entries,) int32
    values : (entries,) of `dtype`
    """
    n, pixels = len(images), np.shape(images)[-1]
    starts = np.empty((n, max(1, -(-pixels // BLOCK)) + 1), np.int64)
    sparse_count(images, starts)
    np.cumsum(starts, out=starts.reshape(-1))
    entries = starts[-1, -1] if n else 0
    columns, values = np.empty(entries, np.int32), np.empty(entries, dtype)
    scale = np.arange(256, dtype=dtype) / values.dtype.type(255)
    sparse_fill(images, starts, scale, columns, values)
    return starts, columns, values
