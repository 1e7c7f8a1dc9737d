"""The goals of the kernels in one table; `python -m perf` ends with it. No test asserts it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from perf.providers import BEST, DENSE, HASWELL, OURS
from perf.runner import Asked, Row, Timing

Figures = Iterator[tuple[float, Any]]  # each with its row, which says where it was measured


@dataclass(frozen=True)
class Goal:
    """Figures of all rows that it is about, and the least, or the most, that each should be."""

    text: str
    bound: float
    figures: Callable[[Any], Figures]
    instructions: str = ""  # a goal only for code with these instructions; "" is the host's own
    at_most: bool = False

    def holds(self, figure: float) -> bool:
        return figure <= self.bound if self.at_most else figure >= self.bound


class Results:
    """The rows of a run."""

    def __init__(self, rows: Sequence[Row]):
        self.rows = rows
        self.most_threads = max((row.threads for row in rows), default=1)

    def of(self, provider: str, kernel: str, threads: int | None = None) -> Iterator[Row]:
        """Rows of a provider ("": all) and of kernels whose names start so, on most threads."""
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
    """The ratio to the fastest peer, for the products of a Linear(200, 10)."""
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


def over_floor(provider: str, net: str, batch: int) -> Callable[[Sequence[Timing]], Figures]:
    return timings(provider, "epoch", net, batch, lambda row: row.over_floor)


def slower(provider: str, net: str, batch: int) -> Callable[[Sequence[Timing]], Figures]:
    """How many times as long as ours a peer takes for an epoch."""
    return timings(provider, "epoch", net, batch, lambda row: row.ratio)


def timings(
    provider: str, what: str, net: str, batch: int, figure: Callable[[Timing], float]
) -> Callable[[Sequence[Timing]], Figures]:
    """Figures of a provider on all processors."""

    def figures(rows: Sequence[Timing]) -> Figures:
        most = max((row.threads for row in rows), default=1)
        for row in rows:
            key = (row.provider, row.what, row.net, row.batch, row.threads)
            if key == (provider, what, net, batch, most):
                yield figure(row), row

    return figures


def one_thread(rows: Sequence[Timing]) -> Figures:
    """The time of ours on one thread over that on two."""
    two = {(row.provider, row.net, row.batch): row.seconds for row in rows if row.threads == 2}
    for row in rows:
        key = row.provider, row.net, row.batch
        if row.threads == 1 and key in two and key[1:] in (("mlp200", 500), ("deep", 1000)):
            yield row.seconds / two[key], row


EPOCH_GOALS = (
    Goal("dense, batch 100, over floor", 1.35, over_floor(DENSE, "mlp200", 100), at_most=True),
    Goal("dense, batch 500, over floor", 1.25, over_floor(DENSE, "mlp200", 500), at_most=True),
    Goal("sparse, batch 100, over floor", 1.00, over_floor(OURS, "mlp200", 100), at_most=True),
    Goal("sparse, batch 500, over floor", 0.95, over_floor(OURS, "mlp200", 500), at_most=True),
    Goal("batch 100, JAX", 3.0, slower("jax", "mlp200", 100)),
    Goal("batch 500, JAX", 1.8, slower("jax", "mlp200", 500)),
    Goal("batch 100, PyTorch", 4.0, slower("torch", "mlp200", 100)),
    Goal("batch 500, PyTorch", 3.5, slower("torch", "mlp200", 500)),
    Goal("batch 100, scikit-learn", 4.0, slower("sklearn", "mlp200", 100)),
    Goal("batch 1, JAX", 1.5, slower("jax", "mlp200", 1)),
    Goal("batch 1, PyTorch", 20.0, slower("torch", "mlp200", 1)),
    Goal("deep, batch 1000, dense, share of peak", 0.82,
         timings(DENSE, "epoch", "deep", 1000, lambda row: 1 / row.over_floor)),
    Goal("deep, batch 1000, JAX", 1.15, slower("jax", "deep", 1000)),
    Goal("one thread over two", 1.85, one_thread),
    Goal("start of a process's first network, seconds", 0.05,
         timings(OURS, "start", "first", 100, lambda row: row.seconds), at_most=True),
    Goal("start of a new network after it, seconds", 0.05,
         timings(OURS, "start", "next", 100, lambda row: row.seconds), at_most=True),
    Goal("whole process, PyTorch", 3.0,
         timings("torch", "process", "mlp200", 100, lambda row: row.ratio)),
)  # fmt: skip


def over_fastest(
    chosen: Callable[[Asked], bool], peers: Sequence[str] = ()
) -> Callable[[Sequence[Asked]], Figures]:
    """Our time over that of the fastest peer, among those named or all, on the same rows."""

    def figures(rows: Sequence[Asked]) -> Figures:
        ratios: dict[tuple, list[float]] = {}
        for row in rows:
            if row.provider != OURS and (not peers or row.provider in peers):
                key = row.rows, row.picture, row.threads
                ratios.setdefault(key, []).append(row.ratio)
        for row in rows:
            key = row.rows, row.picture, row.threads
            if row.provider == OURS and key in ratios and chosen(row):
                yield row.ratio / min(ratios[key]), row

    return figures


def one_row(picture: str) -> Callable[[Sequence[Asked]], Figures]:
    """Our time over that of the faster of two; PyTorch takes twice as long."""
    return over_fastest(
        lambda row: row.rows == 1 and row.picture == picture, ("onnxruntime", "numpy")
    )


ASKING_GOALS = (
    Goal("one image, over ONNX Runtime or NumPy", 0.7, one_row("image"), at_most=True),
    Goal("10 rows and more, 1 thread, over the fastest", 1.0,
         over_fastest(lambda row: row.rows > 1 and row.threads == 1), at_most=True),
    Goal("10 rows and more, more threads, over the fastest", 1.0,
         over_fastest(lambda row: row.rows > 1 and row.threads > 1), at_most=True),
)  # fmt: skip


def fits(provider: str, table: str) -> Callable[[Sequence[Any]], Figures]:
    """How many times as long as ours a peer takes to fit a table."""

    def figures(rows: Sequence[Any]) -> Figures:
        for row in rows:
            if (row.provider, row.setting.name) == (provider, table):
                yield row.ratio, row

    return figures


def over_error(rows: Sequence[Any]) -> Figures:
    """How far our scores are above scikit-learn's, in standard errors of the latter."""
    for row in rows:
        yield row.over_error, row


SPEED_GOALS = tuple(
    Goal(f"fit of {table}, scikit-learn", bound, fits("sklearn", table))
    for table, bound in (
        ("1500 x 20", 15.0), ("20000 x 30", 12.0), ("mnist", 4.0), ("100000 x 100", 2.2),
        ("iris", 5.0),
    )
)  # fmt: skip
ACCURACY_GOALS = (Goal("score over scikit-learn's, standard errors", -1.0, over_error),)


Found = Iterator[tuple[Goal, list[tuple[float, Any]]]]


def summary(rows: Sequence[Row], instructions: str) -> Found:
    """Each goal of kernels that this run says something about, with its figures."""
    wanted = AVX2 if instructions == AVX2 else ""
    return judged([goal for goal in GOALS if goal.instructions == wanted], Results(rows))


def judged(goals: Iterable[Goal], results: Any) -> Found:
    """Each goal that the results say something about, with its figures, the worst first."""
    for goal in goals:
        figures = sorted(goal.figures(results), key=lambda figure: figure[0], reverse=goal.at_most)
        if figures:
            yield goal, figures
