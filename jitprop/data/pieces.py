"""Pieces of ink become digits, in reading order, each of 28 x 28 pixels as those of MNIST.

    The original black and white images were size-normalised to fit in a 20 x 20 pixel box while
    preserving their aspect ratio; grey levels are the result of anti-aliasing; then the centre of
    mass was moved to the centre of a 28 x 28 field.

So, in other words, Y. LeCun, C. Cortes and C.J.C. Burges on "The MNIST database of handwritten
digits"; likewise Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to
document recognition", Proceedings of the IEEE 86(11), 1998, section III-A. What they do not say
was measured on the training images: the longer side of all pixels that are not 0 is exactly 20 in
59,987 of 60,000, and the centre of mass lies within half a pixel of (14, 14), counted from 0, so
images were moved by whole pixels.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from jitprop.data.ink import FEW, Ink

Array = npt.NDArray[Any]
Box = tuple[int, int, int, int]

FIELD, BOX, CENTRE = 28, 20, 14
SEED = 0.55  # of full ink: a piece without it is none
EDGE = 0.35  # of full ink, where a piece ends
SPECK = 0.05  # of the largest piece of ink; smaller ones are dust
SMALLEST = 0.02  # of the longer side of a picture; a smaller digit is none
FINE = 100  # pixels of the longer side of a digit, of which 20 are made
THIN = 2.0  # pixels, of 20: a stroke of less is made as wide


@dataclass
class Shape:
    """A digit of a picture, not yet recognised.

    Attributes
    ----------
    box : (left, top, right, bottom)
        In pixels of the picture; right and bottom are those behind the last.
    pixels : (28, 28) uint8
        0 paper, 255 ink.
    ink : (rows, columns) float32
        The ink in the box.
    signs : list of str
        What makes it doubtful.
    """

    box: Box
    pixels: Array
    ink: Array
    signs: list[str]


def shapes_of(picture: Ink) -> list[Shape]:
    """Return the digits of a picture, rows from top to bottom, each from left to right.

    Parameters
    ----------
    picture : Ink

    Returns
    -------
    list of Shape
    """
    ink = picture.share
    edge = EDGE if max(ink.shape) > 3 * BOX else 0.02
    labels, count = ndimage.label(ink > edge, np.ones((3, 3)))
    if not count:
        return []
    flat = labels.ravel()
    mass = np.bincount(flat, ink.ravel(), count + 1)
    mass[0] = 0
    seeded = np.bincount(flat[ink.ravel() >= SEED], minlength=count + 1) > 0
    kept = np.flatnonzero(seeded & (mass >= SPECK * mass.max()) & (mass > 0))
    slices = ndimage.find_objects(labels)
    groups = [
        [[n], (c.start, r.start, c.stop, r.stop)]
        for n in kept
        for r, c in [slices[n - 1]]
    ]
    smallest = SMALLEST * max(ink.shape)
    groups = [
        g for g in _joined(groups) if _is_large(g[1], smallest) and _stands_out(picture, labels, *g)
    ]
    found = []
    for row in _rows([box for _, box in groups]):
        for i in row:
            members, box = groups[i]
            found.append(_shape(ink, labels, members, box, len(members) > 1))
    return found


def _is_large(box: Box, smallest: float) -> bool:
    width, height = box[2] - box[0], box[3] - box[1]
    return max(width, height) >= smallest and width <= 4 * height


def _stands_out(picture: Ink, labels: Array, members: list[int], box: Box) -> bool:
    """Whether ink is darker than what is around it, on all sides, and close by; not so shadows."""
    if max(labels.shape) <= FEW:
        return True
    side = max(box[2] - box[0], box[3] - box[1])
    margin = side // 8 + 3
    y = slice(max(0, box[1] - margin), box[3] + margin)
    x = slice(max(0, box[0] - margin), box[2] + margin)
    step = max(1, side // 60)
    own = np.isin(labels[y, x], members)
    levels, some, other = (
        np.asarray(Image.fromarray(part).reduce(step)) if step > 1 else part
        for part in (
            np.ascontiguousarray(picture.levels[y, x]),
            np.ascontiguousarray(own.astype(np.float32)),
            np.ascontiguousarray((picture.share[y, x] > EDGE).astype(np.float32)),
        )
    )
    away = 1 + max(1, side // step // 15)
    if step == 1:
        levels = ndimage.gaussian_filter(levels, 1.0)
    near = ndimage.maximum_filter(some > 0, 2 * away + 1)
    ring = ndimage.maximum_filter(near, 3) & ~near & (other == 0)
    if ring.sum() < 10:
        return True
    ink = np.where(some >= min(0.5, some.max()), levels, np.float32(255))
    ink = ndimage.minimum_filter(ink, 2 * away + 5)
    dark = (levels - ink)[ring] >= 0.35 * picture.full * np.maximum(levels[ring], 60)
    return bool(dark.mean() >= 0.75)


def _joined(groups: list[Any]) -> list[Any]:
    """Join pieces of which one stands above the other, close by."""
    while True:
        for i, (a, p) in enumerate(groups):
            for j in range(i):
                b, q = groups[j]
                if _one_digit(p, q):
                    box = (min(p[0], q[0]), min(p[1], q[1]), max(p[2], q[2]), max(p[3], q[3]))
                    groups[j] = [[*a, *b], box]
                    del groups[i]
                    break
            else:
                continue
            break
        else:
            return groups


def _one_digit(p: Box, q: Box) -> bool:
    widths, heights = [b[2] - b[0] for b in (p, q)], [b[3] - b[1] for b in (p, q)]
    common = min(p[2], q[2]) - max(p[0], q[0])  # columns
    beside = min(p[3], q[3]) - max(p[1], q[1])  # rows
    if common <= 0:
        return False
    if beside > 0.5 * min(heights) and common > 0.5 * min(widths):
        return True
    gap = max(0, -beside)
    alike = min(heights) / max(heights)
    near = 0.1 if alike > 0.6 else 0.3
    return common >= 0.4 * min(widths) and gap <= near * max(heights)


def _rows(boxes: list[Box]) -> list[list[int]]:
    """Return the indices of boxes, row by row; a row may rise or fall."""
    rows: list[list[int]] = []
    for i in sorted(range(len(boxes)), key=lambda i: boxes[i][0]):
        box, best, most = boxes[i], None, 0.3
        for row in rows:
            last = boxes[row[-1]]
            common = min(box[3], last[3]) - max(box[1], last[1])
            share = common / min(box[3] - box[1], last[3] - last[1])
            if share > most:
                best, most = row, share
        if best is None:
            rows.append([i])
        else:
            best.append(i)
    return sorted(rows, key=lambda row: np.mean([boxes[i][1] + boxes[i][3] for i in row]))


def _shape(ink: Array, labels: Array, members: list[int], box: Box, several: bool) -> Shape:
    left, top, right, bottom = box
    margin = 2
    y, x = slice(max(0, top - margin), bottom + margin), slice(max(0, left - margin), right + margin)
    own = np.isin(labels[y, x], members)
    near = ndimage.binary_dilation(own, np.ones((3, 3)), margin) & (own | (labels[y, x] == 0))
    part = np.where(near, ink[y, x], np.float32(0))
    pixels, thin = normalise(part)
    signs = []
    if several:
        signs.append("several pieces")
    rows, columns = ink.shape
    if min(left, top) <= 0 or right >= columns or bottom >= rows:
        signs.append("ink at the border")
    if thin:
        signs.append("strokes thin")
    return Shape(box, pixels, part, signs)


def normalise(ink: Array) -> tuple[Array, bool]:
    """Return the ink of one digit as 28 x 28 pixels, uint8, and whether its strokes are thin."""
    thin = False
    rows, columns = (_extent(ink.max(axis=axis)) for axis in (1, 0))
    ink = ink[rows[0] : rows[1], columns[0] : columns[1]]
    side = max(ink.shape)
    if side > BOX:
        width = _width(ink)
        step = side // FINE
        if step > 1:
            if width < 2 * step:
                padded = np.pad(ink, [(0, -n % step) for n in ink.shape])
                high, wide = padded.shape
                ink = padded.reshape(high // step, step, wide // step, step).max(axis=(1, 3))
            else:
                ink = np.asarray(Image.fromarray(ink).reduce(step))
            width = _width(ink)
        side = max(ink.shape)
        lacks = THIN * side / BOX - width
        thin = width * BOX / side < 1
        if lacks > 0.5:
            radius = lacks / 2
            reach = int(np.ceil(radius))
            y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
            ink = ndimage.grey_dilation(np.pad(ink, reach), footprint=np.hypot(x, y) <= radius + 0.25)
    height, width = (max(1, round(BOX * side / max(ink.shape))) for side in ink.shape)
    digit = np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.HAMMING))
    digit = np.clip(digit, 0, None)
    digit = digit / digit.max()
    field = np.zeros((FIELD, FIELD), np.uint8)
    top, left = (_place(digit.sum(axis=axis)) for axis in (1, 0))
    field[top : top + height, left : left + width] = np.rint(255 * digit)
    return field, thin


def _width(ink: Array) -> float:
    """Return how wide strokes are: their area by their length.

    A straight stroke is crossed by as many rows and columns as it is high and wide.
    """
    mask = np.pad(ink > 0.5, 1)
    runs = [np.count_nonzero(np.diff(mask, axis=axis)) / 2 for axis in (0, 1)]
    return float(ink.sum() / max(1.0, np.hypot(*runs)))


def _extent(profile: Array) -> tuple[int, int]:
    """Where ink begins and ends along a side, whose darkest pixels are given."""
    inked = np.flatnonzero(profile)
    if inked[-1] + 1 - inked[0] > BOX:  # smaller ones have no finer pixels to average
        inked = np.flatnonzero(profile > EDGE)
    return int(inked[0]), int(inked[-1]) + 1


def _place(profile: Array) -> int:
    """Where a side begins in the field, so that its centre of mass is in the middle, if it fits."""
    centre = float(profile @ np.arange(len(profile)) / profile.sum())
    return min(max(0, round(CENTRE - centre)), FIELD - len(profile))
