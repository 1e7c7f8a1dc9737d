"""kernels/bias.py: x + b over rows, and the sum of the rows."""

import numpy as np
import pytest
from reference import assert_same_bits, assert_within, eps

from jitprop import kernels

FLOATS = (np.float32, np.float64)
# Around one and two vectors of 16, primes, the sizes of the network, nothing.
SHAPES = [
    (1, 1), (3, 15), (3, 16), (3, 17), (5, 31), (7, 32), (13, 33), (100, 10), (23, 784), (211, 113),
    (0, 5), (5, 0), (0, 0),
]  # fmt: skip
every_dtype = pytest.mark.parametrize("dtype", FLOATS)
every_shape = pytest.mark.parametrize("shape", SHAPES)


def draw(shape, dtype, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def sum_in_order(dy):
    """Of the rows, from +0 on, each addition rounded to the dtype."""
    total = np.zeros(dy.shape[1], dy.dtype)
    for row in dy:
        total = total + row
    return total


@every_dtype
@every_shape
def test_fprop(shape, dtype, guarded):
    x, b = guarded(draw(shape, dtype)), guarded(draw(shape[1], dtype, 2))
    out = guarded(np.full(shape, 7, dtype))
    kernels.bias_fprop(x, b, out)
    assert_same_bits(out, x + b)  # one rounding: no bound needed


@every_dtype
@every_shape
def test_fprop_in_place(shape, dtype, guarded):
    x, b = guarded(draw(shape, dtype)), draw(shape[1], dtype, 2)
    expected = x + b
    kernels.bias_fprop(x, b, x)
    assert_same_bits(x, expected)


@every_dtype
@every_shape
def test_bprop(shape, dtype, guarded):
    dy, out = guarded(draw(shape, dtype)), guarded(np.full(shape[1], 7, dtype))
    kernels.bias_bprop(dy, out)
    assert_same_bits(out, sum_in_order(dy))
    # (batch - 1) roundings, each half an eps of a partial sum of magnitudes at most; in order of
    # the rows. The float64 reference sums pairwise: log2(batch) more of its own.
    expected = dy.astype(np.float64).sum(axis=0)
    size = np.abs(dy.astype(np.float64)).sum(axis=0)
    assert_within(out, expected, size * eps(dtype), shape[0] / 2 + 4)


@every_dtype
def test_special_values(dtype):
    info = np.finfo(dtype)
    values = [np.nan, np.inf, -np.inf, 0.0, -0.0, info.smallest_subnormal, -info.tiny, info.max]
    x, b = (np.ascontiguousarray(v) for v in np.array(np.meshgrid(values, values), dtype))
    out = np.empty_like(x)
    for row in b:
        kernels.bias_fprop(x, row.copy(), out)
        with np.errstate(all="ignore"):
            assert_same_bits(out, x + row)
    sums = np.empty(len(values), dtype)
    for dy in (x, b):
        kernels.bias_bprop(dy, sums)
        with np.errstate(all="ignore"):
            assert_same_bits(sums, sum_in_order(dy))


@every_dtype
@pytest.mark.parametrize("before", [False, True])
def test_no_read_outside(before, dtype, fenced):
    for shape in [(3, 5), (2, 17), (4, 33)]:
        x, b = fenced(draw(shape, dtype), before), fenced(draw(shape[1], dtype), before)
        out, sums = (
            fenced(np.zeros(shape, dtype), before),
            fenced(np.zeros(shape[1], dtype), before),
        )
        kernels.bias_fprop(x, b, out)
        kernels.bias_bprop(x, sums)
        assert_same_bits(out, x + b)
        assert_same_bits(sums, sum_in_order(x))
