"""layers/mean_squared_error.py: the loss, its gradient, and the targets that it takes."""

import numpy as np
import pytest

from jitprop.layers import MeanSquaredError, gradcheck


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (6, 10), (13, 2), (0, 3)])
def test_loss_and_gradient(shape, dtype):
    z, t = np.random.default_rng(1).standard_normal((2, *shape)).astype(dtype)
    loss = MeanSquaredError()
    value = loss.fprop(z, t)
    assert type(value) is float
    gap = z.astype(np.float64) - t.astype(np.float64)
    eps = float(np.finfo(dtype).eps)  # tens of roundings of positive terms
    assert value == pytest.approx((gap**2).mean(axis=1).sum(), rel=16 * eps)
    np.testing.assert_allclose(loss.bprop(0.25), gap / 2 / shape[1], rtol=4 * eps)
    rows = loss.rows(z, t)
    assert rows.dtype == dtype
    np.testing.assert_allclose(rows, (gap**2).mean(axis=1), rtol=16 * eps)


def test_the_mean_of_all_elements():
    """bprop(1 / batch) goes with the number that PyTorch calls the mean squared error."""
    z, t = np.random.default_rng(2).standard_normal((2, 5, 3))
    loss = MeanSquaredError()
    assert loss.fprop(z, t) / 5 == pytest.approx(np.mean((z - t) ** 2), rel=1e-14)
    np.testing.assert_allclose(loss.bprop(1 / 5), 2 * (z - t) / z.size, rtol=1e-14)


def test_gradients():
    z, t = np.random.default_rng(3).standard_normal((2, 3, 4))
    assert gradcheck(MeanSquaredError(), z, t)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64])
def test_targets_of_whole_numbers(dtype):
    z, t = np.random.default_rng(4).standard_normal((4, 3)), np.array([[0, 1, 1]] * 4, dtype)
    loss = MeanSquaredError()
    assert loss.fprop(z, t) == loss.fprop(z, t.astype(np.float64))
    assert loss.fprop(z, t.tolist()) == loss.fprop(z, t.astype(np.float64))
    assert loss.fprop(z, np.asfortranarray(t)) == loss.fprop(z, t.astype(np.float64))


def test_buffers_are_reused():
    z = np.ones((6, 3), np.float32)
    loss = MeanSquaredError()
    rows, dz = loss.rows(z, z), loss.bprop(1)
    assert np.shares_memory(loss.rows(z[:2], z[:2]), rows)
    assert np.shares_memory(loss.bprop(1), dz)


def test_refusals():
    loss, z = MeanSquaredError(), np.zeros((4, 1), np.float32)
    with pytest.raises(RuntimeError, match=r"^MeanSquaredError\(\): bprop before fprop"):
        loss.bprop(1)
    match = r"^MeanSquaredError\(\): t has shape \(4,\), expected \(4, 1\), that of z"
    with pytest.raises(ValueError, match=match):
        loss.fprop(z, np.zeros(4, np.float32))
    with pytest.raises(TypeError, match="t is float64, z is float32: convert one with astype"):
        loss.fprop(z, np.zeros((4, 1)))
    with pytest.raises(TypeError, match="z is int64, expected float32 or float64"):
        loss.fprop(z.astype(int), z)
