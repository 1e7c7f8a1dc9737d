"""`python -m perf`: measure every kernel beside other libraries."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jitprop.training.metrics import cpu_model
from perf import cases, catalogue, machine, report
from perf.providers import OURS, PROVIDERS, WorkerError
from perf.runner import Effort, Row, Runner

RESULTS = Path(__file__).parent / "results"
QUICK = Effort(rounds=3, sample=0.0005, budget=0.2)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m perf", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small case of each kernel")
    parser.add_argument("--filter", default="", metavar="TEXT", help="cases whose name holds TEXT")
    parser.add_argument("--threads", default=None, metavar="N,N", help="default: 1 and all")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    parser.add_argument("--providers", default=None, metavar="NAME,NAME", help=", ".join(PROVIDERS))
    parser.add_argument("--out", type=Path, default=None, metavar="DIR", help="default: results")
    parser.add_argument("--rounds", type=int, default=Effort.rounds, help="turns of each provider")
    parser.add_argument("--sample", type=float, default=Effort.sample, help="seconds of a turn")
    parser.add_argument("--budget", type=float, default=Effort.budget, help="seconds per case")
    options = parser.parse_args(arguments)
    try:
        options.threads = threads(options.threads)
        options.providers = providers(options.providers, options.quick)
        options.cases = chosen(options.filter, options.quick)
    except ValueError as error:
        parser.exit(2, f"perf: {error}\n")
    return options


def threads(text: str | None) -> list[int]:
    most = len(machine.cpus())
    if text is None:
        return sorted({1, most})
    counts = text.split(",")
    if not all(count.isdecimal() and 1 <= int(count) <= most for count in counts):
        raise ValueError(f"--threads {text}: expected numbers from 1 to {most}, as in 1,{most}")
    return sorted({int(count) for count in counts})


def providers(text: str | None, quick: bool) -> list[str]:
    """The providers that the text names, or all installed ones; ours always, and first."""
    if text is None:
        names = [OURS, "numpy"] if quick else list(PROVIDERS)
        return [name for name in names if PROVIDERS[name].installed()]
    names = text.split(",")
    for name in names:
        if name not in PROVIDERS:
            raise ValueError(f"--providers {name}: expected some of {', '.join(PROVIDERS)}")
        if not PROVIDERS[name].installed():
            raise ValueError(f"--providers {name}: not installed")
    return list(dict.fromkeys([OURS, *names]))


def chosen(text: str, quick: bool) -> list[cases.Case]:
    found = [case for case in catalogue.every() if text in str(case)]
    if not found:
        names = sorted({case.name for case in catalogue.every()})
        raise ValueError(f"--filter {text}: no such case; kernels are {', '.join(names)}")
    if quick:  # the first of each kernel is the smallest
        found = list({case.name: case for case in reversed(found)}.values())[::-1]
    return found


def measure(runner: Runner, chosen: list[cases.Case], peers: list[str]) -> list[Row]:
    """All rows; print each case as it comes."""
    for count in runner.threads:
        peak, copy = runner.machine(count)
        print(f"{count} threads: peak {peak / 1e9:.1f} GFLOP/s, copy {copy / 1e9:.1f} GB/s")
    print(report.header(peers), flush=True)
    rows: list[Row] = []
    for case in chosen:
        found = list(runner.measure(case))
        for count in runner.threads:
            of_count = [row for row in found if row.threads == count]
            if of_count:
                print(report.line(of_count, peers), flush=True)
        rows += found
    return rows


def main() -> int:
    options = parse()
    effort = Effort(options.rounds, options.sample, options.budget)

    def warn(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    try:
        with Runner(
            options.providers, options.threads, np.dtype(options.dtype),
            QUICK if options.quick else effort, warn,
        ) as runner:  # fmt: skip
            versions = runner.descriptions()
            print(f"{cpu_model()}, {options.dtype}, commit {machine.commit()}")
            print(", ".join(f"{name}: {version}" for name, version in versions.items()))
            rows = measure(runner, options.cases, [name for name in versions if name != OURS])
    except WorkerError as error:
        warn(f"perf: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    instructions = versions[OURS].rpartition("(")[2].rstrip(")")
    folder = options.out or (None if options.quick else RESULTS)
    if folder is not None and rows:
        save(folder, rows, versions, instructions, options.dtype, warn)
    for line in report.summary_lines(rows, instructions) if not options.quick else ():
        print(line)
    return int(runner.failed)


def save(folder: Path, rows: list[Row], versions, instructions: str, dtype: str, warn) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{dtype}.csv"
    report.write_csv(path, report.COLUMNS, report.records(rows, versions, instructions))
    print(f"wrote {path}")
    pictures = drawing(warn)
    for path in pictures.draw(folder, rows, dtype) if pictures else ():
        print(f"wrote {path}")


def drawing(warn):
    """The module that draws; without matplotlib, None and a line."""
    try:
        from perf import pictures
    except ImportError as error:
        warn(f"no pictures: they need {error.name}: pip install 'jitprop[perf]'")
        return None
    return pictures


if __name__ == "__main__":
    sys.exit(main())
