"""Sigmoid, ReLU, sums and products: in the cache, and far beyond every cache. A shape is (n,)."""

import numpy as np

from perf.bench_softmax import EXP_FLOPS
from perf.cases import Case, empty, scaled, signed

SIZES = (16_384, 2**24)


def cases():
    for n in SIZES:
        yield Case(
            "sigmoid_fprop",
            (n,),
            [signed(n), empty(n)],
            {
                "jitprop": lambda kernels: kernels.sigmoid_fprop,
                "numpy": numpy_sigmoid,
                "torch": lambda torch: lambda x, out: torch.sigmoid(x, out=out),
                "jax": lambda jax: lambda x, out: jax.nn.sigmoid(x),
            },
            lambda x, out: [scaled(1 / (1 + np.exp(-x)))],
            flops=(EXP_FLOPS + 2) * n,
            floats=2 * n,
            tolerance=8.0,  # an exponential, a sum, a quotient
        )
        yield Case(
            "sigmoid_bprop",
            (n,),
            [signed(n), signed(n), empty(n)],
            {
                "jitprop": lambda kernels: kernels.sigmoid_bprop,
                "numpy": numpy_sigmoid_bprop,
                "torch": lambda torch: (
                    lambda y, dy, out: torch.ops.aten.sigmoid_backward(dy, y, grad_input=out)
                ),
                "jax": lambda jax: lambda y, dy, out: dy * (y * (1 - y)),
            },
            lambda y, dy, out: [(dy * (y * (1 - y)), np.abs(dy * y) * (1 + np.abs(y)))],
            flops=3 * n,
            floats=3 * n,
        )
        yield Case(
            "relu_fprop",
            (n,),
            [signed(n), empty(n)],
            {
                "jitprop": lambda kernels: kernels.relu_fprop,
                "numpy": lambda np: lambda x, out: np.maximum(x, 0, out=out),
                "torch": lambda torch: lambda x, out: torch.clamp_min(x, 0, out=out),
                "jax": lambda jax: lambda x, out: jax.nn.relu(x),
            },
            lambda x, out: [scaled(np.maximum(x, 0))],
            flops=n,
            floats=2 * n,
        )
        yield Case(
            "relu_bprop",
            (n,),
            [signed(n), signed(n), empty(n)],
            {
                "jitprop": lambda kernels: kernels.relu_bprop,
                "numpy": lambda np: lambda y, dy, out: np.multiply(dy, y > 0, out=out),
                "torch": lambda torch: (
                    lambda y, dy, out: torch.ops.aten.threshold_backward(dy, y, 0, grad_input=out)
                ),
                "jax": lambda jax: lambda y, dy, out: jax.numpy.where(y > 0, dy, 0),
            },
            lambda y, dy, out: [scaled(dy * (y > 0))],
            flops=n,
            floats=3 * n,
        )
        for name in ("add", "subtract", "multiply"):
            yield arithmetic(name, n)


def arithmetic(name, n):
    return Case(
        name,
        (n,),
        [signed(n), signed(n), empty(n)],
        {
            "jitprop": lambda kernels: getattr(kernels, name),
            "numpy": lambda np: getattr(np, name),
            "torch": lambda torch: lambda a, b, out: getattr(torch, name)(a, b, out=out),
            "jax": lambda jax: lambda a, b, out: getattr(jax.numpy, name)(a, b),
        },
        lambda a, b, out: [scaled(getattr(np, name)(a, b))],
        flops=n,
        floats=3 * n,
    )


def numpy_sigmoid(np):
    def fprop(x, out):
        np.negative(x, out=out)
        np.exp(out, out=out)
        np.add(out, 1, out=out)
        np.divide(1, out, out=out)

    return fprop


def numpy_sigmoid_bprop(np):
    def bprop(y, dy, out):
        np.subtract(1, y, out=out)
        np.multiply(y, out, out=out)
        np.multiply(dy, out, out=out)

    return bprop
