"""Products with rows of mostly zeros, like counts of words in texts. A shape is (M, N, K).

Other libraries multiply the dense rows. `python -m perf.bench_csr [THREADS]` compares with SciPy's
products of sparse rows, on a new batch each time.
"""

import sys
import time
from functools import cache

import numpy as np

from perf.bench_matmul import TOLERANCE
from perf.cases import Case, empty, signed

ROWS, FEATURES, PER_ROW, BATCH = 2000, 20_000, 100, 200
OUTPUTS = (10, 100)
ROUNDS = 200


@cache
def stored(dtype):
    """data, indices, starts, ends of ROWS rows, PER_ROW numbers in each."""
    rng = np.random.default_rng(1)
    indices = np.sort(rng.integers(0, FEATURES - PER_ROW, (ROWS, PER_ROW)), axis=1)
    indices += np.arange(PER_ROW)  # none comes twice
    starts = PER_ROW * np.arange(ROWS)
    return signed(indices.size)(rng, dtype), indices.ravel(), starts, starts + PER_ROW


def chosen():
    return np.arange(BATCH) * (ROWS // BATCH)


def dense(dtype):
    """The batch with all its zeros."""
    data, indices, starts, ends = stored(dtype)
    x = np.zeros((BATCH, FEATURES), dtype)
    for row, i in zip(x, chosen(), strict=True):
        row[indices[starts[i] : ends[i]]] = data[starts[i] : ends[i]]
    return x


def case(name, shape, more, numpy, reference, numbers):
    """A case whose call takes the compressed rows, the dense ones, and `more`."""
    return Case(
        name,
        shape,
        [
            *(lambda rng, dtype, at=at: stored(dtype)[at] for at in range(4)),
            lambda rng, dtype: chosen(),
            lambda rng, dtype: dense(dtype),
            *more,
        ],
        {
            "jitprop": lambda kernels: (
                lambda d, i, s, e, index, x, *rest: getattr(kernels, name)(d, i, s, e, index, *rest)
            ),
            "numpy": lambda np: lambda d, i, s, e, index, x, *rest: numpy(np, x, *rest),
        },
        lambda d, i, s, e, index, x, *rest: [reference(x, *rest)],
        flops=2 * BATCH * PER_ROW * (shape[1] if len(shape) == 3 else 1),
        floats=BATCH * PER_ROW + numbers,
        tolerance=TOLERANCE,
        other_bytes=8 * BATCH * PER_ROW,
    )


def cases():
    for outputs in OUTPUTS:
        yield case(
            "csr_linear_fprop",
            (BATCH, outputs, FEATURES),
            [signed(FEATURES, outputs), signed(outputs), empty(BATCH, outputs)],
            lambda np, x, w, b, out: np.add(x @ w, b, out=out),
            lambda x, w, b, out: (x @ w + b, np.abs(x) @ np.abs(w) + np.abs(b)),
            (FEATURES + BATCH) * outputs,
        )
        yield case(
            "csr_tn",
            (FEATURES, outputs, BATCH),
            [signed(BATCH, outputs), empty(FEATURES, outputs)],
            lambda np, x, dy, out: np.matmul(x.T, dy, out=out),
            lambda x, dy, out: (x.T @ dy, np.abs(x.T) @ np.abs(dy)),
            (FEATURES + BATCH) * outputs,
        )
    yield case(
        "csr_gather",
        (BATCH, FEATURES),
        [empty(BATCH, FEATURES)],
        lambda np, x, out: np.copyto(out, x),
        lambda x, out: (x, np.abs(x)),
        BATCH * FEATURES,
    )


def compare(outputs, dtype):
    """Print medians over rounds of the time over SciPy's, without its time to find the batch."""
    from scipy.sparse import csr_array

    from jitprop import kernels

    rows = data, indices, starts, _ = stored(dtype)
    whole = csr_array((data, indices, np.append(starts, data.size)), shape=(ROWS, FEATURES))
    rng = np.random.default_rng(1)
    w, b = signed(FEATURES, outputs)(rng, dtype), signed(outputs)(rng, dtype)
    y, dy, dw = np.zeros((BATCH, outputs), dtype), signed(BATCH, outputs)(rng, dtype), 0 * w
    taken: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        index = rng.integers(0, ROWS, BATCH)
        x = whole[index]
        for name, step in {
            "y": lambda: kernels.csr_linear_fprop(*rows, index, w, b, y),  # noqa: B023
            "scipy y": lambda: x @ w + b,  # noqa: B023
            "dw": lambda: kernels.csr_tn(*rows, index, dy, dw),  # noqa: B023
            "scipy dw": lambda: x.T @ dy,  # noqa: B023
        }.items():
            start = time.perf_counter()
            step()
            taken.setdefault(name, []).append(1e6 * (time.perf_counter() - start))
    t = {name: np.array(times) for name, times in taken.items()}
    print(
        f"{outputs} outputs {dtype} {kernels.get_num_threads()} threads:",
        *(f"{name} {np.median(t[name] / t[f'scipy {name}']):.2f}x" for name in ("y", "dw")),
        *(f"| {name} {np.median(v):.0f} ({v.min():.0f})" for name, v in t.items()),
        "us: median (least)",
    )


if __name__ == "__main__":
    from jitprop import kernels

    kernels.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        for outputs in OUTPUTS:
            compare(outputs, dtype)
