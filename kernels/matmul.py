"""Matrix products, plain and with one operand transposed.

    nn   out[i, j] = sum over k of a[i, k] * b[k, j]     y  = x @ w      forwards
    nt   out[i, j] = sum over k of a[i, k] * b[j, k]     dx = dy @ w.T   backwards, to the input
    tn   out[i, j] = sum over k of a[k, i] * b[k, j]     dw = x.T @ dy   backwards, to the weights

Source: the linear module with batching, slides 8, 10 and 11 of the exercise. Every output element
is one chain of fused multiply-adds, k = 0, 1, 2, ..., whatever the blocking: see
`jitprop.kernels.tile`.

The output is cut into groups of columns and these into strips of MR rows. A unit of work is one
strip of one group. Its tiles share MR rows of a, which stay in the first-level cache; the strips
of a group share its columns of b, which stay in the second-level cache. If b is transposed or its
rows lie far apart, these columns are first copied to a scratch array in the order of their use.
Deep products then go at most KC steps of k at a time and continue each chain from the stored value.

A tile whose operands are in the caches runs at the peak. So each step asks ahead for two cache
lines: one of the next strip of a, or of the next data to copy or multiply with, and one of the next
tile of out.
"""

import numpy as np

from jitprop.kernels.compiler.inline import inline
from jitprop.kernels.compiler.simd import (
    LANES,
    flat,
    for_dtype,
    load,
    prefetch,
    scratch_array,
    store,
)
from jitprop.kernels.functions import tanh, tanh_slope
from jitprop.kernels.runtime.kernel import Shared, kernel
from jitprop.kernels.runtime.threads import SCRATCH
from jitprop.kernels.tile import MR, NR32, NR64, VECTORS, block, tile, transpose

KC = 512  # steps of k in one pass over packed operands
PANELS = 4  # tiles side by side in a group: KC x 192 floats of b are 3/8 of a second-level cache
WIDE = 8  # the same from TALL rows on: all of a is read once for each group
TALL = 512
PACKED_B32, PACKED_B64 = KC * WIDE * NR32, KC * WIDE * NR64
assert max(4 * PACKED_B32, 8 * PACKED_B64) <= SCRATCH
FAR = 512  # packing pays if rows lie at least so many elements apart
PACK_STRIPS = 12  # and, for b, if at least so many strips use what is packed
AHEAD = 24  # rows that packing asks for before it reads them
UNITS = 32  # smaller products are cut into narrower groups until there are so many units
SHALLOW = 64  # with at most so many steps of k, to pack a transposed operand costs little
PIECE = 2**17  # multiply-adds that are worth another thread's claim: 1 us

# What follows the last step.
PLAIN, BIAS, BIAS_TANH, TANH_BPROP = np.int64(0), np.int64(1), np.int64(2), np.int64(3)


@inline
def _ceil(x, y):
    return -(-x // y)


@inline
def _tile_columns(out):
    return NR32 if out.itemsize == 4 else NR64


@inline
def _groups(m, n, depth, columns, transposed):
    """(strips, groups) that the output of `m` by `n` is cut into, for tiles of `columns`.

    `transposed` says whether the right operand has to be transposed, once for each group.
    """
    strips, panels = _ceil(m, MR), _ceil(n, columns)
    rows = depth <= SHALLOW or (strips >= UNITS and not transposed)
    if rows and panels <= PANELS + 1:
        return strips, 1  # whole rows: no two threads write to one cache line
    most = WIDE if m >= TALL else PANELS
    wanted = max(_ceil(panels, most), min(panels, _ceil(UNITS, max(1, strips))))
    even = 4 if panels >= 16 else 2  # so that two or four threads get equal shares
    return strips, max(1, min(panels, _ceil(wanted, even) * even))


@inline
def _edge(v0, v1, share, more, panel, panels):
    """First vector of a panel.

    Each panel has `share` vectors. One more goes to the last panel, whose last vector may be half
    empty. The rest go one by one to the first `more` panels, which wait for loads of `a`.
    """
    return v1 if panel == panels else v0 + share * panel + min(panel, more)


@inline
def _pack_b(b, b_k, b_j, k, steps, j, columns, width, packed, at):
    """Copy steps k .. k+steps-1 of columns j .. j+columns-1 of b into rows of `width` elements."""
    if b_j == 1:
        whole = columns // LANES * LANES
        for p in range(steps):
            source, target = (k + p) * b_k + j, at + p * width
            for c in range(0, whole, LANES):
                prefetch(b, source + c + AHEAD * b_k)
                store(packed, target + c, load(b, source + c))
            if whole < columns:
                lanes = load(b, source + whole, columns - whole)
                store(packed, target + whole, lanes, columns - whole)
        return
    size = block(b.itemsize)
    for c in range(0, columns, size):
        for p in range(0, steps, size):
            source, target = (j + c) * b_j + k + p, at + p * width + c
            # A block may hold more than the steps and columns: nobody reads those rows and lanes.
            if c + size <= width and source + (size - 1) * (b_j + 1) < len(b):
                for row in range(size, 2 * size):  # of a later block
                    prefetch(b, source + row * b_j)
                transpose(b, source, b_j, packed, target, width)
                continue
            for c_rest in range(min(size, columns - c)):
                for p_rest in range(min(size, steps - p)):
                    packed[target + p_rest * width + c_rest] = b[source + c_rest * b_j + p_rest]


@inline
def finish_rows(out, other, finish, i, rows, j0, j1):
    """In rows i .. i+rows-1, columns j0 .. j1-1, add the bias `other`, and take the tanh.

    Or multiply by the slope of a tanh: then `other` is its result, of the shape of `out`.
    """
    n = out.shape[1]
    for r in range(i, i + rows):
        at = r * n
        for j in range(j0, j1, LANES):
            y = load(out, at + j, j1 - j)
            if finish == TANH_BPROP:
                y = tanh_slope(load(other, at + j, j1 - j), y)
            else:
                y = y + load(other, j, j1 - j)
                y = tanh(y) if finish == BIAS_TANH else y
            store(out, at + j, y, j1 - j)


def _product(a, a_row, a_k, b, b_k, b_j, out, depth, other, finish, start, stop, scratch):
    """Units start .. stop-1 of out.

    Element (i, k) of the left operand is a[i*a_row + k*a_k], element (k, j) of the right one
    b[k*b_k + j*b_j].
    """
    m, n = out.shape
    width = _tile_columns(out) // VECTORS
    strips, groups = _groups(m, n, depth, width * VECTORS, b_j != 1)
    vectors = _ceil(n, width)
    packed_b = scratch_array(scratch, for_dtype(out, PACKED_B32, PACKED_B64), out)
    unit = start
    while unit < stop:
        group = unit // strips
        first, last = unit - group * strips, min(stop - group * strips, strips)
        unit += last - first
        v0, v1 = vectors * group // groups, vectors * (group + 1) // groups
        j0, j1 = v0 * width, min(v1 * width, n)
        panels = _ceil(v1 - v0, VECTORS)
        share = (v1 - v0) // max(1, panels)
        more = max(0, v1 - v0 - share * panels - 1)
        pack_b = b_j != 1 or (b_k >= FAR and last - first >= PACK_STRIPS)
        passes = _ceil(max(1, depth), KC) if pack_b else 1
        pass_steps = _ceil(max(1, depth), passes)
        out_step = _ceil(MR * width * VECTORS, pass_steps)
        for k in range(0, max(1, depth), pass_steps):
            steps = min(pass_steps, depth - k)
            next_k, next_j = k + steps, j0  # where the next pass begins, or the next group
            if next_k == depth:
                next_k, next_j = 0, v1 * width
            if pack_b:
                for panel in range(panels):
                    j = _edge(v0, v1, share, more, panel, panels) * width
                    end = _edge(v0, v1, share, more, panel + 1, panels) * width
                    columns = min(end, n) - j
                    _pack_b(b, b_k, b_j, k, steps, j, columns, end - j, packed_b, (j - j0) * KC)
            for strip in range(first, last):
                i = strip * MR
                rows = min(MR, m - i)
                for panel in range(panels):
                    j = _edge(v0, v1, share, more, panel, panels) * width
                    end = _edge(v0, v1, share, more, panel + 1, panels) * width
                    columns = min(end, n) - j
                    right, right_at, right_k = b, k * b_k + j, b_k
                    # The next strip of a, and the next tile of out.
                    soon, soon_at, soon_step = a, (i + MR) * a_row + k * a_k, MR * a_k
                    soon_row = a_k if a_row == 1 else a_row
                    next_at = i * n + j + columns
                    if panel + 1 == panels:
                        next_at = (i + MR) * n + j0
                    if pack_b:
                        right, right_at, right_k = packed_b, (j - j0) * KC, end - j
                        # As late as possible: an earlier load would push out what is packed.
                        if b_j == 1 and panel == 0 and last - strip <= v1 - v0:
                            soon, soon_row, soon_step = b, b_k, MR * b_k
                            soon_at = next_k * b_k + next_j + (last - 1 - strip) * width
                    # The last tile asks for what `finish_rows` reads; a lone tile has to ask for a.
                    if finish == TANH_BPROP and k + steps == depth and 1 < panels == panel + 1:
                        soon, soon_at, soon_row = other, i * n + j0, n
                        soon_step = _ceil(MR * (j1 - j0), pass_steps)
                    tile(
                        a, i * a_row + k * a_k, a_row, a_k, right, right_at, right_k,
                        out, i * n + j, n, steps, rows, columns, k > 0,
                        soon, soon_at, soon_row, soon_step, next_at, out_step,
                    )  # fmt: skip
                if finish != PLAIN and k + steps == depth:
                    finish_rows(out, other, finish, i, rows, j0, j1)


def _example(dtype):  # pragma: no cover - there for the compiler alone
    vector, matrix = np.empty(0, dtype), np.empty((0, 0), dtype)
    return vector, 0, 0, vector, 0, 0, matrix, 0, vector, PLAIN


product = Shared(_product, _example)


@inline
def _units_of(a, out, transposed, worth):
    """(units, units per piece).

    If b is packed, once for all strips, a piece is a whole group. It has at least `worth`
    multiply-adds.
    """
    m, n = out.shape
    columns = _tile_columns(out)
    depth = a.size // max(1, m)
    strips, groups = _groups(m, n, depth, columns, transposed)
    # Narrow tiles take the time of whole ones, and even the shortest chains cost some work.
    work = MR * (depth + MR) * max(columns, _ceil(n, groups))
    piece = max(1, worth // work)
    if n >= FAR:
        piece = _ceil(piece, max(1, strips)) * max(1, strips)
    return strips * groups, piece


@inline
def _units(a, b, out):
    return _units_of(a, out, False, PIECE)


@inline
def _units_nt(a, b, out):
    """Whole groups, since b is always packed. Pieces are large: their threads share lines of b."""
    units, piece = _units_of(a, out, True, 2 * PIECE)
    if b.shape[1] <= SHALLOW:
        return units, max(1, _ceil(units, max(1, _ceil(units, piece))))  # equal ones
    strips = max(1, _ceil(out.shape[0], MR))
    return units, _ceil(piece, strips) * strips


@inline
def _units_linear(x, w, b, out):
    return _units_of(x, out, False, PIECE)


@inline
def _row(x):
    """Elements from one row to the next. The stride would not do: a single row may have any."""
    return x.shape[1]


@inline
def _column(x):
    """Elements from one column to the next; not a literal, since _product takes an int64."""
    return np.int64(1)


@inline
def _plain(a, b, out, bias, finish):
    """The arguments of _product for `a @ b`, both as they lie in memory."""
    left, right = flat(a), flat(b)
    return left, _row(a), _column(a), right, _row(b), _column(b), out, a.shape[1], bias, finish


@kernel("a(M,K), b(K,N) -> out(M,N)", units=_units, shared=product)
def matmul_nn(a, b, out):
    """`out = a @ b`: forwards, `y = x @ w`.

    Parameters
    ----------
    a : (M, K) float32 or float64
    b : (K, N) of the dtype of a
    out : (M, N), overwritten
    """
    return _plain(a, b, out, flat(out), PLAIN)


@kernel("a(M,K), b(N,K) -> out(M,N)", units=_units_nt, shared=product)
def matmul_nt(a, b, out):
    """`out = a @ b.T`: backwards to the input, `dx = dy @ w.T`.

    Parameters
    ----------
    a : (M, K) float32 or float64
    b : (N, K) of the dtype of a
    out : (M, N), overwritten
    """
    left, right, none = flat(a), flat(b), flat(out)
    return left, _row(a), _column(a), right, _column(b), _row(b), out, a.shape[1], none, PLAIN


@inline
def _units_nt_tanh(a, b, y, out):
    return _units_nt(a, b, out)


@kernel("a(M,K), b(N,K), y(M,N) -> out(M,N)", units=_units_nt_tanh, shared=product)
def matmul_nt_tanh_bprop(a, b, y, out):
    """`out = (a @ b.T) * (1 - y * y)`: matmul_nt, then tanh_bprop, same bits.

    Parameters
    ----------
    a : (M, K) float32 or float64
    b : (N, K) of the dtype of a
    y : (M, N), what a tanh returned
    out : (M, N), overwritten
    """
    left, right, slope = flat(a), flat(b), flat(y)
    return left, _row(a), _column(a), right, _column(b), _row(b), out, a.shape[1], slope, TANH_BPROP


@kernel("a(K,M), b(K,N) -> out(M,N)", units=_units, shared=product)
def matmul_tn(a, b, out):
    """`out = a.T @ b`: backwards to the weights, `dw = x.T @ dy`, summed over the batch.

    Parameters
    ----------
    a : (K, M) float32 or float64
    b : (K, N) of the dtype of a
    out : (M, N), overwritten
    """
    left, right, none = flat(a), flat(b), flat(out)
    return left, _column(a), _row(a), right, _row(b), _column(b), out, a.shape[0], none, PLAIN


@kernel("x(M,K), w(K,N), b(N) -> out(M,N)", units=_units_linear, shared=product)
def linear_fprop(x, w, b, out):
    """`out = x @ w + b`: matmul_nn, then bias_fprop while the result is in the cache, same bits.

    Parameters
    ----------
    x : (M, K) float32 or float64
    w : (K, N) of the dtype of x
    b : (N,)
    out : (M, N), overwritten
    """
    return _plain(x, w, out, flat(b), BIAS)


@kernel("x(M,K), w(K,N), b(N) -> out(M,N)", units=_units_linear, shared=product)
def linear_tanh_fprop(x, w, b, out):
    """`out = tanh(x @ w + b)`: linear_fprop, then tanh_fprop, same bits.

    Parameters
    ----------
    x : (M, K) float32 or float64
    w : (K, N) of the dtype of x
    b : (N,)
    out : (M, N), overwritten
    """
    return _plain(x, w, out, flat(b), BIAS_TANH)
