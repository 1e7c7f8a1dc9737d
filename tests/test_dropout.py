"""kernels/dropout.py: Philox's numbers, the same for any dtype, shape and threads."""

import numpy as np
import pytest
import reference
from elementwise import LONGEST, assert_elementwise, run
from reference import assert_same_bits

from jitprop import kernels

every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def with_key(seed, step, threshold, scale=2.0):
    key = np.array([seed, step, threshold])
    return lambda x, out: kernels.dropout(x, key, scale, out)


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([2**32 - 1] * 4, [2**32 - 1] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_the_reference_is_philox(counter, key, words):
    """Known answers of Random123, the authors' library."""
    assert list(reference.philox(counter, key)) == words


@every_dtype
@pytest.mark.parametrize(
    ("seed", "step"), [(0, 0), (1, 2), (2**63 - 1, 2**40 + 3), (-(2**62) - 5, 2**31)]
)
def test_numbers_are_philox(seed, step, dtype):
    """Each bit of them, told by comparing with every power of two and sums of them."""
    x = np.random.default_rng(1).standard_normal(1000).astype(dtype)
    bits = reference.dropout_bits(1000, seed, step)
    for threshold in [0, 2**32, *(2**bit for bit in range(32)), 0xDEADBEEF, 0x7FFFFFFF]:
        out = run(with_key(seed, step, threshold), x)
        assert_same_bits(out, np.where(bits < threshold, dtype(0), x * dtype(2)))
    for threshold in (bits[500], bits[500] + 1):  # below, not up to
        out = run(with_key(seed, step, threshold), x)
        assert (out[500] == 0) == (threshold > bits[500])


@every_dtype
def test_every_element(dtype, guarded, fenced):
    x = np.random.default_rng(2).standard_normal(LONGEST).astype(dtype)
    assert_elementwise(with_key(3, 4, 2**31), [x], guarded, fenced)


def test_far_along():
    """Counters beyond 32 bits are not reached by arrays; those in the second piece of work are."""
    x = np.ones(20_011, np.float32)
    bits = reference.dropout_bits(20_011, 5, 6)
    assert_same_bits(run(with_key(5, 6, 2**30), x), np.where(bits < 2**30, x * 0, 2 * x))


@every_dtype
def test_what_is_dropped_is_zero_whatever_it_was(dtype):
    x = np.array([np.nan, np.inf, -np.inf, -0.0] * 64, dtype)
    bits = reference.dropout_bits(x.size, 7, 8)
    out = run(with_key(7, 8, 2**31), x)
    assert_same_bits(out, np.where(bits < 2**31, dtype(0), x))


def test_the_share_of_zeros_and_that_steps_differ():
    x = np.ones(20_000, np.float32)
    masks = [
        run(with_key(seed, step, round(0.3 * 2**32)), x) == 0 for seed in (0, 1) for step in (0, 1)
    ]
    for mask in masks:  # 4 standard deviations
        assert abs(mask.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / x.size)
    for i in range(4):
        for j in range(i):  # independent: both, with the product of the probabilities
            assert abs((masks[i] & masks[j]).mean() - 0.09) < 4 * np.sqrt(0.09 * 0.91 / x.size)


def test_step():
    state, key = np.array([2**60 + 1, 41]), np.array([0, 0, 99])
    kernels.dropout_step(state, key)
    assert state.tolist() == [2**60 + 1, 42]
    assert key.tolist() == [2**60 + 1, 42, 99]
