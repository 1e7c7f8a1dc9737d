"""Compile kernels in two processes at once: numba compiles one after another, whatever the threads.

The second process begins with the last kernel that will be needed. Where the two meet, each finds
the other's work in the cache. Nothing depends on it: what it leaves undone is compiled as needed.
"""

import contextlib
import importlib
import pickle
import subprocess
import sys
from collections.abc import Iterator

import numba

from jitprop.kernels.compiler.cache import folder

JITPROP = sys.modules["jitprop"]
# The other process imports these very sources, wherever they lie, even if something else has their
# name. It finds other packages where this process does; these places come last.
START = f"""\
import importlib.util, sys
sys.path += sys.argv[2:]
spec = importlib.util.spec_from_file_location("{JITPROP.__name__}", sys.argv[1])
sys.modules[spec.name] = package = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)
from {__name__} import main
main()
"""
FEW = 4  # kernels that are compiled before another process has started


@contextlib.contextmanager
def helper(calls: list[tuple]) -> Iterator[None]:
    """Have kernels compiled by another process, where several are missing in the cache.

    `calls` holds (kernel, args), in the order in which this process will compile.
    """
    missing = {
        (kernel.__module__, kernel.__qualname__, kinds): None
        for kernel, args in reversed(calls)
        if kernel.missing(kinds := tuple(kernel.signature.kinds(args)))
    }
    process = None
    alone = numba.config.NUMBA_DEFAULT_NUM_THREADS < 2 or not sys.executable
    if len(missing) > FEW and not alone and folder():
        with contextlib.suppress(OSError):  # then this process compiles alone
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", START, str(JITPROP.__file__), *map(str, sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
    try:
        if process and process.stdin:
            with contextlib.suppress(OSError), process.stdin as pipe:
                pickle.dump(list(missing), pipe)
        yield
    finally:
        if process:
            process.kill()
            process.wait()


def main() -> None:
    """Compile what is listed on standard input."""
    for module, name, kinds in pickle.load(sys.stdin.buffer):
        getattr(importlib.import_module(module), name).compile(kinds)
