"""Records: few errors on MNIST's test images, in little time.

    python -m perf.records sweep '--preset errors100 --lr 0.1' ...    errors on held-out images
    python -m perf.records run errors100 ensemble                     with the test images
    python -m perf.records table                                      RECORDS.md, README.md

`sweep` trains on the first 50,000 training images and counts errors on the last 10,000: so people
choose settings. Arguments are those of train.py; `-` reads settings, one a line. `run` trains on
all 60,000, seed after seed. Both append a line to a CSV in results/ for each run, and go on where
they stopped, from the last checkpoint of a run. `table` writes what the lines say, in short for
README.

Seconds are those of the training by the clock, without reading, compiling and evaluating. Let
nothing else run meanwhile.
"""

import argparse
import csv
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import jitprop
from jitprop.cli.arguments import distortion_of, make_parser
from jitprop.cli.values import integer
from jitprop.training.settings import ARCHITECTURES
from perf import machine, report
from perf.figures import KEPT, ROOT

RESULTS = ROOT / "perf" / "results"
PAGE, README = ROOT / "RECORDS.md", ROOT / "README.md"
COLUMNS = (
    "record", "arguments", "seed", "test_errors", "seconds", "epochs", "weights_sha256",
    "peak_gflops", "threads", "version", "cpu", "python", "numpy", "commit", "date",
)  # fmt: skip
SWEPT = ("arguments", "seed", "held_out_errors", "train_errors", "seconds", "epochs")
BEGIN, END = "<!-- table -->", "<!-- end of table -->"
CERTAIN = 0.01  # a record is certain if its `likelihood` is below this
PEAK_ROUNDS = 20
FIVE = 5  # networks of an ensemble


@dataclass(frozen=True)
class Record:
    """A target, and what reaches it.

    Attributes
    ----------
    target : float
        For the mean of the test errors over all seeds.
    arguments : str
        The arguments of train.py; none for an ensemble.
    seeds : int
        The number of runs in the mean, with seeds 0, 1, ...
    rules : str
        What kinds of network the rules allow.
    of : str
        For an ensemble, the record whose networks, seeds 0 to 4, are its members; else "".
    """

    target: float
    arguments: str = ""
    seeds: int = 10
    rules: str = "any"
    of: str = ""


def five(of: str) -> Record:
    """Return the record of five networks of another record together, for fewer than 40 errors."""
    return Record(40, seeds=1, rules="five networks", of=of)


MILD = "--elastic-alpha 24 --elastic-sigma 5 --rotate 5 --shear 5 --scale 0.05"
FAST = "--activation relu --schedule linear"
RECORDS: dict[str, Record] = {
    "errors250": Record(250, f"--hidden 160 --epochs 2 --lr 0.25 {FAST}"),
    "errors200": Record(200, f"--hidden 256 --epochs 3 --lr 0.2 {FAST}", seeds=20),
    "errors150": Record(150, f"--hidden 300 --epochs 7 --lr 0.1 --warmup 0.5 {FAST} {MILD}"),
    "errors100": Record(100, "--preset errors100"),
    "errors70": Record(70, "--preset errors70"),
    "errors50": Record(50, "--preset errors50", seeds=5),
    "errors45": Record(
        45,
        f"--hidden 800,400 --epochs 250 --batch-size 200 --lr 0.15 --warmup 1 {FAST}"
        " --weight-decay 2e-5 --label-smoothing 0.05 --distort --rotate 15 --scale 0.15",
        seeds=5,
    ),
    "errors105": Record(
        105,
        "--hidden 800,800 --epochs 200 --batch-size 250 --lr 0.1 --warmup 1 --dropout 0.2"
        f" --input-noise 0.4 --max-norm 2 {FAST}",
        seeds=5,
        rules="no knowledge of images",
    ),
    "ensemble50": five("errors50"),
    "ensemble45": five("errors45"),
}


def read(path: Path) -> list[dict[str, str]]:
    """The lines of a CSV, if it is there."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def append(path: Path, columns: Sequence[str], line: dict[str, object]) -> None:
    """Write one more line."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(line)


def train(arguments: Sequence[str]) -> dict[str, Any]:
    """Run train.py; return its metrics. Where it fails, it has said why, and this ends, too."""
    with tempfile.TemporaryDirectory() as folder:
        metrics = Path(folder) / "metrics.json"
        command = [sys.executable, "train.py", *arguments, "--quiet", "--metrics", str(metrics)]
        code = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL).returncode
        if code or not metrics.exists():  # --help and the like write none
            sys.exit(code or f"train.py {' '.join(arguments)}: trained nothing")
        return json.loads(metrics.read_text())


def seconds(metrics: dict[str, Any]) -> float:
    return sum(epoch["train_seconds"] for epoch in metrics["epochs"])


def sweep(settings: Iterable[str], seeds: int, path: Path) -> None:
    """Append and print the runs that are not there yet."""
    done = {(line["arguments"], int(line["seed"])) for line in read(path)}
    for arguments in settings:
        for seed in range(seeds):
            if (arguments, seed) in done:
                continue
            done.add((arguments, seed))
            given = [*arguments.split(), "--validation", str(KEPT), "--seed", str(seed)]
            metrics = train(given)
            last = metrics["epochs"][-1]
            line = (
                *(arguments, seed, last["validation_errors"], last["train_errors"]),
                *(f"{seconds(metrics):.3g}", len(metrics["epochs"])),
            )
            append(path, SWEPT, dict(zip(SWEPT, line, strict=True)))
            print(f"{last['validation_errors']:5}{seconds(metrics):9.2f} s  {seed:2}  {arguments}")
            sys.stdout.flush()


def peak() -> float:
    """GFLOP/s of multiply-adds in registers, the most of some tries."""
    found = []
    for chains in machine.CHAINS:
        case = machine.peak(chains)
        arguments = case.arguments(np.dtype(np.float32))
        call = machine.PEAKS[chains]
        call(*arguments)
        for _ in range(PEAK_ROUNDS):
            start = time.perf_counter()
            call(*arguments)
            found.append(case.flops / (time.perf_counter() - start) / 1e9)
    return max(found)


def kept(name: str, seed: int, folder: Path) -> Path:
    """Where a run keeps its network."""
    return folder / f"{name}-{seed}.safetensors"


def told(record: Record) -> str:
    """The arguments of train.py; of an ensemble, its networks."""
    return record.arguments or f"the networks of {record.of}, seeds 0 to {FIVE - 1}"


def run(name: str, seeds: int, path: Path, folder: Path) -> None:
    """Append and print the runs of a record that are not there yet."""
    from jitprop import kernels

    record = RECORDS[name]
    done = {int(line["seed"]) for line in read(path) if line["record"] == name}
    for seed in range(seeds or record.seeds):
        if seed in done:
            continue
        gflops = peak()
        if record.of:
            files = [kept(record.of, member, folder) for member in range(FIVE)]
            given = [word for file in files for word in ("--evaluate", str(file))]
        else:
            file = str(kept(name, seed, folder))
            begun = Path(file).exists()
            anew = [*record.arguments.split(), "--seed", str(seed)]
            given = [
                *(["--resume", file] if begun else anew),
                "--save",
                file,
                "--checkpoint-every",
                "10",
            ]
        metrics = train(given)
        about = report.circumstances("")
        line = {
            **{key: about[key] for key in COLUMNS if key in about},
            "record": name,
            "arguments": told(record),
            "seed": seed,
            "test_errors": metrics["test_errors"],
            "seconds": "" if record.of else f"{seconds(metrics):.4g}",
            "epochs": "" if record.of else len(metrics["epochs"]),
            "weights_sha256": "" if record.of else metrics["weights_sha256"],
            "peak_gflops": f"{gflops:.0f}",
            "threads": kernels.get_num_threads(),
            "version": jitprop.__version__,
        }
        append(path, COLUMNS, line)
        print(f"{name:12}{seed:4}{line['test_errors']:6}  {line['seconds']:>8} s", flush=True)


def likelihood(errors: Sequence[float], target: float) -> float:
    """How likely this mean is if the mean of all seeds is at the target: Student's t, one-sided.

    It is 1 if there is only one run.
    """
    if len(errors) < 2:
        return 1.0
    from scipy.stats import t as student

    deviation = statistics.stdev(errors) or 1e-9
    return float(
        student.sf(
            (target - statistics.mean(errors)) / deviation * math.sqrt(len(errors)), len(errors) - 1
        )
    )


def runs_of(name: str, lines: Sequence[dict[str, str]]) -> tuple[list[int], str, list[float]]:
    """The test errors of a record's runs, their mean seconds as text, and the peaks beside them."""
    runs = [line for line in lines if line["record"] == name]
    times = [float(line["seconds"]) for line in runs if line["seconds"]]
    return (
        [int(line["test_errors"]) for line in runs],
        f"{statistics.mean(times):.3g}" if times else "",
        [float(line["peak_gflops"]) for line in runs],
    )


def rows(lines: Sequence[dict[str, str]]) -> list[str]:
    """The table: a row for each record that has runs."""
    found = [
        "| rules | target | mean errors | runs | seconds, mean | peak | record |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, record in RECORDS.items():
        errors, taken, peaks = runs_of(name, lines)
        if not errors:
            continue
        mean = statistics.mean(errors)
        spread = f" ({min(errors)} to {max(errors)})" if len(errors) > 1 else ""
        p = likelihood(errors, record.target)
        certain = "" if len(errors) == 1 else f", p {p:.0e}" if p < CERTAIN else ", not certain"
        reached = "" if mean < record.target else ", missed"
        gflops = statistics.median(peaks)
        cells = (
            *(record.rules, f"{record.target:g}{reached}", f"{mean:.1f}{spread}"),
            *(f"{len(errors)}{certain}", taken, f"{gflops:.0f} GFLOP/s", f"`{name}`"),
        )
        found.append(f"| {' | '.join(cells)} |")
    return found


def commands() -> list[str]:
    """A table of the command of each record."""
    found = ["| record | command |", "|---|---|"]
    for name, record in RECORDS.items():
        what = told(record) if record.of else f"`python train.py {record.arguments}`"
        found.append(f"| `{name}` | {what} |")
    return found


def network(record: Record) -> str:
    """The widths of a record's network, and what it learns from."""
    if record.of:
        return f"{FIVE} networks together: {network(RECORDS[record.of])}"
    args = make_parser().parse_args(record.arguments.split())
    widths = "-".join(map(str, (784, *(args.hidden or ARCHITECTURES[args.arch]), 10)))
    images = ", distorted images" if distortion_of(args) else ""
    if record.rules != "any":
        images = f", {record.rules}"
    return f"{widths}, {args.epochs} epochs{images}"


def short(lines: Sequence[dict[str, str]]) -> list[str]:
    """The table for README: what was reached, of each record that has runs."""
    found = ["| test errors, mean | network | seconds | seeds |", "|---|---|---|---|"]
    for name, record in RECORDS.items():
        errors, taken, _ = runs_of(name, lines)
        if errors:
            mean = statistics.mean(errors)
            found.append(f"| {mean:.1f} | {network(record)} | {taken} | {len(errors)} |")
    return found


def put(page: Path, table: Sequence[str]) -> None:
    """Write a table between the marks of a page."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text("\n".join([before + BEGIN, *table, END + after]))


def table(path: Path, page: Path, readme: Path) -> None:
    """Put the tables into both pages."""
    lines = read(path)
    put(page, [*rows(lines), "", *commands()])
    put(readme, short(lines))


def main(arguments: Sequence[str] | None = None) -> int:
    description, _, more = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m perf.records",
        description=description,
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="DIR", help="of the CSVs")
    parts = parser.add_subparsers(dest="what", required=True)
    part = parts.add_parser("sweep")
    part.add_argument("settings", nargs="+", metavar="ARGUMENTS", help="of train.py, in quotes")
    part.add_argument("--seeds", type=integer(1), default=1, metavar="N")
    part = parts.add_parser("run")
    part.add_argument(
        "records", nargs="+", choices=RECORDS, metavar="RECORD", help=", ".join(RECORDS)
    )
    part.add_argument(
        "--seeds", type=integer(0), default=0, metavar="N", help="default: the record's"
    )
    part.add_argument(
        "--folder",
        type=Path,
        default=ROOT / "build" / "records",
        help="of networks and checkpoints",
    )
    parts.add_parser("table")
    args = parser.parse_args(arguments)
    if not args.out.is_dir():
        parser.error(f"argument --out: {args.out}: no such folder")
    if args.what == "sweep":
        lines = sys.stdin if args.settings == ["-"] else args.settings
        settings = (line.strip() for line in lines)
        sweep((line for line in settings if line), args.seeds, args.out / "records_sweep.csv")
    elif args.what == "run":
        args.folder.mkdir(parents=True, exist_ok=True)
        for name in args.records:
            run(name, args.seeds, args.out / "records.csv", args.folder)
    else:
        if not (args.out / "records.csv").is_file():
            parser.error(f"argument --out: {args.out}: no runs there yet")
        table(args.out / "records.csv", PAGE, README)
    return 0


if __name__ == "__main__":
    sys.exit(main())
