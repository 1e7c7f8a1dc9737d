"""kernels/tally.py: errors and the sum of losses, batch by batch, against NumPy."""

import numpy as np
import pytest

from jitprop import kernels

every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@every_dtype
@pytest.mark.parametrize(("batch", "classes"), [(1, 1), (5, 3), (100, 10), (300, 1000)])
def test_misses(batch, classes, dtype, guarded):
    rng = np.random.default_rng(batch)
    z = guarded(rng.integers(-3, 3, (batch, classes)).astype(dtype))  # with many equal values
    labels = guarded(rng.integers(0, classes, batch))
    labels[::2] = z[::2].argmax(axis=1)
    out = guarded(np.full(batch, 7, dtype))
    kernels.misses(z, labels, out)
    np.testing.assert_array_equal(out, z.argmax(axis=1) != labels)


def test_a_nan_is_a_miss():
    z = np.array([[np.nan, 1.0], [np.nan, 1.0], [1.0, np.nan], [-np.inf, np.inf]])
    out = np.empty(4)
    kernels.misses(z, np.array([0, 1, 0, 1]), out)
    np.testing.assert_array_equal(out, [1, 1, 1, 0])


@every_dtype
@pytest.mark.parametrize("parts", [0, 1, 3, 7, 40])
@pytest.mark.parametrize("n", [0, 1, 17, 64, 65, 1000])
def test_squares(n, parts, dtype, guarded):
    w = guarded(np.random.default_rng(1).standard_normal(n).astype(dtype))
    out = guarded(np.full(parts, 7, dtype))
    kernels.squares(w, out)
    size = -(-n // max(1, parts))
    terms = [w[k * size : (k + 1) * size].astype(np.float64) ** 2 for k in range(parts)]
    expected = np.array([part.sum() for part in terms])
    # All terms are positive: each of at most `size` roundings is relative to the sum.
    bound = (size + 1) * np.finfo(dtype).eps * expected
    assert (np.abs(out - expected) <= bound).all()


@every_dtype
def test_tally(dtype):
    rng = np.random.default_rng(2)
    place, history = np.zeros(2, np.int64), np.full((3, 2), 7.0)
    expected = history.copy()
    for batch in range(3):
        losses, misses = rng.standard_normal(50).astype(dtype), rng.integers(0, 2, 50).astype(dtype)
        kernels.tally(losses, misses, place, history)
        expected[batch] = sum(map(float, losses)), misses.sum()  # in the same order: same bits
        np.testing.assert_array_equal(history, expected)
        np.testing.assert_array_equal(place, [batch + 1, 0])
    kernels.tally(losses, misses, place, history)  # full
    np.testing.assert_array_equal(history, expected)
    np.testing.assert_array_equal(place, [3, 0])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_not_finite(value):
    place, history = np.zeros(2, np.int64), np.zeros((3, 2))
    kernels.tally(np.array([1.0, value]), np.zeros(0), place, history)
    np.testing.assert_array_equal(place, [1, 1])
    np.testing.assert_array_equal(history[0], [value, 0])


@pytest.mark.parametrize("first", [-1, 3, 2**62])
def test_a_place_outside_is_left_alone(first):
    place, history = np.array([first, 0]), np.full((3, 2), 7.0)
    kernels.tally(np.ones(2), np.ones(2), place, history)
    np.testing.assert_array_equal(history, 7)
    np.testing.assert_array_equal(place, [first, 0])
