"""Logarithm of softmax and its gradient, few classes and many. A shape is (batch, classes)."""

import numpy as np

from perf.bench_softmax import EXP_FLOPS
from perf.cases import Case, empty, signed

SHAPES = ((100, 10), (1000, 10), (100, 10_000))


def cases():
    for batch, n in SHAPES:
        yield Case(
            "log_softmax_fprop",
            (batch, n),
            [signed(batch, n), empty(batch, n)],
            {
                "jitprop": lambda kernels: kernels.log_softmax_fprop,
                "numpy": numpy_fprop,
                "torch": lambda torch: lambda x, out: torch.log_softmax(x, 1, out=out),
                "jax": lambda jax: lambda x, out: jax.nn.log_softmax(x, 1),
            },
            reference_fprop,
            flops=(EXP_FLOPS + 4) * batch * n,
            floats=2 * batch * n,
        )
        yield Case(
            "log_softmax_bprop",
            (batch, n),
            [log_probabilities(batch, n), signed(batch, n), empty(batch, n)],
            {
                "jitprop": lambda kernels: kernels.log_softmax_bprop,
                "numpy": numpy_bprop,
                "torch": torch_bprop,
                "jax": lambda jax: (
                    lambda y, dy, out: dy - jax.numpy.exp(y) * dy.sum(1, keepdims=True)
                ),
            },
            reference_bprop,
            flops=(EXP_FLOPS + 3) * batch * n,
            floats=3 * batch * n,
            tolerance=16.0,  # a sum
        )


def log_probabilities(*shape):
    def make(rng, dtype):
        x = rng.standard_normal(shape)
        return (x - np.log(np.exp(x).sum(1, keepdims=True))).astype(dtype)

    return make


def reference_fprop(x, out):
    y = x - np.log(np.exp(x).sum(1, keepdims=True))
    return [(y, np.abs(x) + np.abs(y) + 4)]  # 4: the largest of many normal numbers


def reference_bprop(y, dy, out):
    p = np.exp(y)
    dx = dy - p * dy.sum(1, keepdims=True)
    return [(dx, np.abs(dy) + p * np.abs(dy).sum(1, keepdims=True))]


def numpy_fprop(np):
    def fprop(x, out):
        np.subtract(x, x.max(1, keepdims=True), out=out)
        np.subtract(out, np.log(np.exp(out).sum(1, keepdims=True)), out=out)

    return fprop


def numpy_bprop(np):
    def bprop(y, dy, out):
        np.exp(y, out=out)
        np.multiply(out, dy.sum(1, keepdims=True), out=out)
        np.subtract(dy, out, out=out)

    return bprop


def torch_bprop(torch):
    def bprop(y, dy, out):
        torch.ops.aten._log_softmax_backward_data(dy, y, 1, y.dtype, out=out)

    return bprop
