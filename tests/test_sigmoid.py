"""kernels/sigmoid.py: every element, how exact, and at both ends."""

import numpy as np
import pytest
import reference
from elementwise import LONGEST, assert_elementwise, run
from plain import PLAIN
from reference import assert_same_bits, assert_within, eps

from jitprop.kernels import sigmoid_bprop, sigmoid_fprop

every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def draw(dtype, size=LONGEST):
    rng = np.random.default_rng(1)
    return rng.normal(0, 4, size).astype(dtype), rng.standard_normal(size).astype(dtype)


@every_dtype
def test_every_element(dtype, guarded, fenced):
    x, dy = draw(dtype)
    assert_elementwise(sigmoid_fprop, [x], guarded, fenced)
    assert_elementwise(sigmoid_bprop, [run(sigmoid_fprop, x), dy], guarded, fenced)


@every_dtype
def test_fprop(dtype):
    """Over all x with a result that is neither 0 nor 1: exp is off by an eps (two for float64),
    1 + e and the quotient by half of one each."""
    end = 105 if dtype == np.float32 else 750
    x = np.random.default_rng(2).uniform(-end, end, 2_000 if PLAIN else 200_000).astype(dtype)
    expected = reference.sigmoid(x)
    bound = 2 if dtype == np.float32 else 3
    unit = eps(dtype) * np.abs(expected) + float(np.finfo(dtype).smallest_subnormal)
    assert_within(run(sigmoid_fprop, x), expected, unit, bound)


@every_dtype
def test_bprop(dtype):
    x, dy = draw(dtype)
    y = run(sigmoid_fprop, x)
    wide = y.astype(np.longdouble)
    expected = dy * (wide * (1 - wide))
    # A difference and two products, half an eps each.
    assert_within(run(sigmoid_bprop, y, dy), expected, eps(dtype) * np.abs(expected), 1.51)


@every_dtype
def test_special_values(dtype):
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1000, -1000], dtype)
    expected = np.array([np.nan, 1, 0, 0.5, 0.5, 1, 0], dtype)
    for place in range(40):
        neighbours = np.full(40 + len(x), 0.25, dtype)
        neighbours[place : place + len(x)] = x
        out = run(sigmoid_fprop, neighbours)
        assert_same_bits(out[place : place + len(x)], expected)
        assert np.all(np.delete(out, np.s_[place : place + len(x)]) == out[place - 1])


@every_dtype
def test_bprop_of_special_values(dtype):
    inf, nan = np.inf, np.nan
    y = np.array([0, 1, 0.5, 0.5, nan, 0.5, 0], dtype)
    dy = np.array([5, -5, inf, -0.0, 1, nan, inf], dtype)
    assert_same_bits(
        run(sigmoid_bprop, y, dy), np.array([0, -0.0, inf, -0.0, nan, nan, nan], dtype)
    )
