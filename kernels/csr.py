"""Products with compressed sparse rows: only the stored numbers of each row, and their columns.

    y  = x @ w + b      forwards
    dw = x.T @ dy       backwards, to the weights

Row i of a matrix (n, K) is stored at the places starts[i] .. ends[i]-1: there `data` holds its
numbers and `indices` their columns, in rising order. This is the form of SciPy's `csr_array`,
where starts and ends are `indptr[:-1]` and `indptr[1:]`. A batch x is an `index` of such rows.

A number that is not stored is a zero. It adds nothing to a chain of fused multiply-adds. So the
stored numbers, in the order of k, give the same bits as `linear_fprop` and `matmul_tn` on the dense
batch, for finite weights and gradients. (Only the sign of a result that is exactly zero may differ,
after an underflow.)

Forwards, some vectors of a row of y stay in registers while all numbers of the row of x are read.
Backwards, a unit of work is a block of rows of dw, which stays in the second-level cache. One after
another, the rows of the batch add to it the numbers that they store for it. For each row, the
kernel keeps its place from block to block; a bisection finds the place for the first block.

Nothing checks the columns before a call, since the matrix is far larger than a batch. A column that
is out of range counts as the nearest one in range.
"""

from jitprop.kernels.compiler.inline import inline, within
from jitprop.kernels.compiler.simd import (
    LANES,
    broadcast,
    fma,
    load,
    prefetch,
    scratch_array,
    store,
)
from jitprop.kernels.runtime.kernel import GRAIN, kernel
from jitprop.kernels.runtime.threads import SCRATCH
from jitprop.kernels.update import sgd_step

BLOCK = 2**16  # elements of dw in a unit, at most
MOST_ROWS = 2**12  # rows of dw in a unit, at most
FILLED = 8 * BLOCK  # in the scratch memory, behind the sums: whether a row holds anything
PLACES = FILLED + 8 * MOST_ROWS  # behind that: the place of each row of the batch
MARKED = 2**15  # rows whose place is kept; the others are searched for each block
assert PLACES + 8 * MARKED <= SCRATCH
PIECES = 16  # pieces of dw: each searches each row of the batch once
AHEAD = 8  # a row of w is asked for so many stored numbers ahead: its rows lie anywhere
PIECE = 2**13  # multiply-adds that are worth another thread's claim


@inline
def _work(data, starts, index):
    """Guess how many numbers a batch stores: as many in each row as in the mean of all rows."""
    return len(index) * len(data) // max(1, len(starts))


@inline
def _places(starts, ends, row, stored):
    """Where a row begins, and ends, within 0 .. stored: see `within`."""
    first = within(starts[row], stored + 1)
    return first, min(max(ends[row], first), stored)


@inline
def _first_from(indices, first, last, column):
    """The first of the places first .. last-1 whose column is `column` or more, or `last`."""
    while first < last:
        middle = (first + last) // 2
        if indices[middle] < column:
            first = middle + 1
        else:
            last = middle
    return first


@inline
def _narrow(data, indices, first, last, w, b, out, at):
    """A row of out that fits in one vector."""
    n = w.shape[1]
    total = broadcast(0, w)
    for p in range(first, last):
        prefetch(w, indices[min(p + AHEAD, last - 1)] * n)
        k = within(indices[p], len(w)) * n
        total = fma(load(w, k, n), data[p], total)
    store(out, at, total + load(b, 0, n), n)


@inline
def _wide(data, indices, first, last, w, b, out, at):
    """A longer row of out; its last vector may overlap the one before."""
    n = w.shape[1]
    end = n - LANES
    for j in range(0, n, 4 * LANES):
        j1, j2, j3 = min(j + LANES, end), min(j + 2 * LANES, end), min(j + 3 * LANES, end)
        j0 = min(j, end)
        y0, y1, y2, y3 = broadcast(0, w), broadcast(0, w), broadcast(0, w), broadcast(0, w)
        for p in range(first, last):
            soon = indices[min(p + AHEAD, last - 1)] * n
            prefetch(w, soon + j0)
            prefetch(w, soon + j1)
            prefetch(w, soon + j2)
            prefetch(w, soon + j3)
            k, value = within(indices[p], len(w)) * n, data[p]
            y0 = fma(load(w, k + j0), value, y0)
            y1 = fma(load(w, k + j1), value, y1)
            y2 = fma(load(w, k + j2), value, y2)
            y3 = fma(load(w, k + j3), value, y3)
        store(out, at + j0, y0 + load(b, j0))
        store(out, at + j1, y1 + load(b, j1))
        store(out, at + j2, y2 + load(b, j2))
        store(out, at + j3, y3 + load(b, j3))


@inline
def _units_fprop(data, indices, starts, ends, index, w, b, out):
    """(units, units per piece): units are rows."""
    work = _work(data, starts, index) * w.shape[1] // max(1, len(index))
    return len(index), max(1, PIECE // max(1, work))


@kernel(
    "data(stored), indices:int64(stored), starts:int64(n), ends:int64(n), index(batch)<n, w(K,N),"
    " b(N) -> out(batch,N)",
    units=_units_fprop,
)
def csr_linear_fprop(data, indices, starts, ends, index, w, b, out, start, stop):
    """`out = x @ w + b`: linear_fprop, same bits.

    Parameters
    ----------
    data : (stored,) float32 or float64
    indices : (stored,) int64, in 0 .. K-1, rising in each row
    starts, ends : (n,) int64, where each row begins and ends, in 0 .. stored
    index : (batch,) int64, in 0 .. n-1; x is these rows, (batch, K)
    w : (K, N) of the dtype of data, finite
    b : (N,)
    out : (batch, N), overwritten
    """
    stored, n = len(data) if len(w) else 0, w.shape[1]
    for i in range(start, stop):
        first, last = _places(starts, ends, within(index[i], len(starts)), stored)
        if n <= LANES:
            _narrow(data, indices, first, last, w, b, out, i * n)
        else:
            _wide(data, indices, first, last, w, b, out, i * n)


@inline
def _rows(out):
    """Rows of a block of dw."""
    return max(1, min(BLOCK // max(1, out.shape[1]), MOST_ROWS))


@inline
def _blocks(out):
    """(blocks, one above the other; groups of columns: several if a row is longer than BLOCK)."""
    return -(-len(out) // _rows(out)), -(-out.shape[1] // BLOCK)


@inline
def _block(out, unit):
    """(first row of a block, the one behind its last, first column, columns)."""
    blocks, height = _blocks(out)[0], _rows(out)
    j0 = unit // blocks * BLOCK
    top = unit % blocks * height
    return top, min(top + height, len(out)), j0, min(out.shape[1] - j0, BLOCK)


@inline
def _add(dy, at, value, dw, row, count):
    """Add to a vector of dw, or to the first `count` lanes of one."""
    store(dw, row, fma(load(dy, at, count), value, load(dw, row, count)), count)


@inline
def _marks(index, scratch):
    """(whether anything was added to each row of the block, the place of each row of the batch)."""
    filled = scratch_array(scratch + FILLED, MOST_ROWS, index)
    return filled, scratch_array(scratch + PLACES, MARKED, index)


@inline
def _sums(data, indices, starts, ends, index, dy, out, unit, again, filled, places, dw, at):
    """Write a unit of `out`, a block of x.T @ dy, to dw from element `at` on.

    `again` says that the unit before has just been done: then rows of the batch go on from their
    places.
    """
    top, bottom, j0, columns = _block(out, unit)
    whole, size = columns // LANES * LANES, (bottom - top) * columns
    for j in range(0, size, LANES):
        store(dw, at + j, broadcast(0, out), size - j)
    for i in range(len(index)):
        p, last = _places(starts, ends, within(index[i], len(starts)), len(data))
        known = again and top > 0 and i < MARKED
        p = places[i] if known else _first_from(indices, p, last, top)
        while p < last:
            r, value = max(indices[p], top) - top, data[p]
            if r >= bottom - top:
                break
            filled[r] = 1
            here, there = i * dy.shape[1] + j0, at + r * columns
            for j in range(0, whole, LANES):
                _add(dy, here + j, value, dw, there + j, LANES)
            if whole < columns:
                _add(dy, here + whole, value, dw, there + whole, columns - whole)
            p += 1
        if i < MARKED:
            places[i] = p


@inline
def _units_tn(data, indices, starts, ends, index, dy, out):
    """(units, units per piece): a unit is a block of rows of out.

    A piece has several units, since a bisection takes as long as some stored numbers.
    """
    blocks, groups = _blocks(out)
    units = blocks * groups
    work = (out.size + _work(data, starts, index) * out.shape[1]) // max(1, units)
    return units, max(1, PIECE // max(1, work), blocks // PIECES)


@kernel(
    "data(stored), indices:int64(stored), starts:int64(n), ends:int64(n), index(batch)<n,"
    " dy(batch,N) -> out(K,N)",
    units=_units_tn,
)
def csr_tn(data, indices, starts, ends, index, dy, out, start, stop, scratch):
    """`out = x.T @ dy`: matmul_tn, same bits.

    Parameters
    ----------
    data, indices, starts, ends, index : as for `csr_linear_fprop`
    dy : (batch, N) of the dtype of data, finite
    out : (K, N), overwritten
    """
    filled, places = _marks(index, scratch)
    for unit in range(start, stop):
        top, _, j, _ = _block(out, unit)
        at, again = top * out.shape[1] + j, unit > start
        _sums(
            data, indices, starts, ends, index, dy, out, unit, again, filled, places, out, at
        )  # fmt: skip


@inline
def _units_sgd(data, indices, starts, ends, index, dy, w, rate):
    return _units_tn(data, indices, starts, ends, index, dy, w)


@kernel(
    "data(stored), indices:int64(stored), starts:int64(n), ends:int64(n), index(batch)<n,"
    " dy(batch,N), w!(K,N), rate",
    units=_units_sgd,
)
def csr_tn_sgd(data, indices, starts, ends, index, dy, w, rate, start, stop, scratch):
    """`w -= rate * (x.T @ dy)`: csr_tn, then sgd_update, same bits.

    A row of w is not touched if no row of the batch stores anything in its column of x. The
    gradient itself is never stored.

    Parameters
    ----------
    data, indices, starts, ends, index, dy : as for `csr_tn`
    w : (K, N), updated
    rate : number, finite
    """
    (filled, places), dw = _marks(index, scratch), scratch_array(scratch, BLOCK, w)
    for r in range(MOST_ROWS):
        filled[r] = 0
    for unit in range(start, stop):
        again = unit > start
        _sums(data, indices, starts, ends, index, dy, w, unit, again, filled, places, dw, 0)
        top, bottom, j0, columns = _block(w, unit)
        for r in range(bottom - top):
            if filled[r] == 1:
                here, there = r * columns, (top + r) * w.shape[1] + j0
                for j in range(0, columns, LANES):
                    g = load(dw, here + j, columns - j)
                    sgd_step(w, there + j, columns - j, g, rate)
                filled[r] = 0


@inline
def _units_gather(data, indices, starts, ends, index, out):
    return len(out), max(1, GRAIN // max(1, out.shape[1]))


@kernel(
    "data(stored), indices:int64(stored), starts:int64(n), ends:int64(n), index(batch)<n"
    " -> out(batch,K)",
    units=_units_gather,
)
def csr_gather(data, indices, starts, ends, index, out, start, stop):
    """`out = x`: the rows with all their zeros.

    Parameters
    ----------
    data, indices, starts, ends, index : as for `csr_linear_fprop`
    out : (batch, K) of the dtype of data, overwritten
    """
    features, nothing = out.shape[1], broadcast(0, out)
    stored = len(data) if features else 0
    for i in range(start, stop):
        at = i * features
        for j in range(0, features, LANES):
            store(out, at + j, nothing, features - j)
        first, last = _places(starts, ends, within(index[i], len(starts)), stored)
        for p in range(first, last):
            out[i, within(indices[p], features)] = data[p]
