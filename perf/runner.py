"""Measuring: correctness first, then rounds in which every provider has its turn.

Neighbours and the clock of the CPU change with time, so the runner compares nothing across time. In
each round it measures every provider once, and the machine's ceilings, too. A ratio is the median
of the rounds' ratios. A share compares medians over the same rounds.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from perf import machine
from perf.cases import Case, Expected
from perf.catalogue import find
from perf.providers import BEST, CORE_TYPES, OURS, PROVIDERS, Provider, Worker, WorkerError

LEAST_ROUNDS = 3
PROBE = ("matmul_nn", (500, 200, 784))  # shows the fastest core type


@dataclass(frozen=True)
class Effort:
    """How much time to spend.

    Attributes
    ----------
    rounds : int
        Turns of every provider, at least LEAST_ROUNDS.
    sample : float
        Seconds of one turn, at least one call.
    budget : float
        Seconds per case and thread count, after which no further round begins.
    """

    rounds: int = 9
    sample: float = 0.002
    budget: float = 3.0


@dataclass(frozen=True)
class Row:
    """One provider in one case. Rates are per second; `ratio` is its time over ours."""

    kernel: str
    shape: tuple[int, ...]
    dtype: str
    threads: int
    provider: str
    seconds: float
    quartile_1: float
    quartile_3: float
    rounds: int
    flops: float
    bytes: float
    peak: float
    copy: float
    ratio: float

    @property
    def where(self) -> str:
        return f"{self.kernel} {'x'.join(map(str, self.shape))}"

    @property
    def limited_by(self) -> str:
        return "peak" if self.flops / self.peak >= self.bytes / self.copy else "copy"

    @property
    def share(self) -> float:
        """Share of the roofline: of the peak, or of the copy bandwidth at the case's size."""
        return max(self.flops / self.peak, self.bytes / self.copy) / self.seconds

    @property
    def share_of_peak(self) -> float:
        return self.flops / self.peak / self.seconds


@dataclass(frozen=True)
class Timing:
    """How long one provider took to train, or to start. `ratio` is its time over ours.

    Attributes
    ----------
    what : str
        "epoch", "start" of training or whole "process".
    images : int
        How many images a turn trained on; an epoch's seconds are scaled to all images.
    flops : float
        Those of an epoch's products; 0 for other things.
    loss : float
        Mean over training images after the first turn; NaN for other things.
    """

    what: str
    net: str
    batch: int
    threads: int
    provider: str
    seconds: float
    quartile_1: float
    quartile_3: float
    rounds: int
    ratio: float
    images: int = 0
    flops: float = 0.0
    peak: float = math.nan
    loss: float = math.nan

    @property
    def where(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.what} {self.net} {self.batch}, {self.provider}, {threads}"

    @property
    def over_floor(self) -> float:
        """The time over that of the multiply-adds alone, at the peak; NaN if there are none."""
        return self.seconds * self.peak / self.flops if self.flops else math.nan


@dataclass(frozen=True)
class Asked:
    """How long one answer took. `ratio` is its time over ours on the same rows as float32.

    Attributes
    ----------
    picture : str
        "image", or "no zeros".
    form : str
        "float32" or "bytes".
    """

    rows: int
    picture: str
    form: str
    threads: int
    provider: str
    seconds: float
    quartile_1: float
    quartile_3: float
    rounds: int
    ratio: float

    @property
    def spread(self) -> float:
        return (self.quartile_3 - self.quartile_1) / self.seconds

    @property
    def where(self) -> str:
        rows = "1 row" if self.rows == 1 else f"{self.rows} rows"
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{rows}, {self.picture}, {self.form}, {threads}"


class WrongResult(Exception):
    """One line: which result of a kernel is wrong, and where."""


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    q1, q2, q3 = np.quantile(values, [0.25, 0.5, 0.75])
    return float(q1), float(q2), float(q3)


def median_ratio(times: Sequence[float], base: Sequence[float]) -> float:
    """Median over rounds of time / base."""
    return float(np.median(np.divide(times, base)))


def expected(case: Case, dtype: np.dtype) -> Expected:
    """The results of the reference for the arguments that every worker makes."""

    def wide(value):
        float_array = isinstance(value, np.ndarray) and value.dtype == dtype
        return value.astype(np.float64) if float_array else value

    return case.reference(*map(wide, case.arguments(dtype)))


def judge(case: Case, results: Sequence, right: Expected, dtype: np.dtype) -> None:
    """Raise WrongResult unless every element is within the case's tolerance."""
    if len(results) != len(right):
        raise WrongResult(f"{len(results)} results, expected {len(right)}")
    for result, (value, scale) in zip(results, right, strict=True):
        if np.shape(result) != np.shape(value):
            raise WrongResult(f"shape {np.shape(result)}, expected {np.shape(value)}")
        bound = case.tolerance * np.finfo(dtype).eps * np.asarray(scale)
        good = np.abs(result - value) <= bound  # False for NaN
        if not good.all():
            at = np.unravel_index(np.argmin(good), np.shape(good))
            where = ", ".join(map(str, at))
            raise WrongResult(
                f"{np.size(good) - np.count_nonzero(good)} of {np.size(good)} results are wrong, "
                f"first [{where}]: {np.asarray(result)[at]}, expected {np.asarray(value)[at]}"
            )


class Runner:
    """Owns the workers; a context manager."""

    def __init__(
        self,
        providers: Sequence[str],
        threads: Sequence[int],
        dtype: np.dtype,
        effort: Effort,
        warn,
    ):
        self.threads = threads
        self.dtype = dtype
        self.effort = effort
        self.warn = warn  # called with one line
        self.failed = False  # whether a kernel of ours was wrong or raised
        self.workers: dict[tuple[str, int], Worker] = {}
        self.providers = [self._with_best(PROVIDERS[name]) for name in providers]
        for count in threads:
            for provider in self.providers:
                self._start(provider, count)
        self.chains = self._best_chains()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for worker in self.workers.values():
            worker.close()

    def descriptions(self) -> dict[str, str]:
        """Versions of the providers that run."""
        return {name: worker.description for (name, _), worker in self.workers.items()}

    def measure(self, case: Case) -> Iterator[Row]:
        """Rows for each thread count and provider whose result is right."""
        right = expected(case, self.dtype)
        for count in self.threads:
            turns = self._prepare(case, right, count)
            try:
                if OURS in turns:
                    yield from self._rounds(case, turns, count)
            finally:
                for worker in turns.values():
                    worker.ask("release", case.name, case.shape)

    def machine(self, threads: int, nbytes: int = machine.FAR) -> tuple[float, float]:
        """(flop/s in registers, bytes/s of a copy of `nbytes`), median of a few turns."""
        worker = self.workers[OURS, threads]
        peak, copy = self._ceilings(worker, nbytes)
        times = [(_measure(worker, peak), _measure(worker, copy)) for _ in range(5)]
        worker.ask("release", copy.name, copy.shape)
        peak_time, copy_time = np.median(times, axis=0)
        return peak.flops / peak_time, copy.other_bytes / copy_time

    def _start(self, provider: Provider, threads: int) -> None:
        try:
            self.workers[provider.name, threads] = Worker(provider, threads, self.dtype)
        except WorkerError as error:
            if provider.name == OURS:
                raise
            self.warn(f"{error}; left out")

    def _with_best(self, provider: Provider) -> Provider:
        """NumPy with the core type under which its product is fastest on one thread."""
        if provider.name != BEST:
            return provider
        case = find(*PROBE)
        times = {}
        for core_type in CORE_TYPES:
            environment = {"OPENBLAS_CORETYPE": core_type}
            candidate = Provider(provider.name, "numpy", environment, provider.only)
            try:
                worker = Worker(candidate, 1, self.dtype)
            except WorkerError:
                continue  # this CPU cannot run it
            try:
                worker.ask("prepare", *PROBE, self.effort.sample)
                times[core_type] = min(_measure(worker, case) for _ in range(7))
            except WorkerError:
                continue
            finally:
                worker.close()
        if not times:
            return provider
        return Provider(
            provider.name,
            "numpy",
            {"OPENBLAS_CORETYPE": min(times, key=times.__getitem__)},
            provider.only,
        )

    def _best_chains(self) -> int:
        """How many chains reach the peak here."""
        worker = self.workers[OURS, self.threads[0]]
        rates = {}
        for chains in machine.CHAINS:
            case = machine.peak(chains)
            self._check(worker, case, expected(case, self.dtype))
            rates[chains] = case.flops / min(_measure(worker, case) for _ in range(5))
        return max(rates, key=rates.__getitem__)

    def _check(self, worker: Worker, case: Case, right: Expected) -> None:
        results = worker.ask("prepare", case.name, case.shape, self.effort.sample)
        judge(case, results, right, self.dtype)

    def _prepare(self, case: Case, right: Expected, threads: int) -> dict[str, Worker]:
        """The workers that computed the case and were right."""
        ready = {}
        for provider in self.providers:
            worker = self.workers.get((provider.name, threads))
            if (
                worker is None
                or provider.library not in case.calls
                or not case.name.startswith(provider.only)
            ):
                continue
            try:
                self._check(worker, case, right)
            except (WorkerError, WrongResult) as error:
                self.warn(f"{case} {self.dtype}, {threads} threads, {provider.name}: {error}")
                self.failed |= provider.name == OURS
                continue
            ready[provider.name] = worker
        return ready

    def _ceilings(self, worker: Worker, nbytes: float) -> list[Case]:
        cases = [machine.peak(self.chains), machine.copy(int(nbytes))]
        for case in cases:
            self._check(worker, case, expected(case, self.dtype))
        return cases

    def _rounds(self, case: Case, turns: dict[str, Worker], threads: int) -> Iterator[Row]:
        ours = turns[OURS]
        peak, copy = self._ceilings(ours, case.bytes(self.dtype))
        queue = [*((name, worker, case) for name, worker in turns.items())]
        queue += [("peak", ours, peak), ("copy", ours, copy)]
        times: dict[str, list[float]] = {name: [] for name, _, _ in queue}
        end = time.monotonic() + self.effort.budget
        for done in range(self.effort.rounds):
            if done >= LEAST_ROUNDS and time.monotonic() > end:
                break
            for name, worker, measured in queue:
                times[name].append(_measure(worker, measured))
            queue.append(queue.pop(0))  # so that no one always follows the same other
        ours.ask("release", copy.name, copy.shape)
        for name in turns:
            q1, median, q3 = quartiles(times[name])
            yield Row(
                kernel=case.name,
                shape=case.shape,
                dtype=self.dtype.name,
                threads=threads,
                provider=name,
                seconds=median,
                quartile_1=q1,
                quartile_3=q3,
                rounds=len(times[name]),
                flops=case.flops,
                bytes=case.bytes(self.dtype),
                peak=peak.flops / quartiles(times["peak"])[1],
                copy=copy.other_bytes / quartiles(times["copy"])[1],
                ratio=median_ratio(times[name], times[OURS]),
            )


def _measure(worker: Worker, case: Case) -> float:
    return worker.ask("measure", case.name, case.shape)
