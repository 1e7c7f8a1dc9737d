"""kernels/weigh.py: rows times their weights, and 1 / the sum of weights."""

import numpy as np
import pytest
import reference
from reference import assert_same_bits

from jitprop import kernels

FLOATS = (np.float32, np.float64)
SHAPES = [
    (1, 1), (300, 1), (3, 15), (3, 16), (3, 17), (5, 31), (7, 32), (13, 33), (100, 10), (211, 113),
    (0, 5), (5, 0), (0, 0),
]  # fmt: skip
every_dtype = pytest.mark.parametrize("dtype", FLOATS)


def draw(shape, dtype, seed=1):
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0, 3, shape[0]) * (rng.random(shape[0]) < 0.7)
    return rng.standard_normal(shape).astype(dtype), weights.astype(dtype)


@every_dtype
@pytest.mark.parametrize("shape", SHAPES)
def test_weigh(shape, dtype, guarded):
    x, weights = map(guarded, draw(shape, dtype))
    x[weights == 0] = np.nan
    out = guarded(np.full(shape, 7, dtype))
    expected = np.where(weights[:, None] == 0, dtype(0), x * weights[:, None])
    kernels.weigh(x, weights, out)
    assert_same_bits(out, expected)  # one rounding: no bound needed
    reference.assert_ulps(out, reference.weigh(x, weights), 0.5)
    kernels.weigh(x, weights, x)
    assert_same_bits(x, expected)


@every_dtype
def test_a_weight_of_1_changes_nothing_and_one_of_0_leaves_nothing(dtype):
    info = np.finfo(dtype)
    values = [np.nan, np.inf, -np.inf, 0.0, -0.0, info.smallest_subnormal, -info.tiny, info.max, 1]
    x = np.array([values] * 5, dtype)
    out = np.empty_like(x)
    weights = np.array([1, 0, -0.0, np.inf, np.nan], dtype)
    kernels.weigh(x, weights, out)
    assert_same_bits(out[0], x[0])
    assert_same_bits(out[1:3], np.zeros_like(x[1:3]))
    with np.errstate(all="ignore"):
        assert_same_bits(out[3:], x[3:] * weights[3:, None])


@every_dtype
@pytest.mark.parametrize("before", [False, True])
def test_no_read_outside(before, dtype, fenced):
    for shape in [(3, 5), (2, 17), (4, 33), (5, 1)]:
        x, weights = (fenced(array, before) for array in draw(shape, dtype))
        out, share = fenced(np.zeros(shape, dtype), before), fenced(np.zeros(1), before)
        kernels.weigh(x, weights, out)
        kernels.share(weights, share)
        assert_same_bits(out, np.where(weights[:, None] == 0, dtype(0), x * weights[:, None]))


@every_dtype
@pytest.mark.parametrize("count", [1, 2, 50, 997])
def test_share(count, dtype, guarded):
    _, weights = draw((count, 1), dtype, 3)
    weights[0] = 0.1
    out = guarded(np.full(1, 7.0))
    kernels.share(guarded(weights), out)
    total = 0.0
    for weight in weights.tolist():  # in the same order: the same bits
        total += weight
    assert out[0] == 1 / total
    kernels.share(np.ones(count, dtype), out)
    assert out[0] == 1 / count


@every_dtype
def test_nothing_has_no_share(dtype):
    out = np.full(1, 7.0)
    for weights in (np.zeros(0, dtype), np.zeros(3, dtype)):
        kernels.share(weights, out)
        assert out[0] == 0
