"""layers/bias.py: y = x + b, and what it refuses."""

import numpy as np
import pytest

from jitprop.layers import Bias, gradcheck


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (13, 10), (5, 200), (0, 4)])
def test_fprop_bprop_and_update(shape, dtype):
    rng = np.random.default_rng(1)
    x, dy = rng.standard_normal((2, *shape)).astype(dtype)
    bias = Bias(shape[1], dtype)
    assert not bias.b.any()
    bias.b[:] = b = rng.standard_normal(shape[1]).astype(dtype)
    np.testing.assert_array_equal(bias.fprop(x), x + b, strict=True)
    np.testing.assert_array_equal(bias.bprop(dy), dy, strict=True)
    eps = np.finfo(dtype).eps  # 13 sums of numbers of size one, half an eps of up to 10 each
    np.testing.assert_allclose(bias.db, dy.sum(axis=0, dtype=np.float64), rtol=0, atol=64 * eps)
    assert bias.bprop(dy, need_dx=False) is None
    bias.update(0.5)
    np.testing.assert_allclose(bias.b, b - bias.db / 2, rtol=2 * eps)


def test_gradients():
    bias = Bias(4)
    bias.b[:] = [1, -2, 0.5, 0]
    assert gradcheck(bias, np.random.default_rng(2).standard_normal((3, 4)))


def test_parameters_and_widths():
    bias = Bias(4)
    (parameter,) = bias.parameters()
    assert parameter.name == "b"
    assert parameter.value is bias.b
    assert parameter.grad is bias.db
    assert bias.out_width(4) == 4
    assert repr(bias) == "Bias(4)"


def test_refusals():
    with pytest.raises(ValueError, match=r"^Bias\(0\): the width must be at least 1"):
        Bias(0)
    with pytest.raises(TypeError, match=r"^Bias\(2\): dtype is int64, expected float32 or float64"):
        Bias(2, np.int64)
    bias = Bias(4)
    with pytest.raises(ValueError, match=r"^Bias\(4\): x has 3 features, expected 4"):
        bias.out_width(3)
    with pytest.raises(ValueError, match=r"^Bias\(4\): x has shape \(2, 3\), expected \(batch, 4"):
        bias.fprop(np.zeros((2, 3), np.float32))
    with pytest.raises(TypeError, match=r"^Bias\(4\): x is float64, the parameters are float32"):
        bias.fprop(np.zeros((2, 4)))
    with pytest.raises(RuntimeError, match=r"^Bias\(4\): bprop before fprop"):
        bias.bprop(np.zeros((2, 4), np.float32))
