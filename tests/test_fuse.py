"""kernels/fused.py and runtime/fuse.py: fewer calls, the same bits."""

import numpy as np
import pytest
from plain import PLAIN
from reference import assert_same_bits, pixel_values

from jitprop import kernels
from jitprop.kernels.fused import fused

RATE = 0.1


def operands(dtype, n=30, batch=5, pixels=40):
    rng = np.random.default_rng(n)
    images = rng.integers(0, 256, (batch, pixels), np.uint8) * (rng.random((batch, pixels)) < 0.2)
    assert not images.any(axis=0).all()  # a pixel that is zero in all of them
    rows = images.astype(np.uint8), pixel_values(dtype), np.arange(batch)
    dy, w = (rng.standard_normal(shape).astype(dtype) for shape in ((batch, n), (pixels, n)))
    return rows, dy, w, np.zeros_like(w)


def names(tape):
    return [kernel.__name__ for kernel, _ in tape.calls]


UPDATES = {
    "sgd": lambda w, dw, v: kernels.sgd_update(w, dw, RATE),
    "momentum": lambda w, dw, v: kernels.momentum_update(w, dw, v, RATE, 0.9, 0.01),
}


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 16, 30, *([] if PLAIN else [200, 900])])
def test_gradient_and_update_in_one(n, dtype, update):
    rows, dy, w, dw = operands(dtype, n)
    v = np.linspace(-1, 1, w.size, dtype=dtype)
    expected, expected_v, other = w.copy(), v.copy(), np.ones_like(dy)
    with kernels.Tape() as tape:
        kernels.sparse_tn(*rows, dy, dw)
        kernels.scale(other, 2, other)
        UPDATES[update](w.reshape(-1), dw.reshape(-1), v)
    short = fused(tape)
    assert names(short) == ["scale", f"sparse_tn_{update}"]
    for _ in range(2):
        short.run()
        kernels.sparse_tn(*rows, dy, dw)
        UPDATES[update](expected.reshape(-1), dw.reshape(-1), expected_v)
        assert_same_bits(w, expected)
        assert_same_bits(v, expected_v)
    assert (other == 4).all()


@pytest.mark.parametrize("product", ["linear", "sparse_linear"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_product_and_tanh_in_one(dtype, product):
    rows, _, w, _ = operands(dtype)
    x = (rows[1][rows[0][rows[2]]],) if product == "linear" else rows
    b = np.random.default_rng(0).standard_normal(30).astype(dtype)
    y, out, expected = (np.zeros((5, 30), dtype) for _ in range(3))
    fprop = getattr(kernels, f"{product}_fprop")
    with kernels.Tape() as tape:
        fprop(*x, w, b, y)
        kernels.tanh_fprop(y, out)
        kernels.tanh_bprop(out, np.ones_like(out), np.zeros_like(out))
    short = fused(tape)
    assert names(short) == [f"{product}_tanh_fprop", "tanh_bprop"]
    short.run()
    fprop(*x, w, b, expected)
    kernels.tanh_fprop(expected, expected)
    assert_same_bits(out, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_product_and_the_slope_of_tanh_in_one(dtype):
    rng = np.random.default_rng(0)
    m, k, n = (5, 10, 40) if PLAIN else (100, 10, 200)
    dy, w, y = (rng.standard_normal(s).astype(dtype) for s in ((m, k), (n, k), (m, n)))
    dx, out, expected = (np.zeros_like(y) for _ in range(3))
    with kernels.Tape() as tape:
        kernels.matmul_nt(dy, w, dx)
        kernels.tanh_bprop(y, dx, out)
        kernels.bias_bprop(out, np.zeros(n, dtype))
    short = fused(tape)
    assert names(short) == ["matmul_nt_tanh_bprop", "bias_bprop"]
    short.run()
    kernels.matmul_nt(dy, w, expected)
    kernels.tanh_bprop(y, expected, expected)
    assert_same_bits(out, expected)


def test_a_slope_is_not_overwritten_before_it_is_read():
    dy, w, y, dx = np.ones((2, 3)), np.ones((4, 3)), np.ones((2, 4)), np.zeros((2, 4))
    with kernels.Tape() as tape:
        kernels.matmul_nt(dy, w, dx)
        kernels.tanh_bprop(y, dx, y)
    assert names(fused(tape)) == names(tape)


def vector(w):
    return np.zeros(w.shape[1])


@pytest.mark.parametrize(
    ("before", "between", "after"),
    [
        (None, lambda dy, w, dw: kernels.scale(dw, 2, dw), None),  # clips the gradient
        (None, lambda dy, w, dw: kernels.bias_bprop(dw, vector(w)), None),
        (None, lambda dy, w, dw: kernels.scale(dw[1:2], 2, dw[1:2]), None),
        (None, lambda dy, w, dw: kernels.scale(dy, 2, dy), None),  # before it would be read
        (None, None, lambda dy, w, dw: kernels.scale(dw, 2, dw)),
        (lambda dy, w, dw: kernels.bias_bprop(dw, vector(w)), None, None),  # of the run before
    ],
)
def test_what_else_reads_or_writes_them_stays_as_it_is(before, between, after):
    rows, dy, w, dw = operands(np.float64)
    with kernels.Tape() as tape:
        if before:
            before(dy, w, dw)
        kernels.sparse_tn(*rows, dy, dw)
        if between:
            between(dy, w, dw)
        kernels.sgd_update(w, dw, RATE)
        if after:
            after(dy, w, dw)
    assert names(fused(tape)) == names(tape)


def test_weights_may_be_read_and_written_meanwhile():
    rows, dy, w, dw = operands(np.float64)
    expected = 2 * w
    with kernels.Tape() as tape:
        kernels.sparse_tn(*rows, dy, dw)
        kernels.scale(w, 2, w)
        kernels.sgd_update(w, dw, RATE)
    short = fused(tape)
    assert names(short) == ["scale", "sparse_tn_sgd"]
    short.run()
    kernels.sparse_tn(*rows, dy, dw)
    kernels.sgd_update(expected, dw, RATE)
    assert_same_bits(w, expected)


@pytest.mark.parametrize(
    "gradient",
    [
        lambda dw: np.ones_like(dw),  # another one
        lambda dw: dw[:20].reshape(-1),  # part of it, for part of the weights
        lambda dw: dw[20:].reshape(-1),
    ],
)
def test_another_gradient_is_none_of_its_business(gradient):
    rows, dy, w, dw = operands(np.float64)
    other = gradient(dw)
    with kernels.Tape() as tape:
        kernels.sparse_tn(*rows, dy, dw)
        kernels.sgd_update(w.reshape(-1)[: other.size], other.reshape(-1), RATE)
    assert names(fused(tape)) == ["sparse_tn", "sgd_update"]


def test_tanh_in_place_stays_in_place():
    x, w, b, y = np.ones((2, 3)), np.ones((3, 4)), np.ones(4), np.zeros((2, 4))
    with kernels.Tape() as tape:
        kernels.linear_fprop(x, w, b, y)
        kernels.tanh_fprop(y, y)
    assert names(fused(tape)) == ["linear_fprop", "tanh_fprop"]


def test_the_second_call_has_to_read_it_where_it_is_read():
    rows, dy, w, dw = operands(np.float64)
    x, weights, b, y = np.ones((2, 3)), np.ones((3, 4)), np.ones(4), np.zeros((2, 4))
    with kernels.Tape() as tape:
        kernels.sparse_tn(*rows, dy, w)
        kernels.sgd_update(w, dw, RATE)  # of what the product left
        kernels.linear_fprop(x, weights, b, y)
        kernels.tanh_fprop(np.ones_like(y), y)  # overwrites it
    assert names(fused(tape)) == names(tape)


def test_the_second_call_may_write_to_what_the_first_reads():
    x, w, b, y = np.ones((4, 4)), np.ones((4, 4)), np.ones(4), np.zeros((4, 4))
    with kernels.Tape() as tape:
        kernels.linear_fprop(x, w, b, y)
        kernels.tanh_fprop(y, x)
    again = fused(tape)
    assert names(again) == ["linear_fprop", "tanh_fprop"]
    again.run()
    np.testing.assert_allclose(x, np.tanh(5.0))


def test_what_somebody_reads_is_kept():
    x, w, b, y = np.ones((2, 3)), np.ones((3, 4)), np.ones(4), np.zeros((2, 4))
    with kernels.Tape() as tape:
        kernels.linear_fprop(x, w, b, y)
        kernels.tanh_fprop(y, np.zeros_like(y))
    assert names(fused(tape)) == ["linear_tanh_fprop"]
    again = fused(tape, [y[1:]])
    assert names(again) == names(tape)
    again.run()
    np.testing.assert_array_equal(y, 4)
