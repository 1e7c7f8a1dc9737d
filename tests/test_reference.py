"""tests/reference.py itself: what judges must reject what is slightly wrong."""

import numpy as np
import pytest
import reference
from reference import assert_matmul, assert_same_bits, assert_ulps, assert_within

FLOATS = (np.float32, np.float64)


@pytest.mark.parametrize("dtype", FLOATS)
def test_ulps_rejects_the_next_but_one_number(dtype):
    expected = np.array([1.0, -3.0, 1e-30, 7e20, 0.0], dtype)
    for direction in (np.inf, -np.inf):
        one_off = np.nextafter(expected, dtype(direction))
        two_off = np.nextafter(one_off, dtype(direction))
        assert_ulps(one_off, expected, 1)
        for i in range(len(expected)):
            wrong = expected.copy()
            wrong[i] = two_off[i]
            with pytest.raises(AssertionError, match=f"at .{i},"):
                assert_ulps(wrong, expected, 0.99)


def test_ulps_sees_fractions_of_a_unit():
    expected = np.array([1 + 2.0**-25])  # a quarter of a float32 unit above 1
    assert_ulps(np.ones(1, np.float32), expected, 0.25)
    with pytest.raises(AssertionError, match=r"off by 0\.25 units"):
        assert_ulps(np.ones(1, np.float32), expected, 0.24)


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (np.nan, 1.0),
        (1.0, np.nan),
        (np.inf, 3e38),
        (np.inf, -np.inf),
        (3e38, np.inf),
        (np.inf, np.nan),
    ],
)
def test_specials_must_agree(result, expected):
    result, expected = np.array([0, result], np.float32), np.array([0, expected], np.float32)
    for judge in (
        lambda: assert_ulps(result, expected, 1e6),
        lambda: assert_within(result, expected, 1e6),
        lambda: assert_same_bits(result, expected),
    ):
        with pytest.raises(AssertionError):
            judge()


def test_equal_specials_pass():
    values = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45], np.float32)
    assert_ulps(values, values, 0)
    assert_within(values, values, 0)
    assert_same_bits(values, values)
    assert_same_bits(-values, np.array([np.nan, -np.inf, np.inf, -0.0, 0.0, -1e-45], np.float32))


def test_a_bound_of_nan_rejects():
    with pytest.raises(AssertionError):
        assert_within(np.ones(3), np.zeros(3), np.nan)


def test_same_bits_sees_one_ulp_the_sign_of_zero_dtype_and_shape():
    zero = np.zeros(3, np.float32)
    for other in (np.nextafter(zero, np.float32(1)), -zero, zero.astype(np.float64), zero[:2]):
        with pytest.raises(AssertionError):
            assert_same_bits(other, zero)


def test_shapes_must_agree():
    with pytest.raises(AssertionError, match="shape"):
        assert_within(np.zeros((2, 3)), np.zeros((3, 2)), 1)
    with pytest.raises(AssertionError, match="shape"):
        assert_within(np.zeros((1, 3)), np.zeros((2, 3)), 1)


@pytest.mark.parametrize("dtype", FLOATS)
def test_matmul_rejects_one_wrong_term(dtype):
    """One of 784 terms counted twice, or one product rounded away, in one element."""
    rng = np.random.default_rng(1)
    a = rng.standard_normal((5, 784)).astype(dtype)
    b = rng.standard_normal((784, 7)).astype(dtype)
    good = reference.matmul(a, b).astype(dtype)
    assert_matmul(good, a, b, 1)
    size = reference.matmul(np.abs(a), np.abs(b))
    wrong = good.copy()
    wrong[3, 2] += a[3, 100] * b[100, 2]
    with pytest.raises(AssertionError, match=r"at \(3, 2\)"):
        assert_matmul(wrong, a, b, 28)
    wrong = good.copy()
    wrong[4, 6] += dtype(60 * reference.eps(dtype) * size[4, 6])
    with pytest.raises(AssertionError, match=r"at \(4, 6\)"):
        assert_matmul(wrong, a, b, 28)


def test_matmul_bound_is_relative():
    """|err| <= bound * |ref|, not bound + |ref|: a small product may not be off by its size."""
    a = np.full((1, 1), 1e-20, np.float32)
    with pytest.raises(AssertionError):
        assert_matmul(np.zeros((1, 1), np.float32), a, a[:, ::-1], 1)
    big = np.full((1, 1), 1e10, np.float32)
    with pytest.raises(AssertionError):
        assert_matmul(2 * (big @ big), big, big, 1)


def test_fma32_is_rounded_once():
    """Against fractions, on inputs that two roundings get wrong and on random ones."""
    one, tiny = np.float32(1), np.float32(2) ** -12
    x = one + tiny  # x * x = 1 + 2^-11 + 2^-24: half a unit above a float32
    far = np.float32(2) ** -100
    assert reference.fma32(x, x, far) == one + 2 * tiny + np.float32(2) ** -23
    assert reference.fma32(x, x, -far) == one + 2 * tiny
    rng = np.random.default_rng(2)
    x, y, z = rng.standard_normal((3, 500)).astype(np.float32)
    z *= 2.0 ** rng.integers(-40, 20, 500).astype(np.float32)
    for i, result in enumerate(reference.fma32(x, y, z)):
        exact = reference.Fraction(float(x[i])) * reference.Fraction(float(y[i]))
        exact += reference.Fraction(float(z[i]))
        neighbours = [np.nextafter(result, np.float32(s)) for s in (-np.inf, np.inf)]
        distance = abs(reference.Fraction(float(result)) - exact)
        assert all(distance <= abs(reference.Fraction(float(n)) - exact) for n in neighbours)


def test_fma64_is_rounded_once():
    x = 1 + 2.0**-52
    assert reference.fma64(x, x, -1.0) == 2.0**-51 + 2.0**-104
    assert (
        reference.fma64(1 + 2.0**-27, 1 + 2.0**-26, 2.0**-200) == 1 + 2.0**-26 + 2.0**-27 + 2.0**-52
    )


def test_weightless_rows_cost_nothing():
    p = np.array([[0.0, 1.0]])
    assert reference.cross_entropy(p, np.array([[0.0, 1.0]])) == 0
    assert reference.cross_entropy_bprop(p, np.array([[0.0, 1.0]]), 2.0).tolist() == [[0, -2]]
