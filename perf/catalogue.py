"""Where all cases are found: those of each `bench_*.py`, and those of the machine itself."""

import importlib
from collections.abc import Iterator
from pathlib import Path

from perf.cases import Case


def every() -> Iterator[Case]:
    """All cases of all `bench_*.py`."""
    for path in sorted(Path(__file__).parent.glob("bench_*.py")):
        yield from importlib.import_module(f"perf.{path.stem}").cases()


def find(name: str, shape: tuple[int, ...]) -> Case:
    if name in ("peak", "copy"):
        from perf import machine  # loads numba: late, so that others do not wait

        return getattr(machine, name)(*shape)
    return next(case for case in every() if (case.name, case.shape) == (name, shape))
