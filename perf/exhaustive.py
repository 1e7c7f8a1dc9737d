"""Every float32 through exp, log and tanh: `python -m perf.exhaustive`.

Prints the largest error of each, in units in the last place of the exact result, and the input
where it occurs. Checks along the way that NaN comes out where it should and nowhere else, that
no zero has the wrong sign, that tanh is odd to the bit, and that no function falls from one
float32 to the next. The exit code is 1 where that fails or an error is above 1 unit.

The reference is NumPy's float64 function, whose own error, some units in the last place of a
float64, is below 1e-8 of those of a float32.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np

from kernels import functions
from kernels.jit import FLAGS
from kernels.simd import LANES, load, store

FUNCTIONS = ("exp", "log", "tanh")
BOUND = 1.0  # units in the last place
SIGN = np.uint32(1 << 31)
CHUNK = 1 << 14  # inputs at a time: they and their results stay in the cache


@dataclass(frozen=True)
class Result:
    """The largest error, where it occurs, and which rules are broken."""

    error: float = -1.0
    x: float = 0.0
    faults: frozenset[str] = frozenset()

    def __or__(self, other: "Result") -> "Result":
        worst = max(self, other, key=lambda result: result.error)
        return Result(worst.error, worst.x, self.faults | other.faults)

    @property
    def passed(self) -> bool:
        return self.error <= BOUND and not self.faults


def compiled(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function of `kernels.functions`, for arrays."""
    function = getattr(functions, name)

    @numba.njit(**FLAGS)
    def loop(x, out):
        for i in range(0, x.size, LANES):
            store(out, i, function(load(x, i, x.size - i)), x.size - i)

    def call(x: np.ndarray) -> np.ndarray:
        out = np.empty_like(x)
        loop(x, out)
        return out

    return call


def measure(x: np.ndarray, y: np.ndarray, exact: np.ndarray) -> Result:
    """Judge results `y` by float64 references.

    Infinity counts as 2^128, the number after the largest one.
    """
    faults = set()
    if (np.isnan(y) != np.isnan(exact)).any():
        faults.add("NaN")
    zero = y == 0
    if (np.signbit(y[zero]) != np.signbit(exact[zero])).any():
        faults.add("sign of zero")
    limit = 2.0**128
    power = (exact.view(np.int64) & np.int64(0x7FF << 52)).view(np.float64)
    unit = np.clip(power, 2.0**-126, limit / 2) * 2.0**-23
    error = np.abs(np.clip(y, -limit, limit, dtype=np.float64) - np.clip(exact, -limit, limit))
    error /= unit
    worst = np.argmax(np.nan_to_num(error, copy=False))
    return Result(float(error[worst]), float(x[worst]), frozenset(faults))


@np.errstate(all="ignore")
def judge(name: str, function: Callable, start: int, stride: int) -> Result:
    """Check CHUNK inputs of each sign, every `stride`-th float32 from the bits `start` on."""
    reference = getattr(np, name)
    bits = start + stride * np.arange(CHUNK + 1, dtype=np.int64)  # one more, for the monotony
    x = bits[bits < SIGN].astype(np.uint32).view(np.float32)
    y, mirrored = function(x), function(-x)
    result = measure(x, y, reference(x, dtype=np.float64))
    if name != "tanh":
        result |= measure(-x, mirrored, reference(-x, dtype=np.float64))
    elif ((y.view(np.uint32) ^ SIGN) != mirrored.view(np.uint32)).any():
        result |= Result(faults=frozenset({"oddness"}))
    if (y[1:] < y[:-1]).any() or (mirrored[1:] > mirrored[:-1]).any():
        result |= Result(faults=frozenset({"monotony"}))
    return result


def check(name: str, stride: int = 1, threads: int = 1) -> Result:
    """Check a function on every `stride`-th float32."""
    function = compiled(name)
    starts = range(0, int(SIGN), CHUNK * stride)
    with ThreadPoolExecutor(threads) as pool:
        total = Result()
        for result in pool.map(lambda start: judge(name, function, start, stride), starts):
            total |= result
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stride", type=int, default=1, help="take every STRIDE-th float32 only")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    passed = True
    for name in FUNCTIONS:
        start = time.perf_counter()
        result = check(name, args.stride, args.threads)
        seconds = time.perf_counter() - start
        passed &= result.passed
        faults = ", ".join(sorted(result.faults)) or "none"
        print(
            f"{name:4}  worst {result.error:.4f} ulp at {result.x!r}; "
            f"other faults: {', '.join(sorted(result.faults)) or 'none'}; {seconds:.0f} s"
        )
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
