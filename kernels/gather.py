"""A batch of examples: the rows that an index names.

    out[i, j] = images[index[i], j] / 255      pixels as numbers from 0 to 1
    out[i, j] = x[index[i], j]                 numbers as they are
    out[i]    = labels[index[i]]

    images    = x * 255                        the way back, for numbers that were pixels

Source: "batched(inputs, labels)" on slide 12 of the exercise, "divide values by 255" on slide 14.
Images stay uint8 in memory, a quarter of float32.
"""

import numpy as np

from jitprop.kernels.compiler.inline import inline, within
from jitprop.kernels.compiler.simd import LANES, as_float, load, prefetch, store
from jitprop.kernels.runtime.kernel import GRAIN, kernel, once, rows

AHEAD = 2  # an image's memory is asked for so many images ahead: they lie anywhere


@inline
def _rows(x, index, out):
    return len(out), max(1, GRAIN // max(1, out.shape[1]))


@kernel("order:int64(n), position!:int64(1) -> index:int64(batch)", units=once)
def next_index(order, position, index, start, stop):
    """`index = order[position : position + batch]`, then `position += batch`.

    Parameters
    ----------
    order : (n,) int64
    position : (1,) int64, updated; where no batch is left, it stays and so does index
    index : (batch,) int64, overwritten
    """
    first = position[0]
    if 0 <= first <= len(order) - len(index):  # a sum might wrap
        for i in range(len(index)):
            index[i] = order[first + i]
        position[0] = first + len(index)


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
        image, row = within(index[i], len(images)) * pixels, i * pixels
        soon = index[min(i + AHEAD, len(index) - 1)] * pixels
        for j in range(0, pixels, 64):
            prefetch(images, soon + j)
        for j in range(0, whole, LANES):
            store(out, row + j, as_float(load(images, image + j), out) / 255)
        if rest:
            lanes = as_float(load(images, image + whole, rest), out)
            store(out, row + whole, lanes / 255, rest)


@kernel("x(n,pixels), strange!:int64(n) -> images:uint8(n,pixels)", units=rows)
def pixels_of(x, strange, images, start, stop):
    """`images = x * 255`, the way back from `gather`.

    Parameters
    ----------
    x : (n, pixels) float32 or float64
    strange : (n,) int64, overwritten: how many numbers of each row are not a pixel divided by 255
    images : (n, pixels) uint8, overwritten
    """
    number = x.dtype.type
    half, largest = number(0.5), number(255)
    for i in range(start, stop):
        count = 0
        for j in range(x.shape[1]):
            value = x[i, j]
            byte = np.uint8(min(max(value * largest + half, number(0)), largest))
            images[i, j] = byte
            count += number(byte) / largest != value
        strange[i] = count


@kernel("x(n,features), index(batch)<n -> out(batch,features)", units=_rows)
def gather_rows(x, index, out, start, stop):
    """`out = x[index]`.

    Parameters
    ----------
    x : (n, features) float32 or float64
    index : (batch,) int64, in 0 .. n-1
    out : (batch, features) of the dtype of x, overwritten
    """
    features = out.shape[1]
    for i in range(start, stop):
        source, row = within(index[i], len(x)) * features, i * features
        for j in range(0, features, LANES):
            store(out, row + j, load(x, source + j, features - j), features - j)


@kernel("labels:int64(n), index(batch)<n -> out:int64(batch)", units=once)
def gather_labels(labels, index, out, start, stop):
    """`out = labels[index]`.

    Parameters
    ----------
    labels : (n,) int64
    index : (batch,) int64, in 0 .. n-1
    out : (batch,) int64, overwritten
    """
    for i in range(len(out)):
        out[i] = labels[within(index[i], len(labels))]
