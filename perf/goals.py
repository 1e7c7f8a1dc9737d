"""What the kernels are to reach, one table; `python -m perf` ends with it. No test asserts it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from perf.providers import BEST, HASWELL, OURS
from perf.runner import Row

Figures = Iterator[tuple[float, Row]]


@dataclass(frozen=True)
class Goal:
    """A figure of every row it is about, and the least that each is to be."""

    text: str
    least: float
    figures: Callable[["Results"], Figures]
    instructions: str = ""  # a goal for code that uses these only; else for the host's own


class Results:
    """The rows of a run."""

    def __init__(self, rows: Sequence[Row]):
        self.rows = rows
        self.most_threads = max((row.threads for row in rows), default=1)

    def of(self, provider: str, kernel: str, threads: int | None = None) -> Iterator[Row]:
        """Rows of a provider ("": all) and of kernels that start so, on most threads."""
        threads = threads or self.most_threads
        for row in self.rows:
            wanted = provider in ("", row.provider) and row.threads == threads
            if wanted and row.kernel.startswith(kernel):
                yield row


def large(row: Row) -> bool:
    """Products of training with no size below 100, and squares from 256 on."""
    return min(row.shape) >= 100 and set(row.shape) != {128}


def share(batch_100: bool) -> Callable[[Results], Figures]:
    def figures(results: Results) -> Figures:
        for row in results.of(OURS, "matmul"):
            if large(row) and (100 in row.shape) == batch_100:
                yield row.share_of_peak, row

    return figures


def against(
    provider: str,
    kernel: str,
    chosen: Callable[[Row], bool],
    threads: int | None = None,
) -> Callable[[Results], Figures]:
    def figures(results: Results) -> Figures:
        for row in results.of(provider, kernel, threads):
            if chosen(row):
                yield row.ratio, row

    return figures


def skinny(results: Results) -> Figures:
    """Of the products of a Linear(200, 10), the ratio to the fastest peer."""
    fastest: dict[tuple, Row] = {}
    for row in results.of("", "matmul"):
        if row.provider != OURS and {10, 200} <= {*row.shape}:
            key = (row.kernel, row.shape)
            fastest[key] = min(fastest.get(key, row), row, key=lambda row: row.ratio)
    for row in fastest.values():
        yield row.ratio, row


def scaling(results: Results) -> Figures:
    one = {(row.kernel, row.shape): row for row in results.of(OURS, "matmul", 1)}
    for row in results.of(OURS, "matmul", 2):
        if row.flops >= 20e6 and (row.kernel, row.shape) in one:
            yield one[row.kernel, row.shape].seconds / row.seconds, row


def in_cache(row: Row) -> bool:
    return row.shape == (16_384,)


def ten_classes(row: Row) -> bool:
    return row.shape in ((100, 10), (1000, 10))


AVX2 = "avx2"
GOALS = (
    Goal("matmul, share of peak", 0.88, share(batch_100=False)),
    Goal("matmul at batch 100, share of peak", 0.80, share(batch_100=True)),
    Goal("matmul, NumPy as installed", 1.8, against("numpy", "matmul", large)),
    Goal("matmul, NumPy's Haswell kernels", 1.8, against(HASWELL, "matmul", large)),
    Goal("matmul, NumPy at its best core type", 1.05, against(BEST, "matmul", large)),
    Goal("matmul, PyTorch", 2.0, against("torch", "matmul", large)),
    Goal("matmul, JAX", 1.1, against("jax", "matmul", large)),
    Goal("skinny products, the fastest peer", 1.5, skinny),
    Goal("products of 20 MFLOP and more, 2 threads over 1", 1.85, scaling),
    Goal("tanh in cache, 1 thread, NumPy", 1.0, against("numpy", "tanh_fprop", in_cache, 1)),
    Goal("tanh in cache, 1 thread, PyTorch", 10.0, against("torch", "tanh_fprop", in_cache, 1)),
    Goal("softmax_cross_entropy, PyTorch", 8.0, against("torch", "softmax_cross", ten_classes)),
    Goal("AVX2: matmul, NumPy as installed", 0.95, against("numpy", "matmul", large), AVX2),
    Goal("AVX2: matmul, NumPy's Haswell kernels", 0.95, against(HASWELL, "matmul", large), AVX2),
)


def summary(
    rows: Sequence[Row], instructions: str
) -> Iterator[tuple[Goal, list[tuple[float, Row]]]]:
    """Each goal that this run says something about, with its figures, the least first."""
    results = Results(rows)
    for goal in GOALS:
        if goal.instructions == (AVX2 if instructions == AVX2 else ""):
            figures = sorted(goal.figures(results), key=lambda figure: figure[0])
            if figures:
                yield goal, figures
