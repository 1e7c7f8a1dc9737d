"""How long networks take to learn tables: whole fits of ours and of other libraries."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from sklearn.datasets import load_iris, make_classification

from jitprop.data import load_dataset
from perf import machine, report
from perf.providers import FITTERS, OURS, Worker, WorkerError, started
from perf.runner import WrongResult, median_ratio, quartiles
from perf.trainers import as_floats

COLUMNS = (
    "table", "rows", "features", "classes", "hidden", "batch", "epochs", "threads", "provider",
    "seconds", "quartile_1", "quartile_3", "rounds", "ratio", "accuracy", "version", "cpu",
    "instructions", "python", "numpy", "commit", "date",
)  # fmt: skip
Data = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Setting:
    """A table, and how a network learns it.

    Attributes
    ----------
    above : float
        The share of these rows that a trained network has to get right before it is timed. A
        network that learned has always been far above it.
    """

    name: str
    make: Callable[[], Data]
    hidden: tuple[int, ...]
    batch: int
    epochs: int
    rounds: int
    above: float

    def data(self) -> Data:
        """(rows, features) float32, and the class of each row."""
        x, y = self.make()
        return np.ascontiguousarray(x, np.float32), y.astype(np.int64)


def mnist() -> Data:
    dataset = load_dataset()
    return as_floats(dataset.train_images), dataset.train_labels


def made(rows: int, features: int, classes: int) -> Callable[[], Data]:
    informative = features // 2
    return partial(
        make_classification, rows, features, n_informative=informative, n_classes=classes,
        random_state=0,
    )  # fmt: skip


SETTINGS = (
    Setting("1500 x 20", made(1500, 20, 2), (64,), 50, 50, rounds=5, above=0.9),
    Setting("20000 x 30", made(20_000, 30, 5), (64, 32), 32, 5, rounds=5, above=0.8),
    Setting("mnist", mnist, (200,), 100, 2, rounds=3, above=0.95),
    Setting("100000 x 100", made(100_000, 100, 10), (256, 128, 64), 256, 2, rounds=3, above=0.8),
    Setting("iris", partial(load_iris, return_X_y=True), (100,), 150, 200, rounds=5, above=0.9),
)
QUICK = ("1500 x 20", "iris")
CASES = {setting.name: setting for setting in SETTINGS}


def quick(setting: Setting) -> Setting:
    return replace(setting, epochs=2, rounds=1, above=0.0)


@dataclass(frozen=True)
class Fit:
    """How long one provider took for an epoch of a whole fit. `ratio` is its time over ours.

    Attributes
    ----------
    shape : tuple
        Rows, features, classes.
    accuracy : float
        The share of the rows that it got right after the first fit.
    """

    setting: Setting
    shape: tuple[int, int, int]
    threads: int
    provider: str
    seconds: float
    quartile_1: float
    quartile_3: float
    ratio: float
    accuracy: float

    @property
    def where(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.setting.name}, {self.provider}, {threads}"


class Fits:
    """Owns a process per provider, on all processors; a context manager."""

    def __init__(self, providers: Sequence[str], warn: Callable[[str], None]):
        self.warn = warn  # called with one line
        self.failed = False  # whether ours did not learn
        self.threads = len(machine.cpus())
        self.workers: dict[str, Worker] = {}
        for name in providers:
            worker = started(FITTERS[name], self.threads, "perf.fitters", warn)
            if worker is not None:
                self.workers[name] = worker

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for worker in self.workers.values():
            worker.close()

    def versions(self) -> dict[str, str]:
        return {name: worker.description for name, worker in self.workers.items()}

    def measure(self, setting: Setting) -> list[Fit]:
        """Fits of every provider that learned, ours first; nothing if ours did not learn."""
        x, y = setting.data()
        try:
            accuracies = self._learned(setting, x, y)
            times = self._rounds(setting, list(accuracies)) if OURS in accuracies else {}
        finally:
            for worker in self.workers.values():
                with suppress(WorkerError):  # it ended, and a line has said so
                    worker.ask("release")
        rows = []
        for name, found in times.items():
            q1, median, q3 = quartiles(found)
            key = setting, (*x.shape, len(np.unique(y))), self.threads, name
            ratio = median_ratio(found, times[OURS])
            rows.append(Fit(*key, median, q1, q3, ratio, accuracies[name]))
        return rows

    def _learned(self, setting: Setting, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
        """The share of rows that each provider gets right; with too few it is not timed."""
        found = {}
        for name, worker in self.workers.items():
            try:
                request = x, y, setting.hidden, setting.batch, setting.epochs
                classes = worker.ask("prepare", *request)
                if classes.shape != y.shape:
                    raise WrongResult(f"{name}: shape {classes.shape}, expected {y.shape}")
                accuracy = float(np.mean(classes == y))
                if not accuracy >= setting.above:
                    raise WrongResult(
                        f"{name}: accuracy {accuracy:.3f}, expected {setting.above:g} or more"
                    )
            except (WorkerError, WrongResult) as error:
                self.warn(f"{setting.name}, {error}")
                self.failed |= name == OURS
                continue
            found[name] = accuracy
        return found

    def _rounds(self, setting: Setting, queue: list[str]) -> dict[str, list[float]]:
        """Seconds of an epoch, in each round."""
        times: dict[str, list[float]] = {name: [] for name in queue}
        for _ in range(setting.rounds):
            for name in queue:
                times[name].append(self.workers[name].ask("measure") / setting.epochs)
            queue.append(queue.pop(0))  # so that no one always follows the same other
        return times


HEADER = (
    f"{'table':14}{'hidden':13}{'batch':>5}{'epochs':>8}  {'provider':10}{'milliseconds':>13}"
    f"{'spread':>8}{'over ours':>11}{'accuracy':>10}"
)


def line(row: Fit) -> str:
    setting, spread = row.setting, (row.quartile_3 - row.quartile_1) / row.seconds
    return (
        f"{setting.name:14}{hidden(setting):13}{setting.batch:5}{setting.epochs:8}  "
        f"{row.provider:10}{row.seconds * 1e3:13.4g}{spread:8.1%}{f'{row.ratio:.2f}x':>11}"
        f"{row.accuracy:10.3f}"
    )


def hidden(setting: Setting) -> str:
    return "-".join(map(str, setting.hidden))


def records(
    rows: Sequence[Fit], versions: dict[str, str], instructions: str
) -> Iterator[dict[str, object]]:
    run = report.circumstances(instructions)
    for row in rows:
        setting = row.setting
        yield {
            "table": setting.name,
            **dict(zip(("rows", "features", "classes"), row.shape, strict=True)),
            "hidden": hidden(setting),
            "batch": setting.batch,
            "epochs": setting.epochs,
            "threads": row.threads,
            "provider": row.provider,
            "seconds": report.digits(row.seconds),
            "quartile_1": report.digits(row.quartile_1),
            "quartile_3": report.digits(row.quartile_3),
            "rounds": setting.rounds,
            "ratio": report.digits(row.ratio),
            "accuracy": report.digits(row.accuracy),
            "version": versions[row.provider],
            **run,
        }
