"""Matrix products, plain and with one operand transposed.

    nn   out[i, j] = sum over k of a[i, k] * b[k, j]     y  = x @ w      forwards
    nt   out[i, j] = sum over k of a[i, k] * b[j, k]     dx = dy @ w.T   backwards, to the input
    tn   out[i, j] = sum over k of a[k, i] * b[k, j]     dw = x.T @ dy   backwards, to the weights

Source: the slides' linear module with batching. Every output element is one chain of fused
multiply-adds, k = 0, 1, 2, ..., whatever the blocking: see `kernels.tile`.

The output is cut into groups of columns and these into strips of MR rows. A unit of work is one
strip of one group. Its tiles share MR rows of a, which stay in the first-level cache; the strips
of a group share its columns of b, which stay in the second-level cache, packed into a scratch
array if they lie badly in memory: transposed, or many rows far apart. Deep products go KC steps
of k at a time and continue each chain from the stored value.
"""

from kernels.jit import inline, kernel
from kernels.simd import LANES, flat, load, prefetch, stack_array, store
from kernels.tile import MR, NR32, NR64, VECTORS, block, tile, transpose

KC = 512  # steps of k per pass over a packed group: MR x KC of a fit the first-level cache
PANELS = 4  # tiles side by side in a group: KC x 4 x 192 bytes of b fit the second-level cache
ROWS = 64
PACKED_A, PACKED_B = KC * ROWS, KC * PANELS * NR32  # elements of the scratch arrays
UNITS = 32  # smaller products are cut into narrower groups until there are so many units
PIECE = 2**18  # multiply-adds that are worth another thread's claim: 2 us
FAR = 1024  # elements from one row to the next from which on packing pays,
AHEAD = 8
PACK_STRIPS = 12  # if so many strips use what is packed


@inline
def _ceil(x, y):
    return -(-x // y)


@inline
def _tile_columns(out):
    return NR32 if out.itemsize == 4 else NR64


@inline
def _groups(m, n, nr):
    """(strips, groups) that the output of `m` by `n` is cut into."""
    strips, panels = _ceil(m, MR), _ceil(n, nr)
    wanted = max(_ceil(panels, PANELS), min(panels, _ceil(UNITS, max(1, strips))))
    even = 4 if panels >= 16 else 2  # so that two or four threads get equal shares
    return strips, max(1, min(panels, _ceil(wanted, even) * even))


@inline
def _pack(b, b_k, b_j, k, steps, j, columns, width, packed, at):
    """Copy steps k .. k+steps-1 of columns j .. j+columns-1 of b into rows of `width` elements."""
    if b_j == 1:
        for p in range(steps):
            for c in range(0, columns, LANES):
                prefetch(b, (k + p + AHEAD) * b_k + j + c)
                lanes = load(b, (k + p) * b_k + j + c, columns - c)
                store(packed, at + p * width + c, lanes, columns - c)
        return
    size = block(b.itemsize)
    whole_steps, whole_columns = steps // size * size, columns // size * size
    for c in range(0, whole_columns, size):
        for p in range(0, whole_steps, size):
            transpose(b, (j + c) * b_j + k + p, b_j, packed, at + p * width + c, width)
    for c in range(columns):
        for p in range(whole_steps if c < whole_columns else 0, steps):
            packed[at + p * width + c] = b[(j + c) * b_j + (k + p) * b_k]


@inline
def _pack_rows(a, a_k, k, steps, i, rows, packed):
    """Copy steps k .. k+steps-1 of rows i .. i+rows-1 of a, which lie side by side, into blocks
    of LANES rows."""
    for p in range(steps):
        for r in range(0, rows, LANES):
            prefetch(a, (k + p + AHEAD) * a_k + i + r)
            store(packed, (r * KC) + p * LANES, load(a, (k + p) * a_k + i + r, rows - r))


@inline
def _prefetch_next(a, a_row, i, k, steps, out, panel, panels, j):
    """Ask for what comes after this tile: the next tile of out, and a share of the next strip of
    a. (Each chain starts from what out holds, so a tile waits for its part of out.)"""
    n = out.shape[1]
    if a_row != 1:
        for r in range(MR * panel // panels, MR * (panel + 1) // panels):
            for p in range(0, steps, LANES):
                prefetch(a, (i + MR + r) * a_row + k + p)
    if k > 0:
        row, column = (i, j) if panel + 1 < panels else (i + MR, j - panels * 48)
        for r in range(MR):
            for c in range(0, 48, LANES):
                prefetch(out, (row + r) * n + column + c)


@inline
def _edge(v0, v1, panel, panels, width, n):
    """First column of a panel: a group's vectors v0 .. v1-1 are dealt out evenly."""
    return min((v0 + (v1 - v0) * panel // panels) * width, n)


@inline
def _product(a, a_row, a_k, b, b_k, b_j, out, depth, start, stop):
    """Units start .. stop-1 of out; element (i, k) of the left operand is a[i*a_row + k*a_k],
    element (k, j) of the right one b[k*b_k + j*b_j]."""
    m, n = out.shape
    width = _tile_columns(out) // VECTORS
    strips, groups = _groups(m, n, width * VECTORS)
    vectors = _ceil(n, width)
    packed_a, packed_b = stack_array(PACKED_A, out), stack_array(PACKED_B, out)
    unit = start
    while unit < stop:
        group = unit // strips
        first, last = unit - group * strips, min(stop - group * strips, strips)
        unit += last - first
        v0, v1 = vectors * group // groups, vectors * (group + 1) // groups
        panels = _ceil(v1 - v0, VECTORS)
        pack_a = a_row == 1 and a_k >= FAR and panels > 1
        pack_b = b_j != 1 or (b_k >= FAR and last - first >= PACK_STRIPS)
        pass_steps = KC if pack_a or pack_b else max(1, depth)
        for k in range(0, max(1, depth), pass_steps):
            steps = min(pass_steps, depth - k)
            if pack_b:
                for panel in range(panels):
                    j = _edge(v0, v1, panel, panels, width, n)
                    columns = _edge(v0, v1, panel + 1, panels, width, n) - j
                    space = _ceil(columns, width) * width
                    _pack(b, b_k, b_j, k, steps, j, columns, space, packed_b, (j - v0 * width) * KC)
            for i in range(first * MR, min(last * MR, m), MR):
                rows = min(MR, m - i)
                left, left_at, left_row, left_k = a, i * a_row + k * a_k, a_row, a_k
                if pack_a:
                    base = i // ROWS * ROWS
                    if i in (base, first * MR):
                        _pack_rows(a, a_k, k, steps, base, min(ROWS, m - base), packed_a)
                    left, left_row, left_k = packed_a, 1, LANES
                    left_at = (i - base) // LANES * LANES * KC + (i - base) % LANES
                for panel in range(panels):
                    j = _edge(v0, v1, panel, panels, width, n)
                    columns = _edge(v0, v1, panel + 1, panels, width, n) - j
                    right, right_at, right_k = b, k * b_k + j, b_k
                    if pack_b:
                        right, right_at = packed_b, (j - v0 * width) * KC
                        right_k = _ceil(columns, width) * width
                    if pack_b:
                        _prefetch_next(a, a_row, i, k, steps, out, panel, panels, j + columns)
                    tile(
                        left, left_at, left_row, left_k, right, right_at, right_k,
                        out, i * n + j, n, steps, rows, columns, k > 0,
                    )  # fmt: skip


@inline
def _units(a, b, out):
    """(units, units per piece)"""
    m, n = out.shape
    strips, groups = _groups(m, n, _tile_columns(out))
    depth = a.size // max(1, m)
    return strips * groups, max(1, PIECE // max(1, MR * depth * _ceil(n, groups)))


@inline
def _units_nt(a, b, out):
    """(units, units per piece): whole groups, since each is packed once."""
    units, piece = _units(a, b, out)
    strips = _ceil(out.shape[0], MR)
    return units, _ceil(piece, max(1, strips)) * strips


@inline
def _rows(x):
    """Elements from one row to the next. (A number, not the literal 1 of a constant: so that
    _product is compiled once for the three forms.)"""
    return x.strides[0] // x.itemsize


@inline
def _columns(x):
    return x.strides[1] // x.itemsize


@kernel("a(M,K), b(K,N) -> out(M,N)", units=_units)
def matmul_nn(a, b, out, start, stop):
    """`out = a @ b`.

    Parameters
    ----------
    a : (M, K) float32 or float64
    b : (K, N) of the dtype of a
    out : (M, N), overwritten
    """
    depth = a.shape[1]
    _product(
        flat(a), _rows(a), _columns(a), flat(b), _rows(b), _columns(b), out, depth, start, stop
    )


@kernel("a(M,K), b(N,K) -> out(M,N)", units=_units_nt)
def matmul_nt(a, b, out, start, stop):
    """`out = a @ b.T`.

    Parameters
    ----------
    a : (M, K) float32 or float64
    b : (N, K) of the dtype of a
    out : (M, N), overwritten
    """
    depth = a.shape[1]
    _product(
        flat(a), _rows(a), _columns(a), flat(b), _columns(b), _rows(b), out, depth, start, stop
    )


@kernel("a(K,M), b(K,N) -> out(M,N)", units=_units)
def matmul_tn(a, b, out, start, stop):
    """`out = a.T @ b`.

    Parameters
    ----------
    a : (K, M) float32 or float64
    b : (K, N) of the dtype of a
    out : (M, N), overwritten
    """
    depth = a.shape[0]
    _product(
        flat(a), _columns(a), _rows(a), flat(b), _rows(b), _columns(b), out, depth, start, stop
    )
