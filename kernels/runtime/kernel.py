"""The one decorator behind every kernel: compilation, caching, checks and threads.

    @kernel("x(batch,n), b(n) -> out(batch,n)", units=rows, inplace="x")
    def bias_fprop(x, b, out, start, stop): ...

The function below the decorator is the kernel's serial core. It computes the units `start ..
stop-1` of its output, allocates nothing and touches no Python object; other compiled code may call
it as `bias_fprop.core`. A core whose last parameter is `scratch` gets the address of SCRATCH bytes
to use as it likes. The decorator replaces the function by a `Kernel` of the same name. The `Kernel`
checks the arguments, so that the core stays inside its arrays. Then it shares the units out over
the threads, some at a time (a piece).
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from jitprop.kernels.compiler.cache import KernelCache
from jitprop.kernels.compiler.checks import PLAIN, PREDICATES, Signature, is_number
from jitprop.kernels.compiler.inline import inline
from jitprop.kernels.compiler.jit import DISABLED, compiled, fetch
from jitprop.kernels.compiler.numba_private import as_dtype, on_new_types
from jitprop.kernels.runtime.intrinsics import (
    call,
    on_stack,
    peek,
    pointer,
    poke,
    takes_scratch,
    trampoline,
    words,
)
from jitprop.kernels.runtime.threads import SHARED, SUBMIT, here, pool

# Below this many elements a piece of work is not worth another thread's claim (about 1 us).
GRAIN = 8192


@inline
def once(*args):
    """One unit: nothing to share out."""
    return 1, 1


@inline
def rows(*args):
    """Units are rows of the first argument."""
    x = args[0]
    return len(x), max(1, GRAIN * len(x) // max(1, x.size))


@inline
def elements(*args):
    """Units are elements of the first argument, in the order of memory."""
    return args[0].size, GRAIN


def _number(value):
    """A number in the form that kernels take. Anything else stays, and they refuse it."""
    if is_number(value):
        try:
            return np.asarray(value, np.float64)
        except OverflowError:
            pass
    return value


class Shared:
    """A serial core `core(*args, start, stop, scratch)` that several kernels run.

    It is compiled once for each dtype, apart from the kernels. They find its address in the
    mailbox: one slot for float32, the next for float64.

    Parameters
    ----------
    source : function
        The core.
    example : function
        Returns for a float dtype a tuple of `args`; only their types count.
    """

    count = 0

    def __init__(self, source: Callable, example: Callable[[np.dtype], tuple]):
        self.core = core = inline(source)
        self.example = example
        self.slot = SHARED + 2 * Shared.count
        Shared.count += 1
        self.find = compiled(f"{source.__module__}.{source.__name__}")(
            lambda args: trampoline(core, args)
        )

    def prepare(self, dtype: np.dtype) -> None:
        """Compile for a dtype, or load, and leave the address in the mailbox."""
        pool.mailbox[self.slot + dtype.itemsize // 8] = self.find(self.example(dtype))


class Kernel:
    """A checked, threaded, lazily compiled kernel. Call it; `core` is its serial core."""

    __name__: str
    __qualname__: str

    def __init__(
        self,
        source: Callable,
        signature: Signature,
        units: Callable,
        shared: Shared | None = None,
    ):
        functools.update_wrapper(self, source)
        self.signature = signature
        self.units = units
        self.numbers = [i for i, a in enumerate(signature.arguments) if a.dims is None]
        scope: dict[str, Any] = {"units": units, "__name__": __name__, **PREDICATES, **PLAIN}
        scope |= {"SUBMIT": SUBMIT, "call": call, "on_stack": on_stack, "peek": peek}
        scope |= {"pointer": pointer, "poke": poke, "trampoline": trampoline, "words": words}
        if shared:
            function = f"peek(mailbox, {shared.slot} + args[0].itemsize // 8)"
            exec(signature.source("arrange({})", function), scope)
            scope |= {"arrange": inline(source), "shared": shared.core}
            self.core = inline(scope["core"])
        else:
            exec(signature.source("({},)", "trampoline(core, args)"), scope)
            self.core = scope["core"] = inline(source)
        scope["bounds"] = inline(scope["bounds"])
        self.fits = scope["fits"]
        self.shared = shared
        self.entry: Any = None if DISABLED else self._make_entry(scope["entry"])

    def _make_entry(self, source: Callable):
        """The compiled function `entry(mailbox, record, scratch, *args)` that Python calls."""
        entry = compiled(f"{self.__module__}.{self.__name__}")(source)

        def specialise(mailbox, record, scratch, *args, **kwargs):
            """What numba's dispatch calls for arguments of new types."""
            self.signature.explain(self.__name__, args)
            return self.compile(self.signature.kinds(args))

        on_new_types(entry, specialise)
        return entry

    def compile(self, kinds):
        """Compile for arguments of these numba types, or load; return what Python calls."""
        whole = types.int64, types.int64, *kinds
        return fetch(self.entry, whole, self._compile, kinds)

    def _compile(self, kinds):
        if self.shared:
            self.shared.prepare(as_dtype(kinds[-1].dtype))
        return self.entry.compile((*[types.int64] * 3, *kinds))

    def missing(self, kinds) -> bool:
        """Whether `compile` would have to compile, and leave something in the cache."""
        kinds, cache = (*[types.int64] * 3, *kinds), self.entry._cache
        kept = isinstance(cache, KernelCache)  # a kernel of a person's own is not
        return kept and kinds not in self.entry.overloads and cache.missing(kinds)

    def __call__(self, *args, **named) -> None:
        if named:
            raise TypeError(f"{self.__name__}: arguments are positional: {self.signature.text}")
        if self.numbers and not DISABLED:
            given = [*args]
            for place in self.numbers:
                if place < len(given):
                    given[place] = _number(given[place])
            args = tuple(given)
        if here.tape is not None:
            self.signature.explain(self.__name__, args)
            here.tape.calls.append((self, args))
        elif DISABLED:
            self.signature.explain(self.__name__, args)
            self.run_plain(args)
        else:
            self.submit(0, args)

    def refuse(self, args: tuple) -> None:
        """Raise TypeError or ValueError for arguments that do not fit."""
        self.signature.explain(self.__name__, args)
        raise ValueError(f"{self.__name__}: an argument changed while the call looked at it")

    def submit(self, record: int, args: tuple) -> None:
        """Run the call, or have it written down at the address `record`, if that is not 0."""
        if not pool.started:
            pool.start()
        try:
            fitting = self.fits(*args) and self.entry(pool.address, record, here.scratch, *args)
        except Exception:  # numba has many for arguments that it cannot name
            self.signature.explain(self.__name__, args)
            raise
        if not fitting:
            self.refuse(args)

    def __reduce__(self) -> str:
        """A kernel is copied, and pickled, by its name."""
        return self.__qualname__

    def run_plain(self, args) -> None:
        """Run the core without the compiler, interpreted, in one piece."""
        numbers = [float(arg) if place in self.numbers else arg for place, arg in enumerate(args)]
        scratch = (0,) if takes_scratch(self.core) else ()
        with np.errstate(all="ignore"):  # compiled code is silent, too
            self.core(*numbers, 0, self.units(*numbers)[0], *scratch)


def kernel(
    signature: str, units: Callable = elements, inplace: str = "", shared: Shared | None = None
) -> Callable[[Callable], Kernel]:
    """Make a serial core `f(*arrays, start, stop)`, or with `scratch` behind, into a `Kernel`.

    Parameters
    ----------
    signature : str
        The arguments' shapes, outputs behind the arrow; `checks` has the grammar.
    units : compiled function
        Takes the arguments, returns (number of units, units per piece).
    inplace : str
        Names of inputs, separated by spaces, that may be the same array as an output.
    shared : Shared or None
        The core that computes the kernel. The function below the decorator then takes only the
        kernel's arguments, and returns those of the shared core.
    """

    def decorate(source: Callable) -> Kernel:
        return Kernel(source, Signature(signature, inplace), units, shared)

    return decorate
