"""The machine's own limits: how fast it multiplies and adds, and how fast it copies.

`peak` runs independent chains of fused multiply-adds in registers, as many as it takes to hide
their latency; nothing is loaded or stored in between. `copy` reads one array and writes another.
Both are kernels like those they judge, with the same compiler and the same threads.
"""

import os
import subprocess
from pathlib import Path

import numpy as np

from jitprop.kernels.compiler.inline import inline
from jitprop.kernels.compiler.simd import LANES, fma, load, store
from jitprop.kernels.runtime.kernel import kernel
from perf.cases import Case, empty, scaled, signed

HERE = Path(__file__).parent
CHAINS = (12, 6, 3)  # 12 fill 32 registers; fewer do if a vector takes several registers
FAR = 2**27  # bytes that no cache holds: a larger copy is no slower
STEPS = 10_000
UNITS = 64  # pieces of the peak's work: enough to share out evenly
FACTOR = 0.5  # x = x / 2 + c converges to 2 c, so the result can be checked


@inline
def one_by_one(x, out):
    return len(out) // LANES, 1


@inline
def step(a, b, c, factor, x):
    return fma(a, factor, x), fma(b, factor, x), fma(c, factor, x)


@kernel("x(n) -> out(n)", units=one_by_one)
def peak_12(x, out, start, stop):
    for unit in range(start, stop):
        c = load(x, unit * LANES)
        m = 0.0 * c + FACTOR
        a0, a1, a2, a3, a4, a5 = c, c + 1, c + 2, c + 3, c + 4, c + 5
        a6, a7, a8, a9, a10, a11 = c + 6, c + 7, c + 8, c + 9, c + 10, c + 11
        for _ in range(STEPS):
            a0, a1, a2 = step(a0, a1, a2, m, c)
            a3, a4, a5 = step(a3, a4, a5, m, c)
            a6, a7, a8 = step(a6, a7, a8, m, c)
            a9, a10, a11 = step(a9, a10, a11, m, c)
        total = a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9 + a10 + a11
        store(out, unit * LANES, total)


@kernel("x(n) -> out(n)", units=one_by_one)
def peak_6(x, out, start, stop):
    for unit in range(start, stop):
        c = load(x, unit * LANES)
        m = 0.0 * c + FACTOR
        a0, a1, a2, a3, a4, a5 = c, c + 1, c + 2, c + 3, c + 4, c + 5
        for _ in range(STEPS):
            a0, a1, a2 = step(a0, a1, a2, m, c)
            a3, a4, a5 = step(a3, a4, a5, m, c)
        store(out, unit * LANES, a0 + a1 + a2 + a3 + a4 + a5)


@kernel("x(n) -> out(n)", units=one_by_one)
def peak_3(x, out, start, stop):
    for unit in range(start, stop):
        c = load(x, unit * LANES)
        m = 0.0 * c + FACTOR
        a0, a1, a2 = c, c + 1, c + 2
        for _ in range(STEPS):
            a0, a1, a2 = step(a0, a1, a2, m, c)
        store(out, unit * LANES, a0 + a1 + a2)


@kernel("x(...) -> out(...)")
def copy_lanes(x, out, start, stop):
    whole = start + (stop - start) // LANES * LANES
    for i in range(start, whole, LANES):
        store(out, i, load(x, i))
    store(out, whole, load(x, whole, stop - whole), stop - whole)


PEAKS = {12: peak_12, 6: peak_6, 3: peak_3}


def peak(chains: int) -> Case:
    """Multiply-adds in registers, in `chains` chains."""
    size = UNITS * LANES
    return Case(
        "peak",
        (chains,),
        [signed(size), empty(size)],
        {"jitprop": lambda kernels: PEAKS[chains]},
        lambda x, out: [scaled(chains * 2 * x)],
        flops=2 * chains * STEPS * size,
        floats=0,
        tolerance=chains,
    )


def copy(nbytes: int) -> Case:
    """A copy of float32; it reads and writes `nbytes` together, at most FAR."""
    n = max(1, min(nbytes, FAR) // 8)
    return Case(
        "copy",
        (nbytes,),
        [lambda rng, dtype: rng.random(n, np.float32), lambda *_: np.zeros(n, np.float32)],
        {"jitprop": lambda kernels: copy_lanes},
        lambda x, out: [(x, 0.0)],
        flops=0,
        floats=0,
        other_bytes=8 * n,
    )


def cpus() -> list[int]:
    """The processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def commit() -> str:
    """The checked-out commit, with a + if files differ from it."""
    try:
        git = ["git", "-C", str(HERE), "describe", "--always", "--dirty=+", "--abbrev=12"]
        done = subprocess.run(git, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"
