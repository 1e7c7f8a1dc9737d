"""The first layer's products where most of the input is zero: 81 of 100 pixels of MNIST.

    y  = x @ w + b      forwards
    dw = x.T @ dy       backwards, to the weights

A zero adds nothing to a chain of fused multiply-adds. Left out, the other entries of a row in the
order of k give the bits of `linear_fprop` and `matmul_tn`, for finite weights and gradients. (The
sign of a result that is exactly zero is the one thing that may differ, after an underflow.)

The images stay in memory as compressed rows: entry p of `columns` and `values` is one pixel that
is not zero, entries starts[i, 0] .. starts[i, -1]-1 are those of image i in the order of their
columns, and those of its columns block*BLOCK .. (block+1)*BLOCK-1 begin with starts[i, block]. A
batch is an `index` of rows. Backwards its entries are wanted by columns: a counting sort puts them
so, one block at a time, which is what threads share and what the first-level cache holds.
"""

import numpy as np

from kernels.jit import inline, kernel
from kernels.jit import rows as by_rows
from kernels.simd import LANES, for_dtype, load, prefetch, stack_array, store
from kernels.sparse_row import VECTORS, WIDTH32, WIDTH64, sparse_row
from kernels.update import momentum_step, sgd_step

BLOCK = 128
MOST = VECTORS * WIDTH32  # elements of a row in registers, at most
PIECE = 2**15  # multiply-adds that are worth another thread's claim: 1 us


@inline
def _ceil(x, y):
    return -(-x // y)


@inline
def _vectors(out):
    return _ceil(out.shape[1], for_dtype(out, WIDTH32, WIDTH64))


@inline
def _edge(out, panel, panels):
    """First column of a panel: `out` is cut at whole vectors."""
    return min(_vectors(out) * panel // panels * for_dtype(out, WIDTH32, WIDTH64), out.shape[1])


@inline
def _panels(out):
    """How many panels of columns `out` is cut into, each as wide as registers hold sums."""
    return _ceil(_vectors(out), VECTORS)


@inline
def _place(out, unit):
    """(row, first column, last column + 1) of a unit: one row of one panel."""
    panels, rows = _panels(out), len(out)
    panel = unit // rows
    return unit - panel * rows, _edge(out, panel, panels), _edge(out, panel + 1, panels)


@inline
def _sum(column_starts, rows, column_values, dy, k, j0, j1, out, at):
    """Columns j0 .. j1-1 of row k of x.T @ dy, to out.flat[at:]."""
    first, last = max(0, column_starts[k]), len(dy) - 1
    count = min(column_starts[k + 1], len(rows)) - first if len(dy) else 0
    n = dy.shape[1]
    sparse_row(rows, column_values, first, count, dy, j0, n, last, out, at, j1 - j0)


@inline
def _pieces(out, entries):
    """(units, units per piece) where each row of a panel is a unit, for so many entries in all."""
    units = _panels(out) * len(out)
    work = (entries + len(out)) * out.shape[1]
    return units, max(1, PIECE * units // max(1, work))


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
    return _pieces(out, len(columns) * len(out) // max(1, len(starts)))


@kernel(
    "starts:int64(n,blocks+1), columns:int32(entries), values(entries), index(batch)<n, w(K,N),"
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
        i, j0, j1 = _place(out, unit)
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
def _within(column, k0, k1):
    """The column, in k0 .. k1-1 whatever it is; unsigned, so that numba does not ask its sign."""
    return np.uint64(min(max(column, k0), k1 - 1))


@inline
def _blocks(starts, columns, values, index, column_starts, rows, column_values):
    return max(1, _ceil(len(column_starts) - 1, BLOCK)), 1


@kernel(
    "starts:int64(n,blocks+1), columns:int32(entries), values(entries), index(batch)<n"
    " -> column_starts:int64(K+1), rows:int32(capacity), column_values(capacity)",
    units=_blocks,
)
def sparse_transpose(
    starts, columns, values, index, column_starts, rows, column_values, start, stop
):
    """The entries of a batch by columns: those of column k are column_starts[k] ..
    column_starts[k+1]-1, in the order of their rows.

    Parameters
    ----------
    starts, columns, values : the rows, as `sparse_rows` makes them, with columns in 0 .. K-1
    index : (batch,) int64, in 0 .. n-1
    column_starts : (K + 1,) int64, overwritten
    rows : (capacity,) int32, overwritten: the place in the batch of an entry's row. The capacity
        is at least the number of entries; batch * longest_row(starts) is enough for any index
    column_values : (capacity,) of the dtype of values, overwritten
    """
    features = len(column_starts) - 1
    if features <= 0:
        column_starts[:] = 0
        return
    capacity = np.uint64(len(rows))
    for block in range(start, stop):
        k0, k1 = block * BLOCK, min((block + 1) * BLOCK, features)
        for k in range(k0, k1):
            column_starts[k] = 0
        before = 0
        for i in index:
            first, end = _entries(starts, i, 0, block, columns)
            before += end - first
            first, end = _entries(starts, i, block, block + 1, columns)
            for p in range(np.uint64(first), np.uint64(end)):
                column_starts[_within(columns[p], k0, k1)] += 1
        total = before
        for k in range(k0, k1):
            count = column_starts[k]
            column_starts[k] = total
            total += count
        if k1 == features:
            column_starts[k1] = total
        for r in range(len(index)):
            first, end = _entries(starts, index[r], block, block + 1, columns)
            for p in range(np.uint64(first), np.uint64(end)):
                k = _within(columns[p], k0, k1)
                at = column_starts[k]
                column_starts[k] = at + 1
                if np.uint64(at) < capacity:
                    rows[np.uint64(at)] = r
                    column_values[np.uint64(at)] = values[p]
        for k in range(k1 - 1, k0, -1):  # each has moved on to where the next column starts
            column_starts[k] = column_starts[k - 1]
        column_starts[k0] = before


@inline
def _units_tn(column_starts, rows, column_values, dy, out):
    return _pieces(out, column_starts[-1])


@kernel(
    "column_starts:int64(K+1), rows:int32(capacity), column_values(capacity), dy(batch,N)"
    " -> out(K,N)",
    units=_units_tn,
)
def sparse_tn(column_starts, rows, column_values, dy, out, start, stop):
    """`out = x.T @ dy` for the entries of x by columns: matmul_tn, same bits.

    Parameters
    ----------
    column_starts, rows, column_values : the columns, as `sparse_transpose` leaves them
    dy : (batch, N) of the dtype of column_values
    out : (K, N), overwritten
    """
    for unit in range(start, stop):
        k, j0, j1 = _place(out, unit)
        at = k * out.shape[1] + j0
        _sum(column_starts, rows, column_values, dy, k, j0, j1, out, at)


@inline
def _units_update(column_starts, rows, column_values, dy, w, rate):
    """As `_pieces`, but columns without entries cost nothing, and a piece of a single image's is
    not worth fetching weights from another thread's cache."""
    units = _panels(w) * len(w)
    return units, max(1, 4 * PIECE * units // max(1, len(rows) * w.shape[1]))


@kernel(
    "column_starts:int64(K+1), rows:int32(capacity), column_values(capacity), dy(batch,N),"
    " w!(K,N), rate",
    units=_units_update,
)
def sparse_tn_sgd(column_starts, rows, column_values, dy, w, rate, start, stop):
    """`w -= rate * (x.T @ dy)`: sparse_tn, then sgd_update, same bits.

    A row of w whose column of x has no entries stays as it is. The gradient is nowhere stored.

    Parameters
    ----------
    column_starts, rows, column_values : the columns, as `sparse_transpose` leaves them
    dy : (batch, N) of the dtype of column_values
    w : (K, N), updated
    rate : number
    """
    dw = stack_array(MOST, w)
    for unit in range(start, stop):
        k, j0, j1 = _place(w, unit)
        if column_starts[k] == column_starts[k + 1]:
            continue
        _sum(column_starts, rows, column_values, dy, k, j0, j1, dw, 0)
        for j in range(0, j1 - j0, LANES):
            rest = j1 - j0 - j
            sgd_step(w, k * w.shape[1] + j0 + j, rest, load(dw, j, rest), rate)


@inline
def _units_momentum(column_starts, rows, column_values, dy, w, velocity, *numbers):
    return _pieces(w, column_starts[-1] + len(w))


@kernel(
    "column_starts:int64(K+1), rows:int32(capacity), column_values(capacity), dy(batch,N),"
    " w!(K,N), velocity!(K,N), rate, momentum, weight_decay",
    units=_units_momentum,
)
def sparse_tn_momentum(
    column_starts, rows, column_values, dy, w, velocity, rate, momentum, weight_decay, start, stop
):
    """sparse_tn, then momentum_update, same bits. The gradient is nowhere stored.

    Parameters
    ----------
    column_starts, rows, column_values : the columns, as `sparse_transpose` leaves them
    dy : (batch, N) of the dtype of column_values
    w, velocity : (K, N), updated
    rate, momentum, weight_decay : numbers
    """
    dw = stack_array(MOST, w)
    for unit in range(start, stop):
        k, j0, j1 = _place(w, unit)
        _sum(column_starts, rows, column_values, dy, k, j0, j1, dw, 0)
        for j in range(0, j1 - j0, LANES):
            at, rest = k * w.shape[1] + j0 + j, j1 - j0 - j
            g = load(dw, j, rest)
            momentum_step(w, at, rest, g, velocity, rate, momentum, weight_decay)


@kernel("images:uint8(n,pixels) -> starts:int64(n,blocks+1)", units=by_rows)
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
    "images:uint8(n,pixels), starts:int64(n,blocks+1), scale(levels)"
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


def sparse_capacity(starts, batch):
    """How many entries a batch of rows can have, whatever rows it names and however often."""
    return batch * int((starts[:, -1] - starts[:, 0]).max(initial=0))
