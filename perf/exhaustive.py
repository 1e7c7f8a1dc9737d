"""Every float32 through exp, log and tanh: `python -m perf.exhaustive`.

It prints the largest error of each, in units in the last place of the exact result, and the input
where it occurs. It also checks that NaN comes out where it should and nowhere else, that no zero
has the wrong sign, that tanh is odd to the bit, and that no function falls from one float32 to the
next. The exit code is 1 if a check fails or an error is above 1 unit.

The reference is NumPy's float64 function. Its own error is some units in the last place of a
float64, below 1e-8 units in the last place of a float32.
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

from jitprop.kernels import functions
from jitprop.kernels.compiler.inline import FLAGS
from jitprop.kernels.compiler.simd import LANES, load, store

FUNCTIONS = ("exp", "log", "tanh")
BOUND = 1.0  # units in the last place
SIGN = np.uint32(1 << 31)
CHUNK = 1 << 14  # inputs at a time: they and their results stay in the cache
# For each exponent field of a float64: how many units in the last place of a float32 make 1.
UNITS_IN_ONE = 2.0 ** (23 - np.clip(np.arange(2048) - 1023.0, -126, 127))


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
    """A function of `jitprop.kernels.functions`, for arrays."""
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


@numba.njit(**FLAGS)
def compare(y, exact):
    """Largest error of `y` in units in the last place, its index, and whether NaN and signs agree.

    Infinity counts as 2^128, the number after the largest float32.
    """
    limit = 2.0**128
    y_bits, exact_bits = y.view(np.int32), exact.view(np.int64)
    largest, place, same_nan, same_sign = -1.0, 0, True, True
    for i in range(y.size):
        value, target = np.float64(y[i]), exact[i]
        if value != value or target != target:
            same_nan &= value != value and target != target
            continue
        same_sign &= (y_bits[i] < 0) == (exact_bits[i] < 0)
        error = abs(min(max(value, -limit), limit) - min(max(target, -limit), limit))
        error *= UNITS_IN_ONE[(exact_bits[i] >> 52) & 0x7FF]
        if error > largest:
            largest, place = error, i
    return largest, place, same_nan, same_sign


def judge(x: np.ndarray, y: np.ndarray, exact: np.ndarray) -> Result:
    """`compare`, as a Result."""
    error, place, same_nan, same_sign = compare(y, exact)
    faults = [name for name, same in (("NaN", same_nan), ("sign", same_sign)) if not same]
    return Result(error, float(x[place]), frozenset(faults))


def odd(y: np.ndarray, mirrored: np.ndarray) -> bool:
    """Whether these are f(x) and f(-x) of an odd f, to the bit except for NaN."""
    differ = (y.view(np.uint32) ^ SIGN) != mirrored.view(np.uint32)
    return not (differ & ~(np.isnan(y) & np.isnan(mirrored))).any()


@np.errstate(all="ignore")
def check_chunk(name: str, function: Callable, start: int, stride: int) -> Result:
    """Check CHUNK inputs of each sign, every `stride`-th float32 from the bits `start` on."""
    reference = getattr(np, name)
    bits = start + stride * np.arange(CHUNK + 1, dtype=np.int64)  # one more, to compare neighbours
    x = bits[bits < SIGN].astype(np.uint32).view(np.float32)
    y, mirrored = function(x), function(-x)
    result = judge(x, y, reference(x, dtype=np.float64))
    if name != "tanh":
        result |= judge(-x, mirrored, reference(-x, dtype=np.float64))
    elif not odd(y, mirrored):
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
        for result in pool.map(lambda start: check_chunk(name, function, start, stride), starts):
            total |= result
    return total


def count(text: str) -> int:
    """An integer of at least 1, for argparse."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def main() -> int:
    parser = argparse.ArgumentParser(description="exp, log and tanh of every float32")
    parser.add_argument("--stride", type=count, default=1, help="take every STRIDE-th float32 only")
    parser.add_argument("--threads", type=count, default=os.cpu_count())
    args = parser.parse_args()
    passed = True
    for name in FUNCTIONS:
        start = time.perf_counter()
        result = check(name, args.stride, args.threads)
        seconds = time.perf_counter() - start
        passed &= result.passed
        print(
            f"{name:4}  worst {result.error:.4f} ulp at {result.x!r}; "
            f"other faults: {', '.join(sorted(result.faults)) or 'none'}; {seconds:.0f} s"
        )
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
