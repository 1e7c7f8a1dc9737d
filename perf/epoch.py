"""`python -m perf.epoch`: time epochs of training beside other libraries."""

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from jitprop.data import load_dataset
from jitprop.training.architectures import mlp
from jitprop.training.metrics import cpu_model
from jitprop.training.settings import ARCHITECTURES
from perf import machine, report
from perf.__main__ import QUICK, RESULTS, drawing
from perf.goals import EPOCH_GOALS, judged
from perf.providers import DENSE, OURS, ROOT, TRAINERS, Provider, Worker, WorkerError, started
from perf.runner import LEAST_ROUNDS, Runner, Timing, WrongResult, median_ratio, quartiles

EPOCH = 60_000  # images
JUDGED = 10_000  # images that show whether a network has learned
FLOAT32 = np.dtype(np.float32)
NOTHING = 8  # bytes to copy if only the peak matters
COLUMNS = (
    "what", "network", "batch", "threads", "provider", "seconds", "quartile_1", "quartile_3",
    "rounds", "images", "gflop", "peak_gflops", "over_floor", "ratio", "loss", "version", "cpu",
    "instructions", "python", "numpy", "commit", "date",
)  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """A network and how it is trained.

    Attributes
    ----------
    rate : float
        For plain gradient descent, without momentum.
    below : float
        The loss that a provider has to get below in its first turn, which passes over its images
        twice. A right one has always got far below it.
    images : int
        How many images a turn trains on; the time of an epoch is scaled from them.
    slow : tuple of pairs
        Provider and number of images, for providers that would take all day.
    """

    net: str
    batch: int
    rate: float
    below: float
    images: int = EPOCH
    slow: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        return f"{self.net} {self.batch}"

    def images_of(self, provider: str) -> int:
        return dict(self.slow).get(provider, self.images)

    @property
    def widths(self) -> tuple[int, ...]:
        return 784, *ARCHITECTURES[self.net], 10

    @property
    def flops(self) -> float:
        """Flops of an epoch: products forwards, for dw, and for dx except that of the images."""
        sizes = [a * b for a, b in zip(self.widths, self.widths[1:], strict=False)]
        return 2.0 * EPOCH * (3 * sum(sizes) - sizes[0])

    def parameters(self, seed: int = 0) -> list[np.ndarray]:
        first, *hidden, last = self.widths
        return [p.value for p in mlp(first, hidden, last, seed).parameters()]


# Rates are those of train.py; without momentum, batch 1 takes a tenth of that.
SETTINGS = (
    Setting("mlp200", 100, 0.1, below=0.4),
    Setting("mlp200", 500, 0.1, below=0.6),
    Setting("mlp200", 1, 0.01, below=0.7, slow=(("torch", 2000), ("sklearn", 2000))),
    Setting("deep", 1000, 0.02, below=2.2, images=10_000),
)
TINY = {100: 2000, 500: 5000, 1: 1000, 1000: 1000}  # images, by batch


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m perf.epoch", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="ours alone, on a few images")
    parser.add_argument(
        "--filter", default="", metavar="TEXT", help="such as 'mlp200 1', deep, start"
    )
    parser.add_argument("--providers", default=None, metavar="NAME,NAME", help=", ".join(TRAINERS))
    parser.add_argument("--out", type=Path, default=None, metavar="DIR", help="default: results")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each provider, at least 3")
    parser.add_argument("--budget", type=float, default=90.0, help="seconds per network and batch")
    options = parser.parse_args(arguments)
    try:
        options.providers = providers(options.providers, options.quick)
        names = chosen(options.filter)
        options.settings = [setting for setting in SETTINGS if str(setting) in names]
        options.others = [name for name in OTHERS if name in names and not options.quick]
    except ValueError as error:
        parser.exit(2, f"perf: {error}\n")
    if options.quick:
        options.rounds = 1
        options.settings = [
            replace(setting, images=TINY[setting.batch], below=np.log(10), slow=())
            for setting in options.settings
        ]
    return options


def chosen(text: str) -> list[str]:
    """The case of this name, or all whose name contains the text."""
    names = [*map(str, SETTINGS), *OTHERS]
    found = [text] if text in names else [name for name in names if text in name]
    if not found:
        raise ValueError(f"--filter {text}: no such case; there are {', '.join(names)}")
    return found


def providers(text: str | None, quick: bool) -> list[str]:
    """The providers that the text names, or all; ours always, and first."""
    if text is None:
        return [OURS] if quick else list(TRAINERS)
    names = text.split(",")
    for name in names:
        if name not in TRAINERS:
            raise ValueError(f"--providers {name}: expected some of {', '.join(TRAINERS)}")
    return list(dict.fromkeys([OURS, *names]))


def mean_loss(parameters: Sequence[np.ndarray], images: np.ndarray, labels: np.ndarray) -> float:
    """Cross-entropy of the network, in NumPy: no provider judges itself."""
    x = images.reshape(len(images), -1) / np.float32(255)
    layers = list(zip(parameters[::2], parameters[1::2], strict=True))
    for w, b in layers[:-1]:
        x = np.tanh(x @ w + b)
    w, b = layers[-1]
    z = (x @ w + b).astype(np.float64)
    z -= z.max(axis=1, keepdims=True)
    right = z[np.arange(len(z)), labels]
    return float(np.mean(np.log(np.exp(z).sum(axis=1)) - right))


class Epochs:
    """Owns a process per provider and thread count; a context manager."""

    def __init__(self, options: argparse.Namespace, warn: Callable[[str], None]):
        self.options = options
        self.warn = warn  # called with one line
        self.failed = False  # whether ours was wrong
        self.most = len(machine.cpus())
        dataset = load_dataset()
        self.judged = dataset.train_images[:JUDGED], dataset.train_labels[:JUDGED]
        self.workers: dict[tuple[str, int], Worker] = {}
        self.runner = Runner([OURS], sorted({1, self.most}), FLOAT32, QUICK, warn)
        for name in options.providers:
            self._start(TRAINERS[name], self.most)
            if name in (OURS, DENSE) and self.most > 1:
                self._start(TRAINERS[name], 1)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.runner.__exit__()
        for worker in self.workers.values():
            worker.close()

    def _start(self, provider: Provider, threads: int) -> None:
        worker = started(provider, threads, "perf.trainers", self.warn)
        if worker is not None:
            self.workers[provider.name, threads] = worker

    def versions(self) -> dict[str, str]:
        return {name: worker.description for (name, _), worker in self.workers.items()}

    def measure(self, setting: Setting) -> list[Timing]:
        """Timings of every provider that learned; ours on all processors comes first."""
        losses = self._learned(setting)
        if (OURS, self.most) not in losses:
            return []
        times: dict[tuple[str, int], list[float]] = {key: [] for key in losses}
        peaks: dict[int, list[float]] = {threads: [] for _, threads in losses}
        queue = list(losses)
        end = time.monotonic() + self.options.budget
        for done in range(self.options.rounds):
            if done >= LEAST_ROUNDS and time.monotonic() > end:
                break
            for threads, found in peaks.items():
                found.append(self.runner.machine(threads, NOTHING)[0])
            for key in queue:
                seconds = self.workers[key].ask("measure")
                times[key].append(seconds * EPOCH / setting.images_of(key[0]))
            queue.append(queue.pop(0))  # so that no one always follows the same other
        return [
            replace(
                timing("epoch", setting, key, times[key], times[OURS, self.most]),
                images=setting.images_of(key[0]),
                flops=setting.flops,
                peak=float(np.median(peaks[key[1]])),
                loss=loss,
            )
            for key, loss in losses.items()
        ]

    def _learned(self, setting: Setting) -> dict[tuple[str, int], float]:
        """The loss of each provider that learned; others are not timed."""
        losses = {}
        parameters = setting.parameters()
        for (name, threads), worker in self.workers.items():
            request = setting.images_of(name), setting.batch, setting.rate, parameters
            try:
                loss = mean_loss(worker.ask("prepare", *request), *self.judged)
                if not loss < setting.below:
                    raise WrongResult(f"{name}: loss {loss:.3g}, expected below {setting.below:g}")
            except (WorkerError, WrongResult) as error:
                self.warn(f"{setting}, {threads} threads, {error}")
                self.failed |= name == OURS
                continue
            losses[name, threads] = loss
        return losses


def trainer(provider: Provider, threads: int) -> Worker:
    return Worker(provider, threads, FLOAT32, "perf.trainers")


def timing(
    what: str, setting: Setting, key: tuple[str, int], times: list[float], ours: list[float]
) -> Timing:
    q1, median, q3 = quartiles(times)
    name, threads = key
    ratio = median_ratio(times, ours)
    return Timing(
        what, setting.net, setting.batch, threads, name, median, q1, q3, len(times), ratio
    )


def starts(rounds: int, names: Sequence[str]) -> Iterator[Timing]:
    """From calling `fit` to the end of its first batch: a process's first network, and its next."""
    threads = len(machine.cpus())
    rng = np.random.default_rng()  # new widths: no cache has their kernels
    times: dict[str, list[float]] = {"first": [], "next": []}
    for _ in range(rounds + 1):
        worker = trainer(TRAINERS[OURS], threads)
        try:
            for found in times.values():
                net = mlp(784, rng.integers(50, 250, 2).tolist(), 10, 0)
                parameters = [parameter.value for parameter in net.parameters()]
                found.append(worker.ask("start", 100, 0.1, parameters))
        finally:
            worker.close()
    for name, found in times.items():
        found = found[1:]  # the first process may have filled the cache
        yield timing("start", Setting(name, 100, 0.1, 0.0), (OURS, threads), found, found)


def processes(rounds: int, names: Sequence[str]) -> Iterator[Timing]:
    """Ten epochs of mlp200 with momentum, the test set after each: all that a user waits for."""
    commands = {OURS: ["train.py", "--arch", "mlp200", "--quiet"]}
    if "torch" in names:
        commands["torch"] = ["-m", "perf.train_torch"]
    times: dict[str, list[float]] = {name: [] for name in commands}
    process(commands[OURS])  # fills the cache
    for _ in range(rounds):
        for name, command in commands.items():
            times[name].append(process(command))
    setting, threads = Setting("mlp200", 100, 0.1, 0.0), len(machine.cpus())
    for name, found in times.items():
        yield timing("process", setting, (name, threads), found, times[OURS])


OTHERS = {"start": starts, "process": processes}
MOST_ERRORS = 300  # of 10,000 test images; our mean is 201


def process(command: list[str]) -> float:
    """Seconds of a whole process, which must end with few test errors."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    errors = re.search(r"test errors: (\d+)", done.stdout)
    if done.returncode or not errors or int(errors[1]) > MOST_ERRORS:
        last = (done.stdout + done.stderr).strip().rpartition("\n")[2]
        raise WrongResult(f"{' '.join(command)}: {last or 'printed nothing'}")
    return seconds


HEADER = (
    f"{'what':8}{'network':8}{'batch':>6}  {'provider':15}{'threads':>7}{'images':>8}"
    f"{'seconds':>10}{'spread':>8}{'over floor':>12}{'over ours':>11}{'loss':>8}"
)


def line(row: Timing) -> str:
    def shown(value: float, form: str) -> str:
        return "-" if np.isnan(value) else format(value, form)

    spread = (row.quartile_3 - row.quartile_1) / row.seconds
    return (
        f"{row.what:8}{row.net:8}{row.batch:6}  {row.provider:15}{row.threads:7}"
        f"{row.images or '-':>8}{row.seconds:10.4g}{spread:8.1%}{shown(row.over_floor, '.2f'):>12}"
        f"{f'{row.ratio:.2f}x':>11}{shown(row.loss, '.3f'):>8}"
    )


def records(
    rows: Sequence[Timing], versions: dict[str, str], instructions: str
) -> Iterator[dict[str, object]]:
    run = report.circumstances(instructions)
    for row in rows:
        yield {
            "what": row.what,
            "network": row.net,
            "batch": row.batch,
            "threads": row.threads,
            "provider": row.provider,
            "seconds": report.digits(row.seconds),
            "quartile_1": report.digits(row.quartile_1),
            "quartile_3": report.digits(row.quartile_3),
            "rounds": row.rounds,
            "images": row.images,
            "gflop": report.digits(row.flops / 1e9),
            "peak_gflops": report.digits(row.peak / 1e9),
            "over_floor": report.digits(row.over_floor),
            "ratio": report.digits(row.ratio),
            "loss": report.digits(row.loss),
            "version": versions[row.provider],
            **run,
        }


def main() -> int:
    options = parse()
    rows: list[Timing] = []

    def warn(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def show(found: Sequence[Timing]) -> None:
        rows.extend(found)
        for row in found:
            print(line(row), flush=True)

    try:
        with Epochs(options, warn) as epochs:
            versions = epochs.versions()
            print(f"{cpu_model()}, commit {machine.commit()}")
            print(", ".join(f"{name}: {version}" for name, version in versions.items()))
            print(HEADER, flush=True)
            for setting in options.settings:
                show(epochs.measure(setting))
        for name in options.others:
            try:
                show(list(OTHERS[name](max(options.rounds, LEAST_ROUNDS), list(versions))))
            except WrongResult as error:
                warn(f"{name}: {error}")
                epochs.failed = True
    except WorkerError as error:
        warn(f"perf: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    folder = options.out or (None if options.quick else RESULTS)
    if folder is not None and rows:
        instructions = versions[OURS].rpartition("(")[2].rstrip(")")
        save(folder, rows, records(rows, versions, instructions), warn)
    for text in report.verdicts(judged(EPOCH_GOALS, rows)) if not options.quick else ():
        print(text)
    return int(epochs.failed)


def save(folder: Path, rows: Sequence[Timing], lines: Iterator[dict[str, object]], warn) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "epoch.csv"
    report.write_csv(path, COLUMNS, lines)
    print(f"wrote {path}")
    pictures = drawing(warn)
    if pictures:
        for path in pictures.draw_epochs(folder, rows):
            print(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(main())
