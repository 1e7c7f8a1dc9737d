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

from jitprop.data import ink
from jitprop.data.image import ImageError, picture_of
from jitprop.data.ink import FEW, Ink

Array = npt.NDArray[Any]
Box = tuple[int, int, int, int]
Group = tuple[list[int], Box]  # labels of pieces, and the box around them

FIELD, BOX, CENTRE = 28, 20, 14
SEED = 0.55  # of full ink: a piece without it is none
EDGE = 0.35  # of full ink, where a piece ends
FAINT = 0.02  # the same of a picture of few pixels, without noise
SPECK = 0.05  # of the largest piece of ink; smaller ones are dust
SMALLEST = 0.03  # of the longer side of a picture; a smaller digit is none
FINE = 100  # pixels of the longer side of a digit, of which 20 are made
DECIDED = 0.8  # of the lightness of ink, above which there is no doubt
LONG = 5  # times as wide as high, and more: not digits that touch
LINE = 0.05  # of a side of a picture: what crosses all of the other, and is thinner, is a line
DASH = 10  # times as wide as high: no digit
OUTSTANDING = 0.7  # of what is around ink, at least, is lighter by a third of it
BELOW, ABOVE = 0.1, 0.3  # of the height, between two halves, and between a bar and the rest
FAINT_OUTSIDE = 0.25  # of the light: what takes less, and touches the border, is a shadow ...
CONTACT = 0.35  # ... and so is that of which more of the outline lies at the border
WIDE = 1.25  # times as wide as high: it may be two digits
MOST = 300  # pieces, at most, that are looked at: the largest
CUTS = 4  # places, at most, to cut it
THIN = 2.0  # pixels, of 20: a stroke of less is made as wide
BORDER, AS_WIDE = "ink at the border", "as wide as several digits"
CUT_OFF = "cut from a wide shape"


@dataclass
class Shape:
    """What may be a digit, or several that touch.

    Attributes
    ----------
    box : (left, top, right, bottom)
        In pixels of the picture; right and bottom are those behind the last.
    ink : (rows, columns) float32
        Its ink, 0 to 1, in the box.
    pixels : (28, 28) uint8
        As MNIST has them: 0 paper, 255 ink.
    signs : tuple of str
        What makes it doubtful.
    """

    box: Box
    ink: Array
    pixels: Array
    signs: tuple[str, ...]


def shapes_of(grey: Array) -> list[Shape]:
    """Return the shapes on a picture, rows from top to bottom, each from left to right.

    Parameters
    ----------
    grey : (rows, columns) float32
        Grey levels of 0 to 255, ink darker or lighter than paper.

    Returns
    -------
    list of Shape
    """
    lightness = ink.lightness(grey)
    found = _shapes(grey, lightness > 0)
    if found and abs(lightness) > DECIDED:
        return found
    # The shadow of a hand can be more of a picture than ink is. Of what is between strokes, as in
    # a 0, the box lies in that of the strokes.
    others = _shapes(grey, lightness <= 0)
    return max(found, others, key=_covered)


def normalise(grey: npt.ArrayLike, name: str = "image") -> Array:
    """Make an image of one digit into one as MNIST has them.

    Parameters
    ----------
    grey : (rows, columns) of numbers
        Grey levels of 0 to 255, ink darker or lighter than paper.
    name : str
        What messages call it.

    Returns
    -------
    (28, 28) uint8
        0 paper, 255 ink; of several shapes the largest.

    Raises
    ------
    ImageError
        Nothing is to be seen on it.
    ValueError
        It does not hold grey levels.
    """
    shapes = shapes_of(picture_of(grey).grey)
    if not shapes:
        raise ImageError(f"{name}: nothing to be seen on it, expected a digit")
    return max(shapes, key=lambda shape: float(shape.ink.sum())).pixels


def halves(shape: Shape) -> list[tuple[Shape, Shape]]:
    """Cut a shape where little ink is in a column: digits that touch.

    Parameters
    ----------
    shape : Shape

    Returns
    -------
    list of pairs of Shapes
        Ways to cut it, at most CUTS. None if it is not as wide as two digits.
    """
    rows, columns = shape.ink.shape
    if not WIDE * rows <= columns <= LONG * rows or columns <= BOX:
        return []
    profile = ndimage.gaussian_filter1d(shape.ink.sum(axis=0), columns / 60)
    low = ndimage.minimum_filter1d(profile, 1 + columns // 12) == profile
    middle = (np.arange(columns) > 0.2 * columns) & (np.arange(columns) < 0.8 * columns)
    places = np.flatnonzero(low & middle)
    places = places[np.argsort(profile[places], kind="stable")][:CUTS]
    found = []
    for place in places.tolist():
        left, right = _part(shape, 0, place), _part(shape, place, columns)
        if left is not None and right is not None:
            found.append((left, right))
    return found


def _part(shape: Shape, left: int, right: int) -> Shape | None:
    part = shape.ink[:, left:right]
    rows, columns = (np.flatnonzero((part > EDGE).any(axis=axis)) for axis in (1, 0))
    if not len(rows) or len(rows) < 0.3 * len(part):
        return None
    part = part[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    x, y = shape.box[0] + left + int(columns[0]), shape.box[1] + int(rows[0])
    pixels, _ = _field(part)
    box = (x, y, x + part.shape[1], y + part.shape[0])
    signs = [sign for sign in shape.signs if sign not in (AS_WIDE, CUT_OFF)]
    return Shape(box, part, pixels, (*signs, CUT_OFF))


def _covered(shapes: list[Shape]) -> float:
    """Return what shapes cover; light and shadow reach the picture's border, ink rarely does."""
    return sum(shape.ink.size * (0.1 if BORDER in shape.signs else 1.0) for shape in shapes)


def _shapes(grey: Array, lighter: bool) -> list[Shape]:
    picture = ink.ink_of(grey, lighter)
    if picture is None:
        return []
    edge = EDGE if max(grey.shape) > 3 * BOX else FAINT
    labels, count = ndimage.label(picture.share > edge, np.ones((3, 3)))
    flat, share = labels.ravel(), picture.share.ravel()
    mass = np.bincount(flat, share, count + 1)
    mass[0] = 0
    seeded = np.bincount(flat[share >= SEED], minlength=count + 1) > 0
    kept = np.flatnonzero(seeded & (mass >= SPECK * mass.max()) & (mass > 0))
    kept = np.sort(kept[np.argsort(-mass[kept], kind="stable")[:MOST]])
    slices = ndimage.find_objects(labels)
    groups = [([int(n)], _box_of(slices[n - 1])) for n in kept]
    smallest = min(SMALLEST * max(grey.shape), min(grey.shape) / 3)
    groups = [
        group
        for group in _joined(groups)
        if _may_be_one(group[1], grey.shape, smallest) and _stands_out(picture, labels, *group)
    ]
    return [
        _shape(picture.share, labels, *groups[i]) for i in _in_order([box for _, box in groups])
    ]


def _box_of(place: tuple[slice, slice]) -> Box:
    rows, columns = place
    return columns.start, rows.start, columns.stop, rows.stop


def _may_be_one(box: Box, shape: tuple[int, ...], smallest: float) -> bool:
    """Whether a digit may have that box: not dust, a dash, or what is left of a printed line."""
    sides = width, height = box[2] - box[0], box[3] - box[1]
    columns_and_rows = shape[::-1]
    crosses = any(
        sides[i] == columns_and_rows[i] and sides[1 - i] < LINE * columns_and_rows[1 - i]
        for i in (0, 1)
    )
    return max(sides) >= smallest and width <= DASH * height and not crosses


def _stands_out(picture: Ink, labels: Array, members: list[int], box: Box) -> bool:
    """Whether ink is darker than what is around it, on all sides, and close by; not so shadows."""
    if max(labels.shape) <= FEW:
        return True
    if _at_border(box, labels.shape) and (
        picture.full < FAINT_OUTSIDE or _contact(labels, members, box) > CONTACT
    ):
        return False
    side = max(box[2] - box[0], box[3] - box[1])
    margin = side // 8 + 3
    y = slice(max(0, box[1] - margin), box[3] + margin)
    x = slice(max(0, box[0] - margin), box[2] + margin)
    step = max(1, side // 60)
    levels, share = picture.levels[y, x], picture.share[y, x]
    own = np.isin(labels[y, x], members)
    inked = own.astype(np.float32)
    other, own, total, inked, levels = (
        _means(part, step) for part in (share > EDGE, own, inked * levels, inked, levels)
    )
    away = 1 + max(1, side // step // 15)
    near = ndimage.maximum_filter(own > 0, 2 * away + 1)
    ring = ndimage.maximum_filter(near, 3) & ~near & (other == 0)
    if ring.sum() < 10:
        return True
    dark = np.where(inked > 0, total / np.maximum(inked, 1e-6), 255)
    dark = ndimage.minimum_filter(dark, 2 * away + 5)
    dark = (levels - dark)[ring] >= 0.35 * picture.full * np.maximum(levels[ring], 60)
    return bool(dark.mean() >= OUTSTANDING)


def _at_border(box: Box, shape: tuple[int, ...]) -> bool:
    return min(box[:2]) <= 0 or box[2] >= shape[1] or box[3] >= shape[0]


def _contact(labels: Array, members: list[int], box: Box) -> float:
    """Return how much of the outline of a shape lies at the picture's border."""
    own = np.isin(labels[box[1] : box[3], box[0] : box[2]], members)
    rows, columns = labels.shape
    inner = ndimage.minimum_filter(own, 3, mode="constant", cval=False)
    at = [own[0], own[-1], own[:, 0], own[:, -1]]
    touches = (box[1] == 0, box[3] == rows, box[0] == 0, box[2] == columns)
    count = sum(int(line.sum()) for line, yes in zip(at, touches, strict=True) if yes)
    return count / max(1, int(np.count_nonzero(own & ~inner)))


def _means(values: Array, step: int) -> Array:
    values = np.ascontiguousarray(values, np.float32)
    return np.asarray(Image.fromarray(values).reduce(step)) if step > 1 else values


def _joined(groups: list[Group]) -> list[Group]:
    """Join pieces of which one stands above the other, close by."""
    done: list[Group] = []
    for members, box in groups:
        while True:
            near = next((one for one in done if _one_digit(one[1], box)), None)
            if near is None:
                break
            done.remove(near)
            members, box = [*near[0], *members], _around(near[1], box)
        done.append((members, box))
    return done


def _around(p: Box, q: Box) -> Box:
    return min(p[0], q[0]), min(p[1], q[1]), max(p[2], q[2]), max(p[3], q[3])


def _one_digit(p: Box, q: Box) -> bool:
    """Whether what is in two boxes belongs together: a bar over the rest of a 5."""
    narrow = min(p[2] - p[0], q[2] - q[0])
    low, high = sorted((p[3] - p[1], q[3] - q[1]))
    columns = min(p[2], q[2]) - max(p[0], q[0])  # that both have
    rows = min(p[3], q[3]) - max(p[1], q[1])
    if rows > 0.5 * low and columns > 0.5 * narrow:
        return True
    near = BELOW if low > 0.6 * high else ABOVE
    return columns >= 0.4 * narrow and -rows <= near * high


def _in_order(boxes: list[Box]) -> list[int]:
    """Return the indices of boxes as one reads them; a row may rise or fall."""
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
    rows.sort(key=lambda row: float(np.mean([boxes[i][1] + boxes[i][3] for i in row])))
    return [i for row in rows for i in row]


def _shape(share: Array, labels: Array, members: list[int], box: Box) -> Shape:
    left, top, right, bottom = box
    margin = 2  # at the edge of ink, pixels are partly inked
    y = slice(max(0, top - margin), bottom + margin)
    x = slice(max(0, left - margin), right + margin)
    own = np.isin(labels[y, x], members)
    near = ndimage.binary_dilation(own, np.ones((3, 3)), margin) & (own | (labels[y, x] == 0))
    part = np.where(near, share[y, x], np.float32(0))
    pixels, thin = _field(part)
    outside = _at_border(box, share.shape)
    height, width = bottom - top, right - left
    signs = (
        ("several pieces", len(members) > 1),
        (AS_WIDE, width >= WIDE * height and width > BOX),
        (BORDER, outside),
        ("strokes thin", thin),
    )
    inside = part[top - y.start : bottom - y.start, left - x.start : right - x.start]
    return Shape(box, inside, pixels, tuple(sign for sign, holds in signs if holds))


def _field(ink: Array) -> tuple[Array, bool]:
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
            ink = ndimage.grey_dilation(
                np.pad(ink, reach), footprint=np.hypot(x, y) <= radius + 0.25
            )
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
    return float(ink.sum() / max(1.0, float(np.hypot(runs[0], runs[1]))))


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
