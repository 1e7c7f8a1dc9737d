"""kernels/log_softmax.py: logarithms of probabilities, and the gradient."""

import numpy as np
import pytest
import reference
from elementwise import run
from plain import cut
from reference import assert_same_bits, assert_within, eps

from jitprop.kernels import log_softmax_bprop, log_softmax_fprop

SHAPES = [(1, 1), (3, 10), (16, 16), (17, 15), (5, 33), (211, 113), (2, 10_000), (0, 10)]
SHAPES = cut(SHAPES, 5, 200)
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])
every_shape = pytest.mark.parametrize("shape", SHAPES)


def draw(shape, dtype):
    rng = np.random.default_rng(1)
    return (3 * rng.standard_normal(shape)).astype(dtype), rng.standard_normal(shape).astype(dtype)


def assert_right(x, y):
    """With gap = max - x: its rounding is half an eps of it, as is that of the result; the sum of n
    exponentials is off by what tests/test_softmax_cross_entropy.py says, and so is its logarithm,
    absolutely. The float64 reference has errors of this kind itself.
    """
    n = x.shape[1]
    p = reference.softmax(x)
    gap = x.max(axis=1, keepdims=True, initial=-np.inf) - x.astype(np.float64)
    mean_gap = np.where(p == 0, 0, p * gap).sum(axis=1, keepdims=True)
    unit = eps(x.dtype) * (gap + 4 + mean_gap + (n / 16 + 4) / 2 + np.log(n))
    assert_within(y, reference.log_softmax(x), unit, 2)


@every_dtype
@every_shape
def test_fprop(shape, dtype, guarded):
    x, _ = map(guarded, draw(shape, dtype))
    y = guarded(np.full(shape, 7, dtype))
    log_softmax_fprop(x, y)
    assert_right(x, y)
    log_softmax_fprop(x, x)
    assert_same_bits(x, y)


@every_dtype
@every_shape
def test_bprop(shape, dtype, guarded):
    x, dy = draw(shape, dtype)
    y, dy = guarded(run(log_softmax_fprop, x)), guarded(dy)
    out = guarded(np.full(shape, 7, dtype))
    log_softmax_bprop(y, dy, out)
    # A sum of n/16 + 4 roundings of at most the sum of magnitudes; exp, off by 2 eps, times it.
    size = np.abs(dy.astype(np.float64)).sum(axis=1, keepdims=True)
    unit = eps(dtype) * (np.abs(dy) + np.exp(y.astype(np.float64)) * size)
    assert_within(out, reference.log_softmax_bprop(y, dy), unit, 3 + (shape[1] / 16 + 4) / 2)
    for place in range(2):
        same = [y.copy(), dy.copy()]
        log_softmax_bprop(*same, same[place])
        assert_same_bits(same[place], out)


@every_dtype
def test_extreme_logits(dtype):
    x = np.array(
        [[1e4, -1e4, 0], [-1e4, -1e4, -1e4], [0, -np.inf, 0], [-np.inf, 7, -np.inf]], dtype
    )
    y = run(log_softmax_fprop, x)
    log = np.log([2, 3])
    np.testing.assert_array_equal(y[0], [0, -2e4, -1e4])
    np.testing.assert_allclose(y[1], -log[1], rtol=2 * eps(dtype))
    np.testing.assert_allclose(y[2], [-log[0], -np.inf, -log[0]], rtol=2 * eps(dtype))
    np.testing.assert_array_equal(y[3], [-np.inf, 0, -np.inf])
    dy = np.ones_like(x)
    assert np.isfinite(run(log_softmax_bprop, y, dy)).all()


@every_dtype
@pytest.mark.parametrize("n", [3, 21])
def test_nan_stays_in_its_row(n, dtype):
    x, dy = draw((3, n), dtype)
    clean = run(log_softmax_fprop, x)
    clean_dx = run(log_softmax_bprop, clean, dy)
    for place in (0, n - 1):
        bad, bad_dy = x.copy(), dy.copy()
        bad[1, place] = bad_dy[1, place] = np.nan
        y = run(log_softmax_fprop, bad)
        assert np.isnan(y[1]).all()
        assert_same_bits(y[::2], clean[::2])
        dx = run(log_softmax_bprop, clean, bad_dy)
        assert np.isnan(dx[1]).all()
        assert_same_bits(dx[::2], clean_dx[::2])


@every_dtype
@pytest.mark.parametrize("before", [False, True])
def test_no_read_outside(before, dtype, fenced):
    for shape in [(3, 5), (17, 17)]:
        x, dy = (fenced(array, before) for array in draw(shape, dtype))
        y, dx = fenced(np.empty(shape, dtype), before), fenced(np.empty(shape, dtype), before)
        log_softmax_fprop(x, y)
        log_softmax_bprop(y, dy, dx)
        assert np.isfinite(dx).all()
