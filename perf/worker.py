"""A process that measures one library: `python -m perf.worker LIBRARY THREADS DTYPE`.

It reads pickled requests from stdin and answers on stdout:

    ("prepare", name, shape, seconds)
        make the case's arguments, call it once, choose how many calls take `seconds`;
        the answer is what the call computed
    ("measure", name, shape)
        the answer is seconds per call
    ("release", name, shape)
        forget the case

Every library is measured by the one loop in `Timed.measure`.
"""

import gc
import importlib
import itertools
import os
import pickle
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from perf.cases import Case
from perf.catalogue import find

LONG = 0.05  # seconds; a call that takes this long needs no warm-up


class Timed:
    """A call that is measured again and again."""

    def __init__(self, call: Callable):
        self.call = call
        self.repeats = 1

    def choose_repeats(self, seconds: float) -> None:
        while (taken := self._time(self.repeats)) < seconds:
            self.repeats = max(self.repeats + 1, int(self.repeats * min(10, 1.2 * seconds / taken)))

    def measure(self) -> float:
        once = self._time(1)
        if once > LONG:
            return once
        self._time(self.repeats)  # wakes this library's threads and fills its caches again
        return self._time(self.repeats) / self.repeats

    def _time(self, repeats: int) -> float:
        call = self.call
        start = time.perf_counter()
        for _ in itertools.repeat(None, repeats):
            call()
        return time.perf_counter() - start


class Prepared(Timed):
    """A case with its arguments."""

    def __init__(self, case: Case, call: Callable, arguments: list):
        super().__init__(partial(call, *arguments))
        self.case = case
        self.arguments = arguments

    def results(self) -> list:
        """Call once; compile if needed."""
        return self.case.results(self.call(), self.arguments)


class Numpy:
    """NumPy; also the base of the kernels, which take its arrays."""

    name = "numpy"

    def __init__(self, threads: int):
        self.library = importlib.import_module(self.name)

    def describe(self) -> str:
        try:
            from threadpoolctl import threadpool_info
        except ImportError:
            return f"numpy {np.__version__}"
        blas = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
        cores = ", ".join(f"{pool['internal_api']} {pool.get('architecture')}" for pool in blas)
        return f"numpy {np.__version__} ({cores})"

    def prepare(self, case: Case, arguments: list) -> tuple[Callable, list]:
        return case.calls[self.name](self.library), arguments

    def array(self, result) -> np.ndarray:
        return np.asarray(result)


class Jitprop(Numpy):
    name = "jitprop"

    def __init__(self, threads: int):
        self.library = importlib.import_module("jitprop.kernels")
        self.library.set_num_threads(threads)

    def describe(self) -> str:
        import numba

        from jitprop.kernels.tile import INSTRUCTIONS

        return f"numba {numba.__version__} ({INSTRUCTIONS})"


class Torch(Numpy):
    name = "torch"

    def __init__(self, threads: int):
        super().__init__(threads)
        self.library.set_num_threads(threads)

    def describe(self) -> str:
        return f"torch {self.library.__version__}"

    def prepare(self, case: Case, arguments: list) -> tuple[Callable, list]:
        def tensor(value):
            return self.library.from_numpy(value) if isinstance(value, np.ndarray) else value

        return super().prepare(case, [tensor(value) for value in arguments])

    def array(self, result) -> np.ndarray:
        return np.asarray(result.detach() if hasattr(result, "detach") else result)


class Jax(Numpy):
    name = "jax"

    def describe(self) -> str:
        return f"jax {self.library.__version__}"

    def prepare(self, case: Case, arguments: list) -> tuple[Callable, list]:
        jax = self.library
        pure = case.calls["jax"](jax)
        call = jax.jit(lambda *args: jax.tree.leaves(pure(*args)))
        on_device = [jax.device_put(v) if isinstance(v, np.ndarray) else v for v in arguments]

        def finished(*args):
            return tuple(jax.block_until_ready(call(*args)))

        return finished, on_device


LIBRARIES = {library.name: library for library in (Jitprop, Numpy, Torch, Jax)}


def answer(library: Numpy, prepared: dict, dtype: np.dtype, request: tuple):
    kind, *key = request[:3]
    if kind == "prepare":
        case = find(*key)
        one = Prepared(case, *library.prepare(case, case.arguments(dtype)))
        results = [library.array(result).copy() for result in one.results()]
        one.choose_repeats(request[3])
        prepared[tuple(key)] = one
        return results
    if kind == "release":
        prepared.pop(tuple(key), None)
        gc.collect()
        return None
    return prepared[tuple(key)].measure()


def main() -> None:
    name, threads, dtype = sys.argv[1], int(sys.argv[2]), np.dtype(sys.argv[3])
    prepared: dict = {}
    serve(
        lambda: LIBRARIES[name](threads),
        lambda library, request: answer(library, prepared, dtype, request),
    )


def serve(load: Callable[[], Any], answer: Callable[[Any, tuple], Any]) -> None:
    """Load a library and report its version; then answer requests until there are no more."""
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is not an answer
    try:
        library = load()
        reply: tuple = ("ok", library.describe())
    except Exception as error:
        reply = ("error", f"{type(error).__name__}: {error}")
    gc.disable()
    gc.freeze()  # what a library has made so far stays
    while True:
        pickle.dump(reply, answers, protocol=5)
        answers.flush()
        try:
            request = pickle.load(requests)
        except EOFError:
            return
        try:
            reply = ("ok", answer(library, request))
        except Exception as error:
            reply = ("error", " ".join(f"{type(error).__name__}: {error}".split()))


if __name__ == "__main__":
    main()
