"""Ink on paper: how much of each pixel of a picture is ink.

Ink, darker or lighter than paper, takes away a share of the light that paper gives. What paper
gives at each place is a morphological closing of the picture: it fills in what is narrower than its
square, as strokes are, and leaves what is wider, as shadows are, soft or hard.

Printed lines are long, straight and even: along one of them, most pixels have its darkness or more,
where strokes cross it. So a low percentile along each line of a direction is what is printed there,
and is taken away; the strokes keep the rest. The directions, one near to the rows and one near to
the columns, are those in which the picture, summed up along lines, varies most. These sums are the
Fourier transform along a ray (the central slice theorem), so one transform tells all directions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import fft, ndimage

Array = npt.NDArray[Any]
# How a picture is turned so that lines run along rows, these, and how dark they are.
Lines = tuple[Callable[[Array], Array], Array, float]

FAINTEST = 18.0  # grey levels, of 255, between paper and ink; less is none ...
FAINT = 0.12  # ... and neither is what takes a smaller share of the light
NOISY = 0.01  # of the paper's light: noise from pixel to pixel that is smoothed
NOISE = 7.0  # standard deviations of the paper that are not ink
DIM = 60.0  # grey levels of paper; darker paper shows too little of its noise
STROKE = 0.22  # of the shorter side of a picture: what is wider is no stroke
STROKE_OF_FEW = 0.5  # the same of a picture of few pixels, which has hardly any margin
PAPER = 160  # pixels of the longer side on which paper is looked for
GLANCE = 28  # pixels of the longer side that tell whether ink is darker or lighter
FEW = 64  # pixels of the longer side, at most, of a picture without noise and lines
STEEPEST = 0.3  # of lines, to the rows or the columns: 16.7 degrees
LIGHTER = 0.3  # of a line's pixels, at most, are lighter than where it is seen ...
TYPICAL = 0.6  # ... and of these, at least, are lighter than what is taken away
CROSSED = 128  # columns, at most, in which lines are looked at
RESTORED = 0.2  # of full ink: lines as dark as this cut strokes
LEFT = 0.6  # of a line's darkness: what is left of it may be as dark; ink is darker
PRINTED = 0.35  # of full ink, above which nothing counts when directions are looked for


@dataclass
class Ink:
    """What is ink on a picture.

    Attributes
    ----------
    share : (rows, columns) float32
        0 paper, 1 full ink.
    levels : (rows, columns) float32
        Grey levels of the picture; those of ink are lower than those of paper.
    full : float
        The share of the light that full ink takes away.
    """

    share: Array
    levels: Array
    full: float


def ink_of(grey: Array, lighter: bool) -> Ink | None:
    """Return what is ink on a picture, or None if nothing is.

    Parameters
    ----------
    grey : (rows, columns) float32
        Grey levels of 0 to 255.
    lighter : bool
        Whether ink is lighter than paper.

    Returns
    -------
    Ink or None
    """
    levels = 255 - grey if lighter else grey
    paper = _paper(levels)
    ink = (paper - levels) / np.maximum(paper, DIM)
    faintest = FAINTEST * (2.5 if lighter else 1)  # on bright paper, the noise of JPEG is lighter
    least = max(FAINT, faintest / max(DIM, float(np.median(paper[::8, ::8]))))
    bare, printed = ink, list[Lines]()
    if max(grey.shape) > FEW:
        if _noise(ink) > NOISY:
            bare = ink = ndimage.gaussian_filter(ink, 1.0, truncate=3)
        if min(grey.shape) > FEW:
            bare, printed, darkest = _printed(ink)
            least = max(least, LEFT * darkest)
        least = max(least, NOISE * _deviation(bare))
    full = _full(bare)
    if full < least:
        return None
    whole = _restored(ink, bare, printed, full) if printed else bare
    return Ink(np.clip(whole * np.float32(1 / full), 0, 1), levels, full)


def lightness(grey: Array) -> float:
    """Return whether ink is lighter than paper, 1, or darker, -1, or what is between.

    What is far from the median around it is ink.

    Parameters
    ----------
    grey : (rows, columns) float32

    Returns
    -------
    float
    """
    small, _ = _reduced(grey, GLANCE)
    around = ndimage.median_filter(small, [1 + 3 * side // 4 for side in small.shape])
    cubes = (small - around).astype(np.float64) ** 3
    return float(cubes.sum() / max(np.abs(cubes).sum(), 1e-9))


def _reduced(grey: Array, side: int) -> tuple[Array, int]:
    """Return means of squares of pixels, `side` along the longer side at most, and their size."""
    step = -(-max(grey.shape) // side)
    return (np.asarray(Image.fromarray(grey).reduce(step)) if step > 1 else grey), step


def _paper(levels: Array) -> Array:
    """Return the light that paper gives at each place; ink is darker."""
    small, step = _reduced(levels, PAPER)
    if step > 1:
        small = ndimage.gaussian_filter(small, 1.0)
    few = max(levels.shape) <= FEW
    size = max(3, 1 + round((STROKE_OF_FEW if few else STROKE) * min(small.shape)))
    paper = ndimage.grey_closing(small, (size, size), mode="nearest")
    # The corners of a shadow, into which the square does not fit, belong to the shadow.
    for _ in range(0 if few else size):
        paper = np.maximum(small, ndimage.minimum_filter(paper, 3, mode="nearest"))
    paper -= np.median(paper - small)  # a closing of noise is that of its highest peaks
    if step == 1:
        return paper.astype(np.float32)
    # At the edge of a shadow, what is between two pixels here is as dark as the darker one.
    paper = ndimage.minimum_filter(paper, 3, mode="nearest")
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
    most = ink.max()
    return float(np.percentile(ink[ink >= most / 2], 90)) if most > 0 else 0.0


def _printed(ink: Array) -> tuple[Array, list[Lines], float]:
    """Return ink less the lines that are printed on paper, these, and how dark they are."""
    full = _full(ink)
    clipped = np.clip(ink, -PRINTED * full, PRINTED * full)
    # One transform for both directions; what is near to the picture's border fades out.
    window = [np.hanning(side).astype(np.float32) for side in clipped.shape]
    half = np.asarray(Image.fromarray(clipped * window[0][:, None] * window[1]).reduce(2))
    side = fft.next_fast_len(max(half.shape), True)
    power = np.abs(fft.fft2(half, (side, side))) ** 2
    found: list[Lines] = []
    for turned in (np.asarray, np.transpose):
        lines, dark = _lines(turned(ink), turned(clipped), _slope(turned(power)), full)
        if lines is not None:
            ink = ink - turned(lines)
            found.append((turned, lines, dark))
    return ink, found, max((dark for _, _, dark in found), default=0.0)


def _restored(ink: Array, bare: Array, printed: list[Lines], full: float) -> Array:
    """Return `bare`, ink less printed lines, with the strokes that were taken away with them."""
    inked = bare > full / 3
    rows, columns = (np.flatnonzero(inked.any(axis=axis)) for axis in (1, 0))
    place = tuple(slice(max(0, side[0] - 8), side[-1] + 9) for side in (rows, columns))
    part = ink[place]
    for turned, lines, dark in printed:
        across, light = turned(part), 1 - turned(turned(lines)[place])
        # Ink over a line takes its share of the light that the line leaves.
        left = (across - (1 - light)) / light
        if dark > RESTORED * full:  # what is inked on both sides of a line is inked on it
            left = np.minimum(ndimage.grey_closing(left, (7, 1)), across)
        part = turned(left)
    whole = bare.copy()
    whole[place] = part
    return whole


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
    some = np.arange(0, columns, -(-columns // CROSSED))
    ramp = np.arange(columns, dtype=np.float32) - columns / 2
    reach = int((STEEPEST + 0.02) * columns / 2) + 2
    place = np.arange(rows + 2 * reach)[:, None]

    def sheared(values: Array, some: Array, slope: float, outside: float) -> Array:
        padded = np.full((rows + 4 * reach, values.shape[1]), outside, np.float32)
        padded[2 * reach : 2 * reach + rows] = values
        index = reach + np.rint(slope * ramp[some]).astype(int)
        return padded[place + index, np.arange(len(some))]

    best, half = -1.0, some[::2]
    thinned = clipped[:, half]
    for near in slope + np.arange(-3, 4) * (0.4 / columns):
        sums = sheared(thinned, half, near, 0).sum(axis=1)
        score = float(sums @ sums)
        if score > best:
            best, slope = score, near
    values = sheared(ink[:, some], some, slope, np.inf)
    count = np.isfinite(values).sum(axis=1)
    eighth = max(1, len(some) // 8)
    ends = [np.median(part, axis=1) for part in (values[:, :eighth], values[:, -eighth:])]
    values.sort(axis=1)
    at = [(share * count).astype(int).clip(0, len(some) - 1) for share in (LIGHTER, TYPICAL)]
    profile, amount = (values[np.arange(len(values)), index] for index in at)
    profile = np.minimum(profile, np.minimum(*ends))  # a line leaves the picture on both sides
    few = count <= 0.03 * len(some)
    profile[few] = amount[few] = 0
    long = count > 0.4 * len(some)
    if not long.any():
        return None, 0.0
    base = np.median(amount[long])
    profile = np.clip(profile - np.median(profile[long]), 0, None)
    thin = max(5, min(ink.shape) // 60)
    profile -= ndimage.grey_opening(profile, thin)
    darkest = float(profile[long].max())
    if darkest < 0.02:
        return None, 0.0
    seen = profile > max(0.01, darkest / 8)
    amount = np.where(seen, amount - base, 0).astype(np.float32)
    darkest = float(amount[long].max())
    amount[few] = darkest  # in the corners it is too short to be seen
    profile = ndimage.maximum_filter1d(amount.clip(0, min(darkest, 0.9)), 3)
    shift = reach - np.rint(slope * ramp).astype(np.int32)
    return profile[np.arange(rows, dtype=np.int32)[:, None] + shift], darkest
