"""The parts of a benchmark.

A `bench_*.py` yields one `Case` per kernel and shape. Its arguments come from a seed, so that every
process that measures the case makes the same ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

SEED = 1
BATCHES = (1, 100, 500, 1000)
NETWORKS = {
    "linear": (784, 10),
    "mlp200": (784, 200, 10),
    "mlp800": (784, 800, 10),
    "deep": (784, 2500, 2000, 1500, 1000, 500, 10),
}

Maker = Callable[[np.random.Generator, np.dtype], Any]  # makes one argument
Expected = list[tuple[Any, Any]]  # for each result: its value, and the scale of its error


@dataclass(frozen=True)
class Case:
    """One kernel at one shape, and the same computation in other libraries.

    Attributes
    ----------
    name : str
        The name of the kernel.
    shape : tuple of int
        Sizes that tell the cases of a kernel apart.
    setup : sequence of functions
        Each makes an argument, input or output, in the order of the calls.
    calls : dict of functions
        For each library, a function that takes the imported module and returns the call to measure.
    reference : function
        Takes the arguments in float64; returns (value, scale) for each result.
    flops : float
        Additions and multiplications of one call.
    floats : float
        Floating-point numbers that one call has to read and write.
    tolerance : float
        An element is right if |error| <= tolerance * eps * scale.
    other_bytes : float
        Bytes of other types.
    outputs : tuple of int
        Indices of the arguments that are written.
    returns : bool
        Whether the call also returns a number.
    """

    name: str
    shape: tuple[int, ...]
    setup: Sequence[Maker]
    calls: dict[str, Callable[[Any], Callable]]
    reference: Callable[..., Expected]
    flops: float
    floats: float
    tolerance: float = 4.0
    other_bytes: float = 0.0
    outputs: tuple[int, ...] = (-1,)
    returns: bool = False

    def __str__(self) -> str:
        return f"{self.name} {'x'.join(map(str, self.shape))}"

    def bytes(self, dtype: np.dtype) -> float:
        return self.floats * dtype.itemsize + self.other_bytes

    def arguments(self, dtype: np.dtype) -> list:
        rng = np.random.default_rng(SEED)
        return [make(rng, dtype) for make in self.setup]

    def results(self, returned, arguments: Sequence) -> list:
        """The results of a call. If it returns a tuple, these are all of them."""
        if isinstance(returned, tuple):
            return list(returned)
        return [returned] * self.returns + [arguments[i] for i in self.outputs]


def signed(*shape: int) -> Maker:
    """Normal numbers without a zero: some multipliers are faster with those."""

    def make(rng, dtype):
        x = rng.standard_normal(shape, dtype)
        x[x == 0] = 1
        return x

    return make


def probabilities(*shape: int) -> Maker:
    """Rows that sum to 1."""

    def make(rng, dtype):
        e = np.exp(rng.standard_normal(shape))
        return (e / e.sum(1, keepdims=True)).astype(dtype)

    return make


def indices(batch: int, stop: int) -> Maker:
    return lambda rng, dtype: rng.integers(0, stop, batch)


def images(*shape: int) -> Maker:
    return lambda rng, dtype: rng.integers(0, 256, shape, np.uint8)


def empty(*shape: int) -> Maker:
    return lambda rng, dtype: np.zeros(shape, dtype)


def number(value: float) -> Maker:
    return lambda rng, dtype: value


def scaled(y) -> tuple:
    """A result whose error is judged by its own size."""
    return y, np.abs(y)


def layers() -> list[tuple[int, int, bool]]:
    """(in_features, out_features, whether it is a network's first) of each Linear, once."""
    found = {
        (widths[i], widths[i + 1], i == 0)
        for widths in NETWORKS.values()
        for i in range(len(widths) - 1)
    }
    return sorted(found)
