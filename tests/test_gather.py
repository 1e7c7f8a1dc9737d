"""kernels/gather.py: rows that an index names, images divided by 255."""

import numpy as np
import pytest
from reference import assert_same_bits

from jitprop import kernels

FLOATS = (np.float32, np.float64)
every_dtype = pytest.mark.parametrize("dtype", FLOATS)


@every_dtype
@pytest.mark.parametrize(
    ("images", "pixels", "batch"),
    [(1, 1, 1), (7, 5, 3), (3, 784, 100), (300, 17, 211), (4, 10, 0), (4, 0, 3)],
)
def test_gather(images, pixels, batch, dtype, guarded):
    rng = np.random.default_rng(1)
    x = guarded(rng.integers(0, 256, (images, pixels), np.uint8))
    index = guarded(rng.integers(0, images, batch))
    out = guarded(np.full((batch, pixels), 7, dtype))
    kernels.gather(x, index, out)
    # Bytes are exact in either dtype and the division rounds once.
    assert_same_bits(out, x[index].astype(dtype) / dtype(255))


@every_dtype
def test_every_byte(dtype):
    x = np.arange(256, dtype=np.uint8)[None, :]
    out = np.empty((1, 256), dtype)
    kernels.gather(x, np.zeros(1, np.int64), out)
    assert_same_bits(out[0], (np.arange(256) / 255).astype(dtype))
    assert (out[0, 0], out[0, 255]) == (0, 1)


def test_repeated_rows_and_their_order():
    x = np.arange(6, dtype=np.uint8).reshape(3, 2) * 51
    out = np.empty((5, 2), np.float32)
    kernels.gather(x, np.array([2, 0, 2, 1, 2]), out)
    assert_same_bits(out[:, 0], np.float32([0.8, 0, 0.8, 0.4, 0.8]))


@every_dtype
@pytest.mark.parametrize(("n", "features", "batch"), [(1, 1, 1), (7, 37, 9), (3, 16, 0), (4, 0, 3)])
def test_gather_rows(n, features, batch, dtype, guarded):
    rng = np.random.default_rng(1)
    x = guarded(rng.standard_normal((n, features)).astype(dtype))
    index = guarded(rng.integers(0, n, batch))
    out = guarded(np.full((batch, features), 7, dtype))
    kernels.gather_rows(x, index, out)
    assert_same_bits(out, x[index])


@every_dtype
@pytest.mark.parametrize("shape", [(1, 256), (7, 37), (0, 3), (3, 0)])
def test_pixels_of(shape, dtype, guarded):
    """The way back, to the bit, of every byte; every other number is strange."""
    n, pixels = shape
    images = guarded((np.arange(n * pixels) % 256).astype(np.uint8).reshape(shape))
    x = guarded(np.empty(shape, dtype))
    kernels.gather(images, np.arange(n), x)
    found, strange = guarded(np.full(shape, 7, np.uint8)), guarded(np.full(n, 7))
    kernels.pixels_of(x, strange, found)
    np.testing.assert_array_equal(found, images)
    np.testing.assert_array_equal(strange, 0)
    others = [np.nan, np.inf, -np.inf, 300, -5, 3e30, 0.5, 1e-40, np.nextafter(dtype(1), dtype(2))]
    for value in others if x.size else ():
        x[-1, -1] = value
        kernels.pixels_of(x, strange, found)
        np.testing.assert_array_equal(strange, np.arange(n) == n - 1)


def test_gather_labels(guarded):
    labels, index = guarded(np.arange(5) * 3), guarded(np.array([4, 0, 0, 2]))
    out = guarded(np.full(4, 7))
    kernels.gather_labels(labels, index, out)
    np.testing.assert_array_equal(out, [12, 0, 0, 6])


def test_next_index():
    order, position, index = np.array([3, 1, 4, 1, 5]), np.zeros(1, np.int64), np.zeros(2, int)
    for place, expected in ((2, [3, 1]), (4, [4, 1]), (4, [4, 1])):  # one is left: no batch
        kernels.next_index(order, position, index)
        np.testing.assert_array_equal(index, expected)
        assert position == place
    for place in (-1, -(2**63), 6, 2**63 - 1, 2**63 - 2):  # a sum of these and sizes would wrap
        position[0] = place
        kernels.next_index(order, position, index)
        np.testing.assert_array_equal(index, [4, 1])
        assert position == place
