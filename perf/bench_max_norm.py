"""Weights of units pulled back. A shape is that of the weights.

With the norm that is allowed, the first call pulls half of the units back, and later calls hardly
any: as in training.
"""

import numpy as np

from perf.cases import Case, number, signed

SHAPES = ((784, 200), (2500, 2000))


def cases():
    for shape in SHAPES:
        size = shape[0] * shape[1]
        yield Case(
            "max_norm",
            shape,
            [signed(*shape), number(shape[0] ** 0.5)],
            {
                "jitprop": lambda kernels: kernels.max_norm,
                "numpy": numpy_max_norm,
                "torch": torch_max_norm,
                "jax": jax_max_norm,
            },
            reference,
            flops=2 * size,
            floats=size,
            tolerance=4.0 + shape[0] / 8,  # four chains of a quarter of the rows, half of it
            outputs=(0,),
        )


def reference(w, most):
    norm = np.sqrt((w**2).sum(0))
    y = w * np.where(norm > most, most / norm, 1)
    return [(y, np.abs(y))]


def numpy_max_norm(np):
    def max_norm(w, most):
        norm = np.sqrt(np.einsum("ij,ij->j", w, w))
        w *= np.where(norm > most, most / norm, 1).astype(w.dtype)

    return max_norm


def torch_max_norm(torch):
    def max_norm(w, most):
        norm = torch.linalg.vector_norm(w, dim=0)
        w.mul_(torch.where(norm > most, most / norm, 1))

    return max_norm


def jax_max_norm(jax):
    np = jax.numpy

    def max_norm(w, most):
        norm = np.sqrt((w * w).sum(0))
        return w * np.where(norm > most, most / norm, 1)

    return max_norm
