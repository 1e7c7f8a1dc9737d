"""kernels/update.py: one step of each rule, to the bit; test_optimisers.py takes 100 of them."""

import numba
import numpy as np
import pytest
import reference
from reference import assert_same_bits, assert_within, eps

from jitprop import kernels

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


def fma(x, y, z):
    """With every number rounded to float32 first, as kernels take it."""
    return reference.fma32(
        *(np.asarray(value, np.float32) for value in np.broadcast_arrays(x, y, z))
    )


@every_shape
@pytest.mark.parametrize("decay", [0, 0.01])
@pytest.mark.parametrize("name", ["momentum_update", "nesterov_update"])
def test_momentum_with_weight_decay(name, decay, shape, guarded):
    w, dw, velocity = map(guarded, draw(shape, np.float32, 3))
    g = fma(w, decay, dw) if decay else dw
    v = fma(velocity, 0.9, g)
    expected = fma(fma(v, 0.9, g) if name == "nesterov_update" else v, -0.1, w)
    getattr(kernels, name)(w, dw, velocity, 0.1, 0.9, decay)
    assert_same_bits(velocity, v)
    assert_same_bits(w, expected)


@every_shape
@pytest.mark.parametrize("decay", [0, 0.01])
@pytest.mark.parametrize("name", ["adam_update", "adamw_update"])
def test_adam(name, decay, shape, guarded):
    w, dw, m, v = map(guarded, draw(shape, np.float32, 4))
    v[...] = np.abs(v)
    step, root, gain1, gain2, eps = 0.02, 1.7, 0.1, 0.01, 1e-3
    coupled = decay and name == "adam_update"
    g = fma(w, decay, dw) if coupled else dw
    new_m = fma(g - m, gain1, m)
    new_v = fma(fma(g, g, -v), gain2, v)
    before = w.copy() if coupled else fma(w, -decay, w)
    expected = fma(new_m / fma(np.sqrt(new_v), root, eps), -step, before)
    if name == "adam_update":
        kernels.adam_update(w, dw, m, v, step, root, gain1, gain2, eps, decay)
    else:
        kernels.adamw_update(w, dw, m, v, step, root, decay, gain1, gain2, eps)
    assert_same_bits(m, new_m)
    assert_same_bits(v, new_v)
    assert_same_bits(w, expected)


@every_dtype
@pytest.mark.parametrize("name", ["momentum_update", "nesterov_update", "adam_update"])
def test_no_weight_decay_does_not_look_at_the_weights(name, dtype):
    """0 * inf would be NaN."""
    w, zeros = np.full(17, np.inf, dtype), [np.zeros(17, dtype) for _ in range(3)]
    if name == "adam_update":
        kernels.adam_update(w, *zeros, 0.1, 1, 0.1, 0.01, 1e-8, 0)
    else:
        getattr(kernels, name)(w, *zeros[:2], 0.1, 0.9, 0)
    for array in (w, *zeros):
        assert not np.isnan(array).any()


@every_dtype
def test_squares_stay_above_zero(dtype):
    """v moves towards dw^2 and never past it, whatever the sizes."""
    sizes = np.ldexp(1.0, np.arange(-60, 60, 7)).astype(dtype)
    dw, v = (np.ascontiguousarray(a) for a in np.meshgrid(sizes, sizes**2))
    w, m, before = np.zeros_like(dw), np.zeros_like(dw), v.copy()
    kernels.adam_update(w, dw, m, v, 0.1, 1, 0.1, 0.001, 1e-8, 0)
    assert (v >= np.minimum(before, dw**2)).all()
    assert (v <= np.maximum(before, dw**2)).all()


def test_next_numbers():
    table, place, out = np.arange(6.0).reshape(3, 2), np.zeros(1, np.int64), np.zeros(2)
    for row in table:
        kernels.next_numbers(table, place, out)
        np.testing.assert_array_equal(out, row)
    for outside in (3, -1):
        place[0] = outside
        kernels.next_numbers(table, place, out)
        assert place[0] == outside
        np.testing.assert_array_equal(out, table[2])


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
