"""kernels/matmul.py (and tile.py): nn, nt and tn, to the bit, for every shape of tile and path."""

import functools
import itertools

import numpy as np
import pytest
import reference
from plain import PLAIN, cut
from reference import assert_matmul, assert_same_bits

from jitprop import kernels
from jitprop.kernels.matmul import FAR, KC, PACK_STRIPS, PANELS
from jitprop.kernels.tile import MR, NR32, NR64, VECTORS

FORMS = ("nn", "nt", "tn")
FLOATS = (np.float32, np.float64)
every_form = pytest.mark.parametrize("form", FORMS)
every_dtype = pytest.mark.parametrize("dtype", FLOATS)


def operands(form, a, b):
    """`a` (M, K) and `b` (K, N) laid out as the form takes them."""
    a = np.ascontiguousarray(a.T if form == "tn" else a)
    b = np.ascontiguousarray(b.T if form == "nt" else b)
    return a, b


def product(form, a, b, wrap=lambda array: array):
    """`a @ b` by the kernel of that form; `wrap` places each array in memory."""
    out = np.full((a.shape[0], b.shape[1]), np.nan, a.dtype)
    left, right = operands(form, a, b)
    out = wrap(out)
    getattr(kernels, f"matmul_{form}")(wrap(left), wrap(right), out)
    return out


def integers(rng, shape, dtype, limit=3):
    """Signed integers so small that every sum of products is exact, without a zero among them."""
    return (rng.integers(1, limit + 1, shape) * rng.choice([-1, 1], shape)).astype(dtype)


def tile_sizes(dtype):
    """M and N around multiples of the tile and of the vector."""
    nr = NR32 if dtype == np.float32 else NR64
    width = nr // VECTORS
    rows = sorted({1, 2, MR - 1, MR, MR + 1, 2 * MR + 3})
    columns = sorted({1, width - 1, width, width + 1, nr - 1, nr, nr + 1, 2 * nr + width + 1} - {0})
    return rows, columns


@every_dtype
@every_form
def test_every_size_of_tile(form, dtype, guarded):
    """All rows times all vectors of a tile, the last vector full and partial; K = 1, 2 and 13."""
    rng = np.random.default_rng(1)
    rows, columns = tile_sizes(dtype)
    for m, n, k in itertools.product(rows, columns, (13,) if PLAIN else (1, 2, 13)):
        a, b = integers(rng, (m, k), dtype), integers(rng, (k, n), dtype)
        # Integers up to 3 * 3 * 13: exact in any order, and nothing outside is read or written.
        assert_same_bits(product(form, a, b, guarded), (a @ b).astype(dtype))


# What each is there for: see test_paths.
SHAPES = [
    (1, 784, 200), (100, 784, 200), (37, 200, 10), (10, 31, 784), (97, 10, 200), (211, 113, 61),
    (PACK_STRIPS * MR + 1, KC + 5, FAR + 5), (2 * FAR + 5, KC + 5, 2 * NR32 + 5), (64, 1, 64),
    (5, 2 * KC + 1, 1100), (1, 1000, 1), (16 * MR, 64, 16 * NR32), (2 * FAR + 73, 3, 200),
]  # fmt: skip
PLAIN_SHAPES = [
    (9, 40, 37), (1, KC + 2, 5), (PACK_STRIPS * MR + 1, 1, FAR + 5), (2 * FAR + 5, 1, NR32 + 1),
]  # fmt: skip


@every_dtype
@every_form
@pytest.mark.parametrize("shape", PLAIN_SHAPES if PLAIN else SHAPES)
def test_every_path_is_exact(shape, form, dtype, guarded):
    m, k, n = shape
    rng = np.random.default_rng(2)
    a, b = integers(rng, (m, k), dtype), integers(rng, (k, n), dtype)
    # 9 * 1025 < 2^24: integers stay exact, so the expected value is the product whatever the order.
    assert_same_bits(product(form, a, b, guarded), (a @ b).astype(dtype))


@pytest.mark.skipif(not PLAIN, reason="the tile is what this CPU has")
@every_dtype
@every_form
def test_paths_of_wide_tiles(form, dtype, monkeypatch):
    """The plain tile has 8 columns; with one as for AVX-512, vectors and blocks of 64 bytes fit."""
    for name, value in {"MR": 8, "NR32": 48, "NR64": 24, "VECTORS": 3}.items():
        monkeypatch.setattr(f"jitprop.kernels.matmul.{name}", value)
    monkeypatch.setattr("jitprop.kernels.matmul.PACKED_B32", KC * PANELS * 48)
    monkeypatch.setattr("jitprop.kernels.matmul.PACKED_B64", KC * PANELS * 24)
    for shape in [(9, KC + 3, 53), (PACK_STRIPS * 8 + 1, 3, FAR + 5), (2 * FAR + 5, 1, 49)]:
        test_every_path_is_exact(shape, form, dtype, lambda array: array)


def test_paths():
    """The shapes above reach each path: blocks of K, packing of either operand, many groups."""
    shapes = PLAIN_SHAPES if PLAIN else SHAPES
    assert any(k > KC for _, k, _ in shapes)  # nt: the chain continues from the stored value
    assert any(n >= FAR and m >= PACK_STRIPS * MR for m, _, n in shapes)  # nn, tn: b is packed
    assert any(n >= FAR and m < PACK_STRIPS * MR for m, _, n in shapes) or PLAIN  # or is not
    assert any(m >= 2 * FAR and n > NR32 for m, _, n in shapes)  # tn: a is packed
    assert any(m < MR for m, _, _ in shapes)
    assert any(n >= 16 * NR32 for _, _, n in shapes) or PLAIN  # groups in multiples of four


@functools.cache
def chains(m, k, n):
    """Operands and their product, of which the reference takes longer than all three forms."""
    rng = np.random.default_rng(3)
    a = rng.standard_normal((m, k)).astype(np.float32)
    b = rng.standard_normal((k, n)).astype(np.float32)
    return a, b, reference.chain(a, b)


@pytest.mark.slow
@every_form
def test_float32_bits(form):
    """Each element is one chain of fused multiply-adds from +0, k = 0, 1, 2, ...: to the bit.

    Also where K is cut into blocks and operands are packed. Every bit is specified, so there is no
    bound here.
    """
    shapes = [(5, 40, 37), (MR + 1, KC + 9, NR32 + 3)]
    if not PLAIN:
        shapes += [
            (40, 784, 200),
            (PACK_STRIPS * MR + 3, KC + 44, FAR + 6),
            (2 * FAR + 6, KC + 3, 110),
        ]
    for shape in shapes:
        a, b, expected = chains(*shape)
        assert_same_bits(product(form, a, b), expected)


@pytest.mark.skipif(PLAIN, reason="the plain fma of float64 is rounded twice")
@every_form
def test_float64_bits(form):
    """As for float32, against fractions."""
    for m, k, n in [(MR + 1, 9, NR64 + 1), (1, KC + 2, 3)]:
        rng = np.random.default_rng(4)
        a, b = rng.standard_normal((m, k)), rng.standard_normal((k, n))
        assert_same_bits(product(form, a, b), reference.chain(a, b))


@every_dtype
@every_form
@pytest.mark.parametrize("positive", [False, True])
def test_error(positive, form, dtype):
    """|err| <= sqrt(K) eps (|a| @ |b|).

    Each of K roundings is off by at most eps/2 of a partial sum, which is at most (|a| @ |b|):
    K/2 eps at worst. Roundings are as good as random, so they add up like sqrt(K); twice the
    square root covers four standard deviations (Higham and Mary, 2019). The reference in float64
    has itself an error of that kind, which only counts for float64: twice the bound.
    """
    m, k, n = (5, 60, 20) if PLAIN else (60, 784, 200)
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    if positive:
        a, b = np.abs(a), np.abs(b)
    bound = np.sqrt(k) * (1 if dtype == np.float32 else 2)
    assert_matmul(product(form, a, b), a, b, bound)


@every_dtype
@every_form
def test_nothing_to_sum_or_to_write(form, dtype, guarded):
    for m, k, n in [(0, 3, 5), (3, 5, 0), (0, 0, 0), (0, 5, 0)]:
        shape = product(form, np.ones((m, k), dtype), np.ones((k, n), dtype), guarded).shape
        assert shape == (m, n)
    for m, n in [(1, 1), (3, 5), (MR + 1, NR32 + 1), *cut([(200, 1100)], 20, 20)]:
        out = product(form, np.ones((m, 0), dtype), np.ones((0, n), dtype), guarded)
        assert_same_bits(out, np.zeros((m, n), dtype))  # empty sums: +0, not what was there


@every_dtype
@every_form
def test_special_values(form, dtype):
    """NaN, infinities and subnormals go where the formula takes them and nowhere else."""
    rng = np.random.default_rng(6)
    tiny = np.finfo(dtype).smallest_subnormal
    for m, k, n in [(MR + 2, 7, NR32 + 5)] if PLAIN else [(MR + 2, 7, NR32 + 5), (30, KC + 9, 70)]:
        a, b = integers(rng, (m, k), dtype), integers(rng, (k, n), dtype)
        a[0, 3] = np.nan
        a[1, 0] = np.inf
        a[3, :] = 0  # times the infinity below: NaN
        a[4, 2], a[4, 5] = np.inf, -np.inf
        b[1, n - 1] = -np.inf
        a[5, :] = tiny
        with np.errstate(all="ignore"):
            expected = (a.astype(np.float64) @ b.astype(np.float64)).astype(dtype)
        assert np.isnan(expected[0]).all()
        assert np.isnan(expected[3, n - 1])
        assert_same_bits(product(form, a, b), expected)


@every_dtype
@every_form
def test_zeros_subnormals_and_the_ends_of_the_range(form, dtype):
    info = np.finfo(dtype)

    def one(x, y):
        a, b = np.full((1, 1), x, dtype), np.full((1, 1), y, dtype)
        return product(form, a, b)

    assert_same_bits(one(-0.0, 1.0), np.zeros((1, 1), dtype))  # +0 + -0 is +0: chains start at +0
    assert_same_bits(one(-0.0, -1.0), np.zeros((1, 1), dtype))
    assert_same_bits(one(info.smallest_subnormal, 3.0), one(3.0, info.smallest_subnormal))
    assert one(info.smallest_subnormal, 3.0) == 3 * info.smallest_subnormal  # none is flushed
    assert one(info.tiny, 0.5) == info.tiny / 2
    assert one(info.max, 2.0) == np.inf
    assert one(-info.max, 2.0) == -np.inf
    if not PLAIN or dtype == np.float32:
        # The product alone, 2^128 or 2^1024, would overflow; fused with the sum it does not.
        root = 2.0 ** (info.maxexp // 2)
        a, b = np.array([[-info.max, root]], dtype), np.array([[1.0], [root]], dtype)
        assert product(form, a, b) == info.max - np.nextafter(info.max, dtype(0))


@every_dtype
@every_form
@pytest.mark.parametrize("before", [False, True])
def test_no_read_outside(before, form, dtype, fenced):
    """Arrays that end where unreadable memory begins, and that begin where it ends."""
    rng = np.random.default_rng(7)
    # The last: what is transposed in blocks of 64 bytes ends with the last element of b.
    shapes = [(7, 5, 10), (MR + 1, 17, NR32 + 7), (7, 31, 48)]
    if not PLAIN:
        shapes += [
            (PACK_STRIPS * MR + 1, 21, FAR + 7),
            (2 * FAR + 3, 19, 2 * NR32 + 1),
            (10, 300, 200),
        ]
    for m, k, n in shapes:
        a, b = integers(rng, (m, k), dtype), integers(rng, (k, n), dtype)
        out = product(form, a, b, lambda array: fenced(array, before))
        assert_same_bits(out, (a @ b).astype(dtype))


LINEAR = [
    (1, 784, 200), (100, 784, 200), (37, 200, 10), (211, 113, 61), (7, 0, 5), (0, 3, 5), (3, 5, 0),
    (PACK_STRIPS * MR + 1, KC + 5, FAR + 5),
]  # fmt: skip


@every_dtype
@pytest.mark.parametrize("shape", [(9, 10, 31), (7, 0, 5), (0, 3, 5)] if PLAIN else LINEAR)
def test_linear(shape, dtype, guarded):
    """Product, bias and tanh in one sweep have the bits of the three kernels in sequence."""
    m, k, n = shape
    rng = np.random.default_rng(11)
    x, w, b = (rng.standard_normal(s).astype(dtype) / 8 for s in ((m, k), (k, n), n))
    x, w, b = map(guarded, (x.astype(dtype), w.astype(dtype), b.astype(dtype)))
    expected = np.empty((m, n), dtype)
    kernels.matmul_nn(x, w, expected)
    kernels.bias_fprop(expected, b, expected)
    out = guarded(np.full((m, n), 7, dtype))
    kernels.linear_fprop(x, w, b, out)
    assert_same_bits(out, expected)
    kernels.tanh_fprop(expected, expected)
    kernels.linear_tanh_fprop(x, w, b, out)
    assert_same_bits(out, expected)


@every_dtype
@pytest.mark.parametrize("before", [False, True])
def test_linear_reads_nothing_outside(before, dtype, fenced):
    rng = np.random.default_rng(12)
    for m, k, n in [(3, 4, 5), (MR + 1, 3, NR32 + 7)]:
        x, w, b = (integers(rng, s, dtype) for s in ((m, k), (k, n), (n,)))
        out = fenced(np.zeros((m, n), dtype), before)
        kernels.linear_fprop(fenced(x, before), fenced(w, before), fenced(b, before), out)
        assert_same_bits(out, x @ w + b)
        kernels.linear_tanh_fprop(fenced(x, before), fenced(w, before), fenced(b, before), out)
        assert np.isfinite(out).all()


@every_dtype
@every_form
def test_inputs_stay(form, dtype):
    rng = np.random.default_rng(8)
    a, b = operands(form, integers(rng, (9, 20), dtype), integers(rng, (20, 11), dtype))
    a_before, b_before = a.copy(), b.copy()
    getattr(kernels, f"matmul_{form}")(a, b, np.empty((9, 11), dtype))
    assert_same_bits(a, a_before)
    assert_same_bits(b, b_before)


@every_dtype
@every_form
def test_strides_of_single_rows_and_columns(form, dtype, fenced):
    """NumPy calls an array contiguous whatever the stride of an axis of one element."""

    def odd(array, stride=8000):
        strides = [s if n > 1 else stride for s, n in zip(array.strides, array.shape, strict=True)]
        array = np.lib.stride_tricks.as_strided(array, strides=strides)
        assert array.flags.c_contiguous
        return array

    rng = np.random.default_rng(10)
    for m, k, n in [
        (1, 5, 7),
        (7, 1, 5),
        (5, 7, 1),
        (1, 1, 1),
        (2 * NR32 if PLAIN else 2 * FAR + 1, 1, 2 * NR32),
        (1, 40, 1),
    ]:
        a, b = integers(rng, (m, k), dtype), integers(rng, (k, n), dtype)
        assert_same_bits(product(form, a, b, odd), (a @ b).astype(dtype))
        for stride in (-8000, 0, 2**60, -(2**62)):  # of which sums and products wrap
            found = product(form, a, b, lambda array, s=stride: odd(fenced(array), s))
            assert_same_bits(found, (a @ b).astype(dtype))


@every_form
def test_both_operands_may_be_one_array(form):
    a = integers(np.random.default_rng(9), (20, 20), np.float32)
    out = np.empty_like(a)
    getattr(kernels, f"matmul_{form}")(a, a, out)
    left, right = (a.T if form == "tn" else a), (a.T if form == "nt" else a)
    assert_same_bits(out, left @ right)
