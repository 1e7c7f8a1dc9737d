"""The first layer's products without zeros, for MNIST's training images. A shape is (M, N, K).

Other libraries multiply the dense rows. `python -m perf.bench_sparse [THREADS]` compares with our
own dense kernels instead, on a new batch each time.
"""

import sys
import time
from functools import cache

import numpy as np

from perf.bench_matmul import TOLERANCE
from perf.cases import Case, empty, signed

PIXELS, OUTPUTS = 784, 200
BATCHES = (100, 500)
DENSITY = 0.19
ROUNDS = 300


@cache
def images():
    from jitprop.data import load_dataset

    return load_dataset().train_images.reshape(-1, PIXELS)


def values(dtype):
    return np.arange(256, dtype=dtype) / dtype.type(255)


def chosen(batch):
    return np.arange(batch) * (len(images()) // batch)


def setup(batch):
    """What both products take: images, values, index, x; x is the dense batch."""
    return [
        lambda rng, dtype: images(),
        lambda rng, dtype: values(dtype),
        lambda rng, dtype: chosen(batch),
        lambda rng, dtype: values(dtype)[images()[chosen(batch)]],
    ]


def cases():
    for batch in BATCHES:
        x_size, w_size, y_size = batch * PIXELS, PIXELS * OUTPUTS, batch * OUTPUTS
        flops, floats = 2 * DENSITY * x_size * OUTPUTS, w_size + y_size
        yield Case(
            "sparse_linear_fprop",
            (batch, OUTPUTS, PIXELS),
            [*setup(batch), signed(PIXELS, OUTPUTS), signed(OUTPUTS), empty(batch, OUTPUTS)],
            {
                "jitprop": lambda kernels: (
                    lambda images, values, index, x, w, b, out: kernels.sparse_linear_fprop(
                        images, values, index, w, b, out
                    )
                ),
                "numpy": lambda np: lambda m, v, i, x, w, b, out: np.add(x @ w, b, out=out),
            },
            lambda m, v, i, x, w, b, out: [(x @ w + b, np.abs(x) @ np.abs(w) + np.abs(b))],
            flops,
            floats,
            TOLERANCE,
            other_bytes=x_size,
        )
        yield Case(
            "sparse_tn",
            (PIXELS, OUTPUTS, batch),
            [*setup(batch), signed(batch, OUTPUTS), empty(PIXELS, OUTPUTS)],
            {
                "jitprop": lambda kernels: (
                    lambda images, values, index, x, dy, out: kernels.sparse_tn(
                        images, values, index, dy, out
                    )
                ),
                "numpy": lambda np: lambda m, v, i, x, dy, out: np.matmul(x.T, dy, out=out),
            },
            lambda m, v, i, x, dy, out: [(x.T @ dy, np.abs(x.T) @ np.abs(dy))],
            flops,
            floats,
            TOLERANCE,
            other_bytes=x_size,
        )


def compare(batch, dtype):
    """Print medians over rounds of the time over that of the dense kernels, without gather."""
    from jitprop import kernels

    rows = images(), values(dtype)
    rng = np.random.default_rng(1)
    w, b = signed(PIXELS, OUTPUTS)(rng, dtype), signed(OUTPUTS)(rng, dtype)
    y, dy, dw = np.zeros((batch, OUTPUTS), dtype), signed(batch, OUTPUTS)(rng, dtype), 0 * w
    x = np.zeros((batch, PIXELS), dtype)
    index = np.zeros(batch, np.int64)
    steps = {
        "gather": lambda: kernels.gather(images(), index, x),
        "dense y": lambda: kernels.linear_fprop(x, w, b, y),
        "dense dw": lambda: kernels.matmul_tn(x, dy, dw),
        "sparse y": lambda: kernels.sparse_linear_fprop(*rows, index, w, b, y),
        "sparse dw": lambda: kernels.sparse_tn(*rows, index, dy, dw),
    }
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(ROUNDS):
        index[:] = rng.integers(0, len(images()), batch)
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            taken[name].append(1e6 * (time.perf_counter() - start))
    t = {name: np.array(times) for name, times in taken.items()}
    ratios = {
        "y": t["sparse y"] / t["dense y"],
        "dw": t["sparse dw"] / t["dense dw"],
    }
    print(
        f"batch {batch} {dtype} {kernels.get_num_threads()} threads:",
        *(f"{name} {np.median(ratio):.2f}x" for name, ratio in ratios.items()),
        *(f"| {name} {np.median(v):.0f} ({v.min():.0f})" for name, v in t.items()),
        "us: median (least)",
    )


if __name__ == "__main__":
    from jitprop import kernels

    kernels.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        for batch in BATCHES:
            compare(batch, dtype)
