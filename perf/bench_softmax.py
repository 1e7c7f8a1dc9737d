"""Softmax and its gradient, for few classes and many. A shape is (batch, classes)."""

import numpy as np

from perf.cases import Case, empty, probabilities, scaled, signed

SHAPES = ((100, 10), (1000, 10), (100, 10_000))
EXP_FLOPS = 20  # of one exponential, as in kernels/functions.py


def cases():
    for batch, n in SHAPES:
        yield Case(
            "softmax_fprop",
            (batch, n),
            [signed(batch, n), empty(batch, n)],
            {
                "jitprop": lambda kernels: kernels.softmax_fprop,
                "numpy": numpy_fprop,
                "torch": lambda torch: lambda x, out: torch.softmax(x, 1, out=out),
                "jax": lambda jax: lambda x, out: jax.nn.softmax(x),
            },
            lambda x, out: [scaled(reference(x))],
            flops=(EXP_FLOPS + 4) * batch * n,
            floats=2 * batch * n,
            tolerance=8.0,  # the exponent's rounding counts times its size, here 5
        )
        yield Case(
            "softmax_bprop",
            (batch, n),
            [probabilities(batch, n), signed(batch, n), empty(batch, n)],
            {
                "jitprop": lambda kernels: kernels.softmax_bprop,
                "numpy": numpy_bprop,
                "torch": lambda torch: (
                    lambda y, dy, out: torch.mul(y, dy - (dy * y).sum(1, keepdim=True), out=out)
                ),
                "jax": lambda jax: lambda y, dy, out: y * (dy - (dy * y).sum(1, keepdims=True)),
            },
            lambda y, dy, out: [
                (
                    y * (dy - (dy * y).sum(1, keepdims=True)),
                    y * (np.abs(dy) + np.abs(dy * y).sum(1, keepdims=True)),
                )
            ],
            flops=4 * batch * n,
            floats=3 * batch * n,
        )


def reference(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def numpy_fprop(np):
    def fprop(x, out):
        np.subtract(x, x.max(1, keepdims=True), out=out)
        np.exp(out, out=out)
        np.divide(out, out.sum(1, keepdims=True), out=out)

    return fprop


def numpy_bprop(np):
    def bprop(y, dy, out):
        np.multiply(dy, y, out=out)
        np.subtract(dy, out.sum(1, keepdims=True), out=out)
        np.multiply(y, out, out=out)

    return bprop
