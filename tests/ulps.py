"""How far a result is from the exact one, in units in the last place."""

import numpy as np


def ulps(y, exact):
    """|y - exact| in the unit that a number of the dtype of `y` has where `exact` lies.

    `exact` is float64 or longdouble; both are finite.
    """
    info = np.finfo(y.dtype)
    _, exponent = np.frexp(exact)  # exact = m 2^exponent, 1/2 <= m < 1
    unit = np.ldexp(np.ones_like(exact), np.maximum(exponent - 1, info.minexp) - info.nmant)
    return np.abs(y.astype(exact.dtype) - exact) / unit
