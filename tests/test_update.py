"""kernels/update.py: gradient descent, plain and with momentum, to the bit."""

import numba
import numpy as np
import pytest
import reference
from reference import assert_same_bits, assert_within, eps

import kernels

PLAIN = bool(numba.config.DISABLE_JIT)
FLOATS = (np.float32, np.float64)
SHAPES = [(1, 1), (3, 5), (1, 16), (1, 17), (784, 10), (97, 113), (0, 3)]
every_dtype = pytest.mark.parametrize("dtype", FLOATS)
every_shape = pytest.mark.parametrize("shape", SHAPES)


def draw(shape, dtype, count):
    return list(np.random.default_rng(1).standard_normal((count, *shape)).astype(dtype))


@every_dtype
@every_shape
@pytest.mark.parametrize("rate", [0.1, -1, 0])
def test_sgd(rate, shape, dtype, guarded):
    w, dw = map(guarded, draw(shape, dtype, 2))
    before = w.copy()
    kernels.sgd_update(w, dw, rate)
    if dtype == np.float32:  # one fused multiply-add: every bit is specified
        assert_same_bits(w, reference.fma32(dw, -dtype(rate), before))
    # Half an ulp of the result, at most eps/2 of |w| + |rate dw|; as much for the rate's own
    # rounding to the dtype, and for the two roundings of the float64 reference.
    step = rate * dw.astype(np.float64)
    assert_within(w, before - step, eps(dtype) * (np.abs(before) + np.abs(step)), 2)


@every_dtype
@every_shape
@pytest.mark.parametrize(("rate", "momentum"), [(0.1, 0.9), (1, 0), (0, 1)])
def test_momentum(rate, momentum, shape, dtype, guarded):
    w, dw, velocity = map(guarded, draw(shape, dtype, 3))
    w_before, v_before = w.copy(), velocity.copy()
    kernels.momentum_update(w, dw, velocity, rate, momentum, 0)
    if dtype == np.float32:
        v = reference.fma32(v_before, dtype(momentum), dw)
        assert_same_bits(velocity, v)
        assert_same_bits(w, reference.fma32(v, -dtype(rate), w_before))
    v = momentum * v_before.astype(np.float64) + dw  # the bounds as above
    size = np.abs(v_before) + np.abs(dw.astype(np.float64))
    assert_within(velocity, v, eps(dtype) * size, 2)
    size = np.abs(w_before) + abs(rate) * size
    assert_within(w, w_before - rate * v, eps(dtype) * size, 4)


@pytest.mark.skipif(PLAIN, reason="the plain fma of float64 is rounded twice")
def test_float64_bits():
    w, dw, velocity = draw((3, 7), np.float64, 3)
    plain = w.copy()
    kernels.sgd_update(plain, dw, 0.1)
    assert_same_bits(plain, reference.fma64(dw, -0.1, w))
    v = reference.fma64(velocity, 0.9, dw)
    expected = reference.fma64(v, -0.1, w)
    kernels.momentum_update(w, dw, velocity, 0.1, 0.9, 0)
    assert_same_bits(velocity, v)
    assert_same_bits(w, expected)


@every_dtype
def test_special_values(dtype):
    info = np.finfo(dtype)
    values = [np.nan, np.inf, -np.inf, 0.0, -0.0, info.smallest_subnormal, -info.tiny, 1.0]
    w, dw = (np.ascontiguousarray(v) for v in np.array(np.meshgrid(values, values), dtype))
    for rate in (1.0, 0.0, np.inf, np.nan):
        updated = w.copy()
        kernels.sgd_update(updated, dw, rate)
        with np.errstate(all="ignore"):
            assert_same_bits(updated, w - dtype(rate) * dw)  # these products are exact


@every_dtype
def test_biases_have_one_dimension(dtype):
    w, dw, velocity = draw((10,), dtype, 3)
    once, twice = w.copy(), w.copy()
    kernels.sgd_update(once, dw, 0.5)
    kernels.momentum_update(twice, dw, velocity, 0.5, 0.0, 0)
    assert_same_bits(once, twice)
