"""Dropout: it draws numbers but drops none, so that results compare. A shape is (n,)."""

import numpy as np

from perf.cases import Case, empty, number, scaled, signed

SIZES = (16_384, 2**24)
FLOPS = 10 * 2 * 10 / 4  # of Philox: rounds, multiplications, instructions around each, for four


def cases():
    for n in SIZES:
        yield Case(
            "dropout",
            (n,),
            [signed(n), key, number(1.25), empty(n)],
            {"jitprop": lambda kernels: kernels.dropout, "numpy": numpy_dropout},
            lambda x, key, scale, out: [scaled(x * scale)],
            flops=FLOPS * n,
            floats=2 * n,
        )


def key(rng, dtype):
    return np.array([1, 1, 0])


def numpy_dropout(np):
    rng = np.random.default_rng(1)

    def dropout(x, key, scale, out):
        rng.random(dtype=out.dtype, out=out)
        np.multiply(out >= key[2] / 2**32, scale, out=out)
        np.multiply(x, out, out=out)

    return dropout
