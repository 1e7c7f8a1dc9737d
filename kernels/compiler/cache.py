"""Compiled kernels on disk, one file each.

Numba's own cache looks at one source file per function, so it misses a change in a helper, and
two processes that fill it at once can mix up their entries. Here the file's name holds a hash of
everything that the machine code depends on: all sources of this package, the versions of numba,
NumPy and Python, the CPU and its features, the signature. So a file that is found is right, and a
second process writes the same as the first.
"""

import contextlib
import functools
import hashlib
import os
import pickle
import platform
import re
import stat
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

from jitprop.kernels.compiler.messages import say_once
from jitprop.kernels.compiler.numba_private import (
    AppDirs,
    codegen,
    dumps,
    rebuild,
    reduce,
    runtime_functions,
)

PACKAGE = "jitprop.kernels"  # only its functions are cached, and only its sources are hashed
SOURCES = Path(str(sys.modules[PACKAGE].__file__)).parent
SWITCHES = ("OPT", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "LOOP_VECTORIZE", "SLP_VECTORIZE")
NAME = "jitprop-kernels"  # of the folder of all generations; other programs have folders beside it
KEEP = 10  # generations of compiled kernels that stay on disk: switching branches costs nothing

compile_callbacks: list[Callable[[str], None]] = []


def sources() -> list[Path]:
    """All sources of this package, those in folders below it, too; none in a zip archive."""
    found = SOURCES.rglob("*.py")
    return sorted(path for path in found if path.is_file() and not path.name.startswith("."))


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


# Only what has these names is removed. A file has such a name already while it is written.
_GENERATION = re.compile("[0-9a-f]{16}")
_FILE = re.compile(r"[\w.]+-[0-9a-f]{16}\.([0-9a-f]{16}|bin)")

# Hashed at import: later, kernels are compiled from the sources as they are now, even if the files
# have changed by then.
GENERATION = _generation()


def _candidates() -> list[Path]:
    """Folders to try, best first: the user's choice; in a clone, beside the sources; the user's.

    The folder beside installed sources comes last: to uninstall them would leave it behind.
    """
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        return [Path(chosen).absolute() / NAME]
    user = Path(AppDirs(appname=NAME, appauthor=False).user_cache_dir)
    beside = SOURCES / "__pycache__" / "jit"
    in_a_clone = (SOURCES.parent / "pyproject.toml").is_file()
    folders = [beside, user] if in_a_clone else [user, beside]
    return [path for path in folders if path.is_absolute()]  # "~/..." if there is no home


@functools.cache
def folder() -> Path | None:
    """The folder of this generation, made if it is missing; None if nothing can be written."""
    reason: Exception | str | None = None
    if not sources():  # a change of them could not be seen
        say_once("compiled kernels are not cached: their sources are not on disk")
        return None
    for root in _candidates():
        path = root / GENERATION
        try:
            root.parent.mkdir(parents=True, exist_ok=True)
            for made in (root, path):
                made.mkdir(mode=0o700, exist_ok=True)
                _expect_private(made, made.lstat())
                _expect_private(made, made.stat())
            with tempfile.TemporaryFile(dir=path) as probe:
                probe.write(b"\0" * 4096)
        except _NotPrivateError as error:
            say_once(f"compiled kernels are not kept in {error}")
            continue
        except (OSError, RuntimeError) as error:
            reason = error
            continue
        _prune(root, path)
        return path
    because = f" ({reason})" if reason else ""
    say_once(f"compiled kernels are not cached, each run compiles them again{because}")
    return None


class _NotPrivateError(OSError):
    """Others could have put compiled kernels there, which may run any code."""


def _expect_private(path: Path, found: os.stat_result) -> None:
    """Raise unless this user or root owns `path`, and nobody else may write to it.

    Compiled kernels are pickles, which may run any code. A person who can write to the folder above
    can put something else in the place of this one, but nothing that this user owns.
    """
    if not hasattr(os, "getuid"):  # Windows, where a person's folders are closed to others
        return
    if found.st_uid not in (os.getuid(), 0):
        raise _NotPrivateError(f"{path}: it is someone else's; delete it or set NUMBA_CACHE_DIR")
    shared = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if shared and not stat.S_ISLNK(found.st_mode):
        raise _NotPrivateError(f"{path}: others may write to it; delete it or set NUMBA_CACHE_DIR")


def _prune(root: Path, current: Path) -> None:
    """Delete all but the youngest generations; only what has the cache's own names."""
    with contextlib.suppress(OSError):
        current.touch()
        found = [path for path in root.iterdir() if _GENERATION.fullmatch(path.name)]
        folders = [path for path in found if path.is_dir() and not path.is_symlink()]
        for path in sorted(folders, key=lambda path: path.stat().st_mtime)[:-KEEP]:
            # Another process prunes as well, or a person's file is there: no reason for a message.
            with contextlib.suppress(OSError):
                for file in path.iterdir():
                    if _FILE.fullmatch(file.name):
                        file.unlink()
                path.rmdir()


@functools.cache
def _name_runtime() -> None:
    """Tell LLVM the addresses of the functions of numba's runtime, which cached code calls.

    Cached code needs nothing else of numba. What numba prepares in order to compile takes 0.1 s.
    """
    for name, address in runtime_functions().items():
        llvm.add_symbol(name, address)


def _without_bitcode(library: tuple, fndesc: Any) -> tuple:
    """Machine code as numba serialises it, without the LLVM code beside it.

    The LLVM code is there for functions that call this one and inline it. None does, and to read it
    takes half of the time of loading. What is left names the function that Python calls.
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

    def holds(self, signature) -> bool:
        """Whether there is something to load."""
        path = self._path(signature, codegen())
        return path is not None and path.exists()

    def missing(self, signature) -> bool:
        """Whether a kernel will have to be compiled and there is a place to keep it."""
        path = self._path(signature, codegen())
        return path is not None and not path.exists()

    def load_overload(self, signature, target_context):
        _name_runtime()
        path = self._path(signature, target_context.codegen())
        try:
            if path is not None:
                with path.open("rb") as file:
                    _expect_private(path, os.fstat(file.fileno()))
                    data = file.read()
                if hashlib.sha256(data[32:]).digest() == data[:32]:
                    return rebuild(target_context, pickle.loads(data[32:]))
        except _NotPrivateError as error:
            say_once(f"a kernel is compiled again, not read from {error}")
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
            temporary.touch(mode=0o600)
            temporary.write_bytes(hashlib.sha256(data).digest() + data)
            temporary.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            reason = error.strerror
            say_once(
                f"compiled kernels are not cached, the next run compiles them again ({reason})"
            )
