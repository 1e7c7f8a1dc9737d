"""A batch of images: the rows that an index names, as numbers from 0 to 1.

    out[i, j] = images[index[i], j] / 255

Source: the slides' "divide values by 255". The set stays uint8 in memory, a quarter of float32.
"""

from kernels.jit import GRAIN, inline, kernel


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
    white = out.dtype.type(255)
    for i in range(start, stop):
        for j in range(out.shape[1]):
            out[i, j] = out.dtype.type(images[index[i], j]) / white
