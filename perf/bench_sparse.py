"""The first layer's products, zeros left out, of MNIST's training images. Shapes are (M, N, K).

The libraries beside multiply the dense rows, as nobody has them sparse. `python -m
perf.bench_sparse` compares with our own dense kernels instead.
"""

import time
from functools import cache

import numpy as np

from perf.cases import Case, empty, signed

PIXELS, OUTPUTS = 784, 200
BATCHES = (100, 500)
TOLERANCE = 8.0  # as in bench_matmul


@cache
def compressed(dtype):
    """(dense images, starts, columns, values)"""
    import kernels
    from data import load_dataset

    images = load_dataset().train_images.reshape(-1, PIXELS)
    return images, *kernels.sparse_rows(images, dtype)


def part(i):
    return lambda rng, dtype: compressed(dtype)[i]


def index(batch):
    return lambda rng, dtype: np.arange(batch) * (len(compressed(dtype)[0]) // batch)


def rows(batch):
    def make(rng, dtype):
        chosen = compressed(dtype)[0][index(batch)(rng, dtype)]
        return chosen.astype(dtype) / dtype.type(255)

    return make


def columns(i, batch):
    """Of what `sparse_transpose` leaves: starts, rows, values."""

    def make(rng, dtype):
        import kernels

        images, *arrays = compressed(dtype)
        made = buffers(arrays[0], batch, dtype)
        kernels.sparse_transpose(*arrays, index(batch)(rng, dtype), *made)
        return made[i]

    return make


def buffers(starts, batch, dtype):
    import kernels

    capacity = kernels.sparse_capacity(starts, batch)
    return np.zeros(PIXELS + 1, np.int64), np.zeros(capacity, np.int32), np.zeros(capacity, dtype)
