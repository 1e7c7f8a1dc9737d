"""kernels/tanh.py: every element, and nothing else, whatever the shape.

How exact tanh itself is: tests/test_functions.py.
"""

import numpy as np
import pytest
from plain import PLAIN
from ulps import ulps

from jitprop.kernels import get_num_threads, set_num_threads, tanh_bprop, tanh_fprop

DTYPES = [np.float32, np.float64]
# Around one and two vectors of 16, in the tail of several, and two pieces of work and a bit.
SIZES = [0, 1, 2, 15, 16, 17, 31, 32, 33, *([] if PLAIN else [997, 20_011])]


@pytest.fixture(autouse=True)
def _quiet():
    """Without the JIT, NumPy warns of the NaN and infinities that lanes pass through."""
    with np.errstate(all="ignore"):
        yield


def guarded(values):
    """A copy of `values` between 16 elements of 7 on both sides, and the whole."""
    whole = np.full(values.size + 32, 7, values.dtype)
    inner = whole[16:-16].reshape(values.shape)
    inner[...] = values
    return inner, whole


def assert_untouched(whole):
    np.testing.assert_array_equal(whole[:16], 7)
    np.testing.assert_array_equal(whole[whole.size - 16 :], 7)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_fprop(size, dtype):
    x = np.random.default_rng(size).normal(0, 2, size).astype(dtype)
    out, whole = guarded(np.full_like(x, np.nan))
    tanh_fprop(x, out)
    exact = np.tanh(x.astype(np.longdouble))
    bound = 1 if dtype == np.float32 else 2  # what the kernel promises
    assert np.all(ulps(out, exact) <= bound)
    assert_untouched(whole)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_bprop(size, dtype):
    rng = np.random.default_rng(size)
    y = np.tanh(rng.normal(0, 2, size)).astype(dtype)
    dy = rng.standard_normal(size).astype(dtype)
    out, whole = guarded(np.full_like(y, np.nan))
    tanh_bprop(y, dy, out)
    wide = y.astype(np.longdouble)
    exact = dy * (1 - wide) * (1 + wide)  # the sums are exact, which 1 - wide * wide is not
    # 1 - y^2 is rounded once and the product once: each half a unit of its own, and a relative
    # half unit can be a whole one in the last place of the result. Without the JIT, the fma of
    # float64 rounds y^2 to longdouble first.
    twice = PLAIN and np.abs(out - exact) <= np.finfo(np.longdouble).eps * np.abs(dy)
    assert np.all((ulps(out, exact) <= 1.5) | twice)
    assert_untouched(whole)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 5), (1, 16), (17, 1), (0, 4), (4, 0)])
def test_any_shape(shape, dtype):
    rng = np.random.default_rng(3)
    x = np.asarray(rng.standard_normal(shape), dtype)
    dy = np.asarray(rng.standard_normal(shape), dtype)
    y, dx = np.empty(shape, dtype), np.empty(shape, dtype)
    tanh_fprop(x, y)
    tanh_bprop(y, dy, dx)
    flat = np.empty(x.size, dtype)
    tanh_fprop(x.reshape(-1), flat)
    np.testing.assert_array_equal(y.reshape(-1), flat)
    tanh_bprop(y.reshape(-1), dy.reshape(-1), flat)
    np.testing.assert_array_equal(dx.reshape(-1), flat)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 16, 37, *([] if PLAIN else [20_011])])
def test_in_place(size, dtype):
    x, dy = np.random.default_rng(4).standard_normal((2, size)).astype(dtype)
    y, dx = np.empty_like(x), np.empty_like(x)
    tanh_fprop(x, y)
    tanh_bprop(y, dy, dx)
    same = x.copy()
    tanh_fprop(same, same)
    np.testing.assert_array_equal(same, y)
    tanh_bprop(same, dy, same)
    np.testing.assert_array_equal(same, dx)
    same = dy.copy()
    tanh_bprop(y, same, same)
    np.testing.assert_array_equal(same, dx)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("place", [0, 15, 16, 20])
def test_special_values_stay_in_their_lane(place, dtype):
    """In a whole vector and in the tail; their neighbours get what they get without them."""
    tiny = np.finfo(dtype).smallest_subnormal
    plain = np.linspace(-3, 3, 21).astype(dtype)
    undisturbed = np.empty_like(plain)
    tanh_fprop(plain, undisturbed)
    for value, expected in [
        (np.nan, np.nan), (np.inf, 1), (-np.inf, -1), (0.0, 0.0), (-0.0, -0.0), (tiny, tiny),
        (-3 * tiny, -3 * tiny),
    ]:  # fmt: skip
        x, out = plain.copy(), np.empty_like(plain)
        x[place] = value
        tanh_fprop(x, out)
        np.testing.assert_array_equal(out[place], dtype(expected))
        assert np.isnan(value) or np.signbit(out[place]) == np.signbit(expected)
        np.testing.assert_array_equal(np.delete(out, place), np.delete(undisturbed, place))


@pytest.mark.parametrize("dtype", DTYPES)
def test_bprop_of_special_values(dtype):
    inf, nan = np.inf, np.nan
    y = np.array([1, -1, 0, 0, nan, 0.5, 1, 0.5], dtype)
    dy = np.array([5, -5, inf, -0.0, 1, nan, inf, -inf], dtype)
    out = np.empty_like(y)
    tanh_bprop(y, dy, out)
    np.testing.assert_array_equal(out, np.array([0, 0, inf, 0, nan, nan, nan, -inf], dtype))
    assert np.signbit(out[3])


def test_threads_do_not_show():
    x = np.random.default_rng(5).standard_normal(51 if PLAIN else 50_001).astype(np.float32)
    before = get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3, 4):
            set_num_threads(threads)
            out = np.empty_like(x)
            tanh_fprop(x, out)
            results.append(out)
    finally:
        set_num_threads(before)
    for out in results[1:]:
        np.testing.assert_array_equal(out, results[0])
