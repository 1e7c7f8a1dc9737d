"""Gaussian noise: normal random numbers added to a batch.

    out = x + scale * normal

    normal_1 = r cos(a),  normal_2 = r sin(a)    with r = sqrt(-2 log u)

Two random words give u and a. 24 bits of the first are u, above 0 and up to 1, so no number is
beyond sqrt(-2 log 2^-24) = 5.77. 24 bits of the second are an angle up to pi/2, and two more choose
the quadrant, which means the signs. A random number depends only on the seed, the step and the
place of the element. So any number of threads draws the same ones, and float32 and float64 draw the
same ones up to rounding. The gradient of x is that of out.

Sources: Box and Muller, "A note on the generation of random normal deviates", 1958. Random numbers:
philox.py.
"""

import math

from jitprop.kernels.compiler.inline import inline
from jitprop.kernels.compiler.simd import (
    LANES,
    as_float,
    fma,
    for_dtype,
    load,
    low_bytes,
    polynomial,
    sqrt,
    store,
    where,
)
from jitprop.kernels.functions import log
from jitprop.kernels.philox import BLOCK, ROUNDS, blocks, philox
from jitprop.kernels.runtime.kernel import kernel

HALF, QUARTER = 2**31, 2**30  # of the numbers that 32 bits hold
UNIT = 2.0**-24  # the step between fractions
# sin(pi/2 t) = t P(t^2), for t from 0 to 1, by the first terms of its series: 7 terms to 1e-9 for
# float32, 11 to 1e-17 for float64.
TERMS = [(-1) ** k * (math.pi / 2) ** (2 * k + 1) / math.factorial(2 * k + 1) for k in range(11)]
SINE_32, SINE_64 = tuple(TERMS[:7]), tuple(TERMS)


@inline
def _fraction(word, like):
    """The lowest 24 bits of each word, as a number above 0 and up to 1; exact in float32."""
    high, low = as_float(low_bytes(word >> 16), like), as_float(low_bytes(word), like)
    middle = as_float(low_bytes(word >> 8), like)
    return (fma(fma(high, 256, middle), 256, low) + 1) * UNIT


@inline
def _sine(t):
    return t * polynomial(t * t, for_dtype(t, SINE_32, SINE_64))


@inline
def _add(x, out, i, normal, scale):
    rest = x.size - i
    if rest >= LANES:
        store(out, i, fma(normal, scale, load(x, i)))
    elif rest > 0:
        store(out, i, fma(normal, scale, load(x, i, rest)), rest)


@inline
def _add_pairs(x, out, i, word, other, scale):
    """Two normal numbers from two words: for element i and the one LANES behind it."""
    radius = sqrt(log(_fraction(word, x)) * -2)
    t = _fraction(other, x)
    right, up = radius * _sine(1 - t), radius * _sine(t)
    _add(x, out, i, where(other < HALF, right, -right), scale)
    _add(x, out, i + LANES, where((other & QUARTER) == 0, up, -up), scale)


@kernel("x(...), key:int64(3), scale -> out(...)", units=blocks, inplace="x")
def gaussian_noise(x, key, scale, out, start, stop):
    """`out = x + scale * normal`, a normal random number for each element.

    Parameters
    ----------
    x : (...) float32 or float64, a batch
    key : (3,) int64: seed and step, as `dropout_step` writes them; the third plays no part
    scale : number, the standard deviation of what is added
    out : shape and dtype of x, overwritten; may be x
    """
    for block in range(start, stop):
        b0, b1, b2, b3 = philox(block * LANES, key[1], key[0], key, ROUNDS)
        i = block * BLOCK
        _add_pairs(x, out, i, b0, b1, scale)
        _add_pairs(x, out, i + 2 * LANES, b2, b3, scale)
