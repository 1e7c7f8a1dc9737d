"""Batches, one sample a row: the buffers that layers own, and the checks of their arguments.

A check is a few comparisons and takes under a microsecond. So layers check at every call: an array
of a shape seen before may still differ in dtype or layout.
"""

import math
from numbers import Real
from operator import index
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from jitprop import kernels
from jitprop.layers.sparse import SparseBatch

Array = npt.NDArray[Any]
# bprop returns None only if need_dx=False asked for it. Any, as in typeshed, spares every other
# caller an assertion.
MaybeNone: TypeAlias = Any
T = TypeVar("T")
EVERYTHING = (-math.inf, math.inf)


def as_integer(layer: str, name: str, given: Any) -> int:
    """Return an argument of a layer as a plain integer; it may be one of NumPy's, but no bool."""
    if isinstance(given, bool | np.bool_) or not hasattr(given, "__index__"):
        raise TypeError(f"{layer}: {name} is {given!r}, expected an integer")
    try:
        return index(given)
    except TypeError:  # an array of several numbers, or of floats
        raise TypeError(f"{layer}: {name} is {given!r}, expected an integer") from None


def as_number(layer: str, name: str, given: Any) -> float:
    """Return an argument of a layer as a plain float; it may be one of NumPy's, but no bool."""
    one = given.item() if isinstance(given, np.ndarray) and given.ndim == 0 else given
    if isinstance(one, bool | np.bool_) or not isinstance(one, Real):
        raise TypeError(f"{layer}: {name} is {given!r}, expected a number")
    try:
        return float(one)
    except OverflowError:
        raise ValueError(f"{layer}: {name} is beyond the numbers of float64") from None


def as_generator(layer: str, rng: Any) -> np.random.Generator:
    """Return a generator as it is, one made from a seed, or a fresh one for None."""
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError):
        raise TypeError(
            f"{layer}: rng is {rng!r}, expected a seed (an integer of at least 0), a Generator of "
            "NumPy or None"
        ) from None


class Buffer:
    """Memory for a batch, allocated once; it grows with the largest batch seen.

    A shorter batch takes the first rows, which are C-contiguous like the whole.
    """

    def __init__(self) -> None:
        self._memory: Array = np.empty((0, 0), np.float32)

    def rows(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """Return an array of this shape, (batch, features), with undefined content."""
        memory = self._memory
        if len(memory) < shape[0] or memory.shape[1:] != shape[1:] or memory.dtype != dtype:
            self._memory = memory = kernels.aligned_zeros(shape, dtype)
        return memory[: shape[0]]

    def __reduce__(self) -> tuple[type["Buffer"], tuple[()]]:
        """A copy is a new, empty buffer: results stay with the original."""
        return Buffer, ()


def as_input(
    layer: object,
    name: str,
    x: Any,
    features: int | None = None,
    dtype: Any = None,
    sparse: bool = False,
) -> Any:
    """Return `x` as a C-contiguous (batch, features) array, copied only if it is not one.

    `features` None takes any width, `dtype` None takes float32 and float64. Another dtype is an
    error: a silent conversion would hide that someone meant the other precision. With `sparse`, a
    batch of `jitprop.layers.sparse` is returned as it is.
    """
    if isinstance(x, SparseBatch):
        if not sparse:
            raise TypeError(f"{layer!r}: {name} is sparse, which only Linear takes")
    else:
        x = np.asarray(x, order="C")
    if x.ndim != 2 or (features is not None and x.shape[1] != features):
        width = "features" if features is None else features
        raise ValueError(f"{layer!r}: {name} has shape {x.shape}, expected (batch, {width})")
    if dtype is None and x.dtype != np.float32 and x.dtype != np.float64:
        raise TypeError(
            f"{layer!r}: {name} is {x.dtype}, expected float32 or float64: "
            f"{_as_floats(name, x, 'float32')}"
        )
    if dtype is not None and x.dtype != dtype:
        raise TypeError(
            f"{layer!r}: {name} is {x.dtype}, the parameters are {dtype}: "
            f"{_as_floats(name, x, dtype)}"
        )
    return x


def _as_floats(name: str, x: Array, dtype: object) -> str:
    """Return what to do with an array of another dtype."""
    if x.dtype == np.uint8:
        return (
            f"pass {name} / np.{dtype}(255) for pixels, which is what fit does with bytes, or "
            f"{name}.astype(np.{dtype}) for numbers; jitprop.predict(net, {name}) does what fit did"
        )
    return f"convert it with {name}.astype(np.{dtype})"


def as_inputs(layer: object, xs: tuple[npt.ArrayLike, ...], same_width: bool = True) -> list[Array]:
    """Return each of `xs` as `as_input` does; all have one batch and dtype, or one shape."""
    arrays = [as_input(layer, f"x{place}", x) for place, x in enumerate(xs)]
    first = arrays[0]
    for place, x in enumerate(arrays):
        if len(x) != len(first) or (same_width and x.shape != first.shape):
            what = "same shape" if same_width else "same batch"
            raise ValueError(
                f"{layer!r}: x0 has shape {first.shape} and x{place} {x.shape}, expected the {what}"
            )
        if x.dtype != first.dtype:
            raise TypeError(
                f"{layer!r}: x0 is {first.dtype} and x{place} {x.dtype}: convert one with astype"
            )
    return arrays


def expect_inputs(layer: object, given: int, expected: int) -> None:
    """Raise TypeError unless a module was given as many inputs as it takes."""
    if given != expected:
        raise TypeError(f"{layer!r}: {given} inputs, expected {expected}")


def same_features(layer: object, widths: tuple[int, ...]) -> int:
    """Return the width that all inputs have."""
    if len(set(widths)) != 1:
        given = " and ".join(map(str, widths))
        raise ValueError(f"{layer!r}: inputs have {given} features, expected the same")
    return widths[0]


def as_gradient(layer: object, dy: npt.ArrayLike, shape: tuple[int, ...], dtype: Any) -> Array:
    """Return `dy` as a C-contiguous array; it must have the shape and dtype of the last output."""
    dy = np.asarray(dy, order="C")
    if dy.shape != shape:
        raise ValueError(f"{layer!r}: dy has shape {dy.shape}, the last fprop returned {shape}")
    if dy.dtype != dtype:
        raise TypeError(f"{layer!r}: dy is {dy.dtype}, the last fprop returned {dtype}")
    return dy


def as_targets(
    layer: object, t: npt.ArrayLike, z: Array, within: tuple[float, float] = EVERYTHING
) -> Array:
    """Return the targets of a loss as kernels take them: (batch, n), of the dtype of `z`.

    A tape does not check their range again: `fit` has checked all of them before.
    """
    t = np.asarray(t, order="C")
    if t.shape != z.shape:
        raise ValueError(f"{layer!r}: t has shape {t.shape}, expected {z.shape}, that of z")
    if t.dtype != z.dtype and t.dtype.kind not in "biu":
        raise TypeError(f"{layer!r}: t is {t.dtype}, z is {z.dtype}: convert one with astype")
    if outside := beyond(t, within):
        raise ValueError(f"{layer!r}: t holds {outside}")
    return t.astype(z.dtype, copy=False)


def beyond(t: Array, within: tuple[float, float]) -> str:
    """Return a target outside a range, and the range, as text; "" if all are inside. NaN is."""
    if within == EVERYTHING or not t.size:
        return ""
    low, high = within
    lowest, highest = t.min(), t.max()
    if not (lowest < low or highest > high):
        return ""
    expected = f"{low} or more" if high == math.inf else f"{low} to {high}"
    return f"{lowest if lowest < low else highest:g}, expected {expected}"


def remembered(layer: object, value: T | None) -> T:
    """Return what the last `fprop` left for `bprop`."""
    if value is None:
        raise RuntimeError(f"{layer!r}: bprop before fprop")
    return value
