"""People's examples become the one form that the rest of the package knows.

Inputs are then uint8 (n, pixels), to be divided by 255, or floats (n, features) of the network's
dtype; a sparse matrix becomes `CompressedRows`. Targets are class labels, int64 (n,), or floats (n,
features). All is checked here, before anything is done. The check works piece by piece, so it
copies no whole array.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from jitprop import layers
from jitprop.kernels.compiler.messages import say_once
from jitprop.layers import Graph, Loss, Losses, Module, Weighted
from jitprop.layers.batch import beyond
from jitprop.layers.node import out_width, what
from jitprop.layers.sparse import CompressedRows
from jitprop.training.compressed import compressed

Array = npt.NDArray[Any]
Rows = npt.ArrayLike | Sequence[npt.ArrayLike]  # one array, or a tuple for several in- or outputs

PIECE = 2**18  # elements that are checked together: they stay in the cache
SHORT = 8192  # elements of a product that is computed on one thread
ZEROS = {dtype: np.zeros(SHORT, dtype) for dtype in "fd"}
MOST_LABELS = 2**63  # this number and larger ones do not fit into int64
LARGE = 100  # from here on, a network hardly learns from inputs
LEAST = 2.0**-100  # times the largest weight: less is lost in any sum, and 1 / it may overflow


class Target(NamedTuple):
    """The target of an output.

    Attributes
    ----------
    values : (n,) int64, or (n, features) of the network's dtype
        Class labels, or numbers.
    classes : (n,) int64, or None
        The class of each row, for counting errors; None if there are no classes.
    """

    values: Array
    classes: Array | None


def dtype_of(net: Module) -> np.dtype[Any]:
    """Return the dtype in which a network computes."""
    parameters = net.parameters()
    return parameters[0].value.dtype if parameters else np.dtype(np.float32)


def inputs(
    net: Module,
    given: Rows,
    pixels: bool | None = None,
    of: str = "",
    warn: bool = False,
    finite: bool = False,
) -> list[Any]:
    """Return an array for each input of a network, with one example a row.

    Parameters
    ----------
    net : Module
    given : array, or tuple of arrays
        For each input (n, features) of any numbers, (n, ...), or (n,) for one feature; or a sparse
        matrix (n, features), whose bytes are numbers, too.
    pixels : bool, or None
        Whether bytes are pixels; None: as `net.pixels` says.
    of : str
        The name of the set, for messages: "", "validation: ".
    warn : bool
        Whether to say so if numbers are so large that a network hardly learns from them.
    finite : bool
        Whether the caller itself checks floats that fit as they are for NaN and infinity.

    Returns
    -------
    list of arrays
        (n, pixels) uint8 if bytes are pixels, or (n, features) of the network's dtype; the memory
        of `given` itself if that fits. For a sparse matrix, `CompressedRows` of that dtype.

    Raises
    ------
    TypeError
        An array does not hold numbers.
    ValueError
        Shapes do not fit; an array holds NaN, infinity, or numbers too large for the dtype; the
        indices of a sparse matrix lead outside it.
    """
    widths, dtype = taken(net), dtype_of(net)
    arrays = _arrays(f"{of}x", given)
    if isinstance(net, Graph) and len(arrays) != len(widths):
        given_as = _counted(len(given) if isinstance(given, tuple) else None)
        raise ValueError(f"{of}x is {given_as}, the network takes {len(widths)}")
    found = []
    for place, array in enumerate(arrays):
        where = f"{of}x{place}" if len(arrays) > 1 else f"{of}x"
        width = widths[place] if place < len(widths) else None
        array = _as_rows(where, array, width)
        largest = 0.0
        if hasattr(array, "tocsr"):
            array = compressed(where, array)
            largest = _largest(where, array.data, dtype, array.place)
            array = array.astype(dtype)
        elif array.dtype == np.uint8 and _are_pixels(net, pixels, where, array):
            array = np.ascontiguousarray(_flat(array))
        elif warn or not _fits(array, dtype) or not (finite or all_finite(array)):
            array, largest = _as_floats(where, array, dtype)
        else:
            array = _flat(array)
        if warn and largest >= LARGE:
            scaled = f"({where} - {where}.mean(0)) / {where}.std(0)"
            if isinstance(array, CompressedRows):
                scaled = f"{where} / abs({where}).max()"
            say_once(
                f"{where} holds numbers of {LARGE} and more, and a network hardly learns from "
                f"inputs so large: scale them, as {where} / 255 for pixels, or {scaled}"
            )
        found.append(array)
    if len({len(array) for array in found}) > 1:
        sizes = " and ".join(f"x{place} {len(array)}" for place, array in enumerate(found))
        raise ValueError(f"{of}inputs differ in their rows: {sizes}")
    return found


def targets(
    net: Module, loss: Loss | None, given: Rows, xs: Sequence[Array], of: str = ""
) -> list[Target]:
    """Return the targets of all outputs, for inputs `xs`, as `inputs` returned them.

    Parameters
    ----------
    net : Module
    loss : Loss, or None
        A loss with `classification` takes labels, (n,) or (n, 1) of whole numbers, and one-hot or
        soft targets, (n, classes), of any numbers. Other losses of this package take numbers, (n,
        features), or (n,) for one feature. A person's own loss, and None, also take labels, (n,)
        integers.
    given : array, or tuple of arrays
        One for each output.
    xs : list of arrays
    of : str
        The name of the set, for messages.

    Raises
    ------
    TypeError
        An array does not hold numbers.
    ValueError
        Shapes do not fit; labels are not among the classes; an array holds NaN, infinity, or
        numbers outside the range of the loss.
    """
    arrays = _arrays(f"{of}t", given)
    if loss is not None:
        _expect_outputs(net, loss, len(given) if isinstance(given, tuple) else None, of)
    ends = [one for one, _ in loss.weighted] if isinstance(loss, Losses) else [loss]
    widths = given_off(net, [x.shape[1] for x in xs], of)
    found = []
    for place, array in enumerate(arrays):
        where = f"{of}t{place}" if len(arrays) > 1 else f"{of}t"
        if array.ndim == 0 or len(array) != len(xs[0]):
            raise ValueError(f"{where} has shape {array.shape}, expected ({len(xs[0])}, ...)")
        end = ends[place] if place < len(ends) else None
        width = widths[place] if place < len(widths) else None
        found.append(_as_target(where, array, end, width, dtype_of(net)))
    return found


def row_weights(where: str, given: Any, count: int, dtype: np.dtype[Any]) -> Array:
    """Return the weights of `count` examples, (n,) of a dtype, the largest from 1 to below 2.

    All are divided by one power of two, which changes no bit of any weighted mean. A weight that is
    tiny beside the largest becomes 0.

    Raises
    ------
    TypeError
        They are not numbers.
    ValueError
        There is not one for each example; or one is not finite, or below 0; or all are 0.
    """
    array = _as_array(where, given)
    if array.shape != (count,):
        raise ValueError(f"{where} has shape {array.shape}, expected ({count},), one a row of x")
    weights = _as_floats(where, array, np.dtype(np.float64))[0].reshape(-1)
    if (negative := np.flatnonzero(weights < 0)).size:
        row = negative[0]
        raise ValueError(f"{where} holds {weights[row]:g} (row {row}), expected 0 or more")
    if not weights.any():
        raise ValueError(f"{where} is 0 for all examples, expected one above 0")
    weights = np.ldexp(weights, 1 - np.frexp(weights.max())[1])
    return np.where(weights < LEAST, 0, weights).astype(dtype)


def taken(net: Module) -> tuple[int | None, ...]:
    """Return the width of each input of a network; None where it takes any."""
    if not isinstance(net, Graph):
        return (getattr(net, "in_features", None),)
    widths = list(net.in_widths)
    for step in net.steps:
        unknown = [p for p, v in enumerate(step.takes) if v < len(widths) and widths[v] is None]
        if unknown:
            told = taken(step.module)
            for place in unknown:
                widths[step.takes[place]] = told[place] if place < len(told) else None
    return tuple(widths)


def given_off(net: Module, widths: Sequence[int | None], of: str = "") -> tuple[int | None, ...]:
    """Return the width of each output, for inputs of these widths; None if it is not known."""
    sources = [f"x{place}" if len(widths) > 1 else "x" for place in range(len(widths))]
    try:
        found = out_width(net, widths, sources)
    except ValueError as error:
        raise ValueError(f"{of}{error}") from None
    return found if isinstance(found, tuple) else (found,)


def labels(where: str, given: npt.ArrayLike, width: int | None = None) -> Array:
    """Return class labels, (n,) int64, from labels or one-hot targets; see `targets`."""
    if isinstance(given, tuple):
        raise TypeError(f"{where} is a tuple, expected one array: labels (n,), or (n, classes)")
    (array,) = _arrays(where, given)
    target = _as_classes(where, array, width, np.dtype(np.float64))
    assert target.classes is not None
    return target.classes


def _arrays(where: str, given: Any) -> list[Any]:
    """Return arrays of numbers; for inputs, sparse matrices, too."""
    several = isinstance(given, tuple)
    found = []
    for place, one in enumerate(given if several else (given,)):
        found.append(_as_array(f"{where}{place}" if several and len(given) > 1 else where, one))
    return found


def _as_array(where: str, given: Any) -> Any:
    name = where.rpartition(" ")[2]
    if isinstance(given, np.ma.MaskedArray):
        raise TypeError(
            f"{where} is a masked array, which nothing here would mind: pass {name}.filled(0), or "
            "leave the masked rows out"
        )
    if hasattr(given, "tocsr"):
        if not name.startswith("x"):
            raise TypeError(f"{where} is a sparse matrix, expected an array: pass {name}.toarray()")
        if given.dtype.kind not in "biuf":
            raise TypeError(f"{where} holds {given.dtype}, expected numbers")
        return given
    try:
        array = np.asarray(given)
    except (TypeError, ValueError):
        if name.endswith(("weight", "weights")):
            raise ValueError(f"{where} is no array of numbers") from None
        which = "input" if name.startswith("x") else "output"
        raise ValueError(
            f"{where} is neither an array nor a tuple of arrays, one for each {which}"
        ) from None
    if array.dtype.kind in "biuf":
        return array
    if name.startswith("t") and array.dtype.kind in "OSUT" and array.ndim == 1:
        raise TypeError(
            f"{where} holds {_kind(array)}, expected class labels 0, 1, 2, ...: "
            f"numpy.unique({name}, return_inverse=True)[1] numbers them so"
        )
    raise TypeError(f"{where} holds {_kind(array)}, expected numbers")


def _kind(array: Array) -> str:
    """Return the kind of an array's content, for a message."""
    if array.dtype.kind in "SUT":
        return "text"
    if array.dtype.kind == "O":
        first = next(iter(array.flat), None)
        return "text" if isinstance(first, str) else f"objects such as {first!r:.40}"
    return str(array.dtype)


def _as_rows(where: str, array: Any, width: int | None) -> Any:
    """Return an array with one example a row, (n, ...), with so many features."""
    wanted = "(n, features)" if width is None else f"(n, {width})"
    if array.ndim < 2 and not (array.ndim == 1 and width == 1):
        raise ValueError(f"{where} has shape {array.shape}, expected {wanted}, an example a row")
    features = int(np.prod(array.shape[1:]))
    if width not in (None, features):
        raise ValueError(f"{where} has {features} features, the network takes {width}")
    return array


def _are_pixels(net: Module, pixels: bool | None, where: str, array: Array) -> bool:
    """Whether bytes are pixels, to be divided by 255.

    If neither a person nor the shape says so, it assumes pixels, and prints a line.
    """
    chosen = net.pixels if pixels is None else pixels
    if chosen is None and array.ndim == 2:
        name = where.rpartition(" ")[2]
        say_once(
            f"{name} is a table of bytes: they are divided by 255, as pixels are; "
            "fit(..., pixels=False) takes them as they are, pixels=True divides without this line"
        )
    return chosen is not False


def _fits(array: Array, dtype: np.dtype[Any]) -> bool:
    """Whether kernels take an array as it is."""
    return array.dtype == dtype and array.flags.c_contiguous and array.flags.aligned


def all_finite(x: Array) -> bool:
    """Whether all floats are finite: 0 times any other is not 0, and `vdot` does not warn.

    Pieces are so short that no BLAS wakes its threads for them.
    """
    zeros = ZEROS[x.dtype.char]
    if x.size <= SHORT:
        return not np.vdot(zeros[: x.size], x)
    flat = x.reshape(-1)
    return not any(
        np.vdot(zeros[: len(piece)], piece)
        for piece in (flat[start : start + SHORT] for start in range(0, flat.size, SHORT))
    )


def _as_floats(where: str, array: Array, dtype: np.dtype[Any]) -> tuple[Array, float]:
    """Return numbers as (n, features) of a dtype, and the largest magnitude among them."""
    largest = _largest(where, array, dtype)
    return np.require(_flat(array), dtype, ("C", "ALIGNED")), largest


def _largest(
    where: str,
    array: Array,
    dtype: np.dtype[Any],
    place: Callable[..., tuple[int, ...]] = lambda *at: at,
) -> float:
    """Return the largest magnitude; refuse numbers not finite, or too large for a dtype.

    `place` takes the indices of a number and returns its row and its columns.
    """
    largest = 0.0
    limit = float(np.finfo(dtype).max)
    for start, piece in _pieces(array):
        low, high = float(piece.min()), float(piece.max())  # NaN if there is one
        if not (-limit <= low and high <= limit):
            said, (first, *others) = _first_wrong(piece, dtype)
            row, *column = place(start + first, *others)
            at = f", column {column[0] if len(column) == 1 else tuple(column)}" if column else ""
            raise ValueError(f"{where} holds {said} (row {row}{at})")
        largest = max(largest, -low, high)
    return largest


def _flat(array: Array) -> Array:
    return array.reshape(len(array), int(np.prod(array.shape[1:])))  # -1 fails on no rows


def _pieces(array: Array) -> Iterator[tuple[int, Array]]:
    """Yield pieces of some rows, and the place of the first of them."""
    rows = max(1, PIECE // max(1, int(np.prod(array.shape[1:]))))
    for start in range(0, len(array) if array.size else 0, rows):
        yield start, array[start : start + rows]


def _first_wrong(piece: Array, dtype: np.dtype[Any]) -> tuple[str, tuple[int, ...]]:
    """Return the first number that is not finite, or too large for a dtype, and its indices."""
    with np.errstate(invalid="ignore"):
        wrong = ~(np.abs(piece) <= float(np.finfo(dtype).max))
    at = tuple(map(int, np.argwhere(wrong)[0]))
    value = piece[at]
    if np.isnan(value):
        said = "NaN"
    elif np.isinf(value):
        said = "infinity" if value > 0 else "-infinity"
    else:
        said = f"{value:g}, too large for {dtype},"
    return said, at


def _as_target(
    where: str, array: Array, loss: Loss | None, width: int | None, dtype: np.dtype[Any]
) -> Target:
    if loss is not None and loss.classification:
        if width == 1:
            raise ValueError(
                "a network with one output knows one class: give it 2 outputs for 2 classes, or "
                "take SigmoidCrossEntropy(), whose targets are numbers from 0 to 1"
            )
        return _as_classes(where, array, width, dtype)
    own = loss is None or not of_layers(type(loss))
    wide = None if own else width
    if own and array.ndim == 1 and array.dtype.kind in "iu":
        return _as_classes(where, array, width, dtype)
    fits = width in (1, None) if array.ndim == 1 else wide in (None, *array.shape[1:])
    if array.ndim > 2 or not fits:
        wanted = f"(n, {'features' if width is None else width})"
        raise ValueError(f"{where} has shape {array.shape}, expected {wanted}")
    values = _as_floats(where, array, dtype)[0]
    if loss is not None and (outside := beyond(values, loss.target_range)):
        raise ValueError(f"{where} holds {outside} for {loss!r}")
    return Target(values, None)


def _as_classes(where: str, array: Array, width: int | None, dtype: np.dtype[Any]) -> Target:
    """Return labels; or one-hot and soft targets, with the largest class of each row."""
    if array.ndim == 2 and array.shape[1] == 1 and width != 1:
        array = array[:, 0]
    if array.ndim == 2 and width in (None, array.shape[1]):
        values = _as_floats(where, array, dtype)[0]
        classes = values.argmax(axis=1).astype(np.int64)
        if outside := beyond(values, (0, math.inf)):
            raise ValueError(f"{where} holds {outside}: one-hot targets, or probabilities")
        without = np.flatnonzero(values[np.arange(len(values)), classes] == 0)
        if without.size:
            raise ValueError(f"{where} holds no class (row {without[0]}): all its numbers are 0")
        return Target(values, classes)
    if array.ndim != 1:
        wanted = "" if width is None else f" or (n, {width})"
        raise ValueError(f"{where} has shape {array.shape}, expected class labels (n,){wanted}")
    if array.dtype.kind == "f":
        floats = _as_floats(where, array, np.dtype(np.float64))[0]
        if (fractions := floats[floats != np.rint(floats)]).size:
            raise ValueError(
                f"{where} holds {fractions[0]:g}, expected class labels 0, 1, 2, ...; "
                "numbers are for a loss such as MeanSquaredError()"
            )
    lowest, highest = (int(array.min()), int(array.max())) if array.size else (0, 0)
    if lowest < 0 or highest >= (MOST_LABELS if width is None else width):
        raise ValueError(wrong_labels(where, lowest, highest, width))
    values = array.astype(np.int64)
    return Target(values, values)


def wrong_labels(where: str, lowest: int, highest: int, width: int | None) -> str:
    """Return the message for labels that are not among the classes."""
    name = where.rpartition(" ")[2]
    wanted = "0 or more" if width is None else f"0 ... {width - 1}, one for each output"
    ends = " ... ".join(f"{n:g}" if abs(n) >= MOST_LABELS else str(n) for n in (lowest, highest))
    return (
        f"{where} holds labels {ends}, they must be {wanted}; "
        f"numpy.unique({name}, return_inverse=True)[1] numbers classes from 0"
    )


def _expect_outputs(net: Module, loss: Loss, count: int | None, of: str) -> None:
    """Check that there are a loss and targets for each output.

    A person's own loss may take anything.
    """
    if not of_layers(type(loss)):
        return
    wanted = len(loss.weighted) if isinstance(loss, Losses) else None
    for end, number in ((f"{loss!r} takes", wanted), (f"{of}t holds", count)):
        if number != net.outputs:
            raise ValueError(f"{net!r} returns {_counted(net.outputs)}, {end} {_counted(number)}")


def check_loss(loss: object) -> None:
    """Raise TypeError for anything but a loss, and for a `Weighted` one."""
    if not isinstance(loss, Loss):
        raise TypeError(f"loss is {what(loss)}, expected a loss such as SoftmaxCrossEntropy()")
    for part in loss._within():
        if isinstance(part, Weighted):
            raise TypeError(
                f"loss is {loss!r}: pass {part.loss!r} in the place of {part!r}, and the weights "
                "as sample_weight"
            )


def of_layers(kind: type) -> bool:
    """Whether a class is one of the package `layers`."""
    return kind.__module__.startswith(f"{layers.__name__}.")


def _counted(arrays: int | None) -> str:
    return "one array" if arrays is None else f"a tuple of {arrays}"
