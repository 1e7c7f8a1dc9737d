"""What a run leaves for programs to read: a digest of the weights, and a record in JSON."""

import errno
import hashlib
import json
import os
import platform
from pathlib import Path
from typing import Any

import numba
import numpy as np

from layers import Module


def weights_sha256(net: Module) -> str:
    """Return the SHA-256, in hexadecimal, over the bytes of all parameters in their order."""
    digest = hashlib.sha256()
    for parameter in net.parameters():
        digest.update(parameter.value.tobytes())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of what the results depend on."""
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


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise OSError if `write_bytes` could not write to `path`; a file there stays as it is."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    if not _is_special(path):
        beside = _beside(path)
        beside.touch()
        beside.unlink()


def write_json(path: str | os.PathLike[str], record: dict[str, Any]) -> None:
    """Write `record` to a file as `write_bytes` does."""
    write_bytes(path, (json.dumps(record, indent=2) + "\n").encode())


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file, which is replaced at once: a reader never sees half of it."""
    path = Path(path)
    if _is_special(path):
        path.write_bytes(data)
        return
    beside = _beside(path)
    try:
        beside.write_bytes(data)
        beside.replace(path.resolve())
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _is_special(path: Path) -> bool:
    """Whether `path` is a device or a pipe, which has to be written to and not replaced."""
    return path.exists() and not path.is_file()


def _beside(path: Path) -> Path:
    path = path.resolve()  # a link stays a link, the file that it names is replaced
    return path.with_name(f".{path.name}.{os.getpid()}")
