"""tanh and its gradient: in the cache, and far beyond every cache. A shape is (n,)."""

import numpy as np

from perf.cases import Case, empty, scaled, signed

SIZES = (16_384, 2**24)
FLOPS = 11  # of the table's polynomial, as in kernels/functions.py


def cases():
    for n in SIZES:
        yield Case(
            "tanh_fprop",
            (n,),
            [signed(n), empty(n)],
            {
                "jitprop": lambda kernels: kernels.tanh_fprop,
                "numpy": lambda np: lambda x, out: np.tanh(x, out=out),
                "torch": lambda torch: lambda x, out: torch.tanh(x, out=out),
                "jax": lambda jax: lambda x, out: jax.numpy.tanh(x),
            },
            lambda x, out: [scaled(np.tanh(x))],
            flops=FLOPS * n,
            floats=2 * n,
        )
        yield Case(
            "tanh_bprop",
            (n,),
            [signed(n), signed(n), empty(n)],
            {
                "jitprop": lambda kernels: kernels.tanh_bprop,
                "numpy": numpy_bprop,
                "torch": lambda torch: (
                    lambda y, dy, out: torch.ops.aten.tanh_backward(dy, y, grad_input=out)
                ),
                "jax": lambda jax: lambda y, dy, out: dy * (1 - y * y),
            },
            lambda y, dy, out: [(dy * (1 - y * y), np.abs(dy) * (1 + y * y))],
            flops=3 * n,
            floats=3 * n,
        )


def numpy_bprop(np):
    def bprop(y, dy, out):
        np.multiply(y, y, out=out)
        np.subtract(1, out, out=out)
        np.multiply(dy, out, out=out)

    return bprop
