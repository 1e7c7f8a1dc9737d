"""Products with compressed sparse rows: of each row only its stored numbers and their columns.

    y  = x @ w + b      forwards
    dw = x.T @ dy       backwards, to the weights

Row i of a matrix (n, K) is stored at the places starts[i] .. ends[i]-1: there `data` holds its
numbers and `indices` their columns, which rise. This is the form of SciPy's `csr_array`, where
starts and ends are `indptr[:-1]` and `indptr[1:]`. A batch x is an `index` of such rows.

What is not stored is a zero, and adds nothing to a chain of fused multiply-adds. The others in the
order of k give the bits of `linear_fprop` and `matmul_tn` on the dense batch, for finite weights
and gradients. (The sign of a result that is exactly zero is the one thing that may differ, after
an underflow.)

Forwards, some vectors of a row of y are in registers while all numbers of the row of x come by.
Backwards, a unit of work is a block of rows of dw that stays in the second-level cache. There each
row of the batch, one after another, adds what it stores for that block. Where it stands is kept
from block to block; a bisection finds it for the first.

No column is looked at before a call: the matrix is far larger than a batch. One that is outside
counts as the nearest that is not.
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

BLOCK = 2**16  # elements of dw in a unit, in
MOST_ROWS = 2**12  # rows at most
FILLED = 8 * BLOCK  # in the scratch memory, behind the sums: whether a row holds anything
PLACES = FILLED + 8 * MOST_ROWS  # and where each row of the batch stands,
MARKED = 2**15  # if it is one of the first; the others are searched for each block
assert PLACES + 8 * MARKED <= SCRATCH
PIECES = 16  # of dw: in each, each row of the batch is searched once
AHEAD = 8  # stored numbers ahead of which a row of w is asked for: they lie anywhere
PIECE = 2**13  # multiply-adds that are worth another thread's claim


@inline
def _work(data, starts, index):
    """Stored numbers of a batch, as a guess: as many as in the mean of all rows."""
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
    """A row of out of at most one vector."""
    n = w.shape[1]
    total = broadcast(0, w)
    for p in range(first, last):
        prefetch(w, indices[min(p + AHEAD, last - 1)] * n)
        k = within(indices[p], len(w)) * n
        total = fma(load(w, k, n), data[p], total)
    store(out, at, total + load(b, 0, n), n)


@inline
def _wide(data, indices, first, last, w, b, out, at):
    """A row of out of more columns, in vectors of which the last may overlap the one before."""
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
    """(blocks, one above the other; groups of columns: several only where a row is longer)."""
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
    """Add to at most a vector of dw."""
    store(dw, row, fma(load(dy, at, count), value, load(dw, row, count)), count)


@inline
def _marks(index, scratch):
    """(whether anything was added to a row of the block, where each row of the batch stands)."""
    filled = scratch_array(scratch + FILLED, MOST_ROWS, index)
    return filled, scratch_array(scratch + PLACES, MARKED, index)


@inline
def _sums(data, indices, starts, ends, index, dy, out, unit, again, filled, places, dw, at):
    """Write the block of x.T @ dy that is a unit of `out` to dw, from element `at` on.

    `again` says that this follows the unit before: then rows of the batch go on where they stand.
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

    A piece is several, since a bisection takes as long as some stored numbers.
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
    data, indices, starts, ends, index : as of `csr_linear_fprop`
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

    Rows of w are not touched where no row of the batch stores anything in that column of x. The
    gradient is nowhere stored.

    Parameters
    ----------
    data, indices, starts, ends, index, dy : as of `csr_tn`
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
    data, indices, starts, ends, index : as of `csr_linear_fprop`
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
