"""Zeros: the gradient of a value that nothing depends on."""

from jitprop.kernels.compiler.simd import LANES, broadcast, store
from jitprop.kernels.runtime.kernel import kernel


@kernel("out!(n)")
def zero(out, start, stop):
    """`out = 0`.

    Parameters
    ----------
    out : (n,) float32 or float64, overwritten; of other arrays, a flat view
    """
    nothing = broadcast(0, out)
    whole = stop - (stop - start) % LANES
    for i in range(start, whole, LANES):
        store(out, i, nothing)
    store(out, whole, nothing, stop - whole)
