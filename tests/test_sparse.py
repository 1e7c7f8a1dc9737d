"""kernels/sparse.py (and sparse_tile.py): the bits of the dense products, zeros left out."""

import functools

import numba
import numpy as np
import pytest
import reference
from plain import PLAIN
from reference import assert_same_bits, pixel_values

from jitprop import kernels
from jitprop.kernels.compiler.simd import LANES
from jitprop.kernels.sparse import IMAGES, LIST, PANELS
from jitprop.kernels.sparse_tile import (
    BYTES,
    ROWS,
    VECTORS,
    WIDTH32,
    WIDTH64,
    sparse_tile,
    transpose_bytes,
)

FLOATS = (np.float32,) if PLAIN else (np.float32, np.float64)
every_dtype = pytest.mark.parametrize("dtype", FLOATS)


def draw_images(rng, n, pixels, density):
    images = rng.integers(1, 256, (n, pixels), np.uint8)
    images[rng.random((n, pixels)) >= density] = 0
    return images


def fprop(images, index, w, b, wrap=lambda array: array):
    out = wrap(np.full((len(index), len(b)), np.nan, w.dtype))
    rows = images, pixel_values(w.dtype.type), index
    kernels.sparse_linear_fprop(*map(wrap, (*rows, w, b)), out)
    return out


def tn(images, index, dy, wrap=lambda array: array):
    out = wrap(np.full((images.shape[1], dy.shape[1]), np.nan, dy.dtype))
    kernels.sparse_tn(*map(wrap, (images, pixel_values(dy.dtype.type), index, dy)), out)
    return out


def check(images, index, outputs, dtype, wrap=lambda array: array):
    """Both products have the bits of the dense ones, and so have those that update weights."""
    rng = np.random.default_rng(1)
    batch, features = len(index), images.shape[1]
    w, b = rng.standard_normal((features, outputs)).astype(dtype), np.ones(outputs, dtype)
    dy = rng.standard_normal((batch, outputs)).astype(dtype)
    x = pixel_values(dtype)[images[index]]
    y, dw = np.empty((batch, outputs), dtype), np.empty((features, outputs), dtype)
    kernels.linear_fprop(x, w, b, y)
    kernels.matmul_tn(x, dy, dw)
    assert_same_bits(fprop(images, index, w, b, wrap), y)
    check_rows(x, w, b, y, wrap)
    assert_same_bits(tn(images, index, dy, wrap), dw)
    rows = list(map(wrap, (images, pixel_values(dtype), index, dy)))
    found, expected = wrap(w), w.copy()
    kernels.sparse_tn_sgd(*rows, found, 0.1)
    kernels.sgd_update(expected, dw, 0.1)
    assert_same_bits(found, expected)
    found, expected, v, expected_v = wrap(w), w.copy(), wrap(w), w.copy()
    kernels.sparse_tn_momentum(*rows, found, v, 0.1, 0.9, 0.01)
    kernels.momentum_update(expected, dw, expected_v, 0.1, 0.9, 0.01)
    assert_same_bits(found, expected)
    assert_same_bits(v, expected_v)


def check_rows(x, w, b, y, wrap=lambda array: array):
    """Rows of numbers give the bits of the dense product, and of a tanh behind it."""
    found, expected = wrap(np.full_like(y, np.nan)), np.empty_like(y)
    kernels.sparse_rows_fprop(*map(wrap, (x, w, b)), found)
    assert_same_bits(found, y)
    kernels.sparse_rows_tanh_fprop(*map(wrap, (x, w, b)), found)
    kernels.tanh_fprop(y, expected)
    assert_same_bits(found, expected)


@every_dtype
def test_rows_of_any_numbers(dtype):
    """Signed ones, tiny and large ones; a -0 is left out, NaN and infinity are not."""
    rng = np.random.default_rng(5)
    w, b = rng.standard_normal((77, 40)).astype(dtype), rng.standard_normal(40).astype(dtype)
    for rows, density in ((1, 1), (1, 0.1), (3, 0.5), (4, 0), (7, 0.2)):
        x = rng.standard_normal((rows, 77)) * 10.0 ** rng.integers(-9, 9, (rows, 77))
        x = np.where(rng.random(x.shape) < density, x, -0.0).astype(dtype)
        y = np.empty((rows, 40), dtype)
        kernels.linear_fprop(x, w, b, y)
        check_rows(x, w, b, y)
    for value in (np.nan, np.inf, -np.inf):
        x[2, 76] = value
        kernels.sparse_rows_fprop(x, w, b, y)
        assert not np.isfinite(y[2]).any()
        assert np.isfinite(np.delete(y, 2, axis=0)).all()


@every_dtype
def test_every_number_of_vectors(dtype, guarded):
    """One panel of each width, its last vector full and partial, then more than one group."""
    width = WIDTH32 if dtype == np.float32 else WIDTH64
    images = draw_images(np.random.default_rng(3), 9, 20, 0.4)
    index = np.array([3, 0, 8, 8, 1])
    widths = {width * v - rest for v in range(1, VECTORS + 2) for rest in (0, 1)}
    widths |= {PANELS * VECTORS * width, PANELS * VECTORS * width + 1} - {0}
    for outputs in sorted(widths):
        check(images, index, outputs, dtype, guarded)


# (images, pixels, batch, outputs): the network's first layer, one image, odd numbers of images and
# pixels, as many images as are transposed at a time, or more (with one group of columns or many),
# more pixels than are listed at a time.
SHAPES = [
    (30, 70, IMAGES, 200), (30, 70, IMAGES + 1, 200), (30, 70, IMAGES + 5, 100),
    (200, 784, 100, 200), (50, 784, 1, 10), (300, 301, 277, 37), (20, 1000, 20, 800),
    (30, 70, 2 * IMAGES + 5, 450), (5, LIST + BYTES + 3, 3, 20), (7, BYTES, 16, 16), (3, 1, 3, 1),
]  # fmt: skip
PLAIN_SHAPES = [(20, 75, 11, 5), (4, 3, 1, 1), (7, 130, 1, 5), (3, 3, IMAGES + 1, 2)]


@every_dtype
@pytest.mark.parametrize("density", [0.19] if PLAIN else [0, 0.01, 0.19, 1])
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
    index = np.arange(3)
    w, b = np.full((5, 4), -2, np.float32), np.zeros(4, np.float32)
    expected = np.zeros((3, 4), np.float32)
    expected[1] = -2
    assert_same_bits(fprop(images, index, w, b), expected)
    dw = tn(images, index, np.full((3, 4), -3, np.float32))
    expected = np.zeros((5, 4), np.float32)
    expected[2] = -3
    assert_same_bits(dw, expected)


def test_chains():
    """Not only the same as the dense products: the chain itself, in the order of k."""
    rng = np.random.default_rng(6)
    images = draw_images(rng, 6, 150, 0.3)
    index = np.array([5, 0, 0, 2, 4])
    w, dy = (rng.standard_normal(s).astype(np.float32) for s in ((150, 7), (5, 7)))
    x = pixel_values(np.float32)[images[index]]
    zero = np.zeros(7, np.float32)
    assert_same_bits(fprop(images, index, w, zero), reference.chain(x, w))
    dw = tn(images, index, dy)
    assert_same_bits(dw, reference.chain(np.ascontiguousarray(x.T), dy))


@pytest.mark.parametrize("before", [False, True])
def test_nothing_outside_is_read(before, fenced):
    """Memory ends where the arrays do, or begins there."""
    rng = np.random.default_rng(10)
    for n, pixels, batch in [(1, 1, 1), (2, 3, 5), (3, BYTES - 1, 2), (4, 2 * BYTES + 1, 9)]:
        images, index = draw_images(rng, n, pixels, 0.5), rng.integers(0, n, batch)
        index[-1] = n - 1
        check(images, index, 17, np.float32, lambda array: fenced(array, before=before))


@functools.cache  # compiled once for all numbers of rows
def compiled_tile():
    return numba.njit(lambda *args: sparse_tile(*args))


@pytest.mark.slow
@pytest.mark.skipif(PLAIN, reason="compares with compiled code")
@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("rows", range(1, ROWS + 1))
def test_plain_twin_of_the_microkernel(rows, resume):
    rng = np.random.default_rng(11)
    places = np.array([0, 3, 4, 19, 7], np.int32)
    left = rng.integers(0, 256, (ROWS, 25), np.uint8)
    starts = 25 * rng.permutation(ROWS)
    right = rng.standard_normal((20, WIDTH32 + 3)).astype(np.float32)
    arguments = places, 4, left, 2, starts, pixel_values(np.float32), right, 1, WIDTH32 + 3
    results = [np.full((ROWS + 1, WIDTH32 + 7), 7, np.float32) for _ in range(2)]
    more = 2, WIDTH32 + 7, rows, WIDTH32 + 1, resume
    sparse_tile(*arguments, results[0], *more)
    compiled_tile()(*arguments, results[1], *more)
    assert_same_bits(*results)


def test_transpose_bytes():
    x = np.random.default_rng(12).integers(0, 256, (LANES, BYTES), np.uint8)
    results = [np.full((BYTES, LANES + 3), 7, np.uint8) for _ in range(2)]
    transpose_bytes(x, results[0], 2, LANES + 3)
    assert_same_bits(results[0][:, 2 : 2 + LANES], np.ascontiguousarray(x.T))
    if not PLAIN:
        numba.njit(lambda *args: transpose_bytes(*args))(x, results[1], 2, LANES + 3)
        assert_same_bits(*results)
