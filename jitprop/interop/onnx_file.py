"""What reading and writing ONNX files have in common: the package, the error."""

from importlib import import_module
from typing import Any

from jitprop.training.files import FileError

FLOATS = {1: "float32", 11: "float64"}  # by the numbers that ONNX has for them
PRODUCER = "jitprop"
DIGEST, SEED, PIXELS = "weights_sha256", "seed", "pixels"  # among a file's metadata


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
