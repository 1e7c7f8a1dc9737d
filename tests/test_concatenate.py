"""kernels/concatenate.py: these columns, in this order, and no others."""

import numpy as np
import pytest
from plain import cut
from reference import assert_same_bits

from jitprop.kernels import concatenate_bprop, concatenate_fprop, get_num_threads, set_num_threads

every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])
# batch, n of m columns: nothing, one, vectors and their tails, several pieces of work.
SHAPES = [(0, 3, 5), (4, 0, 3), (1, 1, 1), (3, 5, 9), (7, 16, 40), (5, 33, 50), (211, 113, 200)]
SHAPES = cut(SHAPES, 7, 113, 200)


def choices(n, m):
    """Columns from the first on, up to the last, and in any order."""
    yield np.arange(n)
    yield np.arange(m - n, m)
    yield np.random.default_rng(2).permutation(m)[:n]


@every_dtype
@pytest.mark.parametrize(("batch", "n", "m"), SHAPES)
def test_columns(batch, n, m, dtype, guarded):
    rng = np.random.default_rng(1)
    x = guarded(rng.standard_normal((batch, n)).astype(dtype))
    y = guarded(rng.standard_normal((batch, m)).astype(dtype))
    for columns in choices(n, m):
        expected, out = y.copy(), guarded(y)
        expected[:, columns] = x
        concatenate_fprop(x, guarded(columns), out)
        assert_same_bits(out, expected)
        out = guarded(np.full((batch, n), 7, dtype))
        concatenate_bprop(y, guarded(columns), out)
        assert_same_bits(out, y[:, columns])


def test_columns_that_only_begin_and_end_like_consecutive_ones():
    columns = np.array([1, 3, 2, 4])
    x, y = np.arange(8.0).reshape(2, 4), np.full((2, 6), 7.0)
    concatenate_fprop(x, columns, y)
    np.testing.assert_array_equal(y, [[7, 0, 2, 1, 3, 7], [7, 4, 6, 5, 7, 7]])
    back = np.zeros_like(x)
    concatenate_bprop(y, columns, back)
    np.testing.assert_array_equal(back, x)


@every_dtype
@pytest.mark.parametrize("before", [False, True])
def test_nothing_outside(before, dtype, fenced):
    for batch, n, m in SHAPES[2:]:
        for columns in choices(n, m):
            x, y = fenced(np.ones((batch, n), dtype), before), fenced(np.zeros((batch, m), dtype))
            concatenate_fprop(x, columns, y)
            assert y.sum() == x.size
            concatenate_bprop(y, columns, x)
            assert x.sum() == x.size


def test_threads_do_not_show():
    x = np.random.default_rng(3).standard_normal((500, 100))
    before = get_num_threads()
    try:
        for threads in (1, 2, 3):
            set_num_threads(threads)
            y, back = np.zeros((500, 150)), np.empty_like(x)
            concatenate_fprop(x, np.arange(20, 120), y)
            concatenate_bprop(y, np.arange(20, 120), back)
            assert_same_bits(back, x)
            assert_same_bits(y, np.pad(x, ((0, 0), (20, 30))))
    finally:
        set_num_threads(before)
