"""kernels/runtime/memory.py: zeros that begin where a cache line does."""

import numpy as np
import pytest

from jitprop import kernels
from jitprop.layers import Linear
from jitprop.training.optimisers import SGD


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 5), (0, 7), (100, 784), (2, 3, 4)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_like_numpy(shape, dtype):
    found = kernels.aligned_zeros(shape, dtype)
    expected = np.zeros(shape, dtype)
    assert (found.shape, found.dtype, found.flags.c_contiguous) == (shape, expected.dtype, True)
    np.testing.assert_array_equal(found, expected)
    assert found.size == 0 or found.ctypes.data % 64 == 0
    found[...] = 1
    assert found.all()


def test_what_training_works_on_is_aligned():
    net = Linear(7, 30)
    optimiser = SGD(net, 0.1, momentum=0.9)
    y = net.fprop(np.ones((3, 7), np.float32))
    for array in (net.w, net.dw, y, *optimiser.arrays().values()):
        if array.ndim == 2:
            assert array.ctypes.data % 64 == 0
