"""kernels/update.py: one step of each rule, to the bit; test_optimisers.py takes 100 of them."""

from fractions import Fraction

import numpy as np
import pytest
import reference
from plain import PLAIN, cut
from reference import assert_same_bits, assert_within, eps

from jitprop import kernels

FLOATS = (np.float32, np.float64)
SHAPES = cut([(1, 1), (3, 5), (1, 16), (1, 17), (784, 10), (97, 113), (0, 3)], 9, 113)
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


def adam_means(m, v, g, betas):
    """Every rounding as it is specified."""
    beta1, beta2 = betas
    m = fma(g - m, 1 - beta1, m) if beta1 >= 0.5 else fma(m - g, beta1, g)
    part = g * np.float32(1 - beta2)
    if beta2 == 0:
        return m, g * part
    high = int(beta2 * 2**20 - 0.5) / 2**20
    return m, fma(v, high, fma(g, part, v * np.float32(beta2 - high)))


@every_shape
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.25), (0.0, 0.0)])
@pytest.mark.parametrize("decay", [0, 0.01])
@pytest.mark.parametrize("name", ["adam_update", "adamw_update"])
def test_adam(name, decay, betas, shape, guarded):
    w, dw, m, v = map(guarded, draw(shape, np.float32, 4))
    v[...] = np.abs(v)
    step, root, eps = 0.02, 1.7, 1e-3
    coupled = decay and name == "adam_update"
    g = fma(w, decay, dw) if coupled else dw
    new_m, new_v = adam_means(m, v, g, betas)
    before = w.copy() if coupled else fma(w, -decay, w)
    expected = fma(new_m / fma(np.sqrt(new_v), root, eps), -step, before)
    if name == "adam_update":
        kernels.adam_update(w, dw, m, v, step, root, *betas, eps, decay)
    else:
        kernels.adamw_update(w, dw, m, v, step, root, decay, *betas, eps)
    assert_same_bits(m, new_m)
    assert_same_bits(v, new_v)
    assert_same_bits(w, expected)


BETAS = [0, 1e-300, 1e-30, 1e-12, 1e-7, 1e-3, 0.1, 0.25, 0.4999, 0.5, 0.5001, 0.75, 0.9, 0.95, 0.99]
BETAS += [0.999, 0.9999999, 1 - 2**-33, 1 - 2**-53]


@every_dtype
@pytest.mark.parametrize("beta", BETAS[::6] if PLAIN else BETAS)
def test_adam_means_against_exact_arithmetic(beta, dtype):
    """For old means and gradients of all sizes, whether their squares are numbers or too large."""
    largest = np.finfo(dtype).maxexp - 2
    sizes = 1.37 * np.ldexp(1.0, np.linspace(-largest // 2, largest, 13).astype(int))
    olds, gs = (a.reshape(-1) for a in np.meshgrid([*sizes, 0], [*sizes, *-sizes, 0]))
    dw, m, v = gs.astype(dtype), -olds.astype(dtype), olds.astype(dtype)
    kernels.adam_update(np.zeros_like(dw), dw, m, v, 0, 1, beta, beta, 1, 0)
    kept, exact = Fraction(beta), lambda a: np.array([Fraction(float(x)) for x in a], object)
    old, g = exact(olds.astype(dtype)), exact(dw)
    means = -kept * old, kept * old, (1 - kept) * g, (1 - kept) * g * g
    for found, a, b in (m, means[0], means[2]), (v, means[1], means[3]):
        size = abs(a) + abs(b)  # what the roundings are shares of
        inside = size < Fraction(float(np.finfo(dtype).max))
        assert np.isinf(found[size > 2 * Fraction(float(np.finfo(dtype).max))]).all()
        # 1 - beta is rounded, its product with g, that with g again or that of old and beta, the
        # sum: an eps/2 each. The last term is for those that are subnormal.
        unit = 2.5 * eps(dtype) * size[inside].astype(np.float64)
        unit += 4 * np.finfo(dtype).smallest_subnormal
        off = abs(exact(found[inside]) - (a + b)[inside]).astype(np.float64)
        assert (off <= unit).all()


@every_dtype
def test_an_infinite_mean_of_squares_stays_so_until_it_is_forgotten(dtype):
    huge = float(np.finfo(dtype).max)
    for beta, expected in (0.999, np.inf), (0.5, np.inf), (0.1, np.inf), (0.0, 4.0):
        w, dw, m, v = (np.full(17, value, dtype) for value in (1, huge, 0, 0))
        for g in (huge, 2, 2):
            dw[...] = g
            kernels.adam_update(w, dw, m, v, 0.1, 1, 0.9, beta, 1e-8, 0)
        assert_same_bits(v, np.full(17, expected, dtype))
        assert np.isfinite(w).all()


@every_dtype
@pytest.mark.parametrize("decay", [0.01, 1e-5, 1e-30])
@pytest.mark.parametrize("name", ["momentum_update", "nesterov_update", "adam_update"])
def test_no_weight_decay_is_too_small(name, decay, dtype):
    """The gradient of large weights is the decay's alone."""
    w = np.full(17, 1 / decay, dtype)
    dw, m, v = (np.zeros_like(w) for _ in range(3))
    if name == "adam_update":
        kernels.adam_update(w, dw, m, v, 0.1, 1, 0, 0, 1e-8, decay)
    else:
        getattr(kernels, name)(w, dw, m, 0.1, 0.9, decay)
    np.testing.assert_allclose(m, 1, rtol=2 * eps(dtype))


@every_dtype
@pytest.mark.parametrize("name", ["momentum_update", "nesterov_update", "adam_update"])
def test_no_weight_decay_does_not_look_at_the_weights(name, dtype):
    """0 * inf would be NaN."""
    w, zeros = np.full(17, np.inf, dtype), [np.zeros(17, dtype) for _ in range(3)]
    if name == "adam_update":
        kernels.adam_update(w, *zeros, 0.1, 1, 0.9, 0.99, 1e-8, 0)
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
    kernels.adam_update(w, dw, m, v, 0.1, 1, 0.9, 0.999, 1e-8, 0)
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


@every_dtype
def test_adam_above(dtype):
    """With 0, it is adam_update; else what is below counts as 0, and what is not, as there."""
    rng = np.random.default_rng(8)
    w, dw, m = (rng.standard_normal(500).astype(dtype) for _ in range(3))
    v, how = m * m, (0.01, 1.5, 0.9, 0.999, 1e-8, 0.01)
    expected, found = [w.copy(), m.copy(), v.copy()], [w.copy(), m.copy(), v.copy()]
    kernels.adam_update(expected[0], dw, *expected[1:], *how)
    kernels.adam_update_above(found[0], dw, *found[1:], *how, 0)
    assert all(map(np.array_equal, found, expected))
    small = np.arange(500) % 3 == 0
    for array in (w, dw, m):
        array[small] *= dtype(1e-12)
    v = m * m
    found, zeroed = [w.copy(), m.copy(), v.copy()], np.where(small, 0, dw).astype(dtype)
    kernels.adam_update_above(found[0], dw, *found[1:], *how, 1e-10)
    expected = [w.copy(), m.copy(), v.copy()]
    how = *how[:-1], 0.0  # of the small ones, weight decay is small, too
    kernels.adam_update(expected[0], zeroed, *expected[1:], *how)
    assert np.array_equal(found[0][small], np.where(small, w, 0)[small])
    assert not found[1][small].any()
    assert not found[2][small].any()
    again = [w.copy(), m.copy(), m * m]
    kernels.adam_update(again[0], dw, *again[1:], *how[:-1], 0.01)
    for one, other in zip(found, again, strict=True):
        assert np.array_equal(one[~small], other[~small])


@pytest.mark.parametrize("kind", ["zero gradient", "weight decay"])
def test_no_mean_stays_at_subnormal_numbers(kind):
    w, v = np.full(16, 1e-3, np.float32), np.full(16, 1e-6, np.float32)
    dw, m = np.zeros(16, np.float32), np.full(16, 1e-3, np.float32)
    decay = 0.0 if kind == "zero gradient" else 1e-7
    for _ in range(3000):
        kernels.adam_update_above(w, dw, m, v, 1e-3, 1.0, 0.9, 0.99, 1e-8, decay, 2**-40 * 1e-8)
        for array in (w, m, v):
            assert not (np.abs(array[array != 0]) < np.finfo(np.float32).tiny).any()
    assert kind == "weight decay" or not m.any()
