"""layers/activation.py and its modules: what each computes, and what they refuse."""

import numpy as np
import pytest

from jitprop.layers import LogSoftmax, ReLU, Sigmoid, Softmax, Tanh, gradcheck


def tanh(x, dy):
    y = np.tanh(x)
    return y, dy * (1 - y * y)


def sigmoid(x, dy):
    y = 1 / (1 + np.exp(-x))
    return y, dy * y * (1 - y)


def relu(x, dy):
    return np.maximum(x, 0), dy * (x > 0)


def softmax(x, dy):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    y = e / e.sum(axis=1, keepdims=True)
    return y, y * (dy - (dy * y).sum(axis=1, keepdims=True))


def log_softmax(x, dy):
    y = np.log(softmax(x, dy)[0])
    return y, dy - np.exp(y) * dy.sum(axis=1, keepdims=True)


REFERENCES = {
    Tanh: tanh,
    Sigmoid: sigmoid,
    ReLU: relu,
    Softmax: softmax,
    LogSoftmax: log_softmax,
}
every_kind = pytest.mark.parametrize("kind", REFERENCES)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (1, 10), (7, 1), (13, 10), (5, 200)])
@every_kind
def test_fprop_and_bprop(kind, shape, dtype):
    rng = np.random.default_rng(1)
    x = rng.uniform(-2, 2, shape).astype(dtype)
    dy = rng.standard_normal(shape).astype(dtype)
    module = kind()
    y = module.fprop(x)
    dx = module.bprop(dy)
    assert y.dtype == dx.dtype == dtype
    expected_y, expected_dx = REFERENCES[kind](x.astype(np.float64), dy.astype(np.float64))
    # The rounding of x - max(x), up to 4 here, moves exp by as many eps; a few ulps more for
    # exp, the sum and the quotient. dx is judged against the terms that it is the difference of.
    eps = np.finfo(dtype).eps
    size = np.abs(dy).sum() if kind is LogSoftmax else np.abs(dy).max()
    np.testing.assert_allclose(y, expected_y, rtol=32 * eps, atol=4 * eps)
    assert np.all(np.abs(dx - expected_dx) <= 64 * eps * size)


@every_kind
def test_gradients(kind):
    assert gradcheck(kind(), np.random.default_rng(2).standard_normal((3, 5)))


@every_kind
def test_has_a_width_and_no_parameters(kind):
    module = kind()
    module.update(0.1)
    assert module.parameters() == []
    assert module.out_width(7) == 7
    assert repr(module) == f"{kind.__name__}()"


@every_kind
def test_one_module_takes_any_width_and_precision(kind):
    module = kind()
    for shape, dtype in [((4, 3), np.float32), ((9, 3), np.float64), ((2, 3), np.float32)]:
        assert module.fprop(np.zeros(shape, dtype)).dtype == dtype
        assert module.bprop(np.zeros(shape, dtype)).shape == shape


@every_kind
def test_buffers_are_reused_for_shorter_batches(kind):
    module = kind()
    x = np.random.default_rng(3).standard_normal((8, 4)).astype(np.float32)
    whole = module.fprop(x)
    expected = whole[:3].copy()
    short = module.fprop(x[:3])
    assert np.shares_memory(short, whole)
    np.testing.assert_array_equal(short, expected)


@every_kind
def test_empty_batch_and_unneeded_dx(kind):
    module = kind()
    x = np.zeros((0, 4), np.float32)
    assert module.fprop(x).shape == (0, 4)
    assert module.bprop(x).shape == (0, 4)
    assert module.bprop(x, need_dx=False) is None


@every_kind
def test_fortran_order_gives_the_same_result(kind):
    module = kind()
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
    np.testing.assert_array_equal(LogSoftmax().fprop(x)[0], [0, -1e4, -2e4])


@every_kind
def test_refusals(kind):
    module, name = kind(), rf"^{kind.__name__}\(\): "
    with pytest.raises(RuntimeError, match=name + "bprop before fprop"):
        module.bprop(np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match=name + r"x has shape \(3,\), expected \(batch, feat"):
        module.fprop(np.zeros(3, np.float32))
    with pytest.raises(TypeError, match="x is int64, expected float32 or float64"):
        module.fprop(np.zeros((2, 3), np.int64))
    module.fprop(np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match=r"dy has shape \(3, 2\), the last fprop returned \(2, 3"):
        module.bprop(np.zeros((3, 2), np.float32))
    with pytest.raises(TypeError, match="dy is float64, the last fprop returned float32"):
        module.bprop(np.zeros((2, 3)))
