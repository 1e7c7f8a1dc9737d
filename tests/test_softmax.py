"""kernels/softmax.py: softmax of rows, and its gradient."""

import numpy as np
import pytest
import reference
from plain import cut
from reference import assert_same_bits, assert_within, eps

from jitprop import kernels

FLOATS = (np.float32, np.float64)
# Few classes and many, around one and two vectors of 16, and nothing.
SHAPES = [
    (1, 1), (3, 10), (3, 15), (3, 16), (3, 17), (5, 33), (211, 113), (2, 10000), (0, 10), (3, 0),
]  # fmt: skip
SHAPES = cut(SHAPES, 5, 200)
every_dtype = pytest.mark.parametrize("dtype", FLOATS)
every_shape = pytest.mark.parametrize("shape", SHAPES)


def unit(x, dtype):
    """What softmax may be off by, an eighth of it.

    exp is within 1 ulp (2 for float64) of its argument x - max, which is rounded itself: half an
    eps of |x - max|. Row sum: n/16 + 4 additions of half an eps at most, of terms that are off by
    the same exp; then one division. The float64 reference has errors of that kind too. All is
    relative to the result; the smallest subnormal is for results below the normal range.
    """
    with np.errstate(all="ignore"):
        y = reference.softmax(x)
        gap = np.abs(x.max(axis=1, keepdims=True, initial=-np.inf) - x.astype(np.float64))
        gap = np.where(y == 0, 0, gap)  # exp(-inf) and what underflows
        mean_gap = (y * gap).sum(axis=1, keepdims=True)
    relative = eps(dtype) * (1 + (gap + mean_gap + x.shape[1] / 16) / 8)
    return y * relative + float(np.finfo(dtype).smallest_subnormal)


def softmax(x):
    out = np.full_like(x, 7)
    kernels.softmax_fprop(x, out)
    return out


@every_dtype
@every_shape
@pytest.mark.parametrize("spread", [1, 30])
def test_fprop(spread, shape, dtype, guarded):
    x = guarded((spread * np.random.default_rng(1).standard_normal(shape)).astype(dtype))
    out = guarded(np.full(shape, 7, dtype))
    kernels.softmax_fprop(x, out)
    assert_within(out, reference.softmax(x), unit(x, dtype), 8)
    kernels.softmax_fprop(x, x)
    assert_same_bits(x, out)  # in place is no different


@every_dtype
@every_shape
def test_bprop(shape, dtype, guarded):
    rng = np.random.default_rng(2)
    y = guarded(reference.softmax(rng.standard_normal(shape)).astype(dtype))
    dy = guarded(rng.standard_normal(shape).astype(dtype))
    out = guarded(np.full(shape, 7, dtype))
    kernels.softmax_bprop(y, dy, out)
    # n/16 multiply-adds and 4 additions of half an eps of sum |dy y| at most, then a difference
    # and a product; the float64 reference doubles that.
    total = np.abs(y.astype(np.float64) * dy).sum(axis=1, keepdims=True)
    size = np.abs(y.astype(np.float64)) * (np.abs(dy) + total)
    bound = 2 * (shape[1] / 16 / 2 + 2 + 1)
    assert_within(out, reference.softmax_bprop(y, dy), size * eps(dtype), bound)
    for into in (y, dy):
        arguments = [array.copy() for array in (y, dy)]
        target = arguments[0] if into is y else arguments[1]
        kernels.softmax_bprop(*arguments, target)
        assert_same_bits(target, out)


@every_dtype
def test_rows_of_equal_logits(dtype):
    for n in (1, 2, 10, 16, 1000):
        for value in (0.0, -3.7, 1e4, -1e4, np.finfo(dtype).max):
            y = softmax(np.full((2, n), value, dtype))
            assert_same_bits(y, np.full((2, n), dtype(1) / dtype(n)))


@every_dtype
def test_extreme_logits(dtype):
    """±1e4, the ends of the range, and -inf: no overflow, no NaN."""
    big = np.finfo(dtype).max
    x = np.array(
        [
            [1e4, -1e4, 0, 1e4],
            [-1e4, -1e4, -1e4 - 1, -np.inf],
            [big, -big, 0, 1],
            [-np.inf, -np.inf, -np.inf, -5],
            [0, -np.inf, 0, -np.inf],
            [-80, -90, -100, 0],
            [-700, -720, -745, 0],
        ],
        dtype,
    )
    y = softmax(x)
    assert_within(y, reference.softmax(x), unit(x, dtype), 8)
    assert_same_bits(y[0], np.array([0.5, 0, 0, 0.5], dtype))
    assert_same_bits(y[2:5], np.array([[1, 0, 0, 0], [0, 0, 0, 1], [0.5, 0, 0.5, 0]], dtype))


@every_dtype
@pytest.mark.parametrize("n", [3, 16, 21])
def test_nan_and_infinity_spoil_their_row_only(n, dtype):
    for bad in (np.nan, np.inf):
        for place in (0, n // 2, n - 1):
            x = np.random.default_rng(3).standard_normal((3, n)).astype(dtype)
            clean = softmax(x)
            x[1, place] = bad
            y = softmax(x)
            with np.errstate(all="ignore"):
                expected = reference.softmax(x)
            assert_same_bits(y[::2], clean[::2])
            assert_same_bits(np.isnan(y[1]), np.isnan(expected[1]))
            dx = np.empty_like(y)
            kernels.softmax_bprop(y, np.ones_like(y), dx)
            assert np.isnan(dx[1]).all()
            assert np.isfinite(dx[::2]).all()
    assert np.isnan(softmax(np.full((1, n), -np.inf, dtype))).all()  # no class is possible


@every_dtype
@pytest.mark.parametrize("before", [False, True])
def test_no_read_outside(before, dtype, fenced):
    for shape in [(3, 5), (1, 17), (2, 40)]:
        rng = np.random.default_rng(4)
        x, dy = rng.standard_normal((2, *shape)).astype(dtype)
        out = fenced(np.zeros(shape, dtype), before)
        kernels.softmax_fprop(fenced(x, before), out)
        assert_same_bits(out, softmax(x))
        kernels.softmax_bprop(fenced(x, before), fenced(dy, before), out)
        assert np.isfinite(out).all()
