"""How many of the 10,000 test images the README's networks get wrong, over many seeds.

    python -m perf.figures                  the table, 30 seeds each: about 15 minutes
    python -m perf.figures --sweep linear   to choose settings, without any test image

The table runs `train.py` as a person would, once for each seed. It writes results/figures.csv, with
a line for each run: the table follows from these. The sweep trains on the first 50,000 training
images and counts errors on the last 10,000. It prints the settings with the best means.
"""

import argparse
import itertools
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from perf.report import write_csv

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "perf" / "results" / "figures.csv"
COLUMNS = ("network", "arguments", "seed", "test_errors")
HEADER = "    mean  deviation   best  worst"
NETWORKS = {
    "linear": "--arch linear",
    "mlp200": "--arch mlp200",
    "best": "--preset best",
    "speedrun": "--preset speedrun",
}
KEPT = 10_000  # training images held out in the sweep, the last ones
MOMENTUM = 0.9
GRID = {  # in the ranges of slide 14
    "schedule": ("constant", "linear"),
    "epochs": (10, 20, 30),
    "batch_size": (100, 200, 500),
    "rate": (0.02, 0.05, 0.1),
}


def test_errors(arguments: str, seed: int) -> int:
    """Return the test errors that a run of `train.py` ends with."""
    command = [sys.executable, "train.py", *arguments.split(), "--seed", str(seed), "--quiet"]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    found = re.fullmatch(r"test errors: (\d+) / 10000 .*\n", done.stdout)
    assert found, done.stdout
    return int(found[1])


def summary(errors: list[int]) -> str:
    """Return the mean, the deviation between seeds, the best and the worst."""
    deviation = statistics.stdev(errors) if len(errors) > 1 else 0.0
    return f"{statistics.mean(errors):8.1f}{deviation:11.1f}{min(errors):7}{max(errors):7}"


def table(seeds: int) -> None:
    """Print the table and write the CSV."""
    print(f"network     seeds {HEADER}")
    lines: list[dict[str, object]] = []
    for network, arguments in NETWORKS.items():
        errors = [test_errors(arguments, seed) for seed in range(seeds)]
        for seed, count in enumerate(errors):
            lines.append(dict(zip(COLUMNS, (network, arguments, seed, count), strict=True)))
        print(f"{network:12}{seeds:5} {summary(errors)}", flush=True)
    write_csv(RESULTS, COLUMNS, lines)
    print(f"wrote {RESULTS}")


def sweep(arch: str, seeds: int) -> None:
    """Print the validation errors of all settings, as they come; then the five best in the mean."""
    from jitprop import training
    from jitprop.data import load_dataset
    from jitprop.layers import SoftmaxCrossEntropy

    mnist = load_dataset()
    examples = mnist.train_images[:-KEPT], mnist.train_labels[:-KEPT]
    held_out = mnist.train_images[-KEPT:], mnist.train_labels[-KEPT:]
    found: list[tuple[float, str]] = []
    print("".join(f"{name:12}" for name in GRID) + HEADER)
    for values in itertools.product(*GRID.values()):
        errors = []
        for seed in range(seeds):
            rng = np.random.default_rng(seed)  # for weights and orders, as in train.py
            net = training.mlp(784, training.ARCHITECTURES[arch], mnist.classes, rng)
            settings: dict[str, Any] = dict(zip(GRID, values, strict=True))
            training.fit(
                net, SoftmaxCrossEntropy(), *examples, rng=rng, momentum=MOMENTUM, **settings
            )
            counted = training.evaluate(net, SoftmaxCrossEntropy(), *held_out).errors
            errors.append(counted or 0)
        line = "".join(f"{value!s:12}" for value in values) + summary(errors)
        print(line, flush=True)
        found.append((statistics.mean(errors), line))
    print("the best:", *(line for _, line in sorted(found)[:5]), sep="\n")


def main(arguments: list[str] | None = None) -> int:
    description, _, more = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m perf.figures",
        description=description,
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, default=30, metavar="N", help="0 .. N-1")
    parser.add_argument("--sweep", metavar="ARCH", choices=("linear", "mlp200"))
    args = parser.parse_args(arguments)
    if args.seeds < 1:
        parser.error(f"argument --seeds: {args.seeds}, expected 1 or more")
    if args.sweep:
        sweep(args.sweep, args.seeds)
    else:
        table(args.seeds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
