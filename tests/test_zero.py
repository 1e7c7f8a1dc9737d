"""kernels/zero.py: nothing but zeros, and nothing written beside them."""

import numpy as np
import pytest
from reference import assert_same_bits

from jitprop import kernels


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [0, 1, 7, 16, 17, 33, 20011])
def test_zero(size, dtype, guarded):
    out = guarded(np.full(size, np.nan, dtype))
    kernels.zero(out)
    assert_same_bits(out, np.zeros(size, dtype))


def test_refusals():
    with pytest.raises(TypeError, match="zero: out has dtype int64, expected float32 or float64"):
        kernels.zero(np.ones(3, np.int64))
    with pytest.raises(ValueError, match="zero: out is not C-contiguous"):
        kernels.zero(np.ones(6)[::2])
    with pytest.raises(ValueError, match=r"zero: out has shape \(2, 3\), expected \(n,\)"):
        kernels.zero(np.ones((2, 3)))
