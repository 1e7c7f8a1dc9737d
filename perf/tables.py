"""`python -m perf.tables accuracy`, or `speed`: networks for tables beside other libraries."""

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jitprop.training.metrics import cpu_model
from perf import machine, report
from perf.__main__ import RESULTS
from perf.goals import ACCURACY_GOALS, SPEED_GOALS, Goal, judged
from perf.providers import FITTERS, OURS, WorkerError

HELP = {
    "accuracy": "scores of scikit-learn's networks and of ours on the same folds",
    "speed": "seconds of whole fits",
}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m perf.tables", description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    for name, text in HELP.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--quick", action="store_true", help="two tables, little work")
        command.add_argument("--filter", default=None, metavar="TEXT", help="cases that hold it")
        command.add_argument("--out", type=Path, metavar="DIR", help="default: results")
        if name == "speed":
            command.add_argument("--providers", metavar="NAME,NAME", help=", ".join(FITTERS))
    options = parser.parse_args(arguments)
    if importlib.util.find_spec("sklearn") is None:
        parser.exit(2, "perf: tables need scikit-learn: pip install 'jitprop[sklearn]'\n")
    from perf import fits, scores  # they need it

    cases, quick = (
        (scores.CASES, scores.QUICK) if options.what == "accuracy" else (fits.CASES, fits.QUICK)
    )
    try:
        options.cases = chosen(options.filter, quick if options.quick else tuple(cases), cases)
        if options.what == "speed":
            options.providers = providers(options.providers, options.quick)
    except ValueError as error:
        parser.exit(2, f"perf: {error}\n")
    return options


def chosen(text: str | None, usual: Sequence[str], cases: dict[str, Any]) -> list[Any]:
    """The usual cases, or all whose name contains the text."""
    names = usual if text is None else [name for name in cases if text in name]
    if not names:
        raise ValueError(f"--filter {text}: no such case; there are {', '.join(cases)}")
    return [cases[name] for name in names]


def providers(text: str | None, quick: bool) -> list[str]:
    """The providers that the text names, or all; ours always, and first."""
    if text is None:
        return [OURS, "sklearn"] if quick else list(FITTERS)
    names = text.split(",")
    for name in names:
        if name not in FITTERS:
            raise ValueError(f"--providers {name}: expected some of {', '.join(FITTERS)}")
    return list(dict.fromkeys([OURS, *names]))


def warn(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def accuracy(options: argparse.Namespace) -> bool:
    """Measure scores, print and save them; return whether all could be measured."""
    import numba
    import sklearn

    from jitprop.kernels.tile import INSTRUCTIONS
    from perf import scores

    effort = {"folds": 2, "repeats": 1} if options.quick else {}
    print(f"{cpu_model()}, commit {machine.commit()}\n{scores.HEADER}", flush=True)
    rows, right = [], True
    for table, solver in options.cases:
        try:
            rows.append(scores.measure(table, solver, **effort))
        except ValueError as error:  # both raise it for numbers that are not finite
            warn(f"{table.name} {solver}: {error}")
            right = False
            continue
        print(scores.line(rows[-1]), flush=True)
    version = f"scikit-learn {sklearn.__version__}, numba {numba.__version__}"
    save(options, scores.COLUMNS, list(scores.records(rows, version, INSTRUCTIONS)))
    summarise(options, ACCURACY_GOALS, rows)
    return right


def speed(options: argparse.Namespace) -> bool:
    """Measure fits, print and save them; return whether ours learned each time."""
    from perf import fits

    rows: list[fits.Fit] = []
    with fits.Fits(options.providers, warn) as measured:
        versions = measured.versions()
        print(f"{cpu_model()}, commit {machine.commit()}")
        print(", ".join(f"{name}: {version}" for name, version in versions.items()))
        print(fits.HEADER, flush=True)
        for setting in options.cases:
            found = measured.measure(fits.quick(setting) if options.quick else setting)
            rows += found
            for row in found:
                print(fits.line(row), flush=True)
    instructions = versions[OURS].rpartition("(")[2].rstrip(")")
    save(options, fits.COLUMNS, list(fits.records(rows, versions, instructions)))
    summarise(options, SPEED_GOALS, rows)
    return not measured.failed


def save(options: argparse.Namespace, columns: Sequence[str], lines: list) -> None:
    """Write the CSV; for a quick run only with --out."""
    folder = options.out or (None if options.quick else RESULTS)
    if folder is not None and lines:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"tables_{options.what}.csv"
        report.write_csv(path, columns, lines)
        print(f"wrote {path}")


def summarise(options: argparse.Namespace, goals: Sequence[Goal], rows: Sequence[Any]) -> None:
    for text in report.verdicts(judged(goals, rows)) if not options.quick else ():
        print(text)


def main() -> int:
    options = parse()
    try:
        right = accuracy(options) if options.what == "accuracy" else speed(options)
    except WorkerError as error:
        warn(f"perf: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    return int(not right)


if __name__ == "__main__":
    sys.exit(main())
