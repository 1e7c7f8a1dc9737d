"""kernels/scale.py: x * factor."""

import numpy as np
import pytest
from reference import assert_same_bits

from jitprop import kernels

FLOATS = (np.float32, np.float64)
every_dtype = pytest.mark.parametrize("dtype", FLOATS)


@every_dtype
@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (3, 5), (1, 16), (1, 17), (211, 113)])
@pytest.mark.parametrize("factor", [0.1, -3, 0, np.float32(0.1), np.int64(2)])
def test_scale(factor, shape, dtype, guarded):
    x = guarded(np.random.default_rng(1).standard_normal(shape).astype(dtype))
    out = guarded(np.full(shape, 7, dtype))
    expected = x * dtype(factor)  # one rounding after that of the factor
    kernels.scale(x, factor, out)
    assert_same_bits(out, expected)
    kernels.scale(x, factor, x)
    assert_same_bits(x, expected)


@every_dtype
def test_special_values(dtype):
    info = np.finfo(dtype)
    values = [np.nan, np.inf, -np.inf, 0.0, -0.0, info.smallest_subnormal, -info.tiny, info.max, 1]
    x = np.array([values], dtype)
    out = np.empty_like(x)
    for factor in (np.nan, np.inf, -np.inf, 0.0, -0.0, 0.5, -1.0, 2.0):
        kernels.scale(x, factor, out)
        with np.errstate(all="ignore"):
            assert_same_bits(out, x * dtype(factor))


@pytest.mark.parametrize("shape", [(5,), (40,), (2, 3, 4)])
def test_any_number_of_dimensions(shape):
    x = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    out = np.empty_like(x)
    kernels.scale(x, 2.0, out)
    assert_same_bits(out, x + x)
