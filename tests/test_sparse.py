"""kernels/sparse.py (and sparse_row.py): the bits of the dense products, zeros left out."""

import re

import numba
import numpy as np
import pytest
import reference
from reference import assert_same_bits

import kernels
from kernels.simd import LANES
from kernels.sparse import BLOCK, MANY
from kernels.sparse_row import VECTORS, WIDTH32, WIDTH64, sparse_column, sparse_row

PLAIN = bool(numba.config.DISABLE_JIT)  # the plain twins are slow: smaller shapes
FLOATS = (np.float32, np.float64)
every_dtype = pytest.mark.parametrize("dtype", FLOATS)


def draw_images(rng, n, pixels, density):
    images = rng.integers(1, 256, (n, pixels), np.uint8)
    images[rng.random((n, pixels)) >= density] = 0
    return images


def dense(images, index, dtype):
    return images[index].astype(dtype) / dtype(255)


def fprop(rows, index, w, b, wrap=lambda array: array):
    out = wrap(np.full((len(index), len(b)), np.nan, w.dtype))
    kernels.sparse_linear_fprop(*map(wrap, (*rows, index, w, b)), out)
    return out


def tn(rows, index, dy, features, wrap=lambda array: array):
    out = wrap(np.full((features, dy.shape[1]), np.nan, dy.dtype))
    kernels.sparse_tn(*map(wrap, (*rows, index, dy)), out)
    return out


def check(images, index, outputs, dtype, wrap=lambda array: array):
    """Both products have the bits of the dense ones."""
    rng = np.random.default_rng(1)
    batch, features = len(index), images.shape[1]
    w, b = rng.standard_normal((features, outputs)).astype(dtype), np.ones(outputs, dtype)
    dy = rng.standard_normal((batch, outputs)).astype(dtype)
    x = dense(images, index, dtype)
    y, dw = np.empty((batch, outputs), dtype), np.empty((features, outputs), dtype)
    kernels.linear_fprop(x, w, b, y)
    kernels.matmul_tn(x, dy, dw)
    rows = kernels.sparse_rows(images, dtype)
    assert_same_bits(fprop(rows, index, w, b, wrap), y)
    assert_same_bits(tn(rows, index, dy, features, wrap), dw)


@every_dtype
@pytest.mark.parametrize("pixels", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 7])
def test_rows(pixels, dtype):
    images = draw_images(np.random.default_rng(2), 30, pixels, 0.3)
    images[3] = 0
    images[4] = 255
    starts, columns, values = kernels.sparse_rows(images, dtype)
    row, column = np.nonzero(images)
    assert_same_bits(columns, column.astype(np.int32))
    assert_same_bits(values, dense(images, slice(None), dtype)[row, column])
    blocks = max(1, -(-pixels // BLOCK))
    assert starts.shape == (30, blocks + 1)
    for block in range(blocks + 1):
        before = (row[:, None] < np.arange(30)) | (
            (row[:, None] == np.arange(30)) & (column[:, None] < block * BLOCK)
        )
        assert_same_bits(starts[:, block], before.sum(0))


def test_rows_of_no_images():
    starts, columns, values = kernels.sparse_rows(np.empty((0, 784), np.uint8), np.float32)
    assert (starts.shape, columns.size, values.size) == ((0, -(-784 // BLOCK) + 1), 0, 0)


@pytest.mark.parametrize(
    ("images", "dtype", "message"),
    [
        (np.zeros((2, 3)), np.float32, "images has dtype float64, expected uint8"),
        (np.zeros((2, 3, 4), np.uint8), np.float32, "images has shape (2, 3, 4), expected"),
        (np.zeros((2, 3), np.uint8), np.int32, "expected float32 or float64"),
    ],
)
def test_rows_of_what_is_no_images(images, dtype, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        kernels.sparse_rows(images, dtype)


@every_dtype
def test_every_number_of_vectors(dtype, guarded):
    """One panel of each width, its last vector full and partial, then two panels and three."""
    width = WIDTH32 if dtype == np.float32 else WIDTH64
    images = draw_images(np.random.default_rng(3), 9, 20, 0.4)
    index = np.array([3, 0, 8, 8, 1])
    widths = {width * v - rest for v in range(1, VECTORS + 2) for rest in (0, 1)}
    widths |= {2 * VECTORS * width + 1, 3 * VECTORS * width} - {0}
    for outputs in sorted(widths):
        check(images, index, outputs, dtype, guarded)


# (images, pixels, batch, outputs): the network's first layer, one row, more rows than one block.
SHAPES = [(200, 784, 100, 200), (50, 784, 1, 10), (300, 300, 277, 37), (20, 1000, 20, 800)]
PLAIN_SHAPES = [(20, 150, 10, 5), (4, 3, 1, 1), (7, 300, 20, 37)]


@every_dtype
@pytest.mark.parametrize("density", [0, 0.01, 0.19, 1])
@pytest.mark.parametrize("shape", PLAIN_SHAPES if PLAIN else SHAPES)
def test_bits_are_those_of_the_dense_products(shape, density, dtype, guarded):
    n, pixels, batch, outputs = shape
    rng = np.random.default_rng(4)
    images = draw_images(rng, n, pixels, density)
    check(images, rng.integers(0, n, batch), outputs, dtype, guarded)


@every_dtype
@pytest.mark.parametrize(("pixels", "batch", "outputs"), [(0, 3, 5), (5, 0, 3), (5, 3, 0)])
def test_nothing_to_multiply(pixels, batch, outputs, dtype, guarded):
    images = draw_images(np.random.default_rng(5), 4, pixels, 0.5)
    check(images, np.arange(batch), outputs, dtype, guarded)


def test_empty_rows_and_columns_are_positive_zeros():
    images = np.zeros((3, 5), np.uint8)
    images[1, 2] = 255
    rows, index = kernels.sparse_rows(images, np.float32), np.arange(3)
    w, b = np.full((5, 4), -2, np.float32), np.zeros(4, np.float32)
    expected = np.zeros((3, 4), np.float32)
    expected[1] = -2
    assert_same_bits(fprop(rows, index, w, b), expected)
    dw = tn(rows, index, np.full((3, 4), -3, np.float32), 5)
    expected = np.zeros((5, 4), np.float32)
    expected[2] = -3
    assert_same_bits(dw, expected)


def test_chains():
    """Not only the same as the dense products: the chain itself, in the order of k."""
    rng = np.random.default_rng(6)
    images = draw_images(rng, 6, 150, 0.3)
    index = np.array([5, 0, 0, 2, 4])
    w, dy = (rng.standard_normal(s).astype(np.float32) for s in ((150, 7), (5, 7)))
    x, rows = dense(images, index, np.float32), kernels.sparse_rows(images, np.float32)
    zero = np.zeros(7, np.float32)
    assert_same_bits(fprop(rows, index, w, zero), reference.chain(x, w))
    dw = tn(rows, index, dy, 150)
    assert_same_bits(dw, reference.chain(np.ascontiguousarray(x.T), dy))


@pytest.mark.parametrize("before", [False, True])
def test_damaged_rows_reach_nothing_outside(before, fenced):
    """Whatever starts and columns hold: results are wrong, memory is not touched."""
    rng = np.random.default_rng(10)

    def place(array):
        return fenced(array, before=before)

    w, b, dy = (np.ones(s, np.float32) for s in ((300, 17), 17, (6, 17)))
    far = np.array([-(2**62), -1, 0, 3, 40, 2**40, 2**62])
    for blocks in (0, 1, 2, 3, 4, 9):
        starts = rng.choice(far, (4, blocks))
        columns = rng.integers(-(2**31), 2**31, 40).astype(np.int32)
        rows = [place(a) for a in (starts, columns, np.ones(40, np.float32))]
        index = place(rng.integers(0, 4, 6))
        fprop(rows, index, place(w), place(b), place)
        for features in (0, 1, 300):
            tn(rows, index, dy, features, place)
            once = np.resize(index, MANY), np.ones((MANY, 17), np.float32)
            tn(rows, *once, features, place)


@pytest.mark.skipif(PLAIN, reason="compares with compiled code")
def test_plain_twins_of_the_microkernels():
    rng = np.random.default_rng(11)
    columns = rng.integers(0, 25, 30).astype(np.int32)  # some beyond the last
    values, right = (rng.standard_normal(s).astype(np.float32) for s in (30, (20, LANES + 3)))
    arguments = (columns, values, 2, 27, right, 1, LANES + 3, 19)
    results = [np.full(LANES + 5, 7, np.float32) for _ in range(2)]
    sparse_row(*arguments, results[0], 2, LANES + 2)
    numba.njit(lambda *args: sparse_row(*args))(*arguments, results[1], 2, LANES + 2)
    assert_same_bits(*results)
    results = [np.full((18, 2 * LANES), 7, np.float32) for _ in range(2)]
    arguments = (columns, values, 2, 27, right, 3, 2, 17)  # some before the first column, 2
    sparse_column(*arguments, results[0], 2 * LANES, LANES + 2)
    numba.njit(lambda *args: sparse_column(*args))(*arguments, results[1], 2 * LANES, LANES + 2)
    for found in results:  # what fills up the last vector is nobody's
        found[:, LANES + 2 :] = 0
    assert_same_bits(*results)
