"""A person's picture, read whatever it is, as grey levels. Needs Pillow, the extra `images`.

`ink.py` says what is ink on it, `pieces.py` what is a digit.
"""

import io
import os
import warnings
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from jitprop.data.idx import DataError

Array = npt.NDArray[Any]

MAX_BYTES = 2**28  # of a file: an uncompressed image of MAX_PIXELS in 4 channels
MAX_PIXELS = 2**26  # 8192 x 8192, decoded 256 MiB
WORKING = 1024  # longest side that is looked at, a digit of a thirtieth of it fills the box
HUGE = 1e30  # above what any camera means, below what overflows when it is summed
BAND = 2**21  # pixels converted at once
ORIENTATION = 0x0112  # the tag in which a camera says how it was held ...
SIDEWAYS = (5, 6, 7, 8)  # ... and its values for what is turned by a quarter

FAINTEST = 12.0  # grey levels, of 255: what is opaque and differs less shows nothing


class ImageError(DataError):
    """An image cannot be read or shows no digit; one line says which and why."""


@dataclass
class Picture:
    """A picture, upright.

    Attributes
    ----------
    grey : (rows, columns) float32
        0 black, 255 white, the longer side at most WORKING.
    size : (width, height)
        Before it was averaged down.
    """

    grey: Array
    size: tuple[int, int]

    def box(self, box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        """Return a box in `grey` in pixels of the whole picture."""
        factor = max(self.size) / max(self.grey.shape)
        width, height = self.size
        left, top, right, bottom = (round(factor * place) for place in box)
        return left, top, min(right, width), min(bottom, height)


def read_image(source: str | os.PathLike[str] | BinaryIO, name: str | None = None) -> Array:
    """Return the grey levels of `read_picture`.

    Parameters
    ----------
    source : path or binary file
    name : str or None

    Returns
    -------
    (rows, columns) float32

    Raises
    ------
    ImageError
    """
    return read_picture(source, name).grey


def read_picture(source: str | os.PathLike[str] | BinaryIO, name: str | None = None) -> Picture:
    """Read an image of any kind that Pillow opens, upright, and its first frame, as grey levels.

    Parameters
    ----------
    source : path or binary file
        A file's path, or a file open for reading bytes.
    name : str or None
        What messages call it; None for the path.

    Returns
    -------
    Picture
        A larger image is averaged down to WORKING.
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


def picture_of(image: Any, name: str | None = None) -> "Picture":
    """Return a picture, from a file or an array.

    Parameters
    ----------
    image : path, binary file, or (rows, columns) of numbers
        A file's path, a file open for reading bytes, or grey levels of 0 to 255.
    name : str or None
        What messages call a file; None for the path.

    Returns
    -------
    Picture

    Raises
    ------
    ImageError
        As `read_image`.
    ValueError
        An array does not hold grey levels.
    """
    if isinstance(image, (str, os.PathLike)) or hasattr(image, "read"):
        return read_picture(image, name)
    grey = np.asarray(image)
    if grey.ndim != 2 or grey.size == 0 or grey.dtype.kind not in "iuf":
        raise ValueError(
            f"image is an array of shape {grey.shape} and dtype {grey.dtype}: expected "
            "(rows, columns) of grey levels, 0 to 255"
        )
    if grey.size > MAX_PIXELS:
        raise ValueError(f"image has {grey.size} pixels, more than {MAX_PIXELS}")
    low, high = float(grey.min()), float(grey.max())
    if not (low >= 0 and high <= 255):  # also for NaN
        raise ValueError(f"image has levels of {low:g} to {high:g}: expected 0 to 255")
    if grey.dtype.kind == "f" and 0 < high <= 1:
        raise ValueError(f"image has levels of {low:g} to {high:g}: expected 0 to 255, not 0 to 1")
    size, factor = (grey.shape[1], grey.shape[0]), -(-max(grey.shape) // WORKING)
    levels = np.ascontiguousarray(grey, np.float32)
    if factor > 1:
        levels = np.asarray(Image.fromarray(levels).reduce(factor))
    return Picture(levels, size)


class _TooLarge(ValueError):
    pass


def _decode(content: bytes) -> Picture:
    with Image.open(io.BytesIO(content)) as image:
        size = image.size
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
        grey = np.array(ImageOps.exif_transpose(upright))
        turned = orientation in SIDEWAYS
        return Picture(grey, size[::-1] if turned else size)


def _grey(image: Image.Image) -> Array:
    """Grey levels of an image, scaled down, in float32."""
    deep = image.mode[0] in "IF"  # 16 or 32 bits, integers or floats
    clear = image.has_transparency_data
    factor = -(-max(image.size) // WORKING)
    rows = max(1, BAND // (image.width * factor)) * factor
    bands = []
    for top in range(0, image.height, rows):
        part = image.crop((0, top, image.width, min(top + rows, image.height)))
        if deep:
            values = np.nan_to_num(np.asarray(part, np.float32)).clip(-HUGE, HUGE)
            bands.append(np.asarray(Image.fromarray(values).reduce(factor))[..., None])
        else:
            part = part.convert("LA" if clear else "L").reduce(factor)
            bands.append(np.asarray(part, np.float32))
    values = np.concatenate(bands)
    if not (deep or clear):
        return values
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
