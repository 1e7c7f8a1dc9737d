"""Product of two arrays: out = a * b. Its gradient goes to a times b, to b times a."""

from jitprop.kernels.compiler.simd import LANES, load, store
from jitprop.kernels.runtime.kernel import kernel


@kernel("a(...), b(...) -> out(...)", inplace="a b")
def multiply(a, b, out, start, stop):
    """`out = a * b`.

    Parameters
    ----------
    a : array of float32 or float64
    b : array of the shape and dtype of a
    out : array of the shape and dtype of a, overwritten; may be a or b
    """
    whole = stop - (stop - start) % LANES
    for i in range(start, whole, LANES):
        store(out, i, load(a, i) * load(b, i))
    rest = stop - whole
    store(out, whole, load(a, whole, rest) * load(b, whole, rest), rest)
