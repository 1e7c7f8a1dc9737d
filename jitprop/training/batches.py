"""Examples, gathered batch by batch into memory that is allocated once."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop import kernels
from jitprop.layers import Graph, Linear, Module
from jitprop.layers.node import what
from jitprop.layers.sparse import SparseImages

Array = npt.NDArray[Any]
Rows = npt.ArrayLike | Sequence[npt.ArrayLike]  # one array, or a tuple for several in- or outputs

INPUTS = ("auto", "dense", "sparse")
# Where skipping zeros pays. Measured on Zen 4 with 784x200 weights, the sparse products take 0.36
# of the time of the dense ones for MNIST (0.19), and 0.6 for images of its kind at 0.44; with AVX2
# alone 0.52 and 0.78. For pixels that have nothing to do with their neighbours it is 0.89 at 0.5;
# with AVX2 0.96 at 0.35, and as long at 0.4.
SPARSE_DENSITY = 0.35


class Batches:
    """Examples, one a row, for a network to run on.

    Parameters
    ----------
    net : Module
        The network; its parameters' dtype is that of the batches.
    x : (n, ...) uint8, or (n, features) of floats
        Images, divided by 255 as they are gathered, or numbers as they are. A tuple of such arrays
        for a network of several inputs.
    t : (n,) of integers, or (n, features) of floats
        Class labels, or targets. A tuple for several outputs; then errors are counted on the first.
    size : int or None
        Examples in a batch; None, or more than there are, for all.
    input : str
        "sparse" leaves out the zeros of images where the first layer can: the results are the same
        bits. "auto" does so where it is faster, "dense" never.

    Attributes
    ----------
    size : int
        Examples in a batch.
    targets : int or None
        How many targets `take` returns in a tuple; None if it returns one array.
    density : float or None
        Share of pixels that are not zero, if the images are sparse; else None.

    Raises
    ------
    ValueError
        Arrays do not fit together, a label is below 0, or `input` cannot be had.
    TypeError
        An array has another dtype, or `net` is no module.
    """

    def __init__(
        self, net: Module, x: Rows, t: Rows, size: int | None, input: str = "auto"
    ) -> None:
        if input not in INPUTS:
            raise ValueError(f"input is {input!r}, expected one of {', '.join(INPUTS)}")
        if not isinstance(net, Module):
            raise TypeError(f"net is {what(net)}, expected a module such as Sequential(...)")
        self.targets = len(t) if isinstance(t, tuple) else None
        xs, ts = _arrays("x", x), _arrays("t", t)
        self._length = len(xs[0]) if xs[0].ndim else 0
        self.size = min(size or self._length, self._length)
        for name, arrays in (("x", xs), ("t", ts)):
            for place, array in enumerate(arrays):
                if array.ndim == 0 or len(array) != self._length or self._length == 0:
                    raise ValueError(
                        f"{name}{place if len(arrays) > 1 else ''} has shape {array.shape}, "
                        f"expected ({self._length or 'n'}, ...)"
                    )
        parameters = net.parameters()
        dtype = parameters[0].value.dtype if parameters else np.dtype(np.float32)
        self.density: float | None = None
        self._x: list[Any] = []
        for place, array in enumerate(xs):
            density = sparse_density(net, array, input, place)
            if density is None:
                self._x.append(_inputs(array, dtype, self.size))
            else:
                self._x.append(SparseImages(_pixels(array), dtype))
                self.density = density
        if input == "sparse" and self.density is None:
            raise ValueError("input is sparse, but no images go into Linear modules alone")
        self._t = [_targets(array, dtype, self.size) for array in ts]
        self._misses = np.zeros(self.size, dtype)

    def __len__(self) -> int:
        """Return the number of examples."""
        return self._length

    def take(self, index: Array) -> tuple[tuple[Any, ...], Any]:
        """Return the inputs, a tuple, and the targets of the examples `index`, int64 (batch,).

        All are valid until the next call.
        """
        targets = tuple(source.take(index) for source in self._t)
        inputs = tuple(source.take(index) for source in self._x)
        return inputs, targets[0] if self.targets is None else targets

    def misses(self, z: Any, t: Any) -> Array:
        """Return for each row 1 if its largest value is not that of its label, else 0.

        Of targets that are no labels, no row.
        """
        zs, ts = ((z,), (t,)) if self.targets is None else (z, t)
        # A tape takes labels as they come: none may lie outside, of whichever output.
        for source, output in zip(self._t, zs, strict=False):  # the loss refuses another number
            if isinstance(source, _Labels) and source.highest >= output.shape[1]:
                raise ValueError(
                    f"t holds the label {source.highest}, the network has {output.shape[1]} outputs"
                )
        z, t = zs[0], ts[0]
        if not isinstance(self._t[0], _Labels):
            return self._misses[:0]
        out = self._misses[: len(t)]
        kernels.misses(z, t, out)
        return out


def sparse_density(net: Module, x: npt.ArrayLike, input: str, place: int) -> float | None:
    """Return the share of pixels that are not zero, by a sample; None if `net` will get all.

    `x` is the array for the network's input `place`, `input` as for `Batches`.
    """
    x = np.asarray(x)
    if input == "dense" or x.dtype != np.uint8 or x.ndim < 2 or not _into_linear(net, place):
        return None
    sample = x[:: max(1, len(x) // 1000)]  # enough to tell, in a hundredth of the time
    density = np.count_nonzero(sample) / max(1, sample.size)
    return density if density <= SPARSE_DENSITY or input == "sparse" else None


class _Source:
    """An array of examples and memory for a batch of them."""

    def __init__(self, array: Array, dtype: npt.DTypeLike, size: int) -> None:
        self.array = np.ascontiguousarray(array)
        self.batch = kernels.aligned_zeros((size, *array.shape[1:]), dtype)

    def take(self, index: Array) -> Array:
        out = self.batch[: len(index)]
        self.gather(self.array, index, out)
        return out

    gather: Any = staticmethod(kernels.gather_rows)


class _Images(_Source):
    gather = staticmethod(kernels.gather)


class _Labels(_Source):
    gather = staticmethod(kernels.gather_labels)

    def __init__(self, array: Array, dtype: npt.DTypeLike, size: int) -> None:
        super().__init__(array, dtype, size)
        self.highest = int(array.max())


def _arrays(name: str, given: Rows) -> list[Array]:
    try:
        return [np.asarray(array) for array in (given if isinstance(given, tuple) else (given,))]
    except ValueError:
        which = "input" if name == "x" else "output"
        raise ValueError(
            f"{name} is neither an array nor a tuple of arrays, one for each {which}"
        ) from None


def _pixels(x: Array) -> Array:
    return np.ascontiguousarray(x.reshape(len(x), -1))


def _inputs(x: Array, dtype: np.dtype, size: int) -> _Source:
    if x.dtype == np.uint8 and x.ndim >= 2:
        return _Images(_pixels(x), dtype, size)
    if x.dtype.kind != "f" or x.ndim != 2:
        raise TypeError(
            f"x is {x.dtype} of shape {x.shape}, expected images, uint8 of 2 or more dimensions, "
            "or floats of shape (n, features)"
        )
    return _Source(x.astype(dtype), dtype, size)


def _targets(t: Array, dtype: np.dtype, size: int) -> _Source:
    if t.dtype.kind in "iu" and t.ndim == 1:
        if t.min() < 0:
            raise ValueError(f"t holds the label {t.min()}, expected 0 or more")
        return _Labels(t.astype(np.int64), np.int64, size)
    if t.dtype.kind != "f" or t.ndim != 2:
        raise TypeError(
            f"t is {t.dtype} of shape {t.shape}, expected class labels, integers of shape (n,), "
            "or floats of shape (n, features)"
        )
    return _Source(t.astype(dtype), dtype, size)


def _into_linear(net: Module, place: int) -> bool:
    """Return whether input `place` is taken by Linear modules and by nothing else."""
    takers = [net]
    if isinstance(net, Graph):
        takers = [step.module for step in net.steps if place in step.takes]
        if place in net.results:
            return False
    return bool(takers) and all(
        isinstance(module, Linear) and type(module).fprop is Linear.fprop for module in takers
    )
