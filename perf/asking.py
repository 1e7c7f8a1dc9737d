"""`python -m perf.asking`: time the answers of a trained network beside other libraries."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import jitprop
from jitprop.data import load_dataset
from jitprop.training.metrics import cpu_model
from perf import machine, report
from perf.__main__ import QUICK, RESULTS, threads
from perf.goals import ASKING_GOALS, judged
from perf.providers import ASKERS, OURS, Worker, WorkerError, started
from perf.runner import LEAST_ROUNDS, Asked, Effort, WrongResult, median_ratio, quartiles
from perf.trainers import as_floats

ROWS = (1, 10, 100, 1_000, 10_000)
FORMS = ("float32", "bytes")
BOUND = 1e-4  # of a logit: those of mlp200 reach 20, and float32 gives them to 2e-5
COLUMNS = (
    "rows", "input", "threads", "provider", "microseconds", "spread", "rounds", "ratio", "version",
    "cpu", "instructions", "python", "numpy", "commit", "date",
)  # fmt: skip

Key = tuple[str, str]  # a provider, and the form in which it gets the rows


@dataclass(frozen=True)
class Case:
    """Rows of one question: the first test images, or bytes without a zero."""

    rows: int
    picture: str = "image"

    def __str__(self) -> str:
        return f"{self.rows} {self.picture}"

    def pixels(self) -> np.ndarray:
        """(rows, 784) uint8."""
        if self.picture == "image":
            return images()[: self.rows]
        return np.random.default_rng(0).integers(1, 256, (self.rows, 784), np.uint8)


@cache
def images() -> np.ndarray:
    found = load_dataset().test_images
    return found.reshape(len(found), -1)


CASES = (Case(1), Case(1, "no zeros"), *map(Case, ROWS[1:]))


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m perf.asking", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="ours and NumPy, few rounds and rows")
    parser.add_argument("--rows", default=None, metavar="N,N", help=", ".join(map(str, ROWS)))
    parser.add_argument("--threads", default=None, metavar="N,N", help="default: 1 and all")
    parser.add_argument("--providers", default=None, metavar="NAME,NAME", help=", ".join(ASKERS))
    parser.add_argument("--out", type=Path, default=None, metavar="DIR", help="default: results")
    parser.add_argument("--rounds", type=int, default=21, help="turns of each provider, at least 3")
    options = parser.parse_args(arguments)
    try:
        options.threads = threads(options.threads)
        options.providers = providers(options.providers, options.quick)
        options.cases = cases(options.rows, options.quick)
    except ValueError as error:
        parser.exit(2, f"perf: {error}\n")
    options.rounds = LEAST_ROUNDS if options.quick else max(options.rounds, LEAST_ROUNDS)
    options.sample = (QUICK if options.quick else Effort()).sample
    return options


def providers(text: str | None, quick: bool) -> list[str]:
    """The providers that the text names, or all; ours always, and first."""
    if text is None:
        return [OURS, "numpy"] if quick else list(ASKERS)
    names = text.split(",")
    for name in names:
        if name not in ASKERS:
            raise ValueError(f"--providers {name}: expected some of {', '.join(ASKERS)}")
    return list(dict.fromkeys([OURS, *names]))


def cases(text: str | None, quick: bool) -> list[Case]:
    """Cases with the numbers of rows in the text, or all; a quick run leaves out the largest."""
    known = list(map(str, ROWS))
    counts = known[: -1 if quick else None] if text is None else text.split(",")
    for count in counts:
        if count not in known:
            raise ValueError(f"--rows {text}: expected some of {', '.join(known)}")
    return [case for case in CASES if str(case.rows) in counts]


@cache
def trained() -> list[np.ndarray]:
    """The weights of mlp200 after an epoch, which tells digits apart."""
    mnist, net = load_dataset(), jitprop.mlp(784, [200], 10, rng=0)
    how: dict[str, Any] = {"epochs": 1, "batch_size": 100, "rate": 0.1, "momentum": 0.9, "rng": 0}
    loss = jitprop.SoftmaxCrossEntropy()
    jitprop.fit(net, loss, mnist.train_images, mnist.train_labels, **how)
    return [parameter.value for parameter in net.parameters()]


def expected(parameters: Sequence[np.ndarray], pixels: np.ndarray) -> np.ndarray:
    """The answers of the network in float64."""
    w1, b1, w2, b2 = (parameter.astype(np.float64) for parameter in parameters)
    return np.tanh(pixels / 255.0 @ w1 + b1) @ w2 + b2


def judge(result: np.ndarray, right: np.ndarray) -> None:
    """Raise WrongResult unless all logits are within BOUND, and all classes are the same."""
    if result.shape != right.shape:
        raise WrongResult(f"shape {result.shape}, expected {right.shape}")
    worst = float(np.abs(result - right).max())
    if not worst <= BOUND:  # NaN fails, too
        raise WrongResult(f"a logit is off by {worst:.2g}, more than {BOUND:g}")
    others = np.count_nonzero(result.argmax(axis=1) != right.argmax(axis=1))
    if others:
        raise WrongResult(f"{others} of {len(right)} rows have another class")


class Asking:
    """Owns a process per provider and thread count; a context manager."""

    def __init__(self, options: argparse.Namespace, warn: Callable[[str], None]):
        self.options = options
        self.warn = warn  # called with one line
        self.failed = False  # whether ours was wrong
        self.parameters = trained()
        self.workers: dict[tuple[str, int], Worker] = {}
        for name in options.providers:
            # A peer that does not start on one thread will not on two.
            for count in options.threads:
                worker = started(ASKERS[name], count, "perf.askers", warn)
                if worker is None:
                    break
                self.workers[name, count] = worker

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for worker in self.workers.values():
            worker.close()

    def versions(self) -> dict[str, str]:
        return {name: worker.description for (name, _), worker in self.workers.items()}

    def measure(self, case: Case, threads: int) -> list[Asked]:
        """Times of every provider that was right, ours first; nothing if ours was wrong."""
        workers = {name: worker for (name, n), worker in self.workers.items() if n == threads}
        try:
            keys = self._right(case, threads, workers)
            return self._rounds(case, threads, workers, keys)
        finally:
            for worker in workers.values():
                with suppress(WorkerError):  # it ended, and a line has said so
                    worker.ask("release")

    def _right(self, case: Case, threads: int, workers: dict[str, Worker]) -> list[Key]:
        """The providers and forms whose answers are right."""
        pixels = case.pixels()
        right = expected(self.parameters, pixels)
        found = []
        for name, worker in workers.items():
            for form in FORMS if name == OURS else FORMS[:1]:
                x = pixels if form == "bytes" else as_floats(pixels)
                try:
                    sample = self.options.sample
                    judge(worker.ask("prepare", form, self.parameters, x, sample), right)
                except (WorkerError, WrongResult) as error:
                    self.warn(f"{case} {form}, {threads} threads, {name}: {error}")
                    if name == OURS:
                        self.failed = True
                        return []
                    continue
                found.append((name, form))
        return found

    def _rounds(
        self, case: Case, threads: int, workers: dict[str, Worker], keys: list[Key]
    ) -> list[Asked]:
        times: dict[Key, list[float]] = {key: [] for key in keys}
        queue = list(keys)
        for _ in range(self.options.rounds if queue else 0):
            for name, form in queue:
                times[name, form].append(workers[name].ask("measure", form))
            queue.append(queue.pop(0))  # so that no one always follows the same other
        rows = []
        for name, form in keys:
            q1, median, q3 = quartiles(times[name, form])
            ratio = median_ratio(times[name, form], times[OURS, "float32"])
            key = case.rows, case.picture, form, threads, name
            rows.append(Asked(*key, median, q1, q3, self.options.rounds, ratio))
        return rows


HEADER = (
    f"{'rows':>6}  {'input':18}{'threads':>7}  {'provider':12}{'microseconds':>13}{'spread':>8}"
    f"{'over ours':>11}"
)


def described(row: Asked) -> str:
    """What a network gets."""
    return row.form if row.picture == "image" else f"{row.form} {row.picture}"


def line(row: Asked) -> str:
    return (
        f"{row.rows:6}  {described(row):18}{row.threads:7}  {row.provider:12}"
        f"{row.seconds * 1e6:13.2f}{row.spread:8.1%}{f'{row.ratio:.2f}x':>11}"
    )


def records(
    rows: Sequence[Asked], versions: dict[str, str], instructions: str
) -> Iterator[dict[str, object]]:
    run = report.circumstances(instructions)
    for row in rows:
        yield {
            "rows": row.rows,
            "input": described(row),
            "threads": row.threads,
            "provider": row.provider,
            "microseconds": report.digits(row.seconds * 1e6),
            "spread": report.digits(row.spread),
            "rounds": row.rounds,
            "ratio": report.digits(row.ratio),
            "version": versions[row.provider],
            **run,
        }


def main() -> int:
    options = parse()
    rows: list[Asked] = []

    def warn(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    try:
        with Asking(options, warn) as asking:
            versions = asking.versions()
            print(f"{cpu_model()}, commit {machine.commit()}")
            print(", ".join(f"{name}: {version}" for name, version in versions.items()))
            print(HEADER, flush=True)
            for case in options.cases:
                for count in options.threads:
                    found = asking.measure(case, count)
                    rows += found
                    for row in found:
                        print(line(row), flush=True)
    except WorkerError as error:
        warn(f"perf: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    folder = options.out or (None if options.quick else RESULTS)
    if folder is not None and rows:
        instructions = versions[OURS].rpartition("(")[2].rstrip(")")
        folder.mkdir(parents=True, exist_ok=True)
        report.write_csv(folder / "asking.csv", COLUMNS, records(rows, versions, instructions))
        print(f"wrote {folder / 'asking.csv'}")
    for text in report.verdicts(judged(ASKING_GOALS, rows)) if not options.quick else ():
        print(text)
    return int(asking.failed)


if __name__ == "__main__":
    sys.exit(main())
