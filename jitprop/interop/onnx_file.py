"""ONNX files as files: the package, the error, and reading within bounds.

The claims of a file are checked before memory is taken for it. A message of protobuf takes up to a
hundred times as much room in memory as in a file, so their number is limited. A tensor must hold as
many numbers as its shape says. Nothing outside the file is opened.
"""

import os
import stat
from importlib import import_module
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop.training.files import AnyPath, FileError

Array = npt.NDArray[Any]

FLOATS = {1: "float32", 11: "float64"}  # the keys are ONNX's numbers for these types
KINDS = {**FLOATS, 6: "int32", 7: "int64", 9: "bool"}
FIELDS = {1: "float_data", 11: "double_data", 6: "int32_data", 7: "int64_data", 9: "int32_data"}
PRODUCER = "jitprop"
DIGEST, SEED, PIXELS = "weights_sha256", "seed", "pixels"  # among a file's metadata
LONGEST = 2**31  # bytes; protobuf takes only fewer
MOST = 2**20  # messages and texts in a file; each takes some 100 bytes beside its content


class OnnxError(FileError):
    """An ONNX file cannot be written, read or used; the message, one line, names the file."""


def the_package() -> Any:
    """Return the package onnx.

    Raises
    ------
    ImportError
        It is not installed; the message says how to install it.
    """
    try:
        return import_module("onnx")
    except ModuleNotFoundError as error:
        raise ImportError(f"ONNX files need {error.name}: pip install 'jitprop[onnx]'") from None


def read_model(path: AnyPath) -> tuple[Any, int]:
    """Return the ModelProto in a file, and the number of its bytes.

    Raises
    ------
    OnnxError
        It cannot be read, or is not an ONNX file.
    """
    kind = the_package().ModelProto
    try:
        about = os.stat(path)
        if not stat.S_ISREG(about.st_mode):  # opening a pipe would wait
            raise OnnxError(path, "not a file")
        if about.st_size >= LONGEST:
            raise OnnxError(path, f"has {about.st_size} bytes, an ONNX file less than {LONGEST}")
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise OnnxError(path, error.strerror or error) from None
    try:
        if _expect_few(data, kind.DESCRIPTOR):
            model = kind.FromString(data)
            if model.HasField("graph"):
                return model, len(data)
    except Exception as error:  # protobuf's own kinds differ between its versions
        if isinstance(error, MemoryError):
            raise
        raise OnnxError(path, "truncated, damaged or no ONNX file") from None
    raise OnnxError(path, "no ONNX file: there is no graph in it")


def array_of(tensor: Any) -> Array:
    """Return the numbers of a TensorProto.

    Raises
    ------
    ValueError
        Their count does not fit the shape, they are in another file, or they have a type that no
        network has.
    """
    name = tensor.name
    if tensor.data_location == tensor.EXTERNAL or tensor.external_data:
        raise ValueError(
            f"{name!r} is in another file, and a network is read from one: "
            "onnx.save(onnx.load(path), 'one.onnx') makes one file of them"
        )
    kind, shape = tensor.data_type, tuple(tensor.dims)
    if kind not in KINDS:
        raise ValueError(f"{name!r} is {_kind(tensor)}, expected float32 or float64")
    dtype = np.dtype(KINDS[kind])
    raw = tensor.raw_data if tensor.HasField("raw_data") else None
    values = getattr(tensor, FIELDS[kind])
    found = len(values) if raw is None else len(raw) / dtype.itemsize
    if min(shape, default=0) < 0 or found != prod(shape) or tensor.HasField("segment"):
        raise ValueError(f"{name!r} claims the shape {shape}, and has {found:g} numbers")
    if raw is None:
        return np.fromiter(values, dtype, len(values)).reshape(shape)
    return np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(shape)


def _kind(tensor: Any) -> str:
    kinds = {number: name for name, number in type(tensor).DataType.items()}
    return kinds.get(tensor.data_type, "of no known type").lower()


def _expect_few(data: bytes, kind: Any) -> bool:
    """Walk over the messages in a message of protobuf; return whether there is anything at all.

    Raises
    ------
    ValueError
        There are more than `MOST`, or one is cut off.
    """
    left = MOST
    stack = [(0, len(data), kind.fields_by_number)]
    while stack:
        at, end, fields = stack.pop()
        while at < end:
            key, at = _varint(data, at)
            wire = key & 7
            if wire == 0:
                _, at = _varint(data, at)
            elif wire == 2:
                size, at = _varint(data, at)
                inner = fields.get(key >> 3)
                if inner is not None and inner.message_type is not None:
                    stack.append((at, at + size, inner.message_type.fields_by_number))
                at += size
                left -= 1
            elif wire in (1, 5):
                at += 8 if wire == 1 else 4
            else:
                raise ValueError(f"wire type {wire}")
            if at > end or left < 0:
                raise ValueError("cut off, or too much")
    return bool(data)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins at a place, and the place after it."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of too many bytes")
