"""Bias: a row added to every row, and the sum of the rows. A shape is (batch, n)."""

import numpy as np

from perf.cases import Case, empty, scaled, signed

SHAPES = ((100, 10), (500, 200), (1000, 2500))


def cases():
    for batch, n in SHAPES:
        yield Case(
            "bias_fprop",
            (batch, n),
            [signed(batch, n), signed(n), empty(batch, n)],
            {
                "jitprop": lambda kernels: kernels.bias_fprop,
                "numpy": lambda np: lambda x, b, out: np.add(x, b, out=out),
                "torch": lambda torch: lambda x, b, out: torch.add(x, b, out=out),
                "jax": lambda jax: lambda x, b, out: x + b,
            },
            lambda x, b, out: [scaled(x + b)],
            flops=batch * n,
            floats=2 * batch * n + n,
        )
        yield Case(
            "bias_bprop",
            (batch, n),
            [signed(batch, n), empty(n)],
            {
                "jitprop": lambda kernels: kernels.bias_bprop,
                "numpy": lambda np: lambda dy, out: np.sum(dy, axis=0, out=out),
                "torch": lambda torch: lambda dy, out: torch.sum(dy, dim=0, out=out),
                "jax": lambda jax: lambda dy, out: dy.sum(axis=0),
            },
            lambda dy, out: [(dy.sum(0), np.abs(dy).sum(0))],
            flops=batch * n,
            floats=batch * n + n,
        )
