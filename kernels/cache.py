"""Compiled kernels on disk, one file each.

Numba's own cache looks at one source file per function, so it misses a change in a helper, and
two processes that fill it at once can mix up their entries. Here the file's name holds a hash of
everything that the machine code depends on: all sources of this package, the versions of numba,
NumPy and Python, the CPU and its features, the signature. What is found is therefore right, and
whoever writes second writes the same.
"""

import contextlib
import functools
import hashlib
import os
import pickle
import platform
import sys
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numba
import numpy as np
import numpy.ma  # numba would import it for the first kernel that is loaded

from jitprop.kernels.numba_private import (
    AppDirs,
    codegen,
    dumps,
    rebuild,
    reduce,
    runtime_functions,
)

PACKAGE = "jitprop.kernels"  # what is cached: its names, the machine code of its sources
SOURCES = Path(str(sys.modules[PACKAGE].__file__)).parent
SWITCHES = ("OPT", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "LOOP_VECTORIZE", "SLP_VECTORIZE")
KEEP = 10  # generations of compiled kernels that stay on disk: switching branches costs nothing

compile_callbacks: list[Callable[[str], None]] = []


def sources() -> list[Path]:
    """All sources of this package, those in folders below it, too."""
    return sorted(SOURCES.rglob("*.py"))


def _generation() -> str:
    """Hash of all that every kernel depends on."""
    digest = hashlib.sha256()
    for path in sources():
        name = path.relative_to(SOURCES).as_posix()
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    versions = (numba.__version__, llvmlite.__version__, np.__version__, platform.python_version())
    switches = [getattr(numba.config, name, None) for name in SWITCHES]
    digest.update(repr((versions, platform.machine(), sys.abiflags, switches)).encode())
    return digest.hexdigest()[:16]


# Hashed as they are imported: what is compiled later comes from these sources, whatever has become
# of the files by then.
GENERATION = _generation()


def _candidates() -> list[Path]:
    """Folders to try, best first: the user's choice; in a clone, beside the sources; the user's.

    Installed sources come last: whoever uninstalls them would leave the folder behind.
    """
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        return [Path(chosen).absolute() / "jitprop"]
    user = Path(AppDirs(appname="jitprop", appauthor=False).user_cache_dir)
    beside = SOURCES / "__pycache__" / "jit"
    in_a_clone = (SOURCES.parent / "pyproject.toml").is_file()
    folders = [beside, user] if in_a_clone else [user, beside]
    return [path for path in folders if path.is_absolute()]  # "~/..." if there is no home


@functools.cache
def folder() -> Path | None:
    """The folder of this generation, made if need be; None where nothing can be written."""
    reason: Exception | None = None
    for root in _candidates():
        path = root / GENERATION
        try:
            path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path) as probe:
                probe.write(b"\0" * 4096)
        except (OSError, RuntimeError) as error:
            reason = error
            continue
        _prune(root, path)
        return path
    _say(f"compiled kernels are not cached, each run compiles them again ({reason})")
    return None


def _prune(root: Path, current: Path) -> None:
    """Forget all but the youngest generations."""
    try:
        current.touch()
        folders = [path for path in root.iterdir() if path.is_dir()]
        generations = sorted(folders, key=lambda path: path.stat().st_mtime)
        for path in generations[:-KEEP]:
            for file in path.iterdir():
                file.unlink()
            path.rmdir()
    except OSError:  # another process prunes, or somebody else's file: never worth a word
        pass


@functools.cache
def _say(line: str) -> None:
    print(f"jitprop: {line}", file=sys.stderr)


@functools.cache
def _name_runtime() -> None:
    """Tell LLVM where the functions of numba's runtime are that cached code calls.

    That is all it needs of numba; what numba prepares for those who compile takes 0.1 s.
    """
    for name, address in runtime_functions().items():
        llvm.add_symbol(name, address)


def _without_bitcode(library: tuple, fndesc: Any) -> tuple:
    """Machine code as numba serialises it, without the LLVM code beside it.

    That is there for functions that might call this one and inline it; nobody does, and to read it
    is half of the time of loading. What is left names the function that Python calls.
    """
    name, kind, (machine_code, _) = library
    entry = f'define void @"{fndesc.llvm_cpython_wrapper_name}"() {{ ret void }}'
    return name, kind, (machine_code, llvm.parse_assembly(entry).as_bitcode())


class KernelCache:
    """What a numba dispatcher expects of its cache."""

    def __init__(self, name: str):
        self.name = name
        self.cache_path = ""

    def _path(self, signature, made_by) -> Path | None:
        root = folder()
        if root is None:
            return None
        key = repr((signature, made_by.magic_tuple()))
        return root / f"{self.name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.bin"

    def missing(self, signature) -> bool:
        """Whether a kernel will have to be compiled, and there is where to keep it."""
        path = self._path(signature, codegen())
        return path is not None and not path.exists()

    def load_overload(self, signature, target_context):
        _name_runtime()
        path = self._path(signature, target_context.codegen())
        try:
            if path is not None:
                data = path.read_bytes()
                if hashlib.sha256(data[32:]).digest() == data[:32]:
                    return rebuild(target_context, pickle.loads(data[32:]))
        except OSError:
            pass  # not compiled yet
        for callback in compile_callbacks:
            callback(self.name)
        return None

    def save_overload(self, signature, result) -> None:
        path = self._path(signature, result.codegen)
        if path is None:
            return
        library, *rest = reduce(result)
        data = dumps((_without_bitcode(library, result.fndesc), *rest))
        temporary = path.with_suffix(f".{uuid.uuid4().hex[:16]}")
        try:
            temporary.write_bytes(hashlib.sha256(data).digest() + data)
            temporary.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            reason = error.strerror
            _say(f"compiled kernels are not cached, the next run compiles them again ({reason})")
