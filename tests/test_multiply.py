"""kernels/multiply.py: every element, with NumPy's bits."""

import numpy as np
import pytest
from elementwise import LONGEST, assert_elementwise, run
from reference import assert_same_bits

from jitprop.kernels import multiply

every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@every_dtype
def test_every_element(dtype, guarded, fenced):
    a, b = np.random.default_rng(1).standard_normal((2, LONGEST)).astype(dtype)
    assert_same_bits(run(multiply, a, b), a * b)
    assert_same_bits(run(multiply, a, a), a * a)
    assert_elementwise(multiply, [a, b], guarded, fenced)


@every_dtype
def test_special_values(dtype):
    info = np.finfo(dtype)
    values = [np.nan, np.inf, -np.inf, 0.0, -0.0, info.smallest_subnormal, -info.tiny, info.max, 1]
    a, b = (x.ravel() for x in np.meshgrid(np.array(values, dtype), np.array(values, dtype)))
    with np.errstate(all="ignore"):
        assert_same_bits(run(multiply, a, b), a * b)
