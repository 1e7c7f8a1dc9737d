"""simd.py and permute.py: each function compiled does what its plain twin says, to the bit.

The functions below are run twice, by numba and by Python: one source, two meanings.
"""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
import reference
from reference import assert_same_bits

from jitprop.kernels.compiler.inline import FLAGS
from jitprop.kernels.compiler.permute import ENTRIES, append, lookup, pick
from jitprop.kernels.compiler.simd import (
    LANES,
    absolute,
    bits,
    broadcast,
    copysign,
    flat,
    fma,
    for_dtype,
    from_bits,
    lanes_max,
    lanes_sum,
    load,
    low_bytes,
    polynomial,
    prefetch,
    sqrt,
    stack_array,
    steps,
    store,
    to_float,
    to_integer,
    where,
)

pytestmark = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="compares with compiled code")

FLOATS = (np.float32, np.float64)
every_dtype = pytest.mark.parametrize("dtype", FLOATS)
ROWS = 40


def special(dtype):
    """Values that are treated specially somewhere."""
    info = np.finfo(dtype)
    values = [0.0, 1.0, 1.5, 3e9, info.smallest_subnormal, info.tiny, info.max, np.inf, np.nan]
    return np.array([sign * value for value in values for sign in (1, -1)], dtype)


def pairs(dtype):
    """Vectors x and y that meet every pair of special values, and random ones."""
    x, y = np.array(list(itertools.product(special(dtype), repeat=2)), dtype).T
    rng = np.random.default_rng(1)
    missing = -len(x) % LANES + 4 * LANES
    more = rng.standard_normal((2, missing)).astype(dtype)
    return np.concatenate([x, more[0]]), np.concatenate([y, more[1]])


def arithmetic(xs, ys, out):
    """One row of `out` for each operation; returns how many."""
    x, y = load(xs, 0), load(ys, 0)
    row = 0
    for value in (x + y, x - y, x * y, x / y, -x, x + 1, 2 - x, x * 0.1, 0.1 / x):
        store(out, row * LANES, value)
        row += 1
    for mask in (x < y, x <= y, x > y, x >= y, x == y, x != y, x < 1, x != 1):
        store(out, row * LANES, where(mask, x, y))
        row += 1
    for mask in (x == y, x > 0):
        store(out, row * LANES, where(mask, x, 3))
        store(out, (row + 1) * LANES, where(mask, -1, y))
        row += 2
    for value in (absolute(x), sqrt(x), copysign(x, y), broadcast(0.1, xs), broadcast(2, x)):
        store(out, row * LANES, value)
        row += 1
    total = x + 0  # a vector of its own: without the JIT, += changes it in place
    total += y
    store(out, row * LANES, total)
    total *= x
    store(out, (row + 1) * LANES, total)
    total -= y
    store(out, (row + 2) * LANES, total)
    return row + 3


def integers(xs, ys, out):
    x, y = bits(load(xs, 0)), bits(load(ys, 0))
    row = 0
    for value in (x + y, x - y, x * y, x & y, x | y, x ^ y, x >> 3, x << 3, x + 1, x & 255):
        store(out, row * LANES, from_bits(value))
        row += 1
    for mask in (x < y, x == y, x > 0):
        store(out, row * LANES, from_bits(where(mask, x, y)))
        row += 1
    store(out, row * LANES, to_float(steps(load(xs, 0))))
    store(out, (row + 1) * LANES, to_float(x))
    store(out, (row + 2) * LANES, to_float(to_integer(load(ys, 0))))
    return row + 3


def scalars(xs, ys, out):
    x = load(xs, 0)
    out[0] = lanes_sum(x)
    out[1] = lanes_max(x)
    for_all = for_dtype(x, 32, 64)
    out[2] = for_all
    scratch = stack_array(LANES, xs)
    store(scratch, 0, x)
    store(scratch, 0, load(ys, 0), 5)
    prefetch(xs, 10**9)
    for i in range(LANES):
        out[3 + i] = scratch[i]
    return 1


def both(function, dtype, x, y):
    """What numba and what Python compute, and on how many rows."""
    compiled_out, plain_out = np.zeros((2, ROWS * LANES), dtype)
    rows = COMPILED[function](x, y, compiled_out)
    with np.errstate(all="ignore"):
        assert function(x, y, plain_out) == rows
    return compiled_out.reshape(ROWS, LANES)[:rows], plain_out.reshape(ROWS, LANES)[:rows]


def masked(x, index, count, fill, out, to):
    store(out, to, load(x, index, count, fill), count)
    store(out, to + LANES, load(x, index, count, fill))
    store(out, to + 2 * LANES, load(x, index, count))


def fused(xs, ys, zs, out):
    x, y, z = load(xs, 0), load(ys, 0), load(zs, 0)
    store(out, 0, fma(x, y, z))
    store(out, LANES, fma(x, 3, z))
    store(out, 2 * LANES, fma(0.5, y, 1.0))
    store(out, 3 * LANES, polynomial(x, (0.5, 2.0, -1.5)))


def look_up(table, row, index, out):
    store(out, 0, lookup(table, row, bits(load(index, 0))))


def picked(table, index, out):
    store(out, 0, pick(table, load(index, 0)))


def lowest(x, out):
    store(out, 0, low_bytes(load(x, 0)))


def chosen(x, out):
    """Write to `out`, behind the first, the places where x is not 0, from 1; return their end."""
    scratch = stack_array(ENTRIES, np.int32)
    end = append(scratch, 1, steps(broadcast(0, scratch)) + 1, load(x, 0) != 0)
    for i in range(1, end):
        out[i] = scratch[i]
    return end


COMPILED = {
    function: numba.njit(**FLAGS)(function)
    for function in (arithmetic, integers, scalars, masked, fused, look_up, picked, lowest, chosen)
}


@every_dtype
@pytest.mark.parametrize("function", [arithmetic, scalars])
def test_floats(function, dtype):
    x, y = pairs(dtype)
    for i in range(0, len(x), LANES):
        compiled, plain = both(function, dtype, x[i : i + LANES].copy(), y[i : i + LANES].copy())
        assert_same_bits(compiled, plain)


@every_dtype
def test_integers(dtype):
    """To the bit, NaN patterns too."""
    rng = np.random.default_rng(2)
    info = np.finfo(dtype)
    integer = np.int32 if dtype == np.float32 else np.int64
    x, y = rng.integers(np.iinfo(integer).min, np.iinfo(integer).max, (2, LANES), integer)
    y[:4] = x[:4]
    numbers = np.array([0, -0.0, 1.9, -1.9, 2.5, -7, info.tiny, 1e9, -1e9, 3], dtype)
    for a, b in [(x, y), (y, x), (x, np.resize(numbers, LANES).view(integer))]:
        compiled, plain = both(integers, dtype, a.view(dtype), b.view(dtype))
        # Out-of-range conversions may give anything: the last row only where in range.
        last = np.abs(b.view(dtype)) < np.iinfo(integer).max / 2
        assert compiled[:-1].tobytes() == plain[:-1].tobytes()
        assert_same_bits(compiled[-1][last], plain[-1][last])


@every_dtype
def test_largest_in_any_lane(dtype):
    for lane in range(LANES):
        for largest in (np.inf, 100.0):
            x = -np.arange(LANES).astype(dtype)
            x[lane] = largest
            for out in both(scalars, dtype, x, x):
                assert out[0, 1] == largest


@every_dtype
def test_sum_has_one_order(dtype):
    """16 -> 8 -> 4 -> 2 -> 1, halves onto each other, on numbers that any other order shows."""
    for seed in range(20):
        x = np.random.default_rng(seed).standard_normal(LANES).astype(dtype)
        expected = x
        while len(expected) > 1:
            expected = expected[: len(expected) // 2] + expected[len(expected) // 2 :]
        for out in both(scalars, dtype, x, x):
            assert_same_bits(out[0, :1], expected)


@every_dtype
def test_masked_load_and_store(dtype, fenced):
    """Lanes from `count` on are neither read nor written, for any count."""
    for count in (*range(-3, LANES + 4), 10**12, -(2**31)):
        kept = max(0, min(count, LANES))
        for before in (False, True):
            x = fenced(np.arange(1, kept + 1).astype(dtype), before)
            index = 0
            out, plain = np.full((2, 5 * LANES), -1, dtype)
            COMPILED[masked](x, index, count, 7, out, LANES)
            masked(x, index, count, 7, plain, LANES)
            expected = np.full(5 * LANES, -1, dtype)
            expected[LANES : LANES + kept] = x
            expected[2 * LANES : 3 * LANES] = 7
            expected[2 * LANES : 2 * LANES + kept] = x
            expected[3 * LANES : 4 * LANES] = 0
            expected[3 * LANES : 3 * LANES + kept] = x
            # What masked() stores first is overwritten neither before nor after its lanes.
            assert_same_bits(out, expected)
            assert_same_bits(plain, expected)


@every_dtype
def test_fma_is_rounded_once(dtype):
    """Against exact arithmetic; where x * y alone would be rounded, too."""
    exact = reference.fma32 if dtype == np.float32 else reference.fma64
    rng = np.random.default_rng(3)
    for _ in range(20):
        x, y = rng.standard_normal((2, LANES)).astype(dtype)
        z = -(x * y) + rng.standard_normal(LANES).astype(dtype) * dtype(2) ** -rng.integers(0, 40)
        z = z.astype(dtype)
        out = np.empty(4 * LANES, dtype)
        COMPILED[fused](x, y, z, out)
        three, half, one = (np.full(LANES, v, dtype) for v in (3, 0.5, 1))
        assert_same_bits(out[:LANES], exact(x, y, z))
        assert_same_bits(out[LANES : 2 * LANES], exact(x, three, z))
        assert_same_bits(out[2 * LANES : 3 * LANES], exact(half, y, one))
        horner = exact(x, np.full(LANES, -1.5, dtype), np.full(LANES, 2, dtype))
        assert_same_bits(out[3 * LANES :], exact(horner, x, half))


@every_dtype
def test_plain_fma(dtype):
    """float32 is rounded once (but for one case in 2^29); float64 is not, as it says."""
    x, y, z = np.random.default_rng(4).standard_normal((3, LANES)).astype(dtype)
    if dtype == np.float32:
        assert_same_bits(fma(x, y, z), reference.fma32(x, y, z))
    reference.assert_ulps(fma(x, y, z), reference.fma64(x, y, z), 1)
    assert fma(x, y, z).dtype == dtype


def test_lookup():
    table = np.arange(3 * ENTRIES, dtype=np.float32).reshape(3, ENTRIES)
    for row in range(3):
        for index in (np.arange(16), np.arange(16, 32), np.arange(16) * 7 + 1000, -np.arange(16)):
            index = index.astype(np.int32)
            out, plain = np.empty((2, LANES), np.float32)
            COMPILED[look_up](table, row, index.view(np.float32), out)
            look_up(table, row, index.view(np.float32), plain)
            assert_same_bits(out, table[row, index % ENTRIES])
            assert_same_bits(plain, out)


@pytest.mark.parametrize("function", [picked, COMPILED[picked]])
def test_pick(function, fenced):
    """Nothing beside the table is read."""
    values = np.random.default_rng(6).integers(-(2**31), 2**31, (3, 7), np.int32)
    for before in (False, True):
        table = fenced(values, before)
        for index in (
            np.arange(LANES),
            20 - np.arange(LANES),
            np.arange(LANES) * 5 % 21,
            [20, 0] * 8,
        ):
            index, out = np.array(index, np.int32), np.empty(LANES, np.int32)
            function(table, index, out)
            np.testing.assert_array_equal(out, values.ravel()[index])


@pytest.mark.slow
@pytest.mark.parametrize("index", [-1, 21, 2**31 - 1, -(2**31)])
def test_pick_outside_ends_the_process_where_bounds_are_checked(index):
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import numpy as np
from test_simd import COMPILED, LANES, picked
table, index, out = np.ones((3, 7), np.int32), np.full(LANES, 20, np.int32), np.zeros(16, np.int32)
COMPILED[picked](table, index, out)
print(out.sum(), flush=True)
index[7] = {index}
COMPILED[picked](table, index, out)
print("not reached")
"""
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"NUMBA_BOUNDSCHECK": "1"},
        capture_output=True,
        text=True,
        timeout=3000,
        check=False,
    )
    assert run.stdout == "16\n", run.stderr
    assert run.returncode != 0


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("function", [lowest, COMPILED[lowest]])
def test_low_bytes(function, dtype):
    info, out = np.iinfo(dtype), np.empty(LANES, np.uint8)
    values = [0, 1, 127, 128, 255, 256, 257, -1, -128, -129, -256, 2**16 - 1, info.min, info.max]
    function(np.array([*values, 0x1234567, -0x1234567], dtype), out)
    expected = [value % 256 for value in [*values, 0x1234567, -0x1234567]]
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("function", [chosen, COMPILED[chosen]])
def test_append(function):
    rng = np.random.default_rng(5)
    for density in (0, 0.3, 0.9, 1):
        x = (rng.random(LANES) < density) * rng.integers(1, 256, LANES)
        out = np.zeros(2 * LANES, int)
        (places,) = np.nonzero(x)
        assert function(x.astype(np.uint8), out) == 1 + len(places)
        assert out[: 1 + len(places)].tolist() == [0, *(places + 1)]


def test_flat_is_a_view():
    x = np.zeros((2, 3))
    flat(x)[4] = 1
    assert x[1, 1] == 1
