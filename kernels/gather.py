"""A batch of images: the rows that an index names, as numbers from 0 to 1.

    out[i, j] = images[index[i], j] / 255

Source: the slides' "divide values by 255". The set stays uint8 in memory, a quarter of float32.
"""

from kernels.jit import GRAIN, inline, kernel
from kernels.simd import LANES, as_float, load, store


@inline
def _rows(images, index, out):
    return len(out), max(1, GRAIN // max(1, out.shape[1]))


@kernel("images:uint8(n,pixels), index(batch)<n -> out(batch,pixels)", units=_rows)
def gather(images, index, out, start, stop):
    """`out = images[index] / 255`.

    Parameters
    ----------
    images : (n, pixels) uint8
    index : (batch,) int64, in 0 .. n-1
    out : (batch, pixels) float32 or float64, overwritten
    """
    pixels = out.shape[1]
    whole = pixels // LANES * LANES
    rest = pixels - whole
    for i in range(start, stop):
        image, row = index[i] * pixels, i * pixels
        for j in range(0, whole, LANES):
            store(out, row + j, as_float(load(images, image + j), out) / 255)
        if rest:
            lanes = as_float(load(images, image + whole, rest), out)
            store(out, row + whole, lanes / 255, rest)
