"""One seed, one result: the digest of the weights after training in all possible ways.

    python -m perf.same_bits            the whole table, a few minutes
    python -m perf.same_bits --small    smaller networks, for the tests

It trains each network at each batch size, for one epoch with a short last batch: compiled and layer
by layer, dense and sparse, on 1, 2, 3 and 4 threads. It does all that again with code for other
CPUs that this one can run. It prints a row for each network and batch size with its one digest. If
there are several digests, it says which ways led to each, and the exit code is 1.
"""

import argparse
import contextlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
IMAGES = 203  # two batches of 100 or 101, and a short one
BATCHES = (1, 100, 101, None)
THREADS = (1, 2, 3, 4)
HIDDEN = {"mlp200": (200,), "deep": (2500, 2000, 1500, 1000, 500)}
SMALL = {"mlp200": (200,), "deep": (130, 90, 70, 50, 30)}
CPUS = {  # name: flags of a CPU that can run its code
    "haswell": {"avx2", "fma", "bmi2", "movbe"},
    "skylake-avx512": {"avx512f", "avx512dq", "avx512cd", "avx512bw", "avx512vl"},
}


def network(name: str, hidden: dict[str, tuple[int, ...]]):
    """Return one of `hidden`, or a network with dropout, noise, and a connection past a layer."""
    from jitprop.layers import Dropout, GaussianNoise, Graph, Input, Linear, Tanh
    from jitprop.training import mlp

    if name in hidden:
        return mlp(784, hidden[name], 10, 0)
    rng = np.random.default_rng(0)
    x = Input(784)
    h = Dropout(0.3, rng)(Tanh()(Linear(784, 70, rng)(x)))
    y = Linear(70, 10, rng)(GaussianNoise(0.3, 1)(h)) + Linear(784, 10, rng)(x)
    return Graph(x, y)


def digests(small: bool) -> Iterator[tuple[str, str, str]]:
    """Yield (network and batch, way, digest) for all that this process can do."""
    from jitprop import kernels
    from jitprop.data import load_dataset
    from jitprop.layers import SoftmaxCrossEntropy
    from jitprop.training import fit, weights_sha256

    class LayerByLayer(SoftmaxCrossEntropy):
        """To a plan, this looks like a person's own loss."""

        def rows(self, z, t):
            return super().rows(z, t)

    mnist = load_dataset()
    examples = mnist.train_images[:IMAGES], mnist.train_labels[:IMAGES]
    hidden = SMALL if small else HIDDEN
    ways = [("compiled", SoftmaxCrossEntropy), ("layer by layer", LayerByLayer)]
    for name, batch in itertools.product((*hidden, "skip"), BATCHES):
        for (way, loss), input, threads in itertools.product(ways, ("dense", "sparse"), THREADS):
            kernels.set_num_threads(threads)
            net = network(name, hidden)
            fit(
                net,
                loss(),
                *examples,
                epochs=1,
                batch_size=batch,
                rate=0.01,
                momentum=0.9,
                rng=0,
                input=input,
            )
            what = f"{name}, batch {batch or 'full'}"
            yield what, f"{way}, {input}, threads {threads}", weights_sha256(net)


def run(small: bool) -> dict[str, dict[str, list[str]]]:
    """Return for each network and batch size the ways that led to each digest, on every CPU."""
    found: dict[str, dict[str, list[str]]] = {}
    flags = _flags()
    processes = {}
    with contextlib.ExitStack() as stack:
        for cpu in ("", *(name for name, needs in CPUS.items() if needs <= flags)):
            command = [sys.executable, "-m", "perf.same_bits", "--here", *["--small"] * small]
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | ({"NUMBA_CPU_NAME": cpu} if cpu else {}),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,  # hides the line that says "layer by layer"
                text=True,
            )
            processes[cpu or "this CPU"] = stack.enter_context(process)
            stack.callback(process.kill)  # if another one has failed
        for cpu, process in processes.items():
            output, said = process.communicate()
            if process.returncode != 0:
                raise RuntimeError(f"{cpu}: the process ended with {process.returncode}\n{said}")
            for line in output.splitlines():
                what, way, digest = json.loads(line)
                found.setdefault(what, {}).setdefault(digest, []).append(f"{cpu}, {way}")
    return found


def _flags() -> set[str]:
    """Return what this CPU can do; nothing if the system does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m perf.same_bits", description=__doc__)
    parser.add_argument("--small", action="store_true", help="smaller networks")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.here:
        for found in digests(args.small):
            print(json.dumps(found), flush=True)
        return 0
    result = run(args.small)
    for what, by_digest in result.items():
        ways = sum(map(len, by_digest.values()))
        if len(by_digest) == 1:
            print(f"{what:22}{ways:4} ways, one result  {next(iter(by_digest))[:16]}")
        else:
            print(f"{what:22}{ways:4} ways, {len(by_digest)} results")
            for digest, those in by_digest.items():
                print(f"    {digest[:16]}  {'; '.join(those)}")
    return 0 if all(len(by_digest) == 1 for by_digest in result.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
