"""Results of a run for programs: a digest of the weights, and a record in JSON."""

import hashlib
import json
import math
import os
import platform
from pathlib import Path
from typing import Any

import numba
import numpy as np

from jitprop.layers import Module
from jitprop.training.files import write_bytes


def weights_sha256(net: Module) -> str:
    """Return the SHA-256, in hexadecimal, over the bytes of all parameters in their order."""
    digest = hashlib.sha256()
    for parameter in net.parameters():
        digest.update(parameter.value.tobytes())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Return the versions that results depend on: those of "python", "numpy" and "numba"."""
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
    }


def cpu_model() -> str:
    """Return the processor's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def write_json(path: str | os.PathLike[str], record: dict[str, Any]) -> None:
    """Write `record` to a file, which is replaced at once; OSError if that fails.

    NumPy's numbers and arrays become plain ones. Numbers that are not finite become null: JSON has
    no NaN.
    """
    text = json.dumps(strict(record), indent=2, allow_nan=False)
    write_bytes(path, f"{text}\n".encode())


def strict(value: Any) -> Any:
    """Return a value that any JSON parser takes: plain numbers, and None for others than finite."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, dict):
        return {name: strict(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [strict(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
