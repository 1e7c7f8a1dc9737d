"""Every kernel, called with whatever comes to mind: it computes, or says in one line what is wrong.

Arrays lie between pages that nobody may touch, so that an access outside ends this process. A call
either raises what `Signature.explain` says, and changes nothing, or writes to its outputs alone.
Recorded on a tape, with other values at each run, it does what the call does. All is drawn from the
kernels' signatures: a new kernel is tried without a line here.

`JITPROP_FUZZ=1200 python -m pytest tests/test_fuzz.py` goes on for 1,200 seconds, with other draws,
and leaves the last one in the file `jitprop-fuzz.txt` of the folder for temporary files.
"""

import ctypes
import importlib
import itertools
import mmap
import os
import pkgutil
import sys
import tempfile
import time
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import numba
import numpy as np
import pytest

from jitprop import kernels
from jitprop.kernels.compiler.simd import LANES
from jitprop.kernels.runtime.kernel import Kernel

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="mprotect as Linux has it"
)
SECONDS = float(os.environ.get("JITPROP_FUZZ", 0))
EXAMPLES = 5 if numba.config.DISABLE_JIT else 25  # of each kernel: 20 seconds for all
SIZES = (0, 1, 2, 3, 7, LANES - 1, LANES, LANES + 1, 31, 2 * LANES, 48, 53)
FLOATS = (np.float32, np.float64)
INTEGERS = (0, 1, 2, 5, -1, 2**40, 2**63 - 1, 2**63 - 2, -(2**63))
DTYPES = (
    "f2", "f4", "f8", "g", "c8", "i1", "i4", "i8", "u8", "u1", "?", "M8[s]", "m8[s]", "S3", "U2",
    "V5", "O", [("a", "f4")], ">f4", ">f8", ">i8",
)  # fmt: skip
NOTHING = (None, "x", b"x", 3.5, 7, True, [1.0], (), {}, np.float32(1), np.int64(3), float, 10**400)
NOTHING += (np.datetime64(1, "s"), np.ma.masked, slice(None), memoryview(b"12345678"))


def find_kernels():
    """All kernels by name, those behind functions of several forms, too."""
    found = {}
    for module in pkgutil.iter_modules(kernels.__path__):
        for name, value in vars(importlib.import_module(f"jitprop.kernels.{module.name}")).items():
            if isinstance(value, Kernel) and value.__module__.endswith(f".{module.name}"):
                found[name] = value
    return found


KERNELS = find_kernels()


class Room:
    """Memory between two pages that nobody may touch."""

    SIZE = 24576  # 53 rows of 53 float64, and whole pages

    def __init__(self):
        page = mmap.PAGESIZE
        whole = np.frombuffer(mmap.mmap(-1, self.SIZE + 2 * page), np.uint8)
        mprotect = ctypes.CDLL(None).mprotect
        mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        for at in (0, page + self.SIZE):
            assert mprotect(whole.ctypes.data + at, page, 0) == 0
        self.memory = whole[page : page + self.SIZE]

    def place(self, array, before, moved=0):
        """A copy of an array at the beginning or the end, `moved` bytes away from it."""
        start = moved if before else self.SIZE - array.nbytes - moved
        inside = self.memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        inside[...] = array
        return inside


ROOMS = [Room() for _ in range(12)]


class Own(np.ndarray):
    """A subclass that may do anything."""


def draw_values(rng, argument, shape, dtype, bound, wild):
    """Values of an array: mostly such as a kernel expects; if `wild`, the ends of what there is."""
    if argument.dims is None:
        return np.array(rng.choice([0.5, 1, -2, 0, np.nan, np.inf, 1e-320, 1e308]))
    if dtype.kind == "f":
        values = rng.standard_normal(shape)
        if wild:
            info = np.finfo(dtype)
            ends = [np.nan, np.inf, -np.inf, 0.0, -0.0, info.max, info.tiny, -info.tiny / 8, 1.0]
            values = np.where(rng.random(shape) < 0.3, rng.choice(ends, shape), values)
        with np.errstate(over="ignore"):
            return values.astype(dtype)
    if bound is not None:
        values = rng.integers(0, max(1, bound), shape)
        if wild and values.size and rng.random() < 0.5:
            values.reshape(-1)[rng.integers(values.size)] = rng.choice([*INTEGERS, bound])
        elif argument.bound and rng.random() < 0.5:
            values = (values[:1] + np.arange(len(values))) % max(1, bound)  # one after another
        return values.astype(dtype)
    top = np.iinfo(dtype).max
    ends = [value for value in INTEGERS if -top - 1 <= value <= top]
    if dtype.kind == "u":
        return rng.integers(0, 256, shape).astype(dtype) * (rng.random(shape) < 0.5).astype(dtype)
    return rng.choice(ends if wild else ends[:4], shape).astype(dtype)


class Call:
    """Arguments of a kernel, where they lie, and what they were."""

    def __init__(self, kernel, sizes, dims, dtype, seed, wild):
        self.kernel, self.wild, self.sizes = kernel, wild, sizes
        self.rng = np.random.default_rng(seed)
        self.args, self.whole = [], [room.memory for room in ROOMS]
        for room in ROOMS:
            room.memory[:] = 0xA5
        self.arguments = kernel.signature.arguments
        for argument, room in zip(self.arguments, ROOMS, strict=False):
            shape = () if argument.dims is None else self.shape(argument.dims, dims)
            kind = np.dtype(argument.dtype or (np.float64 if argument.dims is None else dtype))
            array = self.draw(argument, shape, kind)
            self.args.append(room.place(array, bool(self.rng.integers(2))))

    def shape(self, letters, dims):
        if letters == ("...",):
            return dims
        return tuple(int(x) if x.isdigit() else self.sizes[x] for x in letters)

    def draw(self, argument, shape, dtype):
        bound = self.sizes[argument.bound] if argument.bound else None
        return draw_values(self.rng, argument, shape, dtype, bound, self.wild)

    def twist(self, twist):
        """Make one argument another, wrong or right."""
        twist(self, int(self.rng.integers(len(self.args))), self.rng)
        for array in self.args:
            plain = type(array) is np.ndarray and array.flags.carray and not array.dtype.hasobject
            if plain and not any(np.may_share_memory(array, memory) for memory in self.whole):
                self.whole.append(array.reshape(-1).view(np.uint8))

    def change(self):
        """Other values in the same arrays."""
        for argument, array in zip(self.arguments, self.args, strict=False):
            if type(array) is np.ndarray and array.flags.writeable and array.dtype.kind in "fiu":
                array[...] = self.draw(argument, array.shape, array.dtype)

    def bytes(self):
        """All memory that a call might reach, but for what it may write."""
        return [memory.tobytes() for memory in self.whole]

    def restore(self, before):
        for memory, values in zip(self.whole, before, strict=True):
            memory[:] = np.frombuffer(values, np.uint8)

    def is_apart(self):
        """Whether outputs share memory with nothing, or all of it where the signature says so."""
        named = list(zip(self.arguments, self.args, strict=True))
        return all(
            (x.name in self.kernel.signature.inplace and array.ctypes.data == out.ctypes.data)
            or not np.may_share_memory(array, out)
            for one, out in named
            for x, array in named
            if one.output and x is not one and isinstance(array, np.ndarray)
        )

    def outside_outputs(self, contents):
        """The same, with zeros for the outputs."""
        contents = [*contents]
        for argument, array in zip(self.arguments, self.args, strict=False):
            if argument.output:
                for place, memory in enumerate(self.whole):
                    at = array.ctypes.data - memory.ctypes.data
                    if 0 <= at < memory.size:
                        values = bytearray(contents[place])
                        values[at : at + array.nbytes] = bytes(array.nbytes)
                        contents[place] = bytes(values)
        return contents


def other_dtype(call, which, rng):
    dtype = DTYPES[rng.integers(len(DTYPES))]
    call.args[which] = np.zeros(call.args[which].shape, dtype)


def other_byte_order(call, which, rng):
    array = call.args[which]
    call.args[which] = array.astype(array.dtype.newbyteorder())


def other_shape(call, which, rng):
    array = call.args[which]
    dims = int(rng.choice([0, 1, 2, 3, 9, 33, 64]))
    shape = [int(rng.choice([0, 1, 2, 16, 17])) if axis < 3 else 1 for axis in range(dims)]
    if rng.integers(2) and array.ndim:
        shape = [*array.shape]
        shape[rng.integers(array.ndim)] += int(rng.choice([-1, 1]))
        shape = [max(0, size) for size in shape]
    call.args[which] = np.ones(shape, array.dtype)


def other_layout(call, which, rng):
    """Writable all the same: `read_only` says why."""
    array = call.args[which]
    if array.ndim == 0:
        return
    forms = (
        lambda: np.repeat(array, 2, axis=-1)[..., ::2],
        lambda: array[::-1],
        lambda: np.asfortranarray(array),
        lambda: np.lib.stride_tricks.as_strided(array, strides=(0, *array.strides[1:])),
    )
    call.args[which] = forms[rng.integers(len(forms))]()


def odd_strides(call, which, rng):
    """What NumPy calls contiguous all the same, along axes of one element, or of arrays of none."""
    array = call.args[which]
    strides = [
        step if size > 1 and array.size else int(rng.choice([0, -8, 8000, 2**60, -(2**62)]))
        for step, size in zip(array.strides, array.shape, strict=True)
    ]
    call.args[which] = np.lib.stride_tricks.as_strided(array, strides=strides)


def unaligned(call, which, rng):
    array = call.args[which]
    if array.nbytes + 1 <= Room.SIZE:
        call.args[which] = ROOMS[which].place(array.copy(), bool(rng.integers(2)), 1)


def read_only(call, which, rng):
    """Outputs alone: of inputs it would be another type, which takes half a second to compile."""
    if call.arguments[which].output:
        call.args[which].flags.writeable = False


def subclass(call, which, rng):
    array = call.args[which]
    kinds = [np.ma.MaskedArray, np.recarray, Own, *[np.matrix] * (array.ndim == 2)]
    call.args[which] = array.view(kinds[rng.integers(len(kinds))])


def overlap(call, which, rng):
    """In the room of another argument, on the very spot or a few elements away."""
    outputs = [x for one, x in zip(call.arguments, call.args, strict=True) if one.output]
    others = outputs if rng.integers(2) else call.args
    array, other = call.args[which], others[rng.integers(len(others))]
    room = next(room for room in ROOMS if np.may_share_memory(room.memory, other) or not other.size)
    at = other.ctypes.data - room.memory.ctypes.data
    step = int(rng.choice([0, 0, 8, -8, 64, other.nbytes, -array.nbytes])) if other.size else 0
    at = max(0, min(at + step - (at + step) % 8, Room.SIZE - array.nbytes))
    at -= at % 8
    inside = room.memory[at : at + array.nbytes].view(array.dtype).reshape(array.shape)
    if array.dtype.kind == "i":
        inside[...] = array.copy()
    call.args[which] = inside


def nothing(call, which, rng):
    call.args[which] = NOTHING[rng.integers(len(NOTHING))]


def another_count(call, which, rng):
    if rng.integers(2):
        call.args.append(call.args[which])
    else:
        del call.args[which:]


def python_number(call, which, rng):
    for place, argument in enumerate(call.arguments):
        if argument.dims is None:
            call.args[place] = float(call.args[place])


TWISTS = (
    other_dtype, other_byte_order, other_shape, other_layout, odd_strides, unaligned, read_only,
    subclass, overlap, overlap, nothing, another_count, python_number,
)  # fmt: skip


def letters_of(kernel):
    dims = itertools.chain.from_iterable(one.dims or () for one in kernel.signature.arguments)
    return sorted({letter for letter in dims if letter != "..." and not letter.isdigit()})


@st.composite
def drawn(draw, kernel):
    """What a call is made from, of few parts, so that a failure becomes a small one."""
    size = st.sampled_from(SIZES)
    return {
        "sizes": {letter: draw(size) for letter in letters_of(kernel)},
        "dims": tuple(draw(st.lists(size, min_size=1, max_size=2))),
        "dtype": draw(st.sampled_from(FLOATS)),
        "wild": draw(st.booleans()),
        "seed": draw(st.integers(0, 2**32 - 1)),
        "alone": draw(st.booleans()),
    }


def result(function, *args):
    """None, or the error that a call raises, which is one line."""
    try:
        function(*args)
    except (TypeError, ValueError) as error:
        return type(error), str(error)
    return None


def attempt(kernel, twist, alone, **example):
    """The call, and the same from a tape, run twice with other values in between."""
    call = Call(kernel, **example)
    if twist:
        call.twist(twist)
    args = tuple(call.args)
    before = call.bytes()
    expected = result(kernel.signature.explain, kernel.__name__, args)
    assert result(kernel, *args) == expected
    after = call.bytes()
    if expected is not None:
        assert expected[1].startswith(f"{kernel.__name__}: ")
        assert "\n" not in expected[1]
        assert after == before
        return
    assert call.outside_outputs(after) == call.outside_outputs(before)
    assert call.is_apart()
    call.restore(before)
    with kernels.Tape() as tape:
        kernel(*args)
    assert tape.run(alone=alone) == 1
    assert call.bytes() == after
    call.change()
    changed = call.bytes()
    expected = result(kernel, *args)
    after = call.bytes()
    call.restore(changed)
    assert result(lambda: tape.run(1, alone)) == expected
    assert call.bytes() == after


def test_all_kernels_are_tried():
    public = {name for name in kernels.__all__ if isinstance(getattr(kernels, name), Kernel)}
    assert public <= set(KERNELS)
    assert {kernel.__name__ for kernel in KERNELS.values()} - set(kernels.__all__) == set()


def fuzz(name, examples, seed=None):
    kernel = KERNELS[name]
    last = Path(tempfile.gettempdir(), "jitprop-fuzz.txt") if SECONDS else None

    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=seed is None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(drawn(kernel))
    def body(example):
        if last:
            last.write_text(f"{name} {example}\n")
        seed = example.pop("seed")  # several calls of it: Hypothesis takes longer than they do
        chosen = np.random.default_rng(seed).permutation(len(TWISTS))[:5]
        for turn, twist in enumerate((None, None, None, *(TWISTS[place] for place in chosen))):
            attempt(kernel, twist, seed=seed + turn, **example)

    if seed is not None:
        body = hypothesis.seed(seed)(body)
    body()


@pytest.mark.skipif(bool(SECONDS), reason="the long form below")
@pytest.mark.parametrize("name", sorted(KERNELS))
def test_every_kernel(name):
    kernels.set_num_threads(2)
    fuzz(name, EXAMPLES)


@pytest.mark.skipif(not SECONDS, reason="takes as long as JITPROP_FUZZ says")
def test_for_as_long_as_asked():
    kernels.set_num_threads(2)
    end, examples = time.monotonic() + SECONDS, 200
    for turn in itertools.count():
        for name in sorted(KERNELS):
            if time.monotonic() > end:
                print(f"{turn} turns of {examples * len(KERNELS)} examples")
                return
            fuzz(name, examples, turn)
