"""kernels/functions.py: exp, log and tanh of vectors, against NumPy in more digits."""

import numpy as np
import pytest
from plain import PLAIN
from ulps import ulps

from jitprop.kernels.constants import TANH_32
from perf import derive
from perf.exhaustive import CHUNK, Result, check, check_chunk, compiled

NAMES = ("exp", "log", "tanh")
INF, NAN = np.inf, np.nan
# Every input is tried by `python -m perf.exhaustive`; here a prime stride, which meets all
# exponents and, in the long run, all intervals of tanh.
STRIDE = 500_009 if PLAIN else 1009


@pytest.fixture(autouse=True)
def _quiet():
    """Without the JIT, NumPy warns of the NaN and infinities that lanes pass through."""
    with np.errstate(all="ignore"):
        yield


@pytest.fixture(scope="module")
def functions():
    return {name: compiled(name) for name in NAMES}


def same_bits(a, b):
    """Equal, with the signs of zeros; any NaN is like any other."""
    return np.array_equal(a, b, equal_nan=True) and np.array_equal(
        np.signbit(a[~np.isnan(a)]), np.signbit(b[~np.isnan(b)])
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_sample_of_all_float32(name):
    """Error up to 1 unit, NaN and signs right, monotone, tanh odd. (The worst: 0.86.)"""
    result = check(name, STRIDE)
    assert result.passed, result


# As (name, inputs, exact results); the same for both dtypes.
SPECIAL = [
    ("exp", [0.0, -0.0, INF, -INF, NAN, -1e30, 1e30], [1, 1, INF, 0, NAN, 0, INF]),
    ("log", [1.0, 0.0, -0.0, INF, -INF, NAN, -1.0], [0, -INF, -INF, INF, NAN, NAN, NAN]),
    ("tanh", [0.0, -0.0, INF, -INF, NAN, 1e30, -40.0], [0.0, -0.0, 1, -1, NAN, 1, -1]),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "x", "expected"), SPECIAL)
def test_special_values(functions, name, x, expected, dtype):
    y = functions[name](np.array(x, dtype))
    assert y.dtype == dtype
    assert same_bits(y, np.array(expected, dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_subnormals(functions, dtype):
    """Results that are subnormal are rounded, not flushed, and subnormal inputs not taken for 0."""
    info = np.finfo(dtype)
    tiny = np.array([info.smallest_subnormal, 12345 * info.smallest_subnormal, info.tiny], dtype)
    np.testing.assert_array_equal(functions["tanh"](tiny), tiny)
    np.testing.assert_array_equal(functions["tanh"](-tiny), -tiny)
    np.testing.assert_array_equal(functions["exp"](tiny), 1)
    exact = np.log(tiny.astype(np.longdouble))
    assert np.all(ulps(functions["log"](tiny), exact) <= 1)
    x = np.linspace(np.log(info.smallest_subnormal), np.log(info.tiny), 500).astype(dtype)
    assert np.all(ulps(functions["exp"](x), np.exp(x.astype(np.longdouble))) <= 1)


# Where a function changes its way: the limits of exp, the subnormals and the jumps of log, the
# ends of the intervals of tanh.
EDGES = {
    "exp": [-104, -103.9721, -87.33654, -0.3465736, 0.3465736, 88.72284, 89],
    "log": [2.0**-126, 2.0**-125, 0.70710677, 0.99999994, 1, 1.4142135, 2, 2.828427],
    "tanh": [1.5 * 2.0**-5, *(2.0**e * m / 4 for e in range(-4, 3) for m in (4, 5, 6, 7)), 9.1],
}


@pytest.mark.parametrize("name", NAMES)
def test_around_edges(functions, name):
    x = np.concatenate([_around(edge, 40) for edge in EDGES[name]])
    y = functions[name](x)
    exact = getattr(np, name)(x.astype(np.float64))
    finite = exact < 2.0**128 * (1 - 2.0**-25)  # the rest rounds to infinity
    assert np.all(ulps(y[finite], exact[finite]) <= 1)
    assert np.all(np.isinf(y[~finite]))


def _around(edge, count):
    bits = np.float32(edge).view(np.int32) + np.arange(-count, count + 1, dtype=np.int32)
    return bits.view(np.float32)


# Dense where something changes: around 0, around 1, at the end of tanh's polynomial.
RANGES = [
    ("exp", -745, 709.7), ("exp", -1, 1), ("exp", -745, -707),
    ("log", 1e-300, 1e300), ("log", 0.4, 2.1), ("log", 0.99, 1.01), ("log", 0, 2.0**-1022),
    ("tanh", -20, 20), ("tanh", 0, 1), ("tanh", 0.62, 0.63), ("tanh", -1e-5, 1e-5),
]  # fmt: skip


@pytest.mark.parametrize(("name", "low", "high"), RANGES)
def test_float64(functions, name, low, high):
    """Within 2 units (measured: 0.86 for exp and log, 1.32 for tanh), against longdouble."""
    count = 2_000 if PLAIN else 50_000
    x = np.random.default_rng(1).uniform(low, high, count)
    exact = getattr(np, name)(x.astype(np.longdouble))
    assert np.max(ulps(functions[name](x), exact)) <= 2


def test_float64_tanh_is_odd(functions):
    x = np.exp(np.random.default_rng(2).uniform(-30, 4, 1000))
    np.testing.assert_array_equal(functions["tanh"](-x), -functions["tanh"](x))


@pytest.mark.skipif(PLAIN, reason="is of no kernel")
def test_constants_are_those_derived():
    assert derive.derive() == derive.CONSTANTS.read_text()


def test_table_of_tanh_is_accurate():
    """The point of it: tanh(c) is within 1/500 unit of T, the float32 in the table."""
    c, t = TANH_32[:2, TANH_32[0] > 0]
    assert len(c) == 31
    assert np.all(ulps(t, np.tanh(c.astype(np.float64))) < 1 / 500)


# The checks themselves must notice what is wrong. Each plants one error in a good tanh.


def tanh_with(edit):
    def function(x):
        y = np.tanh(x, dtype=np.float64).astype(np.float32)
        edit(x, y)
        return y

    return function


def off_by_two(x, y):
    y[77] = np.nextafter(np.nextafter(y[77], np.float32(0)), np.float32(0))


def missing_nan(x, y):
    y[np.isnan(x)] = 1


def extra_nan(x, y):
    y[5] = NAN


def positive_zero(x, y):
    y[x == 0] = 0


def falling(x, y):
    y[100], y[99] = y[99], y[100]


def uneven(x, y):
    y[50] = np.nextafter(y[50], np.float32(1))


@pytest.mark.slow
@pytest.mark.skipif(PLAIN, reason="is of no kernel")
@pytest.mark.parametrize(
    ("edit", "start", "fault"),
    [
        (off_by_two, 0x3F000000, None),
        (missing_nan, 0x7F800000, "NaN"),
        (extra_nan, 0x3F000000, "NaN"),
        (positive_zero, 0, "oddness"),
        (falling, 0x3F000000, "monotony"),
        (uneven, 0x3F000000, "oddness"),
    ],
)
def test_check_notices(edit, start, fault):
    assert check_chunk("tanh", tanh_with(lambda x, y: None), start, 1).passed
    result = check_chunk("tanh", tanh_with(edit), start, 1)
    assert not result.passed
    assert fault is None or fault in result.faults


def test_check_notices_the_sign_of_zero():
    def negative(x):
        return np.copysign(np.exp(x, dtype=np.float64).astype(np.float32), -1)

    assert "sign" in check_chunk("exp", negative, 0x42D00000, CHUNK).faults


def test_results_unite_to_the_worst():
    a, b = Result(0.5, 1.0), Result(0.7, 2.0, frozenset({"NaN"}))
    assert a | b == b | a == b
    assert a.passed
    assert not b.passed
    assert not Result(1.01).passed


def test_ulps():
    one = np.array([1.0], np.float32)
    assert ulps(one, np.array([1 + 2.0**-23]))[0] == 1
    assert ulps(one, np.array([1 - 2.0**-24]))[0] == 1
    assert ulps(np.array([0.0], np.float32), np.array([2.0**-149]))[0] == 1
    assert ulps(np.array([1.0]), np.array([1 + 2.0**-52]))[0] == 1
