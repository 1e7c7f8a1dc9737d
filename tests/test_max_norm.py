"""kernels/max_norm.py, and `max_norm` in training."""

import numpy as np
import pytest
import reference
from plain import cut
from reference import assert_same_bits, assert_within, eps

import jitprop
from jitprop import kernels
from jitprop.training import Settings

FLOATS = (np.float32, np.float64)
SHAPES = cut(
    [(1, 1), (3, 5), (4, 16), (5, 17), (784, 10), (97, 113), (0, 3), (3, 0), (7, 64)], 9, 33
)
every_dtype = pytest.mark.parametrize("dtype", FLOATS)


def draw(shape, dtype):
    return np.random.default_rng(1).standard_normal(shape).astype(dtype)


@every_dtype
@pytest.mark.parametrize("shape", SHAPES)
def test_max_norm(shape, dtype, guarded):
    w = guarded(draw(shape, dtype))
    before = w.copy()
    norms = np.sqrt((before.astype(np.float64) ** 2).sum(axis=0))
    most = float(np.median(norms)) * 1.001 if w.size else 1.0
    kernels.max_norm(w, most)
    # Four chains of a quarter of the rows each, two sums, a root that halves what is off, a
    # quotient, a product: half an eps each. `most` itself is rounded.
    size = np.abs(reference.max_norm(before, most))
    assert_within(w, reference.max_norm(before, most), eps(dtype) * size, 2.5 + shape[0] / 16)
    assert_same_bits(w[:, norms < most], before[:, norms < most])
    assert w.size == 0 or shape[1] == 1 or (norms > most).any()


@every_dtype
def test_special_values(dtype, guarded):
    w = guarded(np.ones((4, 20), dtype))
    w[1, 0], w[:, 1], w[2, 2], w[:, 3] = np.nan, 0, np.inf, -3
    before = w.copy()
    kernels.max_norm(w, 3.0)
    assert_same_bits(w[:, [0, 1]], before[:, [0, 1]])  # of NaN nobody knows how long it is
    assert np.isnan(w[2, 2])
    np.testing.assert_allclose(w[:, 3], -1.5, rtol=4 * eps(dtype))
    assert_same_bits(w[:, 4:], before[:, 4:])


@every_dtype
@pytest.mark.parametrize("before", [False, True])
def test_no_read_outside(before, dtype, fenced):
    for shape in [(3, 5), (2, 17), (5, 1), (9, 33)]:
        kernels.max_norm(fenced(draw(shape, dtype), before), 0.5)


RNG = np.random.default_rng(0)
X, T = RNG.standard_normal((60, 5)).astype(np.float32), RNG.integers(3, size=60)


def fitted(net=None, **settings):
    net = net or jitprop.mlp(5, [20], 3, rng=0)
    how = {"epochs": 3, "batch_size": 16, "rate": 0.5, "rng": 1} | settings
    jitprop.fit(net, jitprop.SoftmaxCrossEntropy(), X, T, **how)
    return [parameter.value for parameter in net.parameters()]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_no_unit_has_longer_weights(optimizer):
    free = fitted(optimizer=optimizer)
    held = fitted(optimizer=optimizer, max_norm=0.75)
    for one, other in zip(free, held, strict=True):
        if one.ndim == 2:
            norms = np.linalg.norm(other.astype(float), axis=0)
            assert np.linalg.norm(one, axis=0).max() > 0.8
            assert norms.max() <= 0.75 * (1 + 1e-6)
            assert norms.max() > 0.73
    assert np.linalg.norm(held[-1]) > 0  # biases go where they go


def test_a_length_that_nothing_reaches_changes_no_bit():
    for one, other in zip(fitted(), fitted(max_norm=1e3), strict=True):
        assert_same_bits(one, other)


def test_layer_by_layer_and_compiled_are_the_same_bits(caplog):
    class Own(jitprop.Sequential):
        def fprop(self, x):
            return super().fprop(x)

    own = Own(*jitprop.mlp(5, [20], 3, rng=0))
    for one, other in zip(fitted(own, max_norm=1), fitted(max_norm=1), strict=True):
        assert_same_bits(one, other)
    assert "layer by layer" in caplog.text


def test_what_makes_no_sense():
    for value in (-1, np.nan, np.inf, "2"):
        with pytest.raises((TypeError, ValueError), match=r"^max norm must be"):
            Settings(epochs=9, batch_size=16, rate=0.1, max_norm=value)
