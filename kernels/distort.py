"""Images distorted at random: the digit that another hand might have written.

    source(i, j)  = c + A ((i, j) - c) + shift + alpha * field(i, j)
    out(i, j)     = image at source(i, j), between its four pixels, 0 outside

c is the centre of the image. A = scale * shear * rotation, drawn for each image. The field has two
numbers for each pixel: how far to look down and right. Each is one of 16 levels: four random bits k
mean (k - 7.5) / 8. This has the mean and the variance of a uniform number from -1 to 1, to 0.4 %.
A Gaussian of `sigma` pixels, cut off at 2.5 sigma and at 96 pixels at most, smooths the field both
ways. The field is drawn beyond the borders as far as the Gaussian reaches, so that borders move as
the middle does. Places are rounded to 1/256 of a pixel.

The random numbers of an image depend on the seed, the epoch and the place of the image in the set,
and on nothing else. Philox makes them, as it does for dropout.

Sources: Simard, Steinkraus and Platt, "Best practices for convolutional neural networks applied to
visual document analysis", 2003, section 2, for the field; Ciresan, Meier, Gambardella and
Schmidhuber, "Deep, big, simple neural nets for handwritten digit recognition", 2010, for the rest.
"""

import numpy as np

from jitprop.kernels.compiler.inline import inline, within
from jitprop.kernels.compiler.permute import pick
from jitprop.kernels.compiler.simd import (
    LANES,
    as_float,
    broadcast,
    fma,
    load,
    low_bytes,
    scratch_array,
    stack_array,
    steps,
    store,
    to_float,
    to_integer,
    where,
)
from jitprop.kernels.functions import exp
from jitprop.kernels.philox import philox
from jitprop.kernels.runtime.kernel import kernel
from jitprop.kernels.runtime.threads import SCRATCH

BYTES = 16 * LANES  # from one call of philox
ROUNDS = 7  # of philox: 7 pass the tests of randomness, too
LEVELS, MIDDLE, UNIT = 16, 7.5, 8  # level k of a random number is (k - MIDDLE) / UNIT
MOST = 256  # weights of a Gaussian with the zeros beside them, at most
PIECE = 5  # images that share the weights of the Gaussian
REACH = float(MOST // 2 - 2 * LANES)  # of the Gaussian to either side, at most
CUT = 2.5  # sigmas to either side: a hundredth of the weight lies beyond
EACH = 2**24  # counters for each image
FRACTION = 256  # parts of a pixel: where an image is read between its pixels
TERMS = 14
HALF = 2.0**31  # half of the numbers that 32 bits hold


@inline
def _each_image(images, index, *args):
    return len(index), PIECE


@inline
def _sine(x):
    """sin(x) for x from -pi to pi, by its series: the same bits everywhere, to 1e-12."""
    term = total = x
    for k in range(2, 2 * TERMS, 2):
        term = term * x * x / -(k * (k + 1.0))
        total = total + term
    return total


@inline
def _cosine(x):
    term = total = 1.0
    for k in range(1, 2 * TERMS, 2):
        term = term * x * x / -(k * (k + 1.0))
        total = total + term
    return total


@inline
def _gaussian(sigma, taps):
    """Write the weights of the Gaussian, whose sum is 1, behind LANES zeros; return how many."""
    reach, wanted = 0, CUT * sigma + 0.5
    if wanted > 0:  # not NaN, which is no integer
        reach = int(min(wanted, REACH))
    count, total = 2 * reach + 1, 0.0
    for k in range(0, MOST, LANES):
        distance = (to_float(steps(load(taps, 0))) + (k - LANES - reach)) / max(sigma, 1e-3)
        store(taps, k, exp(distance * distance * -0.5))
    for k in range(MOST):
        if k < LANES or k >= LANES + count:
            taps[k] = 0
        total += float(taps[k])
    for k in range(count):
        taps[LANES + k] = float(taps[LANES + k]) / total
    return count


@inline
def _draw(random, field, count, block, key):
    """Fill a field with levels, as floats: each half of a random byte is one."""
    for start in range(0, count, 2 * BYTES):
        c0, c1, c2, c3 = philox(block, key[1], key[0], key, ROUNDS)
        block += LANES
        for k in range(4):
            store(random, (4 * k) * LANES, low_bytes(c0 >> (8 * k)))
            store(random, (4 * k + 1) * LANES, low_bytes(c1 >> (8 * k)))
            store(random, (4 * k + 2) * LANES, low_bytes(c2 >> (8 * k)))
            store(random, (4 * k + 3) * LANES, low_bytes(c3 >> (8 * k)))
        for at in range(0, BYTES, LANES):
            both = as_float(load(random, at), field)
            low = to_float(to_integer(both) & (LEVELS - 1))
            store(field, start + 2 * at, low)
            store(field, start + 2 * at + LANES, (both - low) / LEVELS)


@inline
def _smooth_down(field, taps, count, rows, wide, out):
    """Smooth a field from row to row: two rows of two vectors each, four chains of sums.

    Beside the weights there are zeros, `before` and behind: a zero times a number changes no sum.
    """
    for i in range(0, rows, 2):
        for j in range(0, wide, 2 * LANES):
            at = i * wide + j
            a = b = c = d = broadcast(0, field)
            before = taps[LANES - 1]
            for k in range(LANES, LANES + count + 1):
                weight = taps[k]
                x, y = load(field, at), load(field, at + LANES)
                a, b = fma(x, weight, a), fma(y, weight, b)
                c, d = fma(x, before, c), fma(y, before, d)
                before = weight
                at += wide
            at = i * wide + j
            store(out, at, a)
            store(out, at + LANES, b)
            store(out, at + wide, c)
            store(out, at + wide + LANES, d)


@inline
def _smooth_along(row, at, other, taps, count):
    """Two vectors of each of two fields, smoothed along their rows."""
    a = b = c = d = broadcast(0, row)
    for k in range(count):
        weight = taps[LANES + k]
        a = fma(load(row, at + k), weight, a)
        b = fma(load(row, at + k + LANES), weight, b)
        c = fma(load(row, other + k), weight, c)
        d = fma(load(row, other + k + LANES), weight, d)
    return a, b, c, d


@inline
def _place(x, size):
    """Where to read, in parts of a pixel, counted from a border of one pixel of zeros.

    A place that is far outside, infinite or NaN reads that border. It is moved there before it
    becomes an integer, since no integer may hold it.
    """
    place, last = fma(x, FRACTION, FRACTION + 0.5), (size + 1) * FRACTION
    place = where(place > 0.5, place, 0.5)  # with 0 it would take two instructions on AVX2
    return to_integer(where(place < last, place, last))


@inline
def _quads(images, image, height, width, wide, padded, quads, like):
    """Put four pixels into one word for each place: its own, the right one, the two below them.

    Zeros lie around the image: a row and a column before, two behind.
    """
    for i in range(0, (height + 4) * wide, LANES):
        store(padded, i, to_integer(broadcast(0, like)))
    for i in range(height):
        for j in range(0, width, LANES):
            pixels = as_float(load(images, image * height * width + i * width + j, width - j), like)
            store(padded, (i + 1) * wide + 1 + j, to_integer(pixels), width - j)
    for i in range(0, (height + 2) * wide, LANES):
        right, below = load(padded, i + 1), load(padded, i + wide)
        both = below * 65536 + load(padded, i + wide + 1) * 16777216
        store(quads, i, load(padded, i) + right * 256 + both)


@inline
def _read(quads, wide, y, x):
    """Pixels between the four around each place, in whole numbers: so their order is no matter."""
    around = pick(quads, (y >> 8) * wide + (x >> 8))
    y, x = y & (FRACTION - 1), x & (FRACTION - 1)
    a, b = around & 255, (around >> 8) & 255
    c, d = (around >> 16) & 255, (around >> 24) & 255
    top, bottom = a * FRACTION + (b - a) * x, c * FRACTION + (d - c) * x
    return low_bytes((top * FRACTION + (bottom - top) * y + 32768) >> 16)


@inline
def _affine(key, block, numbers, rotate, shear, scale, shift):
    """Draw a map; return its four factors and two shifts, down first."""
    c0 = philox(block, key[1], key[0], key, ROUNDS)[0]
    store(numbers, 0, to_float(c0) / HALF - 1)
    angle, slant = rotate * float(numbers[0]), shear * float(numbers[1])
    fy, fx = 1 + scale * float(numbers[2]), 1 + scale * float(numbers[3])
    ty, tx = shift * float(numbers[4]), shift * float(numbers[5])
    sine, cosine, slope = _sine(angle), _cosine(angle), _sine(slant) / _cosine(slant)
    return (
        fy * cosine,
        fy * sine,
        fx * (slope * cosine - sine),
        fx * (cosine + slope * sine),
        ty,
        tx,
    )


@kernel(
    "images:uint8(n,pixels), index(batch)<n, key:int64(3), alpha, sigma, rotate, shear, scale,"
    " shift -> out:uint8(batch,pixels)",
    units=_each_image,
)
def distort(
    images, index, key, alpha, sigma, rotate, shear, scale, shift, out, start, stop, scratch
):
    """`out = images[index]`, each distorted in its own way.

    Images stay as they are in two cases: `key[2]` does not divide the number of their pixels, or an
    image with its field does not fit into a thread's scratch memory (from some 190 by 190 pixels
    on).

    Parameters
    ----------
    images : (n, pixels) uint8
    index : (batch,) int64, in 0 .. n-1
    key : (3,) int64: the seed, the epoch, and the pixels in a row of an image
    alpha, sigma : numbers, how far the field goes, and the pixels over which it is smoothed
    rotate, shear : numbers, the largest angles, in radians; at most pi
    scale : number, how much larger or smaller at most: 0.1 for a tenth
    shift : number, the most pixels down or up, right or left
    out : (batch, pixels) uint8, overwritten
    """
    width = max(1, min(key[2], out.shape[1]))
    height = out.shape[1] // width
    taps, numbers = stack_array(MOST, np.float32), stack_array(LANES, np.float64)
    words, random = stack_array(LANES, np.int32), stack_array(BYTES, np.uint8)
    count = _gaussian(sigma, taps)
    side, rows = width + count - 1, height + (height & 1)
    wide = -(-2 * side // (2 * LANES)) * 2 * LANES
    across = width + 3
    drawn = -(-(rows + count) * wide // (2 * BYTES)) * 2 * BYTES
    smoothed, places = rows * wide + 2 * LANES + MOST, (height + 4) * across + 2 * LANES
    field = scratch_array(scratch, drawn, taps)
    between = scratch_array(scratch + 4 * drawn, smoothed, taps)
    used = 4 * (drawn + smoothed)
    padded = scratch_array(scratch + used, places, words)
    quads = scratch_array(scratch + used + 4 * places, places, words)
    used += 8 * places
    fits = used <= SCRATCH and width == key[2] and height * width == out.shape[1]
    middle = alpha * MIDDLE / UNIT
    cy, cx, factor = (height - 1) / 2, (width - 1) / 2, alpha / UNIT
    for unit in range(start, stop):
        image = within(index[unit], len(images))
        if not fits:
            for j in range(out.shape[1]):
                out[unit, j] = images[image, j]
            continue
        block = image * EACH
        yy, yx, xy, xx, ty, tx = _affine(key, block, numbers, rotate, shear, scale, shift)
        _draw(random, field, drawn, block + LANES, key)
        _smooth_down(field, taps, count, rows, wide, between)
        _quads(images, image, height, width, across, padded, quads, taps)
        for i in range(height):
            y0 = cy + ty + yy * (i - cy) - yx * cx - middle
            x0 = cx + tx + xy * (i - cy) - xx * cx - middle
            for j in range(0, width, 2 * LANES):
                at, pixel = i * wide + j, unit * out.shape[1] + i * width + j
                a, b, c, d = _smooth_along(between, at, at + side, taps, count)
                first = to_float(steps(a)) + j
                second = first + LANES
                y = _place(fma(a, factor, first * yx + y0), height)
                x = _place(fma(c, factor, first * xx + x0), width)
                store(out, pixel, _read(quads, across, y, x), width - j)
                y = _place(fma(b, factor, second * yx + y0), height)
                x = _place(fma(d, factor, second * xx + x0), width)
                store(out, pixel + LANES, _read(quads, across, y, x), width - j - LANES)
