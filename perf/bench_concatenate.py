"""Columns into a wider batch and out of it. A shape is (batch, columns): half of that batch."""

import numpy as np

from perf.cases import Case, empty, scaled, signed

SHAPES = ((100, 200), (1000, 2000))


def cases():
    for batch, n in SHAPES:
        yield Case(
            "concatenate_fprop",
            (batch, n),
            [signed(batch, n), right_half(n), empty(batch, 2 * n)],
            {
                "jitprop": lambda kernels: kernels.concatenate_fprop,
                "numpy": lambda np: copy_in,
                "torch": lambda torch: copy_in,
                "jax": lambda jax: lambda x, columns, out: out.at[:, out.shape[1] // 2 :].set(x),
            },
            lambda x, columns, out: [scaled(np.hstack([np.zeros_like(x), x]))],
            flops=batch * n,
            floats=2 * batch * n,
        )
        yield Case(
            "concatenate_bprop",
            (batch, n),
            [signed(batch, 2 * n), right_half(n), empty(batch, n)],
            {
                "jitprop": lambda kernels: kernels.concatenate_bprop,
                "numpy": lambda np: copy_out,
                "torch": lambda torch: copy_out,
                "jax": lambda jax: lambda dy, columns, out: dy[:, dy.shape[1] // 2 :],
            },
            lambda dy, columns, out: [scaled(dy[:, columns])],
            flops=batch * n,
            floats=2 * batch * n,
        )


def right_half(n):
    return lambda rng, dtype: np.arange(n, 2 * n)


def copy_in(x, columns, out):
    out[:, out.shape[1] // 2 :] = x


def copy_out(dy, columns, out):
    out[:] = dy[:, dy.shape[1] // 2 :]
