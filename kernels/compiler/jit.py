"""A Python function as machine code: made at the first call, or read from the cache."""

import functools
import inspect
from collections.abc import Callable

import numba

from jitprop.kernels.compiler.apart import apart
from jitprop.kernels.compiler.cache import PACKAGE, KernelCache, compile_callbacks
from jitprop.kernels.compiler.checks import ARRAYS, DTYPES, Signature
from jitprop.kernels.compiler.inline import FLAGS
from jitprop.kernels.compiler.numba_private import keep_in, on_new_types

DISABLED = bool(numba.config.DISABLE_JIT)


def compiled(name: str, signature=None):
    """Compile a function that Python calls, cached under `name`.

    Only names of this package are cached: the cache would not see changes of other sources.
    """

    def decorate(function):
        dispatcher = numba.njit(**FLAGS)(function)
        if not DISABLED and name.startswith(f"{PACKAGE}."):
            keep_in(dispatcher, KernelCache(name))
            if signature is not None:
                dispatcher = _Late(dispatcher, signature)
        return dispatcher

    return decorate


def fetch(dispatcher, signature, function, argument):
    """Return `function(argument)`, which compiles a dispatcher or loads it.

    Only compiling must not be interrupted; loading needs no thread of its own.
    """
    cache = dispatcher._cache
    if isinstance(cache, KernelCache) and cache.holds(signature):
        return function(argument)
    return apart(function, argument)


class _Late:
    """Compiles for its one signature at the first call, not at import."""

    def __init__(self, dispatcher, signature):
        self.dispatcher = dispatcher
        self.signature = signature

    def compile(self):
        fetch(self.dispatcher, self.signature, self.dispatcher.compile, self.signature)

    def __call__(self, *args):
        if not self.dispatcher.overloads:  # else a worker would wait for the thread that starts it
            self.compile()
        return self.dispatcher(*args)


def checked(text: str):
    """Compile a function of arrays that returns a number; arrays must fit the signature `text`."""

    def decorate(function):
        signature, python = Signature(text), inspect.signature(function)
        dispatcher = compiled(f"{function.__module__}.{function.__name__}")(function)

        def specialise(*args):
            signature.explain(function.__name__, args)
            return dispatcher.compile(tuple(signature.kinds(args)))

        if not DISABLED:
            on_new_types(dispatcher, specialise)

        @functools.wraps(function)
        def call(*args, **named):
            if named or len(args) != len(signature.arguments):
                args = python.bind(*args, **named).args
            if DISABLED or not all(type(x) in ARRAYS and x.dtype in DTYPES for x in args):
                signature.explain(function.__name__, args)
            return dispatcher(*args)

        return call

    return decorate


def on_compile(callback: Callable[[str], None]) -> Callable[[], None]:
    """Call `callback(name)` each time before a kernel is compiled that was not in the cache.

    It is called on the thread that compiles, one call after another.

    Returns
    -------
    callable
        A function that ends these calls.
    """
    if not callable(callback):
        raise TypeError(f"callback is {type(callback).__name__}, expected a function of a name")
    compile_callbacks.append(callback)
    return lambda: compile_callbacks.remove(callback)
