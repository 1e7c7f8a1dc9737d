"""kernels/fuse.py: fewer calls, the same bits."""

import numpy as np
import pytest
from reference import assert_same_bits

import kernels
from kernels.fuse import fused

RATE = 0.1


def operands(dtype, n=30, batch=5, pixels=40):
    rng = np.random.default_rng(n)
    images = rng.integers(0, 256, (batch, pixels), np.uint8) * (rng.random((batch, pixels)) < 0.2)
    starts, columns, values = kernels.sparse_rows(images.astype(np.uint8), dtype)
    capacity = kernels.sparse_capacity(starts, batch)
    by_column = (
        np.zeros(pixels + 1, np.int64),
        np.zeros(capacity, np.int32),
        np.zeros(capacity, dtype),
    )
    kernels.sparse_transpose(starts, columns, values, np.arange(batch), *by_column)
    assert (np.diff(by_column[0]) == 0).any()  # a pixel that is zero in all images
    dy, w = (rng.standard_normal(shape).astype(dtype) for shape in ((batch, n), (pixels, n)))
    return by_column, dy, w, np.zeros_like(w)


def names(tape):
    return [kernel.__name__ for kernel, _ in tape.calls]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 16, 30, 200, 900])
def test_gradient_and_update_in_one(n, dtype):
    columns, dy, w, dw = operands(dtype, n)
    expected, other = w.copy(), np.ones_like(dy)
    with kernels.Tape() as tape:
        kernels.sparse_tn(*columns, dy, dw)
        kernels.scale(other, 2, other)
        kernels.sgd_update(w.reshape(-1), dw.reshape(-1), RATE)
    short = fused(tape)
    assert names(short) == ["scale", "sparse_tn_sgd"]
    short.run()
    kernels.sparse_tn(*columns, dy, dw)
    kernels.sgd_update(expected, dw, RATE)
    assert_same_bits(w, expected)
    assert (other == 2).all()


@pytest.mark.parametrize(
    ("between", "after"),
    [
        (lambda dy, w, dw: kernels.scale(dw, 2, dw), None),  # clips the gradient
        (lambda dy, w, dw: kernels.scale(w, 2, w), None),
        (lambda dy, w, dw: kernels.bias_bprop(w, np.zeros(w.shape[1])), None),  # reads the weights
        (lambda dy, w, dw: kernels.scale(dy, 2, dy), None),  # before it would be read
        (None, lambda dy, w, dw: kernels.scale(dw, 2, dw)),
    ],
)
def test_what_else_reads_or_writes_them_stays_as_it_is(between, after):
    columns, dy, w, dw = operands(np.float64)
    with kernels.Tape() as tape:
        kernels.sparse_tn(*columns, dy, dw)
        if between:
            between(dy, w, dw)
        kernels.sgd_update(w, dw, RATE)
        if after:
            after(dy, w, dw)
    assert names(fused(tape)) == names(tape)


def test_another_gradient_is_none_of_its_business():
    columns, dy, w, dw = operands(np.float64)
    with kernels.Tape() as tape:
        kernels.sparse_tn(*columns, dy, dw)
        kernels.sgd_update(w, np.ones_like(dw), RATE)
    assert names(fused(tape)) == ["sparse_tn", "sgd_update"]
