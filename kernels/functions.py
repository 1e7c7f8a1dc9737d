"""exp, log and tanh of vectors, for float32 within 1 unit in the last place, for float64 within 2.

They use only arithmetic of the vector's own dtype, the same on every CPU: no maths library, no
detour over float64. They treat NaN, infinities, signed zeros and subnormals as NumPy does.
The constants are derived in perf/derive.py; perf/exhaustive.py tries every float32.
"""

import numpy as np

from jitprop.kernels.compiler.inline import inline
from jitprop.kernels.compiler.permute import lookup
from jitprop.kernels.compiler.simd import (
    absolute,
    bits,
    copysign,
    fma,
    for_dtype,
    from_bits,
    polynomial,
    where,
)
from jitprop.kernels.constants import (
    EXP_32,
    EXP_64,
    LN2_32,
    LN2_64,
    LOG_32,
    LOG_64,
    TANH_32,
    TANH_64,
    TANH_ENDS_32,
    TANH_SMALL_64,
)

LOG2_E = 1.4426950408889634
# Bits of the mantissa, and what the bits of the exponent hold for 1.0.
FORMAT_32 = (23, 127)
FORMAT_64 = (52, 1023)
# A number whose unit in the last place is 1, and its bits. Adding it to a small number rounds that
# to an integer n, and leaves the bits of the sum n above its own.
ROUNDER_32 = (1.5 * 2.0**23, 0x4B400000)
ROUNDER_64 = (1.5 * 2.0**52, 0x4338000000000000)


@inline
def exp(x):
    """e to the power of each lane.

    exp(n ln2 + r) = 2^n (1 + r + r^2 P(r)), n an integer, |r| <= ln2 / 2. The power of two is
    multiplied on in two halves, since 2^n alone may be out of range. The first product is exact, so
    a subnormal result is rounded once.
    """
    lowest, highest = for_dtype(x, (-104.0, 89.0), (-746.0, 710.0))  # beyond: 0 and infinity
    ln2, ln2_rest = for_dtype(x, LN2_32, LN2_64)
    mantissa, one = for_dtype(x, FORMAT_32, FORMAT_64)
    rounder, rounder_bits = for_dtype(x, ROUNDER_32, ROUNDER_64)
    vanishing = x < lowest  # kept out of the arithmetic, where subnormal lanes cost 50 cycles
    x = where(vanishing, 0.0, x)
    x = where(x > highest, highest, x)
    rounded = fma(x, LOG2_E, rounder)
    n = rounded - rounder
    high, low = fma(n, -ln2, x), n * ln2_rest  # r in two parts, which keeps its rounding error out
    r = high - low
    y = (fma(r * r, polynomial(r, for_dtype(x, EXP_32, EXP_64)), -low) + high) + 1.0
    power = bits(rounded) - rounder_bits
    half = power >> 1
    y *= from_bits((half + one) << mantissa)
    return where(vanishing, 0.0, y * from_bits((power - half + one) << mantissa))


@inline
def log(x):
    """Natural logarithm of each lane; NaN below 0, -infinity at 0.

    log(2^n m) = n ln2 + log(m), m from sqrt(1/2) to sqrt(2). With f = m - 1 and s = f / (2 + f),
    log(m) = log((1+s) / (1-s)) = s (2 + z P(z)), z = s^2. Since 2 s = f - s f, that is f minus a
    small correction, f^2/2 - s (f^2/2 + z P(z)), and f is exact.
    """
    ln2, ln2_rest = for_dtype(x, LN2_32, LN2_64)
    mantissa, _ = for_dtype(x, FORMAT_32, FORMAT_64)
    rounder, rounder_bits = for_dtype(x, ROUNDER_32, ROUNDER_64)
    normal, up, down = for_dtype(x, (2.0**-126, 2.0**24, -24.0), (2.0**-1022, 2.0**53, -53.0))
    sqrt_half = for_dtype(x, 0x3F3504F3, 0x3FE6A09E667F3BCD)  # its bits
    subnormal = x < normal
    scaled = bits(where(subnormal, x * up, x))
    power = (scaled - sqrt_half) >> mantissa
    n = from_bits(power + rounder_bits) - rounder
    n = where(subnormal, n + down, n)
    f = from_bits(scaled - (power << mantissa)) - 1.0
    s = f / (2.0 + f)
    z = s * s
    half = 0.5 * f * f
    tail = fma(z, polynomial(z, for_dtype(x, LOG_32, LOG_64)), half)
    y = fma(n, ln2, f - (half - fma(s, tail, n * ln2_rest)))
    y = where(x > 0.0, y, np.nan)
    y = where(x == 0.0, -np.inf, y)
    return where(x == np.inf, x, y)


@inline
def _tanh_32(x):
    """By a table: |x| lies in one of 32 intervals; its exponent and two more bits say in which.

    tanh(c + r) = T + r Q(r) with c, T = tanh(c) and the five coefficients of Q looked up; x - c is
    exact. In the interval around 0, c is 0 and T infinity, which makes this x + x Q(x).
    """
    first, last = TANH_ENDS_32  # one interval up to the first; tanh is 1 before the last
    size = absolute(x)
    size = where(size > last, last, size)
    index = bits(where(size < first, first, size)) >> 21
    r = size - lookup(TANH_32, 0, index)
    q = lookup(TANH_32, 6, index)
    q = fma(q, r, lookup(TANH_32, 5, index))
    q = fma(q, r, lookup(TANH_32, 4, index))
    q = fma(q, r, lookup(TANH_32, 3, index))
    q = fma(q, r, lookup(TANH_32, 2, index))
    t = lookup(TANH_32, 1, index)
    t = where(size < t, size, t)
    return copysign(fma(q, r, t), x)


@inline
def _tanh_64(x):
    """x + x z P(z), z = x^2, for small |x|; else 1 - 2 / (exp(2x) + 1)."""
    size = absolute(x)
    z = size * size
    small = fma(size * z, polynomial(z, TANH_64), size)
    large = 1.0 - 2.0 / (exp(2.0 * size) + 1.0)
    return copysign(where(size < TANH_SMALL_64, small, large), x)


@inline
def tanh(x):
    """Hyperbolic tangent of each lane; exactly odd, and for float32 monotone."""
    return for_dtype(x, _tanh_32, _tanh_64)(x)


@inline
def tanh_slope(y, dy):
    """`dy * (1 - y * y)`, where 1 - y * y is rounded once."""
    return dy * fma(-y, y, 1.0)
