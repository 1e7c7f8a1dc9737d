"""layers/softmax.py: y = exp(x) / sum(exp(x)), dx = y (dy - sum(dy y)), and what it refuses."""

import numpy as np
import pytest

from layers import Softmax, gradcheck


def reference(x, dy):
    e = np.exp(x.astype(np.float64) - x.max(axis=1, keepdims=True))
    y = e / e.sum(axis=1, keepdims=True)
    return y, y * (dy - (dy * y).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (1, 10), (7, 1), (13, 10), (5, 200)])
def test_fprop_and_bprop(shape, dtype):
    rng = np.random.default_rng(1)
    x = rng.uniform(-2, 2, shape).astype(dtype)
    dy = rng.standard_normal(shape).astype(dtype)
    module = Softmax()
    y = module.fprop(x)
    dx = module.bprop(dy)
    assert y.dtype == dx.dtype == dtype
    expected_y, expected_dx = reference(x, dy)
    # The rounding of x - max(x), up to 4 here, moves exp by as many eps; a few ulps more for exp,
    # the sum and the quotient. dx is judged against the terms that it is the difference of.
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(y, expected_y, rtol=32 * eps, atol=0)
    assert np.all(np.abs(dx - expected_dx) <= 64 * eps * np.abs(dy).max())


def test_gradients():
    assert gradcheck(Softmax(), np.random.default_rng(2).standard_normal((3, 5)))


def test_has_no_parameters():
    module = Softmax()
    module.update(0.1)
    assert module.parameters() == []
    assert repr(module) == "Softmax()"


def test_one_module_takes_any_width_and_precision():
    module = Softmax()
    for shape, dtype in [((4, 3), np.float32), ((9, 3), np.float64), ((2, 3), np.float32)]:
        assert module.fprop(np.zeros(shape, dtype)).dtype == dtype
        assert module.bprop(np.zeros(shape, dtype)).shape == shape


def test_buffers_are_reused_for_shorter_batches():
    module = Softmax()
    x = np.random.default_rng(3).standard_normal((8, 4)).astype(np.float32)
    whole = module.fprop(x)
    expected = whole[:3].copy()
    short = module.fprop(x[:3])
    assert np.shares_memory(short, whole)
    np.testing.assert_array_equal(short, expected)


def test_empty_batch_and_unneeded_dx():
    module = Softmax()
    x = np.zeros((0, 4), np.float32)
    assert module.fprop(x).shape == (0, 4)
    assert module.bprop(x).shape == (0, 4)
    assert module.bprop(x, need_dx=False) is None


def test_fortran_order_gives_the_same_result():
    module = Softmax()
    rng = np.random.default_rng(4)
    x, dy = rng.standard_normal((2, 5, 3))
    y, dx = module.fprop(x).copy(), module.bprop(dy).copy()
    np.testing.assert_array_equal(module.fprop(np.asfortranarray(x)), y)
    np.testing.assert_array_equal(module.bprop(np.asfortranarray(dy)), dx)


def test_rows_sum_to_one_for_logits_of_any_size():
    x = np.array([[1e4, 0, -1e4], [-1e4, -1e4, -1e4], [700.0, 710.0, 709.0]])
    y = Softmax().fprop(x)
    # Three terms, each rounded twice.
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=4 * np.finfo(np.float64).eps)
    np.testing.assert_array_equal(y[0], [1, 0, 0])


def test_refusals():
    module = Softmax()
    with pytest.raises(RuntimeError, match=r"Softmax\(\): bprop before fprop"):
        module.bprop(np.zeros((2, 3), np.float32))
    with pytest.raises(
        ValueError, match=r"Softmax\(\): x has shape \(3,\), expected \(batch, feat"
    ):
        module.fprop(np.zeros(3, np.float32))
    with pytest.raises(TypeError, match="x is int64, expected float32 or float64"):
        module.fprop(np.zeros((2, 3), np.int64))
    module.fprop(np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match=r"dy has shape \(3, 2\), the last fprop returned \(2, 3"):
        module.bprop(np.zeros((3, 2), np.float32))
    with pytest.raises(TypeError, match="dy is float64, the last fprop returned float32"):
        module.bprop(np.zeros((2, 3)))
