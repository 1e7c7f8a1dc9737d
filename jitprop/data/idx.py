"""The IDX file format, the form of MNIST and of the sets that follow it.

    00 00  type  dimensions | size of each dimension, uint32 | values, row-major

with every number big-endian, as LeCun, Cortes and Burges describe it in "The MNIST database of
handwritten digits".
"""

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_DIMENSIONS = 32  # arrays of every NumPy release can have so many
GZIP_MAGIC = b"\x1f\x8b"
# A compressed file can be a thousandth of what it unpacks to, so its own size bounds nothing.
# 1 GiB is twice the images of EMNIST ByClass, the largest set in this form.
MAX_UNPACKED = 2**30
CHUNK = 2**20


class DataError(ValueError):
    """A data file or folder is missing or wrong; one line says which and what."""


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Read an IDX file, raw or gzip-compressed (the content tells which, not the name).

    Memory grows with the bytes that arrive, up to the declared number, never with the declaration
    alone.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    array of uint8, int8, int16, int32, float32 or float64
        Writable and C-contiguous, with the shape and type that the file declares, in native byte
        order.

    Raises
    ------
    DataError
        The file cannot be read, or does not hold what its header declares. The message names the
        file.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            if file.peek(2)[:2] == GZIP_MAGIC:
                return _read_array(gzip.GzipFile(fileobj=file), path, MAX_UNPACKED)
            return _read_array(file, path, None)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: truncated or corrupt gzip file ({error}); copy it anew") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None


def _read_array(stream: BinaryIO | gzip.GzipFile, path: Path, limit: int | None) -> np.ndarray:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in DTYPES:
        found = f"starts with {magic.hex(' ')}" if magic else "is empty"
        raise DataError(
            f"{path}: not an IDX file: {found}; "
            "an IDX file starts with 00 00, a type (08, 09, 0b to 0e) and the number of dimensions"
        )
    dtype, ndim = np.dtype(DTYPES[magic[2]]), magic[3]
    if not 1 <= ndim <= MAX_DIMENSIONS:
        raise DataError(f"{path}: declares {ndim} dimensions, expected 1 to {MAX_DIMENSIONS}")
    sizes = stream.read(4 * ndim)
    if len(sizes) < 4 * ndim:
        raise DataError(f"{path}: truncated within its header of {4 + 4 * ndim} bytes")
    shape = struct.unpack(f">{ndim}I", sizes)
    declared = f"{'x'.join(map(str, shape))} values of type {dtype.name}"
    if 0 in shape:
        raise DataError(f"{path}: declares {declared}; every dimension must be at least 1")
    nbytes = math.prod(shape) * dtype.itemsize
    if limit is not None and nbytes > limit:
        raise DataError(
            f"{path}: declares {declared}, {nbytes} bytes; "
            f"above {limit} bytes, decompress the file first"
        )
    # The buffer grows with what arrives, so a header cannot make it larger than the file is. One
    # more byte is read: this finds trailing data, and makes gzip compare its checksum.
    values = bytearray()
    while len(values) <= nbytes:
        chunk = stream.read(min(CHUNK, nbytes + 1 - len(values)))
        if not chunk:
            break
        values += chunk
    if len(values) != nbytes:
        held = f"only {len(values)}" if len(values) < nbytes else "more"
        raise DataError(f"{path}: declares {declared}, {nbytes} bytes, but holds {held}")
    # A copy, since Linux keeps NumPy's own large arrays in large pages. Then it takes 15 us to
    # gather 100 images, which lie anywhere; else 25.
    array = np.frombuffer(values, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="))
