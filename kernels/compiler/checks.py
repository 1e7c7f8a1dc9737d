"""Which arguments a kernel takes, said once: `"a(M,K), b(K,N) -> out(M,N)"`.

Grammar: arguments in the order of the call, separated by commas; outputs stand behind the arrow,
or are read as well and marked: `w!`.

    a(M,K)            array of the kernel's dtype (float32 or float64), C-contiguous; equal letters
                      are equal sizes, a digit is that size
    starts:int64(n,m) array of that dtype
    x(...)            array of any number of dimensions; all of a call's `...` are one shape
    labels(batch)<K   int64 array of values in 0 .. K-1
    images:uint8(n,p) array of the dtype named
    rate              a number, or a float64 array of no dimensions that holds it

Three things come from this text:

- conditions that are compiled into the kernel's entry, and cost nanoseconds on every call;
- conditions on values in the caller's memory, which a tape checks before each run of the call;
- `explain`: once a condition has failed, it finds the argument and says what would be right.
"""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import types

from jitprop.kernels.compiler.inline import inline
from jitprop.kernels.compiler.numba_private import type_of

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
# Other subclasses mean something else by an element, or by a shape: numpy.ma, numpy.matrix.
ARRAYS = (np.ndarray, np.memmap)
DTYPES = frozenset(map(np.dtype, (np.float32, np.float64, np.int64, np.uint8)))
MOST_DIMS = 8  # of an array `x(...)`: a record on a tape has room for so many
# A number travels as a float64 array of no dimensions, and the kernel reads it when it runs. So the
# numbers of a tape can change from run to run.
NUMBER = types.Array(types.float64, 0, "C")

_ARGUMENT = re.compile(
    r"(?P<name>\w+)(?P<write>!)?(:(?P<dtype>\w+))?(\((?P<dims>[^)]*)\))?(<(?P<bound>\w+))?"
)


@dataclass(frozen=True)
class Argument:
    name: str
    dims: tuple[str, ...] | None  # None: a number
    dtype: np.dtype | None  # None: the kernel's float dtype
    bound: str | None  # values are in 0 .. bound-1
    output: bool

    def shape(self) -> str:
        assert self.dims is not None
        return f"({', '.join(self.dims)}{',' if len(self.dims) == 1 else ''})"


@inline
def aligned(x, x_bytes, itemsize):
    """Whether an array's address is a multiple of `itemsize`, a power of two."""
    return x_bytes == 0 or np.int64(x) & (itemsize - 1) == 0


@inline
def apart(x, x_bytes, out, out_bytes):
    """Whether two C-contiguous arrays, given by address and size, share no byte."""
    x, out = np.int64(x), np.int64(out)  # addresses are unsigned; mixed, numba would use floats
    return x + x_bytes <= out or out + out_bytes <= x


@inline
def apart_or_same(x, x_bytes, out, out_bytes):
    """Whether two arrays of one shape and dtype share no byte or every byte."""
    x, out = np.int64(x), np.int64(out)
    return x == out or x + x_bytes <= out or out + out_bytes <= x


@inline
def below(labels, bound):
    """Whether all labels are in 0 .. bound-1."""
    for label in labels:  # noqa: SIM110 - compiled code, which has no all()
        if label < 0 or label >= bound:
            return False
    return True


PREDICATES = {
    "aligned": aligned, "apart": apart, "apart_or_same": apart_or_same, "below": below,
}  # fmt: skip
PLAIN = {"ndarray": np.ndarray, "memmap": np.memmap, "DTYPES": DTYPES}


def is_number(value) -> bool:
    """Whether a kernel takes `value` for a number, as it is."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(
        value, (bool, np.timedelta64)
    )


def _plain(function):
    """The Python function behind a compiled one."""
    return getattr(function, "py_func", function)


class Signature:
    """A parsed signature; see the module's docstring."""

    def __init__(self, text: str, inplace: str = ""):
        self.text = text
        self.inplace = inplace.split()
        self.arguments: list[Argument] = []
        for side, output in zip(text.split("->"), (False, True), strict=False):
            for text_of_one in re.split(r",\s*(?![^(]*\))", side.strip()):
                match = _ARGUMENT.fullmatch(text_of_one)
                if match is None:
                    raise ValueError(f"signature {text!r}: cannot read {text_of_one!r}")
                dims = match["dims"]
                dtype = "int64" if match["bound"] else match["dtype"]
                self.arguments.append(
                    Argument(
                        match["name"],
                        None if dims is None else tuple(d.strip() for d in dims.split(",")),
                        None if dtype is None else np.dtype(dtype),
                        match["bound"],
                        output or bool(match["write"]),
                    )
                )
        self.arrays = [argument for argument in self.arguments if argument.dims is not None]
        self.pairs = [
            (x, out, x.name in self.inplace)
            for out in self.arrays
            if out.output
            for x in self.arguments  # numbers, too: they are read while the output is written
            if x is not out and not (x.output and x.name > out.name)
        ]

    def source(self, arrange: str, function: str) -> str:
        """Source of the functions `fits`, `entry`, `bounds` and `core`.

        `fits(*args)`, for Python, says whether all are arrays of no subclass and of the machine's
        byte order. Numba's dispatch takes any subclass for an array. Once it has met an array that
        is not aligned, it also takes another byte order for the machine's. It does check dtypes,
        layout and writability.

        `entry(mailbox, record, scratch, *args)` returns False and touches nothing unless sizes
        agree, labels are in range and outputs overlap nothing. Else it computes and returns True.
        If the address `record` is not 0, it only writes down there what to compute.

        `bounds(*args, wrong, number)` writes `number` to the address `wrong` unless labels are in
        range. `core(*args, start, stop, scratch)` calls a shared core.

        `arrange` and `function` are expressions: the tuple that the serial core takes, and the
        address of its trampoline.
        """
        conditions = [
            f"aligned({x.name}.ctypes.data, {x.name}.nbytes, {x.name}.itemsize)"
            for x in self.arguments
        ]
        first: dict[str, str] = {}
        for argument in self.arrays:
            for axis, letter in enumerate(argument.dims or ()):
                size = f"{argument.name}.shape" + ("" if letter == "..." else f"[{axis}]")
                if letter.isdigit():
                    conditions.append(f"{size} == {letter}")
                elif letter in first:
                    conditions.append(f"{size} == {first[letter]}")
                first.setdefault(letter, size)
        in_range = " and ".join(
            f"below({argument.name}, {first[argument.bound]})"
            for argument in self.arrays
            if argument.bound
        )
        conditions += [in_range] * bool(in_range)
        conditions += [
            f"{'apart_or_same' if same else 'apart'}"
            f"({x.name}.ctypes.data, {x.name}.nbytes, {out.name}.ctypes.data, {out.name}.nbytes)"
            for x, out, same in self.pairs
        ]
        names = ", ".join(argument.name for argument in self.arguments)
        values = ", ".join(
            f"pointer({argument.name})" if argument.dims is None else argument.name
            for argument in self.arguments
        )
        plain = " and ".join(
            f"(type({name}) is ndarray or type({name}) is memmap) and {name}.dtype in DTYPES"
            for name in (argument.name for argument in self.arguments)
        )
        return f"""
def fits({names}):
    return {plain}


def entry(mailbox, record, scratch, {names}):
    if not ({" and ".join(conditions) or "True"}):
        return False
    count, grain = units({names})
    args = {arrange.format(values)}
    check = {"trampoline(bounds, args)" if in_range else "0"}
    job = mailbox, record, {function}, check, count, grain, on_stack(args), words(args)
    call(peek(mailbox, SUBMIT), on_stack(job), 0, 0, scratch)
    return True


def bounds({names}, wrong, number):
    if not ({in_range or "True"}):
        poke(wrong, 0, number)


def core({names}, start, stop, scratch):
    shared(*arrange({names}), start, stop, scratch)
"""

    def kinds(self, args: tuple) -> list[types.Type]:
        """The numba types of arguments that fit; a number is an array of no dimensions."""
        return [
            NUMBER if argument.dims is None else type_of(value)
            for argument, value in zip(self.arguments, args, strict=True)
        ]

    def explain(self, kernel: str, args: tuple) -> None:
        """Raise TypeError or ValueError for the first argument that does not fit; else return."""
        if len(args) != len(self.arguments):
            raise TypeError(
                f"{kernel}: {len(args)} arguments given, {len(self.arguments)} expected: "
                f"{self.text}"
            )
        values = {argument.name: v for argument, v in zip(self.arguments, args, strict=True)}
        for argument in self.arguments:
            self._explain_type(f"{kernel}: {argument.name}", argument, values[argument.name])
        self._explain_dtypes(kernel, values)
        self._explain_shapes(kernel, values)
        self.explain_values(kernel, args)
        for x, out, same in self.pairs:
            check = _plain(apart_or_same if same else apart)
            a, b = values[x.name], values[out.name]
            if isinstance(a, np.ndarray) and not check(
                a.ctypes.data, a.nbytes, b.ctypes.data, b.nbytes
            ):
                raise ValueError(
                    f"{kernel}: {out.name} overlaps {x.name} in memory"
                    + (f"; it may be the same array as {x.name}, or apart" if same else "")
                )

    def _explain_type(self, where: str, argument: Argument, value) -> None:
        if argument.dims is None:
            self._explain_number(where, value)
            return
        if type(value) not in ARRAYS:
            name, wanted = type(value).__name__, "a NumPy array"
            if isinstance(value, np.ndarray):
                name, wanted = f"{name}, a subclass of arrays", "numpy.asarray of it"
            raise TypeError(f"{where} is {name}, expected {wanted}")
        expected = FLOATS if argument.dtype is None else (argument.dtype,)
        if value.dtype not in expected or not value.dtype.isnative:
            names = " or ".join(str(dtype) for dtype in expected)
            raise TypeError(f"{where} has dtype {value.dtype}, expected {names}")
        if argument.dims == ("...",):
            if value.ndim > MOST_DIMS:
                raise ValueError(
                    f"{where} has {value.ndim} dimensions, expected at most {MOST_DIMS}"
                )
        elif value.ndim != len(argument.dims):
            raise ValueError(f"{where} has shape {value.shape}, expected {argument.shape()}")
        if not value.flags.c_contiguous:
            raise ValueError(
                f"{where} is not C-contiguous (strides {value.strides}); "
                "pass numpy.ascontiguousarray of it"
            )
        if not value.flags.aligned:
            raise ValueError(f"{where} is not aligned in memory; pass a copy")
        if argument.output and not value.flags.writeable:
            raise ValueError(f"{where} is read-only, but the result is written there")

    def _explain_number(self, where: str, value) -> None:
        if is_number(value):
            try:
                float(value)
            except OverflowError:
                raise ValueError(f"{where} is too large for a float") from None
        elif not (type(value) in ARRAYS and value.shape == () and value.dtype == np.float64):
            wanted = "a number or a float64 array of no dimensions"
            raise TypeError(f"{where} is {type(value).__name__}, expected {wanted}")
        elif not value.flags.aligned:
            raise ValueError(f"{where} is not aligned in memory; pass a copy")

    def _explain_dtypes(self, kernel: str, values: dict) -> None:
        floats = [argument for argument in self.arrays if argument.dtype is None]
        for argument in floats[1:]:
            dtype, expected = values[argument.name].dtype, values[floats[0].name].dtype
            if dtype != expected:
                raise TypeError(
                    f"{kernel}: {argument.name} has dtype {dtype}, "
                    f"but {floats[0].name} has {expected}"
                )

    def _explain_shapes(self, kernel: str, values: dict) -> None:
        sizes: dict[str, tuple[Argument, Any]] = {}
        for argument in self.arrays:
            shape = values[argument.name].shape
            for axis, letter in enumerate(argument.dims or ()):
                size = shape if letter == "..." else shape[axis]
                if letter.isdigit() and size != int(letter):
                    raise ValueError(
                        f"{kernel}: {argument.name} has shape {shape}, expected {argument.shape()}"
                    )
                other, expected = sizes.setdefault(letter, (argument, size))  # a digit fits itself
                if size != expected:
                    other_shape = values[other.name].shape
                    raise ValueError(
                        f"{kernel}: {argument.name} has shape {shape}, which does not fit "
                        f"{other.name} of shape {other_shape}; expected {self.text}"
                    )

    def explain_values(self, kernel: str, args: tuple) -> None:
        """Raise ValueError for the first value that is out of range; all else fits."""
        sizes: dict[str, int] = {}
        for argument, value in zip(self.arguments, args, strict=True):
            if argument.dims:
                sizes.update(zip(argument.dims, value.shape, strict=False))
        for argument, value in zip(self.arguments, args, strict=True):
            if argument.bound:
                bound = sizes[argument.bound]
                wrong = value[(value < 0) | (value >= bound)]
                if wrong.size:
                    raise ValueError(
                        f"{kernel}: {argument.name} holds {wrong[0]}, expected values in "
                        f"0 .. {bound - 1}"
                    )
