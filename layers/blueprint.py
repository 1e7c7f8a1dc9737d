"""A network as plain data, numbers and names, from which the same network can be built again.

The data are a list with one entry for each module, after the entries of its parts. The last entry
is the network. If several entries name one other, that is one module at several places.

    {"kind": "Linear", "arguments": {"in_features": 784, "out_features": 10, "dtype": "float32"},
     "arrays": {"w": "linear1.w", "b": "linear1.b"}}
    {"kind": "Sequential", "modules": [0, 1, 0]}
    {"kind": "Graph", "inputs": 784, "steps": [{"module": 0, "takes": [0]}], "outputs": 1}

"arrays" are the parameters and states, with the names that they have in the network. Two modules
that share an array give it the same name. "inputs" are widths and "outputs" are numbers of values;
both are lists if the graph got lists. Values are numbered as in `Graph.steps`. A module that is not
from this package has its full name as "own" instead of a "kind", and cannot be built.
"""

import inspect
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from jitprop import layers
from jitprop.layers.graph import Graph
from jitprop.layers.module import Module, Parameter, State
from jitprop.layers.node import Input, call
from jitprop.layers.sequential import Sequential

Entry = dict[str, Any]

SPARE = 2**27  # bytes that modules without parameters may take to build
LARGEST = 10**5  # modules of all graphs together, counted at every place


def describe(net: Module) -> list[Entry]:
    """Return what `build` takes; a person's own modules are named but not described."""
    names = {id(one.value): one.name for one in owned(net)}
    entries: list[Entry] = []
    numbers: dict[int, int] = {}

    def add(module: Module) -> None:
        if id(module) not in numbers:
            for part in module.modules if isinstance(module, Graph) else ():
                add(part)
            numbers[id(module)] = len(entries)
            entries.append(_entry(module, numbers, names))

    add(net)
    return entries


def owned(module: Module) -> list[Parameter | State]:
    """Return parameters and states: the arrays that are saved with a network."""
    return [*module.parameters(), *module.states()]


def build(entries: list[Entry], elements: Mapping[str, int]) -> Module:
    """Return a network as described, with the parameters of a new network.

    Parameters
    ----------
    entries : list of dict
        As `describe` returns them.
    elements : dict of int
        How many numbers each array of the network has. A network that would take far more memory
        than these numbers is refused before it is allocated.

    Raises
    ------
    ValueError
        The description makes no sense; the message is one line.
    """
    try:
        return _build(entries, elements)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


def _entry(module: Module, numbers: dict[int, int], names: dict[int, str]) -> Entry:
    kind = type(module)
    if isinstance(module, Sequential) and kind is Sequential:
        return {"kind": kind.__name__, "modules": [numbers[id(part)] for part in module]}
    if isinstance(module, Graph) and kind is Graph:
        inputs, outputs = list(module.in_widths), list(module.results)
        return {
            "kind": kind.__name__,
            "inputs": inputs if module._many else inputs[0],
            "steps": [
                {"module": numbers[id(part)], "takes": list(step.takes)}
                for part, step in zip(module.modules, module.steps, strict=True)
            ],
            "outputs": outputs[0] if module.outputs is None else outputs,
        }
    if _built_in(kind.__name__) is not kind:
        return {"own": f"{kind.__module__}.{kind.__qualname__}"}
    kept = owned(module)
    arrays = {one.name: names[id(one.value)] for one in kept}
    arguments: dict[str, Any] = {}
    for name in _arguments(kind):
        if name == "dtype":
            arguments[name] = str(kept[0].value.dtype)
        else:
            given = getattr(module, name)
            if isinstance(given, np.generic):  # a person has put it there
                given = given.item()
            arguments[name] = list(given) if isinstance(given, tuple) else given
    return {"kind": kind.__name__, "arguments": arguments, "arrays": arrays}


def _built_in(kind: Any) -> type[Module] | None:
    """Return the module of this package with that name."""
    found = getattr(layers, kind, None) if kind in layers.__all__ else None
    if isinstance(found, type) and issubclass(found, Module) and not inspect.isabstract(found):
        return found
    return None


def _arguments(kind: type[Module]) -> list[str]:
    """Return the names of a module's arguments, except those that only draw random weights."""
    return [name for name in inspect.signature(kind).parameters if name not in ("rng", "init")]


def _build(entries: list[Entry], elements: Mapping[str, int]) -> Module:
    _expect_few(entries)
    modules: list[Module] = []
    arrays: dict[str, Any] = {}
    spare = SPARE
    for entry in entries:
        if "kind" not in entry:
            raise ValueError(
                f"{entry['own']} is a module of your own; restore into a network instead"
            )
        if entry["kind"] in ("Sequential", "Graph"):
            parts = [modules[part] for part in _parts(entry)]
            modules.append(Sequential(*parts) if "modules" in entry else _graph(entry, parts))
            continue
        names, arguments = entry["arrays"], entry["arguments"]
        kind = _built_in(entry["kind"])
        if kind is None or set(_arguments(kind)) != set(arguments):
            raise ValueError(f"no module is called {entry['kind']} and has {sorted(arguments)}")
        needed = 8 * _numbers(arguments)
        if all(name in elements for name in names.values()):
            needed -= 8 * sum(elements[name] for name in names.values())
        spare -= max(0, needed)
        if spare < 0:
            raise ValueError(f"{entry['kind']} of {arguments} is larger than its arrays")
        module = kind(**arguments)
        _tie(module, names, arrays)
        modules.append(module)
    return modules[-1]


def _expect_few(entries: list[Entry]) -> None:
    """Refuse graphs of graphs that would be too large, though the description is short."""
    sizes: list[int] = []
    total = 0
    for entry in entries:
        sizes.append(1 + sum(sizes[_number(part, len(sizes))] for part in _parts(entry)))
        total += sizes[-1]
        if total > LARGEST + len(sizes):
            raise ValueError(f"graphs of more than {LARGEST} modules")


def _parts(entry: Entry) -> list[Any]:
    """Return the numbers of the modules that stand in a graph, in their order."""
    return [*entry.get("modules", ()), *(step["module"] for step in entry.get("steps", ()))]


def _numbers(arguments: dict[str, Any]) -> int:
    """Return how many numbers a module holds at most, such as the weights between two widths."""
    widths = [sum(a) if isinstance(a, list) else a for a in arguments.values()]
    return prod(width for width in widths if isinstance(width, int))


def _number(given: Any, stop: int) -> int:
    if type(given) is not int or not 0 <= given < stop:
        raise ValueError(f"number {given!r}, expected 0 to {stop - 1}")
    return given


def _graph(entry: Entry, modules: list[Module]) -> Graph:
    inputs, outputs = entry["inputs"], entry["outputs"]
    several = isinstance(inputs, list)
    values: list[Any] = [Input(width) for width in (inputs if several else [inputs])]
    given = values[:] if several else values[0]
    for step, module in zip(entry["steps"], modules, strict=True):
        found = call(module, [values[_number(at, len(values))] for at in step["takes"]])
        values += found if isinstance(found, tuple) else (found,)
    if isinstance(outputs, list):
        return Graph(given, [values[_number(at, len(values))] for at in outputs])
    return Graph(given, values[_number(outputs, len(values))])


def _tie(module: Module, names: dict[str, str], arrays: dict[str, Any]) -> None:
    """Give a module the arrays that an earlier one has under the same names."""
    for one in owned(module):
        before = arrays.setdefault(names[one.name], one)
        if before is one:
            continue
        if before.value.shape != one.value.shape or before.value.dtype != one.value.dtype:
            raise ValueError(f"{module!r} cannot share {names[one.name]} of {before.value.shape}")
        for attribute, array in list(vars(module).items()):
            if array is one.value:
                setattr(module, attribute, before.value)
            elif array is getattr(one, "grad", one):
                setattr(module, attribute, before.grad)
