"""A person's image of a digit, made into 28 x 28 pixels as those of MNIST were made.

    The original black and white images were size-normalised to fit in a 20 x 20 pixel box while
    preserving their aspect ratio; grey levels are the result of anti-aliasing; then the centre of
    mass was moved to the centre of a 28 x 28 field.

So, in other words, Y. LeCun, C. Cortes and C.J.C. Burges on "The MNIST database of handwritten
digits"; likewise Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to
document recognition", Proceedings of the IEEE 86(11), 1998, section III-A. What they do not say
was measured on the training images: the longer side of all pixels that are not 0 is exactly 20 in
59,987 of 60,000, and the centre of mass lies within half a pixel of (14, 14), counted from 0, so
images were moved by whole pixels. `normalise` returns an image of MNIST as it is.

Paper is what most of the image's border shows. A smooth surface fitted to it says how bright paper
is at each place, so light may fall unevenly, though without sharp shadows. Ink is what differs from
it, in the direction, darker or lighter, that differs more; dark ink takes away a share of the
light. A digit needs some paper around it. Needs Pillow, the extra `images`.
"""

import io
import os
import warnings
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from jitprop.data.idx import DataError

Array = npt.NDArray[Any]

FIELD, BOX, CENTRE = 28, 20, 14
MAX_BYTES = 2**28  # of a file: an uncompressed image of MAX_PIXELS in 4 channels
MAX_PIXELS = 2**26  # 8192 x 8192, decoded 256 MiB
WORKING = 1024  # longest side that is looked at, a digit of a thirtieth of it fills the box
HUGE = 1e30  # above what any camera means, below what overflows when it is summed
BAND = 2**21  # pixels converted at once
ORIENTATION = 0x0112  # the tag in which a camera says how it was held

# Ink, of full ink, where the box begins. Of 1,000 training images, held out and enlarged, mlp200
# misread 33, linear 85; at 0.1: 35 and 75; at 0.4: 37 and 90; of the originals: 37 and 85.
EDGE = 0.2
FAINTEST = 12.0  # grey levels, of 255, between paper and ink
NOISE = 4.0  # standard deviations of the paper that are not ink
SPECK = 0.05  # of the largest connected piece of ink; smaller pieces are dust
SAMPLES = 64  # rows, and columns, at most, that paper is fitted to
GRID = 128  # cells a side, at most, in which pieces are told apart


class ImageError(DataError):
    """An image cannot be read or shows no digit; one line says which and why."""


def read_image(source: str | os.PathLike[str] | BinaryIO, name: str | None = None) -> Array:
    """Read an image of any kind that Pillow opens, upright, and its first frame, as grey levels.

    Parameters
    ----------
    source : path or binary file
        A file's path, or a file open for reading bytes.
    name : str or None
        What messages call it; None for the path.

    Returns
    -------
    (rows, columns) float32
        0 black, 255 white, the longer side at most WORKING: a larger image is averaged down to it.
        Transparent parts become paper. Levels of more than 8 bits are stretched to their range.

    Raises
    ------
    ImageError
        No image, damaged, or larger than MAX_BYTES or MAX_PIXELS, which bound memory.
    """
    if name is None:
        name = str(source) if isinstance(source, (str, os.PathLike)) else "image"
    try:
        if isinstance(source, (str, os.PathLike)):
            with open(source, "rb") as file:
                content = file.read(MAX_BYTES + 1)
        else:
            content = source.read(MAX_BYTES + 1)
    except OSError as error:
        raise ImageError(f"{name}: {error.strerror}") from None
    if not content:
        raise ImageError(f"{name}: empty, expected an image")
    if len(content) > MAX_BYTES:
        raise ImageError(f"{name}: more than {MAX_BYTES} bytes")
    # A damaged file makes Pillow raise whatever its decoders meet: OSError, SyntaxError,
    # ValueError, struct.error, IndexError and more.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of oddities in files that can be read all the same
            return _decode(content)
    except Image.UnidentifiedImageError:
        raise ImageError(f"{name}: not an image that can be read, such as PNG or JPEG") from None
    except _TooLarge as error:
        raise ImageError(f"{name}: {error}") from None
    except Image.DecompressionBombError:
        raise ImageError(f"{name}: more than {MAX_PIXELS} pixels; scale it down first") from None
    except MemoryError:
        raise ImageError(f"{name}: not enough memory to read it") from None
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{name}: damaged image ({reason})") from None


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
        0 paper, 255 ink.

    Raises
    ------
    ImageError
        Nothing is to be seen on it.
    """
    grey = np.asarray(grey, np.float32)
    if grey.ndim != 2 or grey.size == 0:
        raise ValueError(f"grey of shape {grey.shape}: expected (rows, columns)")
    ink = _ink(grey)
    if ink is None:
        raise ImageError(f"{name}: nothing to be seen on it, expected a digit")
    rows, columns = (_extent(ink.max(axis=axis)) for axis in (1, 0))
    sides = (rows[1] - rows[0], columns[1] - columns[0])
    height, width = (max(1, round(BOX * side / max(sides))) for side in sides)
    box = Image.fromarray(ink).resize(
        (width, height), Image.Resampling.HAMMING, (columns[0], rows[0], columns[1], rows[1])
    )
    digit = np.clip(np.asarray(box), 0, None)
    digit /= digit.max()
    field = np.zeros((FIELD, FIELD), np.uint8)
    top, left = (_place(digit.sum(axis=axis)) for axis in (1, 0))
    field[top : top + height, left : left + width] = np.rint(255 * digit)
    return field


class _TooLarge(ValueError):
    pass


def _decode(content: bytes) -> Array:
    with Image.open(io.BytesIO(content)) as image:
        image.draft(None, (WORKING, WORKING))  # a JPEG is decoded at an eighth, if that suffices
        if image.width * image.height > MAX_PIXELS:
            raise _TooLarge(
                f"{image.width} x {image.height} pixels, more than {MAX_PIXELS}; "
                "scale it down first"
            )
        image.load()
        orientation = image.getexif().get(ORIENTATION, 1)
        upright = Image.fromarray(_grey(image))
        upright.getexif()[ORIENTATION] = orientation
        return np.array(ImageOps.exif_transpose(upright))


def _grey(image: Image.Image) -> Array:
    """Grey levels of an image, scaled down, in float32."""
    deep = image.mode[0] in "IF"  # 16 or 32 bits, integers or floats
    factor = -(-max(image.size) // WORKING)
    rows = max(1, BAND // (image.width * factor)) * factor
    bands = []
    for top in range(0, image.height, rows):
        part = image.crop((0, top, image.width, min(top + rows, image.height)))
        if deep:
            values = np.nan_to_num(np.asarray(part, np.float32)).clip(-HUGE, HUGE)
            bands.append(np.asarray(Image.fromarray(values).reduce(factor))[..., None])
        else:
            bands.append(np.asarray(part.convert("LA").reduce(factor), np.float32))
    values = np.concatenate(bands)
    grey = values[..., 0]
    if deep:
        return (grey - grey.min()) * (255 / (float(np.ptp(grey)) or 1.0))
    return _on_paper(grey, values[..., 1] / 255)


def _on_paper(grey: Array, alpha: Array) -> Array:
    """Lay a partly transparent image on paper.

    If what is there shows something by itself, and covers most of the image, paper has its most
    usual level; otherwise the shape is the picture, and paper is black or white, unlike it.
    """
    opaque = grey[alpha > 0.5]
    if opaque.size == grey.size or opaque.size == 0:
        return grey * alpha
    level = np.median(opaque)
    if opaque.size < grey.size / 2 or np.ptp(opaque) < FAINTEST:
        level = 255.0 if level < 128 else 0.0
    return grey * alpha + level * (1 - alpha)


def _ink(grey: Array) -> Array | None:
    """How much of each pixel is ink, float32 of 0 to 1; None if nothing is."""
    paper, noise = _paper(grey)
    difference = grey - paper
    lighter = np.vdot(difference, difference * difference) > 0  # few far off, not many near
    level = np.median(paper)
    ink = difference if lighter else -difference * (level / np.maximum(paper, level / 4 + 1))
    least = min(NOISE * noise, ink.max() / 2)
    if ink.max() < max(FAINTEST, least):
        return None
    full = _full_ink(ink[ink > least])
    if full < FAINTEST:
        return None
    ink = np.clip((ink - least) / (full - least), 0, 1)
    return np.where(_pieces(ink), ink, np.float32(0)).astype(np.float32)


def _paper(grey: Array) -> tuple[Array, float]:
    """Fit a quadratic surface to the paper; return it, and the noise around it as a deviation.

    Reweighted least squares with Cauchy's weights: ink, which is far off, counts for next to
    nothing. First on the border, then on all pixels, started from there.
    """
    rows, columns = grey.shape
    y, x = np.linspace(-1, 1, rows), np.linspace(-1, 1, columns)
    margin, step = 1 + min(grey.shape) // 50, -(-max(grey.shape) // SAMPLES)
    border = np.ones(grey.shape, bool)
    border[margin:-margin, margin:-margin] = False
    thinned = np.flatnonzero(border)[:: margin * step]
    everywhere = np.arange(grey.size).reshape(grey.shape)[::step, ::step].ravel()
    fit = np.zeros(6)
    fit[0] = np.median(grey[border])
    for sample in (thinned, everywhere):
        levels, b, a = grey.ravel()[sample], y[sample // columns], x[sample % columns]
        terms = np.stack([np.ones_like(a), b, a, a * b, b * b, a * a])
        for _ in range(10):
            residuals = levels - fit @ terms
            noise = 1.4826 * float(np.median(np.abs(residuals)))  # the deviation, if it is normal
            weighted = terms / (1 + (residuals / max(2 * noise, 1)) ** 2)
            fit = np.linalg.lstsq(weighted @ terms.T, weighted @ levels)[0]
    across = fit[1] * y + fit[4] * y * y
    along = fit[0] + fit[2] * x + fit[5] * x * x
    paper = across[:, None] + along + fit[3] * y[:, None] * x
    return paper.astype(np.float32), noise


def _full_ink(ink: Array) -> float:
    """The level of well-inked pixels."""
    return float(np.percentile(ink[ink >= ink.max() / 2], 90))


def _pieces(ink: Array) -> Array:
    """Where `ink` is part of a piece worth looking at, bool (rows, columns)."""
    step = -(-max(ink.shape) // GRID)
    rows, columns = (-(-side // step) for side in ink.shape)
    padded = np.zeros((rows * step, columns * step), np.float32)
    padded[: ink.shape[0], : ink.shape[1]] = ink
    mass = padded.reshape(rows, step, columns, step).sum(axis=(1, 3))
    left = set(zip(*(index.tolist() for index in np.nonzero(mass)), strict=True))
    pieces = []
    while left:
        piece = [left.pop()]
        for row, column in piece:  # grows while it is walked
            around = {(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= around
            piece += around
        index = tuple(np.array(piece).T)
        pieces.append((float(mass[index].sum()), index))
    largest = max(total for total, _ in pieces)
    kept = np.zeros(mass.shape, bool)
    for total, index in pieces:
        if total >= SPECK * largest:
            kept[index] = True
    return kept.repeat(step, 0).repeat(step, 1)[: ink.shape[0], : ink.shape[1]]


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
