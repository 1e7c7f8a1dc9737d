"""The providers that are measured, and the processes that measure them.

A provider is a library in an environment. Each (provider, threads) is a process of its own. It is
stopped (SIGSTOP) while another one measures. Otherwise threads that spin between calls, like those
of OpenMP and of OpenBLAS, would take the processor of the other one.
"""

import importlib.util
import os
import pickle
import platform
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from perf.machine import cpus

ROOT = Path(__file__).parents[1]
# These variables would make NumPy different from the one that people install.
OPENBLAS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_VERBOSE")
CORE_TYPES = ("SkylakeX", "Cooperlake", "SapphireRapids", "Zen", "Haswell")


@dataclass(frozen=True)
class Provider:
    name: str
    library: str
    environment: dict[str, str] = field(default_factory=dict)
    only: str = ""  # measured for kernels of this prefix

    def installed(self) -> bool:
        names = {OURS: "kernels", DENSE: "kernels"}
        if self.name == HASWELL and platform.machine().lower() not in ("x86_64", "amd64"):
            return False
        return importlib.util.find_spec(names.get(self.library, self.library)) is not None


OURS = "jitprop"
DENSE = "jitprop-dense"  # trains on all pixels, also those that are zero
BEST = "numpy-best"  # trials find its core type
HASWELL = "numpy-haswell"  # the kernels of OpenBLAS for AVX2, and for CPUs that it does not know
PROVIDERS = {
    provider.name: provider
    for provider in (
        Provider(OURS, "jitprop"),
        Provider("numpy", "numpy"),
        Provider(BEST, "numpy", only="matmul"),
        Provider(HASWELL, "numpy", {"OPENBLAS_CORETYPE": "Haswell"}, only="matmul"),
        Provider("torch", "torch"),
        Provider("jax", "jax", {"JAX_PLATFORMS": "cpu"}),
    )
}
TRAINERS = {
    provider.name: provider
    for provider in (
        Provider(OURS, OURS),
        Provider(DENSE, DENSE),
        Provider("torch", "torch"),
        Provider("jax", "jax", {"JAX_PLATFORMS": "cpu"}),
        Provider("sklearn", "sklearn"),
    )
}
FITTERS = {name: Provider(name, name) for name in (OURS, "sklearn", "torch", "skorch")}
ASKERS = {name: Provider(name, name) for name in (OURS, "onnxruntime", "torch", "numpy")}


@contextmanager
def on_cpus(count: int) -> Iterator[None]:
    """Processes that start here may use `count` processors: JAX takes no other instruction."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = cpus()
    os.sched_setaffinity(0, allowed[-count:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


class WorkerError(Exception):
    """One line: what went wrong in a worker."""


class Worker:
    """A process that measures one provider, stopped between requests."""

    def __init__(
        self, provider: Provider, threads: int, dtype: np.dtype, module: str = "perf.worker"
    ):
        self.provider = provider
        count = str(threads)
        environment = {k: v for k, v in os.environ.items() if k not in OPENBLAS}
        environment |= provider.environment
        for name in ("OMP", "OPENBLAS", "MKL", "NUMBA"):
            environment[f"{name}_NUM_THREADS"] = count
        if dtype == np.float64:
            environment["JAX_ENABLE_X64"] = "1"
        command = [sys.executable, "-m", module, provider.library, count, dtype.name]
        with on_cpus(threads):
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                cwd=ROOT,
            )
        try:
            self.description = self._receive()
        except WorkerError:
            self.close()
            raise

    def ask(self, *request) -> Any:
        self._signal("SIGCONT")
        assert self.process.stdin is not None
        try:
            pickle.dump(request, self.process.stdin)
            self.process.stdin.flush()
        except OSError:
            pass  # it is dead; _receive says so
        return self._receive()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()

    def _receive(self):
        assert self.process.stdout is not None
        try:
            state, value = pickle.load(self.process.stdout)
        except (EOFError, OSError) as error:
            code = self.process.wait()
            raise WorkerError(f"{self.provider.name}: the process ended, code {code}") from error
        self._signal("SIGSTOP")
        if state == "error":
            raise WorkerError(f"{self.provider.name}: {value}")
        return value

    def _signal(self, name: str) -> None:
        if hasattr(signal, name) and self.process.poll() is None:
            self.process.send_signal(getattr(signal, name))


def started(
    provider: Provider, threads: int, module: str, warn: Callable[[str], None]
) -> Worker | None:
    """A worker of float32; for a peer that is missing or does not start, None and one line."""
    if not provider.installed():
        warn(f"{provider.name}: not installed; left out")
        return None
    try:
        return Worker(provider, threads, np.dtype(np.float32), module)
    except WorkerError as error:
        if provider.name == OURS:
            raise
        warn(f"{error}; left out")
        return None
