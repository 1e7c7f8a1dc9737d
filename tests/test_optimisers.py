"""Gradient descent with momentum, against the rule in NumPy."""

import numpy as np
import pytest

from layers import Linear
from training import SGD


def steps(momentum, dtype, count=5):
    """Return the weights after `count` steps, ours and by the rule in float64."""
    rng = np.random.default_rng(3)
    layer = Linear(7, 5, rng, dtype)
    expected = layer.w.astype(np.float64)
    velocity = np.zeros_like(expected)
    optimiser = SGD(layer, 0.05, momentum)
    for _ in range(count):
        layer.dw[...] = rng.standard_normal(layer.dw.shape)
        layer.db[...] = 1
        velocity = momentum * velocity + layer.dw
        expected = expected - 0.05 * velocity
        optimiser.update()
    return layer, expected


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_rule(momentum, dtype):
    layer, expected = steps(momentum, dtype)
    # Weights and velocities stay below 8; each of 5 steps rounds a few such numbers, and 0.05 and
    # the momentum themselves, by half a unit: 5 steps * 4 roundings * 8 * eps / 2.
    np.testing.assert_allclose(layer.w, expected, rtol=0, atol=80 * np.finfo(dtype).eps)


def test_every_parameter_moves():
    layer, _ = steps(0.9, np.float64, count=2)
    # db is 1: b = -0.05 * 1 - 0.05 * 1.9
    np.testing.assert_allclose(layer.b, -0.145, rtol=1e-14)


def test_without_momentum_it_is_update():
    layer, _ = steps(0.0, np.float32, count=1)
    rng = np.random.default_rng(3)
    twin = Linear(7, 5, rng)
    twin.dw[...] = rng.standard_normal(twin.dw.shape)
    twin.update(0.05)
    np.testing.assert_array_equal(layer.w, twin.w)
