"""Where the constants of exp, log and tanh come from: `python -m perf.derive` prints constants.py.

With `--check` it prints nothing; the exit code is 1 if kernels/constants.py holds anything else.
Everything is computed in decimals of 80 digits and rounded once, at the end.

Polynomials interpolate at the Chebyshev nodes of their interval. Their largest error is then close
to the smallest possible (Trefethen, Approximation Theory and Approximation Practice, chapters 2
and 16). The table of tanh is an accurate table (Gal and Bachelis, An Accurate Elementary
Mathematical Library for the IEEE Floating Point Standard, 1991): each interval is expanded about
a float32 `c` whose tanh(c) is very nearly a float32 too.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterable
from decimal import Decimal, getcontext
from pathlib import Path
from textwrap import fill

import numpy as np

getcontext().prec = 80
CONSTANTS = Path(__file__).parents[1] / "kernels" / "constants.py"

HALF_LN2 = 0.3466  # the largest |r| of exp, with room for its rounding
LARGEST_S = 0.1716  # of log: (m - 1) / (m + 1) at m = sqrt(2)
TANH_SMALL = 0.625  # float64: up to here a polynomial, then 1 - 2 / (exp(2x) + 1)
TANH_FIRST = 1.5 * 2.0**-5  # float32: end of the interval around 0
TANH_LAST = 9.1  # float32: tanh(x) is 1 from 9.011 on
TERMS = 5  # float32: coefficients of an interval, besides c and tanh(c)

HEADER = '''"""Constants of exp, log and tanh, made by `python -m perf.derive`, which says how."""
# fmt: off

import numpy as np
'''


def nodes(start: float, stop: float, count: int, ends: bool = False) -> list[Decimal]:
    """The Chebyshev nodes of an interval; with `ends`, stretched to include both of its ends."""
    # Rounded, so that every platform's cosine gives the same constants.
    points = [round(-math.cos(math.pi * (k + 0.5) / count), 12) for k in range(count)]
    scale = -points[0] if ends else 1.0
    return [Decimal(start + (stop - start) * (1 + point / scale) / 2) for point in points]


def interpolate(f: Callable[[Decimal], Decimal], points: list[Decimal]) -> list[Decimal]:
    """Coefficients, lowest first, of the polynomial through f at `points` (Newton's form)."""
    divided = [f(x) for x in points]
    for order in range(1, len(points)):
        for i in range(len(points) - 1, order - 1, -1):
            divided[i] = (divided[i] - divided[i - 1]) / (points[i] - points[i - order])
    result: list[Decimal] = []
    for x, value in zip(reversed(points), reversed(divided), strict=True):
        shifted = [value, *result]  # result = result * (r - x) + value
        for k, coefficient in enumerate(result):
            shifted[k] -= x * coefficient
        result = shifted
    return result


def tanh(x: Decimal) -> Decimal:
    e = (2 * x).exp()
    return (e - 1) / (e + 1)


def exp_tail(r: Decimal) -> Decimal:
    """P of exp(r) = 1 + r + r^2 P(r)."""
    r = r or Decimal("1e-30")  # as good as the limit
    return (r.exp() - 1 - r) / r**2


def log_tail(z: Decimal) -> Decimal:
    """P of log((1 + s) / (1 - s)) = s (2 + z P(z)), z = s^2."""
    s = z.sqrt()
    return (((1 + s) / (1 - s)).ln() / s - 2) / z


def tanh_tail(z: Decimal) -> Decimal:
    """P of tanh(x) = x (1 + z P(z)), z = x^2."""
    x = z.sqrt()
    return (tanh(x) / x - 1) / z


def fit(f, start: float, stop: float, terms: int) -> list[Decimal]:
    return interpolate(f, nodes(start, stop, terms))


def single(x: Decimal | float) -> np.float32:
    return np.float32(float(x))


def double(x: Decimal | float) -> np.float64:
    return np.float64(float(x))


def exact(x: np.float32) -> Decimal:
    return Decimal(float(x))


def accurate(near: Decimal) -> tuple[np.float32, np.float32]:
    """float32 values c and T at or below `near` and tanh(near), with T very close to tanh(c).

    It is within 1/500 of a unit in T's last place: later steps add larger errors.
    """
    t = single(tanh(near))
    while True:
        c = single(((1 + exact(t)) / (1 - exact(t))).ln() / 2)
        if abs(tanh(exact(c)) - exact(t)) * 500 < exact(np.spacing(t)):
            return c, t
        t = np.nextafter(t, single(0))


def tanh_interval(start: float, stop: float) -> list[np.float32]:
    """c, T, q0 .. q4 of tanh(c + r) = T + r (q0 + q1 r + ... + q4 r^4) on an interval.

    The kernel adds to the lesser of T and x. Here that must be T, so tanh(c) <= start. Of the nodes
    that meet this, the one nearest the middle becomes c.
    """
    ends = nodes(start, stop, TERMS + 1, ends=True)
    c, t = accurate(max(x for x in ends[: TERMS // 2 + 1] if tanh(x) <= Decimal(start)))
    q: list[np.float32] = []

    def rest(r: Decimal) -> Decimal:
        """The sum that the remaining coefficients must give at r, after those already rounded."""
        value = tanh(exact(c) + r) - exact(t)
        for coefficient in q:
            value = value / r - exact(coefficient)
        return value / r

    points = sorted((x - exact(c) for x in ends), key=abs)
    while len(q) < TERMS:
        points = points[1:]  # the one nearest c matters least: there T alone is nearly right
        q.append(single(interpolate(rest, points)[0]))
    return [c, t, *q]


def tanh_table() -> list[list[np.float32]]:
    """c, T, q0 .. q4 of 32 intervals, in the order of exponent and two mantissa bits, mod 32."""
    edges = [TANH_FIRST]
    while edges[-1] < 8:
        edges.append(edges[-1] + 2.0 ** math.floor(math.log2(edges[-1])) / 4)
    intervals = {_index(a): (a, b) for a, b in zip(edges, [*edges[1:], TANH_LAST], strict=True)}
    p0, p1 = map(single, fit(tanh_tail, 0, TANH_FIRST**2, 2))
    zero = single(0)
    around_0 = [zero, single(math.inf), zero, zero, p0, zero, p1]
    return [tanh_interval(*intervals[i]) if i in intervals else around_0 for i in range(32)]


def _index(x: float) -> int:
    return int(single(x).view(np.int32) >> 21) % 32


def literal(value: np.floating) -> str:
    """The shortest text that reads as this value."""
    text = str(value) if np.isfinite(value) else "np.inf"
    assert text == "np.inf" or type(value)(float(text)) == value
    return text


def listing(values: Iterable[np.floating]) -> str:
    """Indented lines of literals."""
    text = ", ".join(map(literal, values))
    return fill(f"{text},", width=100, initial_indent="    ", subsequent_indent="    ")


def derive() -> str:
    """The text of kernels/constants.py."""
    ln2 = Decimal(2).ln()
    lines = [HEADER]

    def define(name: str, values: Iterable[Decimal | float], dtype: Callable) -> None:
        lines.append(f"{name} = (\n{listing(map(dtype, values))}\n)")

    for bits, dtype, exp_terms, log_terms in ((32, single, 6, 4), (64, double, 11, 8)):
        high = Decimal(float(dtype(ln2)))
        define(f"LN2_{bits}", [high, ln2 - high], dtype)
        define(f"EXP_{bits}", fit(exp_tail, -HALF_LN2, HALF_LN2, exp_terms), dtype)
        define(f"LOG_{bits}", fit(log_tail, 0, LARGEST_S**2, log_terms), dtype)
    lines.append(f"TANH_SMALL_64 = {TANH_SMALL}")
    define("TANH_64", fit(tanh_tail, 0, TANH_SMALL**2, 11), double)
    define("TANH_ENDS_32", [np.nextafter(single(TANH_FIRST), single(0)), TANH_LAST], single)
    lines.append("# A column for each interval; in the rows c, T, q0 .. q4.")
    rows = zip(*tanh_table(), strict=True)
    lines += ["TANH_32 = np.array([", *(f"    [\n{listing(row)}\n    ]," for row in rows)]
    lines.append("], np.float32)")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="derive kernels/constants.py")
    parser.add_argument("--check", action="store_true", help="compare, print nothing")
    if not parser.parse_args().check:
        print(derive(), end="")
        return 0
    if derive() == CONSTANTS.read_text():
        return 0
    print(f"{CONSTANTS.name} differs from what perf.derive derives", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
