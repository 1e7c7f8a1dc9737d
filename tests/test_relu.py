"""kernels/relu.py: every element, exactly."""

import numpy as np
import pytest
from elementwise import LONGEST, RANKS, assert_any_shape, assert_elementwise, run
from reference import assert_same_bits

from jitprop.kernels import relu_bprop, relu_fprop

every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@every_dtype
def test_every_element(dtype, guarded, fenced):
    x, dy = np.random.default_rng(1).standard_normal((2, LONGEST)).astype(dtype)
    y = run(relu_fprop, x)
    assert_same_bits(y, np.where(x > 0, x, dtype(0)))
    assert_same_bits(run(relu_bprop, y, dy), np.where(x > 0, dy, dtype(0)))
    assert_elementwise(relu_fprop, [x], guarded, fenced)
    assert_elementwise(relu_bprop, [y, dy], guarded, fenced)
    if dtype == np.float32:
        assert_any_shape(relu_bprop, [y, dy], RANKS)


@every_dtype
def test_special_values(dtype):
    """NaN stays; at 0 the gradient is 0, of whatever sign; what is cut off is 0, not 0 times it."""
    nan, inf, tiny = np.nan, np.inf, np.finfo(dtype).smallest_subnormal
    x = np.array([nan, inf, -inf, 0.0, -0.0, tiny, -tiny, -1, -1], dtype)
    dy = np.array([2, 3, 4, 5, 6, 7, 8, inf, nan], dtype)
    y = run(relu_fprop, x)
    assert_same_bits(y, np.array([nan, inf, 0, 0, 0, tiny, 0, 0, 0], dtype))
    expected = np.array([2, 3, 0, 0, 0, 7, 0, 0, 0], dtype)
    assert_same_bits(run(relu_bprop, y, dy), expected)
    assert_same_bits(run(relu_bprop, x, dy), expected)
