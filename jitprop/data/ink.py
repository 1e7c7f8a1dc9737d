"""Ink on paper: how much of each pixel of a picture is ink.

Ink, darker or lighter than paper, takes away a share of the light that paper gives. What paper gives
at each place is a morphological closing of the picture: it fills in what is narrower than its
square, as strokes are, and leaves what is wider, as shadows are, soft or hard.

Printed lines are long, straight and even: along one of them, most pixels have its darkness or more,
where strokes cross it. So a low percentile along each line of a direction is what is printed there,
and is taken away; the strokes keep the rest. The directions, one near to the rows and one near to
the columns, are those in which the picture, summed up along lines, varies most. These sums are the
Fourier transform along a ray (the central slice theorem), so one transform tells all directions.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import fft, ndimage

Array = npt.NDArray[Any]

FAINTEST = 12.0  # grey levels, of 255, between paper and ink
NOISE = 7.0  # standard deviations of the paper that are not ink
STROKE = 0.22  # of the shorter side of a picture: what is wider is no stroke
PAPER = 160  # pixels of the longer side on which paper is looked for
GLANCE = 40  # pixels of the longer side that tell whether ink is darker or lighter
FEW = 64  # pixels of the longer side, at most, of a picture without noise and lines
STEEPEST = 0.3  # of lines, to the rows or the columns: 16.7 degrees
LIGHTER = 0.3  # of a line's pixels, at most, are lighter than it
CROSSED = 300  # columns, at most, in which lines are looked at
PRINTED = 0.35  # of full ink, above which nothing counts when directions are looked for


def ink_of(grey: Array) -> Array | None:
    """Return how much of each pixel is ink.

    Parameters
    ----------
    grey : (rows, columns) float32
        Grey levels of 0 to 255.

    Returns
    -------
    (rows, columns) float32 or None
        0 paper, 1 ink. None if there is no ink.
    """
    levels = 255 - grey if _lighter(grey) else grey
    paper = _paper(levels)
    ink = 1 - levels / np.maximum(paper, 1)
    least = FAINTEST / float(np.median(paper[::8, ::8]))
    if max(grey.shape) > FEW:
        if _noise(ink) > 0.01:
            ink = ndimage.gaussian_filter(ink, 1.0, truncate=3)
        ink, darkest = _without_lines(ink)
        least = max(least, NOISE * _deviation(ink), darkest / 2)
    full = _full(ink)
    if full < least:
        return None
    return np.clip(ink * np.float32(1 / full), 0, 1)


def _reduced(grey: Array, side: int) -> tuple[Array, int]:
    """Return means of squares of pixels, `side` along the longer side at most, and their size."""
    step = -(-max(grey.shape) // side)
    return (np.asarray(Image.fromarray(grey).reduce(step)) if step > 1 else grey), step


def _lighter(grey: Array) -> bool:
    """Whether ink is lighter than paper: what is far from the median around it is ink."""
    small, _ = _reduced(grey, GLANCE)
    around = ndimage.median_filter(small, [1 + 3 * side // 4 for side in small.shape])
    difference = small - around
    return bool(np.vdot(difference, difference * difference) > 0)


def _paper(levels: Array) -> Array:
    """Return the light that paper gives at each place; ink is darker."""
    small, step = _reduced(levels, PAPER)
    if step > 1:
        small = ndimage.gaussian_filter(small, 1.0)
    radius = max(1.0, STROKE / 2 * min(small.shape))
    reach = int(radius)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    paper = ndimage.grey_closing(small, footprint=np.hypot(x, y) <= radius, mode="nearest")
    # The corners of a shadow, into which the disc does not fit, belong to the shadow.
    for _ in range(reach):
        paper = np.maximum(small, ndimage.grey_erosion(paper, (3, 3), mode="nearest"))
    paper -= np.median(paper - small)  # a closing of noise is that of its highest peaks
    if step == 1:
        return paper.astype(np.float32)
    # At the edge of a shadow, what is between two pixels here is as dark as the darker one.
    paper = ndimage.grey_erosion(paper, (3, 3), mode="nearest")
    rows, columns = levels.shape
    large = Image.fromarray(paper.astype(np.float32)).resize(
        (columns, rows), Image.Resampling.BILINEAR, (0, 0, columns / step, rows / step)
    )
    return np.asarray(large)


def _noise(ink: Array) -> float:
    """Return the deviation of the noise from pixel to pixel."""
    some = ink[::7]
    return 1.4826 * float(np.median(np.abs(some[:, 1:] - some[:, :-1]))) / 2**0.5


def _deviation(ink: Array) -> float:
    """Return the deviation of paper, if it is normal, of which most pixels are."""
    some = ink[::5, ::5]
    return 1.4826 * float(np.median(np.abs(some - np.median(some))))


def _full(ink: Array) -> float:
    """The level of well-inked pixels."""
    return float(np.percentile(ink[ink >= ink.max() / 2], 90))


def _without_lines(ink: Array) -> tuple[Array, float]:
    """Return ink less the lines that are printed on paper, and how dark the darkest is."""
    full = _full(ink)
    clipped = np.clip(ink, -PRINTED * full, PRINTED * full)
    # One transform for both directions; what is near to the picture's border fades out.
    window = [np.hanning(side).astype(np.float32) for side in clipped.shape]
    half = np.asarray(Image.fromarray(clipped * window[0][:, None] * window[1]).reduce(2))
    side = fft.next_fast_len(max(half.shape), True)
    power = np.abs(fft.fft2(half, (side, side))) ** 2
    darkest = 0.0
    for transposed in (False, True):
        slope = _slope(power.T if transposed else power)
        across = np.ascontiguousarray(ink.T) if transposed else ink
        lines, dark = _lines(across, clipped.T if transposed else clipped, slope, full)
        if dark:
            across = across - lines
        ink = across.T if transposed else across
        darkest = max(darkest, dark)
    return np.ascontiguousarray(ink), darkest


def _slope(power: Array) -> float:
    """Return the slope, to the rows, of lines: along its ray, the transform has most power."""
    side = len(power)
    radius = np.arange(8, side // 2)  # a digit varies more slowly
    slopes = np.linspace(-STEEPEST, STEEPEST, round(2 * STEEPEST * side) + 1)
    columns = np.rint(-slopes[:, None] * radius).astype(int) % side
    return float(slopes[power[radius, columns].sum(axis=1).argmax()])


def _lines(ink: Array, clipped: Array, slope: float, full: float) -> tuple[Array | None, float]:
    """Return lines of about that slope, as dark as they are, all else 0; and their darkness."""
    rows, columns = ink.shape
    step = -(-columns // CROSSED)
    some = np.arange(step // 2, columns, step)
    ramp = np.arange(columns) - columns / 2
    reach = int(np.ceil((STEEPEST + 0.02) * columns / 2)) + 1
    place = np.arange(-reach, rows + reach)[:, None]

    def sheared(values: Array, slope: float, outside: float) -> tuple[Array, Array]:
        index = place + np.rint(slope * ramp[some]).astype(int)
        inside = (index >= 0) & (index < rows)
        values = values[index.clip(0, rows - 1), some]
        return np.where(inside, values, np.float32(outside)), inside.sum(axis=1)

    best = -1.0
    for near in slope + np.arange(-3, 4) * (0.4 / columns):
        sums = sheared(clipped, near, 0)[0].sum(axis=1)
        score = float(sums @ sums)
        if score > best:
            best, slope = score, near
    values, count = sheared(ink, slope, np.inf)
    values.sort(axis=1)
    profile = values[np.arange(len(values)), (LIGHTER * count).astype(int).clip(0, len(some) - 1)]
    profile[count == 0] = 0
    long = count > 0.4 * len(some)
    profile = np.clip(profile - np.median(profile[long]), 0, None)
    thin = max(5, min(ink.shape) // 60)
    profile -= ndimage.grey_opening(profile, thin)
    darkest = float(profile[long].max())
    if darkest < 0.02:
        return None, 0.0
    humps = np.count_nonzero(np.diff((profile > darkest / 2).astype(np.int8)) > 0)
    if humps < 3 and darkest > 0.7 * full:  # a stroke
        return None, 0.0
    profile = np.where(count > 0.15 * len(some), np.minimum(profile, darkest), 0)
    profile = ndimage.maximum_filter1d(profile, 3).astype(np.float32)
    index = np.arange(rows)[:, None] - np.rint(slope * ramp).astype(int)
    return profile[index + reach], darkest
