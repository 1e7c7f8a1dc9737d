"""The table, the CSV and the summary of a run."""

import csv
import datetime
import platform
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from jitprop.training.metrics import cpu_model
from perf import machine
from perf.goals import Goal, summary
from perf.providers import OURS
from perf.runner import Row

COLUMNS = (
    "kernel", "shape", "dtype", "threads", "provider", "microseconds", "quartile_1", "quartile_3",
    "rounds", "gflops", "gbytes_per_second", "peak_gflops", "copy_gbytes_per_second", "limited_by",
    "share", "ratio", "version", "cpu", "instructions", "python", "numpy", "commit", "date",
)  # fmt: skip


def header(peers: Sequence[str]) -> str:
    names = "".join(f"{name:>14}" for name in peers)
    fixed = f"{'kernel':26}{'shape':16}{'threads':>7}{'rate':>17}{'spread':>9}{'share of':>14}"
    return fixed + names


def line(rows: Sequence[Row], peers: Sequence[str]) -> str:
    """A case on some number of threads: our rate, and each peer's time over ours."""
    ours = next(row for row in rows if row.provider == OURS)
    ratios = {row.provider: f"{row.ratio:.2f}x" for row in rows}
    shape = "x".join(map(str, ours.shape))
    spread = (ours.quartile_3 - ours.quartile_1) / ours.seconds
    return (
        f"{ours.kernel:26}{shape:16}{ours.threads:7}{rate(ours):>17}{spread:9.1%}"
        f"{ours.share:9.2f} {ours.limited_by}" + "".join(f"{ratios.get(p, '-'):>14}" for p in peers)
    )


def rate(row: Row) -> str:
    if row.kernel.startswith("matmul"):
        return f"{row.flops / row.seconds / 1e9:.1f} GFLOP/s"
    return f"{row.bytes / row.seconds / 1e9:.1f} GB/s"


def records(
    rows: Iterable[Row], versions: dict[str, str], instructions: str
) -> Iterator[dict[str, object]]:
    """Lines of the CSV; numbers have four digits, more than they are precise to."""
    run = circumstances(instructions)
    for row in rows:
        yield {
            "kernel": row.kernel,
            "shape": "x".join(map(str, row.shape)),
            "dtype": row.dtype,
            "threads": row.threads,
            "provider": row.provider,
            "microseconds": digits(row.seconds * 1e6),
            "quartile_1": digits(row.quartile_1 * 1e6),
            "quartile_3": digits(row.quartile_3 * 1e6),
            "rounds": row.rounds,
            "gflops": digits(row.flops / row.seconds / 1e9),
            "gbytes_per_second": digits(row.bytes / row.seconds / 1e9),
            "peak_gflops": digits(row.peak / 1e9),
            "copy_gbytes_per_second": digits(row.copy / 1e9),
            "limited_by": row.limited_by,
            "share": digits(row.share),
            "ratio": digits(row.ratio),
            "version": versions[row.provider],
            **run,
        }


def digits(value: float) -> str:
    return f"{value:.4g}"


def circumstances(instructions: str) -> dict[str, str]:
    """What every line of a CSV says about its run."""
    return {
        "cpu": cpu_model(),
        "instructions": instructions,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "commit": machine.commit(),
        "date": datetime.date.today().isoformat(),
    }


def write_csv(path: Path, columns: Sequence[str], lines: Iterable[dict[str, object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def summary_lines(rows: Sequence[Row], instructions: str) -> Iterator[str]:
    """A line per goal: its least figure, the place of that, and the median."""
    return verdicts(summary(rows, instructions))


def verdicts(found: Iterable[tuple[Goal, list]]) -> Iterator[str]:
    """A line for each goal with its figures, the worst first."""
    for goal, figures in found:
        worst, row = figures[0]
        verdict = "holds" if goal.holds(worst) else "misses"
        held = sum(goal.holds(figure) for figure, _ in figures)
        median = float(np.median([figure for figure, _ in figures]))
        yield (
            f"{verdict:7}{goal.text:53} goal {goal.bound:5.2f}  "
            f"{'most' if goal.at_most else 'least'} {worst:6.2f}  "
            f"median {median:6.2f}  {held} of {len(figures)}  ({row.where})"
        )
