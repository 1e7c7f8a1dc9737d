"""The first layer's products where most of the input is zero: 81 of 100 pixels of MNIST.

    y  = x @ w + b      forwards         x = images[index] / 255
    dw = x.T @ dy       backwards, to the weights

A zero adds nothing to a chain of fused multiply-adds, so the kernels leave it out. The other steps,
in the order of k, give the same bits as `linear_fprop` and `matmul_tn`, for finite weights and
gradients. (Only the sign of a result that is exactly zero may differ, after an underflow.)

Images stay bytes in memory. A batch is an `index` of their rows, and `values` says which number
each byte stands for. A few rows are computed together. First the kernel lists the steps of k at
which at least one of them has a pixel that is not zero, then it computes these steps. Forwards the
rows are images. Backwards they are columns of x, neighbours in the image, and their bytes are
transposed first.
"""

import numpy as np

from jitprop.kernels.compiler.inline import inline, within
from jitprop.kernels.compiler.permute import append
from jitprop.kernels.compiler.simd import (
    LANES,
    broadcast,
    fma,
    for_dtype,
    load,
    prefetch,
    scratch_array,
    stack_array,
    steps,
    store,
)
from jitprop.kernels.matmul import BIAS, BIAS_TANH, finish_rows
from jitprop.kernels.runtime.kernel import kernel
from jitprop.kernels.runtime.threads import SCRATCH
from jitprop.kernels.sparse_tile import (
    BYTES,
    ROWS,
    VECTORS,
    WIDTH32,
    WIDTH64,
    sparse_tile,
    transpose_bytes,
)
from jitprop.kernels.update import momentum_step, sgd_step

LIST = 4096  # places listed at a time
IMAGES = 1088  # images transposed at a time; their rows are then no power of two apart
BLOCK = BYTES // ROWS * ROWS  # columns of x in a unit of the backward product
STAGE, TURNED = LANES * BYTES, BYTES * IMAGES
PLACES = LIST + LANES
# Panels of columns, each at most VECTORS wide, that share a list of places if there are no more.
# If there are more, half as many share one: then their part of w, or of dy, stays in a second-level
# cache of 1 MB.
PANELS = 288 // (VECTORS * WIDTH32)
DW = BLOCK * PANELS * VECTORS * WIDTH32
TURNED_AT = 8 * DW  # in the scratch memory, behind the sums
assert TURNED_AT + TURNED <= SCRATCH
PIECE = 2**15  # multiply-adds that are worth another thread's claim: 1 us
PIXELS = 4  # one pixel in so many is not zero: a guess at the work


@inline
def _ceil(x, y):
    return -(-x // y)


@inline
def _width(out):
    return for_dtype(out, WIDTH32, WIDTH64)


@inline
def _panels(out):
    return _ceil(_ceil(out.shape[1], _width(out)), VECTORS)


@inline
def _per_group(out):
    """Panels of a group."""
    return max(1, _panels(out)) if _panels(out) <= PANELS else _ceil(PANELS, 2)


@inline
def _groups(out):
    return _ceil(_panels(out), _per_group(out))


@inline
def _ends(out, group):
    """First panel of a group, and the one behind its last."""
    return group * _per_group(out), min((group + 1) * _per_group(out), _panels(out))


@inline
def _columns(out):
    """Columns of a group of panels."""
    return min(out.shape[1], _per_group(out) * VECTORS * _width(out))


@inline
def _edge(out, panel):
    """First column of a panel; some panels have one vector more than the others."""
    vectors = _ceil(out.shape[1], _width(out))
    return min(vectors * panel // max(1, _panels(out)) * _width(out), out.shape[1])


@inline
def _list(x, at, starts, count, places):
    """List the places p < count where x[at + starts[r] + p] is not 0 for any of ROWS starts.

    Return how many there are.
    """
    lanes, found, last = steps(broadcast(0, places)), 0, at
    for r in range(ROWS):
        last = max(last, at + starts[r])
    for p in range(0, count, LANES):
        rest = count - p
        whole = last + p + LANES <= len(x)
        some = broadcast(0, x)
        for r in range(ROWS):
            from_here = at + starts[r] + p
            some = some | (load(x, from_here) if whole else load(x, from_here, rest))
        found = append(places, found, lanes + p, (some != 0) & (lanes < rest))
    return found


@inline
def _list_numbers(x, at, starts, count, places):
    """`_list` for floats: NaN is not 0, -0 is."""
    lanes, found = steps(broadcast(0, places)), 0
    for p in range(0, count, LANES):
        rest = count - p
        some = lanes < 0
        for r in range(ROWS):
            from_here = at + starts[r] + p
            numbers = load(x, from_here) if rest >= LANES else load(x, from_here, rest)
            some = some | (numbers != 0)
        found = append(places, found, lanes + p, some)
    return found


@inline
def _units_fprop(images, values, index, w, b, out):
    """(units, units per piece): ROWS images of a group of panels are a unit."""
    return _units_of_rows(images, w, b, out)


@inline
def _units_of_rows(x, w, b, out):
    work = ROWS * x.shape[1] * _columns(out) // PIXELS
    return _groups(out) * _ceil(len(out), ROWS), max(1, PIECE // max(1, work))


@inline
def _fprop_numbers(x, w, b, out, finish, start, stop):
    """`_fprop` for an x of floats, one row behind the other."""
    flat, (features, n) = x.reshape(-1), w.shape
    places, starts = stack_array(PLACES, np.int32), stack_array(ROWS, np.int64)
    strips = _ceil(len(out), ROWS)
    for unit in range(start, stop):
        group, i = unit // strips, unit % strips * ROWS
        p0, p1 = _ends(out, group)
        rows = min(ROWS, len(out) - i)
        for r in range(ROWS):
            starts[r] = (i + min(r, rows - 1)) * features
        for k in range(0, max(1, features), LIST):
            count = _list_numbers(flat, k, starts, min(LIST, features - k), places)
            for panel in range(p0, p1):
                j, end = _edge(out, panel), _edge(out, panel + 1)
                sparse_tile(
                    places, count, flat, k, starts, flat, w, k * n + j, n,
                    out, i * n + j, n, rows, end - j, k > 0,
                )  # fmt: skip
        finish_rows(out, b, finish, i, rows, _edge(out, p0), _edge(out, p1))


@inline
def _fprop(images, values, index, w, b, out, finish, start, stop):
    x, (pixels, n) = images.reshape(-1), w.shape
    places, starts = stack_array(PLACES, np.int32), stack_array(ROWS, np.int64)
    strips = _ceil(len(out), ROWS)
    for unit in range(start, stop):
        group, i = unit // strips, unit % strips * ROWS
        p0, p1 = _ends(out, group)
        rows = min(ROWS, len(out) - i)
        for r in range(ROWS):
            starts[r] = within(index[i + min(r, rows - 1)], len(images)) * pixels
        for k in range(0, max(1, pixels), LIST):
            count = _list(x, k, starts, min(LIST, pixels - k), places)
            for panel in range(p0, p1):
                j, end = _edge(out, panel), _edge(out, panel + 1)
                for r in range(i + ROWS, min(i + 2 * ROWS, len(out))):  # they lie anywhere
                    for p in range(64 * (panel - p0), pixels, 64 * (p1 - p0)):
                        prefetch(x, index[r] * pixels + p)
                sparse_tile(
                    places, count, x, k, starts, values, w, k * n + j, n,
                    out, i * n + j, n, rows, end - j, k > 0,
                )  # fmt: skip
        finish_rows(out, b, finish, i, rows, _edge(out, p0), _edge(out, p1))


@kernel(
    "images:uint8(n,K), values(256), index(batch)<n, w(K,N), b(N) -> out(batch,N)",
    units=_units_fprop,
)
def sparse_linear_fprop(images, values, index, w, b, out, start, stop):
    """`out = x @ w + b`: linear_fprop, same bits.

    Parameters
    ----------
    images : (n, K) uint8
    values : (256,) float32 or float64, what each byte stands for; a zero for 0
    index : (batch,) int64, in 0 .. n-1; x is values[images[index]]
    w : (K, N) of the dtype of values
    b : (N,)
    out : (batch, N), overwritten
    """
    _fprop(images, values, index, w, b, out, BIAS, start, stop)


@kernel(
    "images:uint8(n,K), values(256), index(batch)<n, w(K,N), b(N) -> out(batch,N)",
    units=_units_fprop,
)
def sparse_linear_tanh_fprop(images, values, index, w, b, out, start, stop):
    """`out = tanh(x @ w + b)`: sparse_linear_fprop, then tanh_fprop, same bits.

    Parameters
    ----------
    images, values, index, w, b, out : as for `sparse_linear_fprop`
    """
    _fprop(images, values, index, w, b, out, BIAS_TANH, start, stop)


@kernel("x(batch,K), w(K,N), b(N) -> out(batch,N)", units=_units_of_rows)
def sparse_rows_fprop(x, w, b, out, start, stop):
    """`out = x @ w + b`: linear_fprop, same bits, for rows in which many numbers are zero.

    For a few rows it is fast even without zeros, since it does not have to pack anything.

    Parameters
    ----------
    x : (batch, K) float32 or float64
    w : (K, N) of that dtype, finite
    b : (N,)
    out : (batch, N), overwritten
    """
    _fprop_numbers(x, w, b, out, BIAS, start, stop)


@kernel("x(batch,K), w(K,N), b(N) -> out(batch,N)", units=_units_of_rows)
def sparse_rows_tanh_fprop(x, w, b, out, start, stop):
    """`out = tanh(x @ w + b)`: sparse_rows_fprop, then tanh_fprop, same bits.

    Parameters
    ----------
    x : (batch, K) float32 or float64
    w : (K, N) of that dtype, finite
    b : (N,)
    out : (batch, N), overwritten
    """
    _fprop_numbers(x, w, b, out, BIAS_TANH, start, stop)


@inline
def _units_tn(images, values, index, dy, out):
    """(units, units per piece): BLOCK rows of a group of panels are a unit.

    For a single image, a piece does not pay for fetching weights from another thread's cache.
    """
    work = BLOCK * len(index) * _columns(out) // PIXELS
    return _ceil(len(out), BLOCK) * _groups(out), max(1, 4 * PIECE // max(1, work))


@inline
def _transpose(images, index, first, count, k0, stage, turned):
    """turned[k, r] = column k0 + k of image index[first + r]; the rest of LANES is anything."""
    x, pixels = images.reshape(-1), images.shape[1]
    columns = min(BYTES, pixels - k0)
    for r in range(0, count, LANES):
        for s in range(min(LANES, count - r)):
            at = within(index[first + r + s], len(images)) * pixels + k0
            for q in range(0, BYTES, LANES):
                lanes = load(x, at + q) if columns == BYTES else load(x, at + q, columns - q)
                store(stage, s * BYTES + q, lanes)
        transpose_bytes(stage, turned, r, IMAGES)


def _sums(step, idle):
    """The core of a kernel that computes x.T @ dy and uses it at once.

    While a part of the product is in the cache, the core calls step(out, at, count, g, *more) with
    the lanes g of each row. If `idle`, it may leave out a row without entries.
    """

    @inline
    def core(images, values, index, dy, out, more, start, stop, scratch):
        pixels, (batch, n) = len(out), dy.shape
        places, starts = stack_array(PLACES, np.int32), stack_array(ROWS, np.int64)
        stage, dw = stack_array(STAGE, images), scratch_array(scratch, DW, out)
        turned = scratch_array(scratch + TURNED_AT, TURNED, images)
        pitch, blocks = VECTORS * _width(out), _ceil(pixels, BLOCK)
        for unit in range(start, stop):
            group, k0 = unit // blocks, unit % blocks * BLOCK
            columns = min(BLOCK, pixels - k0)
            p0, p1 = _ends(out, group)
            for first in range(0, max(1, batch), IMAGES):
                images_here = min(IMAGES, batch - first)
                _transpose(images, index, first, images_here, k0, stage, turned)
                for k in range(0, columns, ROWS):
                    rows = min(ROWS, columns - k)
                    for r in range(ROWS):
                        starts[r] = (k + min(r, rows - 1)) * IMAGES
                    count = _list(turned, 0, starts, images_here, places)
                    if idle and count == 0 and batch <= IMAGES:
                        continue
                    for panel in range(p0, p1):
                        j0, j1 = _edge(out, panel), _edge(out, panel + 1)
                        at = (k * PANELS + (panel - p0) * rows) * pitch if batch > IMAGES else 0
                        sparse_tile(
                            places, count, turned, 0, starts, values, dy, first * n + j0, n,
                            dw, at, pitch, rows, j1 - j0, first > 0,
                        )  # fmt: skip
                        if first + images_here < batch:
                            continue
                        for r in range(rows):
                            row = (k0 + k + r) * n
                            for j in range(j0, j1, LANES):
                                g = load(dw, at + r * pitch + j - j0, j1 - j)
                                step(out, row + j, j1 - j, g, *more)

    return core


@inline
def _store(out, at, count, g):
    store(out, at, g, count)


_sums_only, _sums_sgd = _sums(_store, False), _sums(sgd_step, True)
_sums_momentum = _sums(momentum_step, False)


@kernel(
    "images:uint8(n,K), values(256), index(batch)<n, dy(batch,N) -> out(K,N)",
    units=_units_tn,
)
def sparse_tn(images, values, index, dy, out, start, stop, scratch):
    """`out = x.T @ dy`: matmul_tn, same bits.

    Parameters
    ----------
    images, values, index : as for `sparse_linear_fprop`
    dy : (batch, N) of the dtype of values
    out : (K, N), overwritten
    """
    _sums_only(images, values, index, dy, out, (), start, stop, scratch)


@inline
def _one_sgd(images, values, image, dy, w, rate, start, stop):
    """The core of sparse_tn_sgd for a single image: there are no sums."""
    pixels, n = w.shape
    x, places = images.reshape(-1), stack_array(PLACES, np.int32)
    starts, blocks = stack_array(ROWS, np.int64), _ceil(pixels, BLOCK)
    for r in range(ROWS):
        starts[r] = image * pixels
    for unit in range(start, stop):
        group, k0 = unit // blocks, unit % blocks * BLOCK
        p0, p1 = _ends(w, group)
        j0, j1 = _edge(w, p0), _edge(w, p1)
        for p in range(_list(x, k0, starts, min(BLOCK, pixels - k0), places)):
            k = k0 + places[p]
            value = values[x[image * pixels + k]]
            for j in range(j0, j1, LANES):
                g = fma(load(dy, j, j1 - j), value, 0)
                sgd_step(w, k * n + j, j1 - j, g, rate)


@inline
def _units_sgd(images, values, index, dy, w, rate):
    return _units_tn(images, values, index, dy, w)


@kernel(
    "images:uint8(n,K), values(256), index(batch)<n, dy(batch,N), w!(K,N), rate",
    units=_units_sgd,
)
def sparse_tn_sgd(images, values, index, dy, w, rate, start, stop, scratch):
    """`w -= rate * (x.T @ dy)`: sparse_tn, then sgd_update, same bits.

    Where a few columns of x, side by side, are zero, their rows of w are not touched. The gradient
    itself is never stored.

    Parameters
    ----------
    images, values, index, dy : as for `sparse_tn`
    w : (K, N), updated
    rate : number, finite
    """
    if len(index) == 1:
        _one_sgd(images, values, within(index[0], len(images)), dy, w, rate, start, stop)
    else:
        _sums_sgd(images, values, index, dy, w, (rate,), start, stop, scratch)


@inline
def _units_momentum(images, values, index, dy, w, velocity, rate, momentum, weight_decay):
    return _units_tn(images, values, index, dy, w)[0], 1


@kernel(
    "images:uint8(n,K), values(256), index(batch)<n, dy(batch,N), w!(K,N), velocity!(K,N), rate,"
    " momentum, weight_decay",
    units=_units_momentum,
)
def sparse_tn_momentum(
    images, values, index, dy, w, velocity, rate, momentum, weight_decay, start, stop, scratch
):
    """sparse_tn, then momentum_update, same bits. The gradient itself is never stored.

    Parameters
    ----------
    images, values, index, dy : as for `sparse_tn`
    w, velocity : (K, N), updated
    rate, momentum, weight_decay : numbers
    """
    more = velocity, rate, momentum, weight_decay
    _sums_momentum(images, values, index, dy, w, more, start, stop, scratch)
