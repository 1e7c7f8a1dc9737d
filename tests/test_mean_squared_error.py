"""kernels/mean_squared_error.py: the loss of each row, and its gradient."""

import numpy as np
import pytest
import reference
from plain import PLAIN, cut
from reference import assert_same_bits, assert_within, eps

from jitprop.kernels import (
    get_num_threads,
    mean_squared_error_bprop,
    mean_squared_error_fprop,
    set_num_threads,
)

SHAPES = [(1, 1), (3, 10), (16, 16), (17, 15), (5, 33), (211, 113), (2, 10_000), (0, 10)]
SHAPES = cut(SHAPES, 5, 200)
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])
every_shape = pytest.mark.parametrize("shape", SHAPES)


def draw(shape, dtype):
    return np.random.default_rng(1).standard_normal((2, *shape)).astype(dtype)


@every_dtype
@every_shape
def test_fprop(shape, dtype, guarded):
    z, t = map(guarded, draw(shape, dtype))
    losses = guarded(np.full(shape[0], 7, dtype))
    mean_squared_error_fprop(z, t, losses)
    expected = reference.mean_squared_error(z, t)
    # A difference, squared: an eps. Then n/16 + 4 sums and the quotient, half of one each; no
    # term is negative. The reference has the same in float64.
    assert_within(losses, expected, eps(dtype) * expected, 2 * (1 + (shape[1] / 16 + 5) / 2))


@every_dtype
@every_shape
@pytest.mark.parametrize("scale", [1, 0.01, -3])
def test_bprop(scale, shape, dtype, guarded):
    z, t = map(guarded, draw(shape, dtype))
    out = guarded(np.full(shape, 7, dtype))
    mean_squared_error_bprop(z, t, scale, out)
    expected = reference.mean_squared_error_bprop(z, t, scale)
    # The scale, its quotient by n, the difference and the product: half an eps each.
    assert_within(out, expected, eps(dtype) * np.abs(expected), 2.01)
    for place in range(2):
        same = [z.copy(), t.copy()]
        mean_squared_error_bprop(*same, scale, same[place])
        assert_same_bits(same[place], out)


@every_dtype
def test_nan_and_infinity_stay_in_their_row(dtype):
    z, t = draw((20, 7), dtype)
    z[3, 6], t[5, 0], t[18, 2] = np.nan, np.inf, -np.inf
    losses, dz = np.empty(20, dtype), np.empty_like(z)
    mean_squared_error_fprop(z, t, losses)
    assert np.flatnonzero(~np.isfinite(losses)).tolist() == [3, 5, 18]
    assert np.isnan(losses[3])
    assert losses[5] == losses[18] == np.inf
    mean_squared_error_bprop(z, t, 1.0, dz)
    assert np.argwhere(~np.isfinite(dz)).tolist() == [[3, 6], [5, 0], [18, 2]]


@every_dtype
@pytest.mark.parametrize("before", [False, True])
def test_nothing_outside(before, dtype, fenced):
    for shape in [(3, 5), (17, 17)]:
        z, t = (fenced(array, before) for array in draw(shape, dtype))
        out, losses = fenced(np.empty_like(z), before), fenced(np.empty(shape[0], dtype), before)
        mean_squared_error_fprop(z, t, losses)
        mean_squared_error_bprop(z, t, 1.0, out)
        assert np.isfinite(losses).all()
        assert np.isfinite(out).all()


def test_threads_do_not_show():
    rows = 9 if PLAIN else 1000
    z, t = draw((rows, 37), np.float32)
    before, results = get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            set_num_threads(threads)
            losses, dz = np.empty(rows, np.float32), np.empty_like(z)
            mean_squared_error_fprop(z, t, losses)
            mean_squared_error_bprop(z, t, 0.1, dz)
            results.append((losses, dz))
    finally:
        set_num_threads(before)
    for losses, dz in results[1:]:
        assert_same_bits(losses, results[0][0])
        assert_same_bits(dz, results[0][1])
