"""kernels/csr.py: the bits of the dense products, from the stored numbers of rows alone."""

import numpy as np
import pytest
import reference
from plain import PLAIN
from reference import assert_same_bits

from jitprop import kernels
from jitprop.kernels import csr
from jitprop.kernels.compiler.simd import LANES
from jitprop.kernels.fused import fused

FLOATS = (np.float32,) if PLAIN else (np.float32, np.float64)
every_dtype = pytest.mark.parametrize("dtype", FLOATS)


def draw_rows(rng, n, features, density, dtype):
    """Rows with zeros, and what is stored of them: some of the zeros, too, of either sign."""
    x = rng.standard_normal((n, features)) * 10.0 ** rng.integers(-9, 9, (n, features))
    x = np.where(rng.random(x.shape) < 0.1, rng.choice([0.0, -0.0], x.shape), x)
    stored = rng.random(x.shape) < density
    return np.where(stored, x, 0).astype(dtype), stored


def compressed(x, stored):
    """data, indices, starts, ends."""
    ends = np.cumsum(stored.sum(axis=1), dtype=np.int64)
    return x[stored], np.nonzero(stored)[1].copy(), np.append(0, ends[:-1])[: len(x)], ends


def check(x, stored, index, outputs, wrap=lambda array: array):
    """Both products and the gathered rows have the bits of the dense ones."""
    rng = np.random.default_rng(1)
    (_, features), batch, dtype = x.shape, len(index), x.dtype
    w, b = (rng.standard_normal(s).astype(dtype) for s in ((features, outputs), outputs))
    dy = rng.standard_normal((batch, outputs)).astype(dtype)
    rows, dense = [wrap(a) for a in (*compressed(x, stored), index)], x[index]
    y, dw = np.empty((batch, outputs), dtype), np.empty((features, outputs), dtype)
    kernels.linear_fprop(dense, w, b, y)
    kernels.matmul_tn(dense, dy, dw)
    for kernel, more, expected in (
        (kernels.csr_linear_fprop, (w, b), y),
        (kernels.csr_tn, (dy,), dw),
        (kernels.csr_gather, (), dense),
    ):
        found = wrap(np.full_like(expected, np.nan))
        kernel(*rows, *map(wrap, more), found)
        assert_same_bits(found, expected)
    found, expected = wrap(w), w.copy()
    kernels.csr_tn_sgd(*rows, wrap(dy), found, 0.1)
    kernels.sgd_update(expected, dw, 0.1)
    assert_same_bits(found, expected)


# (n, features, batch, outputs): at most a vector of outputs, one, a bit more, one pass and more;
# a single column; several blocks of dw; a batch longer than the matrix.
SHAPES = [
    (9, 70, 5, 1), (9, 70, 5, LANES - 1), (9, 70, 5, LANES), (9, 70, 5, LANES + 1),
    (9, 70, 5, 4 * LANES), (9, 70, 70, 4 * LANES + 1), (7, 1, 7, 5), (5, 3000, 4, 100),
    (3, 301, 277, 37), (4, 900, 9, 2000), (2, 9, 3, csr.BLOCK + 1),
]  # fmt: skip
PLAIN_SHAPES = [(9, 7, 5, 3), (9, 7, 5, LANES), (4, 6, 3, LANES + 1)]


@every_dtype
@pytest.mark.parametrize("density", [0.2] if PLAIN else [0, 0.02, 0.3, 1])
@pytest.mark.parametrize("shape", PLAIN_SHAPES if PLAIN else SHAPES)
def test_bits_are_those_of_the_dense_products(shape, density, dtype, guarded):
    n, features, batch, outputs = shape
    rng = np.random.default_rng(2)
    x, stored = draw_rows(rng, n, features, density, dtype)
    check(x, stored, rng.integers(0, n, batch), outputs, guarded)


@every_dtype
@pytest.mark.parametrize(
    ("n", "features", "batch", "outputs"), [(0, 4, 0, 3), (3, 0, 2, 5), (3, 5, 0, 20), (3, 5, 2, 0)]
)
def test_nothing_to_multiply(n, features, batch, outputs, dtype, guarded):
    x, stored = draw_rows(np.random.default_rng(3), n, features, 0.5, dtype)
    check(x, stored, np.arange(batch), outputs, guarded)


def test_more_rows_than_places_are_kept(monkeypatch):
    """Then a block is gone through again, and its chains go on."""
    rng = np.random.default_rng(4)
    x, stored = draw_rows(rng, 6, 40, 0.4, np.float32)
    rows = 11 if PLAIN else csr.MARKED + 5
    if PLAIN:
        monkeypatch.setattr(csr, "MARKED", 4)
    check(x, stored, rng.integers(0, 6, rows), 3)


def test_chains():
    """Not only the same as the dense products: the chain itself, in the order of k."""
    rng = np.random.default_rng(6)
    x, stored = draw_rows(rng, 6, 50, 0.3, np.float32)
    index = np.array([5, 0, 0, 2, 4])
    w, dy = (rng.standard_normal(s).astype(np.float32) for s in ((50, 7), (5, 7)))
    y, dw, dense = np.empty((5, 7), np.float32), np.empty((50, 7), np.float32), x[index]
    rows = *compressed(x, stored), index
    kernels.csr_linear_fprop(*rows, w, np.zeros(7, np.float32), y)
    kernels.csr_tn(*rows, dy, dw)
    assert_same_bits(y, reference.chain(dense, w))
    assert_same_bits(dw, reference.chain(np.ascontiguousarray(dense.T), dy))


@pytest.mark.parametrize("before", [False, True])
def test_nothing_outside_is_read(before, fenced):
    """Memory ends where the arrays do, or begins there."""
    rng = np.random.default_rng(10)
    for n, features, batch in [(1, 1, 1), (2, 3, 5), (4, 130, 9)]:
        x, stored = draw_rows(rng, n, features, 0.5, np.float32)
        index = np.append(rng.integers(0, n, batch - 1), n - 1)
        for outputs in (1, LANES - 1, LANES + 1, 5 * LANES):
            check(x, stored, index, outputs, lambda array: fenced(array, before=before))


@pytest.mark.parametrize("wrong", [-(2**63), -1, 5, 2**62, 2**63 - 1])
def test_places_and_columns_that_are_wrong_lead_nowhere_else(wrong, fenced):
    """Any numbers may come of it, but from these arrays, and the same on any number of threads."""
    rng = np.random.default_rng(11)
    x, stored = draw_rows(rng, 4, 5, 1, np.float32)
    dy, w = np.ones((3, 20), np.float32), np.ones((5, 20), np.float32)
    for which in (1, 2, 3):
        rows = [fenced(array) for array in compressed(x, stored)]
        rows[which][::2] = wrong
        results = []
        for threads in (1, 2):
            kernels.set_num_threads(threads)
            y, dw, dense = (fenced(np.empty(s, np.float32)) for s in ((3, 20), (5, 20), (3, 5)))
            index = np.array([3, 0, 2])
            kernels.csr_linear_fprop(*rows, index, w, w[0].copy(), y)
            kernels.csr_tn(*rows, index, dy, dw)
            kernels.csr_gather(*rows, index, dense)
            updated = fenced(w)
            kernels.csr_tn_sgd(*rows, index, dy, updated, 0.1)
            assert all(np.isfinite(array).all() for array in (y, dw, dense, updated))
            results.append([array.copy() for array in (y, dw, dense, updated)])
        for one, other in zip(*results, strict=True):
            assert_same_bits(one, other)


def test_rows_of_weights_without_a_number_are_not_touched():
    """And on a tape gradient and update are one."""
    rng = np.random.default_rng(12)
    x, stored = draw_rows(rng, 4, 9, 0.3, np.float32)
    stored[:, [2, 8]] = False
    x[~stored] = 0
    rows, dy, index = compressed(x, stored), np.ones((3, 5), np.float32), np.array([3, 0, 2])
    w, dw = rng.standard_normal((9, 5)).astype(np.float32), np.empty((9, 5), np.float32)
    expected, w[2], w[8] = w.copy(), np.nan, np.inf
    with kernels.Tape() as tape:
        kernels.csr_tn(*rows, index, dy, dw)
        kernels.sgd_update(w.reshape(-1), dw.reshape(-1), 0.1)
    short = fused(tape)
    assert [kernel.__name__ for kernel, _ in short.calls] == ["csr_tn_sgd"]
    short.run()
    kernels.csr_tn(*rows, index, dy, dw)
    kernels.sgd_update(expected, dw, 0.1)
    expected[2], expected[8] = np.nan, np.inf
    assert_same_bits(w, expected)
