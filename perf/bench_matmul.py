"""Products of every Linear (forwards nn, to the weights tn, to the input nt) and of squares.

A shape is (M, N, K): the output is M by N, summed over K.
"""

import numpy as np

from perf.cases import BATCHES, Case, empty, layers, signed

SQUARES = (128, 256, 512, 1024, 2048, 4096)
# |error| <= 8 eps (|a| @ |b|): for K steps of normal numbers in one chain, rounding errors add up
# like a random walk to about 0.5 eps (|a| @ |b|). Even the worst of millions does not reach 8.
TOLERANCE = 8.0


def nn(shape):
    m, n, k = shape
    calls = {
        "jitprop": lambda kernels: kernels.matmul_nn,
        "numpy": lambda np: lambda a, b, out: np.matmul(a, b, out=out),
        "torch": lambda torch: lambda a, b, out: torch.mm(a, b, out=out),
        "jax": lambda jax: lambda a, b, out: jax.numpy.matmul(a, b),
    }
    return product("matmul_nn", shape, (m, k), (k, n), calls, lambda a, b: (a, b))


def nt(shape):
    m, n, k = shape
    calls = {
        "jitprop": lambda kernels: kernels.matmul_nt,
        "numpy": lambda np: lambda a, b, out: np.matmul(a, b.T, out=out),
        "torch": lambda torch: lambda a, b, out: torch.mm(a, b.T, out=out),
        "jax": lambda jax: lambda a, b, out: jax.numpy.matmul(a, b.T),
    }
    return product("matmul_nt", shape, (m, k), (n, k), calls, lambda a, b: (a, b.T))


def tn(shape):
    m, n, k = shape
    calls = {
        "jitprop": lambda kernels: kernels.matmul_tn,
        "numpy": lambda np: lambda a, b, out: np.matmul(a.T, b, out=out),
        "torch": lambda torch: lambda a, b, out: torch.mm(a.T, b, out=out),
        "jax": lambda jax: lambda a, b, out: jax.numpy.matmul(a.T, b),
    }
    return product("matmul_tn", shape, (k, m), (k, n), calls, lambda a, b: (a.T, b))


def product(name, shape, a_shape, b_shape, calls, turned):
    m, n, k = shape

    def reference(a, b, out):
        a, b = turned(a, b)
        return [(a @ b, np.abs(a) @ np.abs(b))]

    setup = [signed(*a_shape), signed(*b_shape), empty(m, n)]
    floats = m * k + k * n + m * n
    return Case(name, shape, setup, calls, reference, 2 * m * n * k, floats, TOLERANCE)


def cases():
    for size in SQUARES:
        yield from (form((size, size, size)) for form in (nn, tn, nt))
    for inputs, outputs, first in layers():
        for batch in BATCHES:
            yield nn((batch, outputs, inputs))
            yield tn((inputs, outputs, batch))
            if not first:  # nobody needs the gradient of an image
                yield nt((batch, inputs, outputs))
