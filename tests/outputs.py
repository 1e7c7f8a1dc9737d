"""What every kernel computes on fixed inputs: for tests that compare runs, threads and CPUs.

`python tests/outputs.py 1 float32 float64:matmul_nn,scale` prints, as JSON, a hash for each kernel,
computed with 1 thread, and the instructions that were used.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from reference import pixel_values

# (M, K, N) of products: the network's layers, what is smaller than a tile, several pieces of work,
# and what is packed on either side.
PRODUCTS = [
    (100, 784, 200), (100, 200, 10), (7, 5, 3), (113, 67, 211), (110, 530, 1100), (1100, 40, 220),
]  # fmt: skip
# (batch, n) of the others: several pieces, vectors cut short, one long row.
SHAPES = [(100, 10), (211, 113), (500, 200), (1, 1), (3, 10007)]
SMALL = {"products": [(7, 5, 3), (9, 20, 67)], "shapes": [(3, 10), (5, 37)]}


def calls(dtype, products=PRODUCTS, shapes=SHAPES):
    """Pairs of a kernel's name and its arguments."""

    rng = np.random.default_rng(1)

    def draw(*shape):
        return rng.standard_normal(shape).astype(dtype)

    def out(*shape):
        return np.full(shape, 7, dtype)

    for m, k, n in products:
        for form, a, b in (
            ("nn", draw(m, k), draw(k, n)),
            ("nt", draw(m, k), draw(n, k)),
            ("tn", draw(k, m), draw(k, n)),
        ):
            yield f"matmul_{form}", [a, b, out(m, n)]
        x, w, b = draw(m, k) * np.float32(1 / 16), draw(k, n), draw(n)
        yield "linear_fprop", [x, w, b, out(m, n)]
        yield "linear_tanh_fprop", [x, w, b, out(m, n)]
        nt = draw(m, k) * np.float32(1 / 16), draw(n, k), draw(m, n)
        yield "matmul_nt_tanh_bprop", [*nt, out(m, n)]
        images = rng.integers(0, 256, (m + 1, k), np.uint8) * (rng.random((m + 1, k)) < 0.2)
        rows = images.astype(np.uint8), pixel_values(np.dtype(dtype).type)
        index = rng.integers(0, m + 1, m)
        yield "sparse_linear_fprop", [*rows, index, w, b, out(m, n)]
        yield "sparse_linear_tanh_fprop", [*rows, index, w, b, out(m, n)]
        numbers = (rows[1][images.astype(np.uint8)] - np.float32(0.5) * (images > 99)).astype(dtype)
        yield "sparse_rows_fprop", [numbers[:m], w, b, out(m, n)]
        yield "sparse_rows_tanh_fprop", [numbers[:m], w, b, out(m, n)]
        stored = np.flatnonzero(numbers)
        ends = np.searchsorted(stored, k * np.arange(1, m + 2))
        csr = numbers.reshape(-1)[stored], stored % k, np.append(0, ends[:-1]), ends, index
        yield "csr_linear_fprop", [*csr, w, b, out(m, n)]
        yield "csr_gather", [*csr, out(m, k)]
        yield "csr_tn", [*csr, draw(m, n), out(k, n)]
        yield "csr_tn_sgd", [*csr, draw(m, n), draw(k, n), 0.1]
        yield "sparse_tn", [*rows, index, draw(m, n), out(k, n)]
        yield "sparse_tn_sgd", [*rows, index, draw(m, n), draw(k, n), 0.1]
        two = draw(k, n), draw(k, n)
        yield "sparse_tn_momentum", [*rows, index, draw(m, n), *two, 0.1, 0.9, 0.01]
    for batch, n in shapes:
        x, dy = 3 * draw(batch, n), draw(batch, n)
        x[batch // 2, n // 2] = np.inf  # and the NaN that comes of it
        labels = rng.integers(0, n, batch)
        p = (np.abs(dy) / np.abs(dy).sum(axis=1, keepdims=True)).astype(dtype)
        targets = np.abs(draw(batch, n))
        yield "bias_fprop", [x, draw(n), out(batch, n)]
        yield "bias_bprop", [dy, out(n)]
        yield "tanh_fprop", [x, out(batch, n)]
        yield "tanh_bprop", [p, dy, out(batch, n)]
        yield "softmax_fprop", [x, out(batch, n)]
        yield "softmax_bprop", [p, dy, out(batch, n)]
        yield "sigmoid_fprop", [x, out(batch, n)]
        yield "sigmoid_bprop", [p, dy, out(batch, n)]
        yield "relu_fprop", [x, out(batch, n)]
        yield "relu_bprop", [x, dy, out(batch, n)]
        yield "log_softmax_fprop", [x, out(batch, n)]
        yield "log_softmax_bprop", [-p, dy, out(batch, n)]
        yield "add", [x, dy, out(batch, n)]
        yield "subtract", [x, dy, out(batch, n)]
        yield "multiply", [x, dy, out(batch, n)]
        for columns in (np.arange(3, 3 + n), rng.permutation(n)):
            yield "concatenate_fprop", [x, columns, out(batch, n + 4)]
            yield "concatenate_bprop", [draw(batch, n + 4), columns, out(batch, n)]
        yield "dropout_step", [np.array([n, 2**40]), np.zeros(3, np.int64)]
        yield "gaussian_noise", [x, np.array([-n, 2**40, 0]), 0.4, out(batch, n)]
        yield "dropout", [x, np.array([-n, 2**40, 2**30]), 4 / 3, out(batch, n)]
        yield "cross_entropy_fprop", [p, labels, out(batch)]
        yield "cross_entropy_fprop", [p, targets, out(batch)]
        yield "cross_entropy_bprop", [p, labels, 0.01, out(batch, n)]
        yield "cross_entropy_bprop", [p, targets, 0.01, out(batch, n)]
        yield "softmax_cross_entropy", [dy, labels, 0.01, out(batch, n), out(batch)]
        yield "softmax_cross_entropy", [dy, targets, 0.01, out(batch, n), out(batch)]
        yield "smoothed_cross_entropy", [dy, labels, 0.1, 0.01, out(batch, n), out(batch)]
        yield "mean_squared_error_fprop", [dy, p, out(batch)]
        yield "mean_squared_error_bprop", [dy, p, 0.01, out(batch, n)]
        yield "sigmoid_cross_entropy", [x, p, 0.01, out(batch, n), out(batch)]
        yield "poisson_loss", [x, np.rint(4 * p), 0.01, out(batch, n), out(batch)]
        yield "total", [draw(batch)]
        yield "sgd_update", [x.copy(), dy, 0.1]
        yield "momentum_update", [x.copy(), dy, draw(batch, n), 0.1, 0.9, 0.01]
        yield "nesterov_update", [x.copy(), dy, draw(batch, n), 0.1, 0.9, 0.01]
        moments = [draw(batch, n), np.abs(draw(batch, n))]
        yield "adam_update", [x.copy(), dy, *moments, 0.1, 1.5, 0.9, 0.999, 1e-8, 0.01]
        moments = [draw(batch, n), np.abs(draw(batch, n))]
        moments = [draw(batch, n), np.abs(draw(batch, n))]
        yield "adam_update_above", [x.copy(), dy, *moments, 0.1, 1.5, 0.9, 0.999, 1e-8, 0.01, 0.3]
        moments = [draw(batch, n), np.abs(draw(batch, n))]
        yield "adamw_update", [x.copy(), dy, *moments, 0.1, 1.5, 0.01, 0.9, 0.999, 1e-8]
        yield "average", [x, dy.copy(), 0.7]
        yield "max_norm", [dy.copy(), 2.0]
        yield "next_numbers", [np.arange(4.0 * n).reshape(4, n), np.array([2]), np.zeros(n)]
        yield "scale", [x, 0.1, out(batch, n)]
        yield "add", [x, dy, out(batch, n)]
        yield "zero", [x.reshape(-1).copy()]
        images = rng.integers(0, 256, (50, n), np.uint8)
        index = rng.integers(0, 50, batch)
        yield "gather", [images, index, out(batch, n)]
        bytes_ = [p, np.zeros(batch, int), np.zeros((batch, n), np.uint8)]
        yield "pixels_of", bytes_
        yield "gather_rows", [draw(50, n), index, out(batch, n)]
        yield "gather_labels", [np.arange(50) * 3, index, labels.copy()]
        key, moved = np.array([n, 2**40, n]), [5, 0.5 + batch % 3, 0.5, 0.2, 0.1, 2]
        yield "distort", [images, index, key, *map(float, moved), np.zeros((batch, n), np.uint8)]
        yield "next_index", [np.arange(2 * batch), np.array([3]), index.copy()]
        wrong = out(batch)
        yield "misses", [dy, labels, wrong]
        yield "squares", [dy.reshape(-1).copy(), out(3)]
        yield "weigh", [x, np.abs(dy[:, 0]), out(batch, n)]
        yield "share", [np.abs(dy[:, 0]), np.zeros(1)]
        yield "tally", [dy[:, 0].copy(), dy[:, -1].copy(), np.zeros(2, int), np.zeros((4, 2))]


def hashes(dtype, names=None, **sizes):
    """For each kernel, a hash of all that its calls leave in their arguments and return.

    Every NaN counts as the same: CPUs differ in its sign, which IEEE 754 leaves open.
    """
    from jitprop import kernels

    digests = {}
    for name, arguments in calls(dtype, **sizes):
        if names and name not in names:
            continue
        result = getattr(kernels, name)(*arguments)
        digest = digests.setdefault(name, hashlib.sha256())
        for value in (*arguments, np.float64(np.nan if result is None else result)):
            value = np.array(value)
            if value.dtype.kind == "f":
                value[np.isnan(value)] = np.nan
            digest.update(value.tobytes())
    return {f"{name} {np.dtype(dtype)}": d.hexdigest() for name, d in digests.items()}


def main(threads, *what, sizes):
    from jitprop import kernels
    from jitprop.kernels import tile

    kernels.set_num_threads(int(threads))
    result = {"instructions": tile.INSTRUCTIONS}
    for item in what:
        dtype, _, names = item.partition(":")
        result |= hashes(np.dtype(dtype), names.split(",") if names else None, **sizes)
    print(json.dumps(result))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    small = "--small" in sys.argv
    main(*[a for a in sys.argv[1:] if a != "--small"], sizes=SMALL if small else {})
