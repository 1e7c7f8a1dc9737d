"""The lines of code behind what the page shows, and where they stand."""

import inspect
import textwrap
from collections.abc import Callable
from functools import cache
from typing import Any

from jitprop.kernels import functions
from jitprop.kernels.runtime.kernel import Kernel
from jitprop.layers import Activation, CrossEntropy, Loss, Module, SoftmaxCrossEntropy
from jitprop.layers.one_pass import OnePass


def described(part: Module | Loss) -> dict[str, Any]:
    """Return what a module or a loss is called, its kind, and the code of its methods."""
    return {"text": repr(part), "kind": type(part).__name__, "code": _code(type(part))}


@cache
def _code(kind: type) -> dict[str, list[dict[str, Any]]]:
    methods: dict[str, list[Any]] = {"fprop": [], "bprop": []}
    for name, code in methods.items():
        code.append(getattr(kind, name))
    methods["update"] = [Module.update]
    if issubclass(kind, Activation):
        methods["fprop"].append(kind.forwards)
        methods["bprop"].append(kind.backwards)
        slope = getattr(functions, f"{kind.backwards.__name__.partition('_')[0]}_slope", None)
        methods["bprop"] += [slope] if slope else []
    elif issubclass(kind, SoftmaxCrossEntropy):
        from jitprop.kernels import softmax_cross_entropy

        methods["fprop"] = [OnePass.rows]
        inner = inspect.getmodule(softmax_cross_entropy)
        methods["bprop"] += [inner._gradient]  # type: ignore[union-attr]
    elif issubclass(kind, CrossEntropy):
        methods["fprop"] = [kind.rows]
    return {name: [_piece(one) for one in code] for name, code in methods.items()}


def _piece(function: Callable[..., Any] | Kernel) -> dict[str, Any]:
    """Return the code of a function, its file as the clone has it, and its line."""
    source = inspect.unwrap(function)
    lines, line = inspect.getsourcelines(source)
    module = source.__module__.removeprefix("jitprop.").replace(".", "/")
    code = textwrap.dedent("".join(lines)).rstrip()
    return {"place": f"{module}.py:{line}", "code": code}
