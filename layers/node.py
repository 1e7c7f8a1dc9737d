"""Nodes: they stand for what modules will return, and modules are called on them.

A node computes nothing. `Graph` runs the calls behind the nodes that it gets as outputs.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import cache
from numbers import Real
from typing import Any

from jitprop.layers.batch import as_integer

Widths = tuple[int | None, ...]

# The modules for `a + b`, `a - b` and `a * b`: each of them puts itself here.
OPERATIONS: dict[str, Callable[..., Any]] = {}


class Call:
    """A module on its input nodes; the nodes of its outputs share it."""

    def __init__(self, module: Any, inputs: tuple["Node", ...], widths: Widths) -> None:
        self.module = module
        self.inputs = inputs
        self.widths = widths


class Node:
    """A value of a graph in the making: what a module will return. Nothing is computed yet.

    `a + b`, `a - b` and `a * b` are the modules Add, Subtract and Multiply, elementwise;
    `a * 0.5` multiplies by a constant. They raise the same errors as a call of the module.

    Attributes
    ----------
    features : int or None
        Its width; None if it will be known only when the graph runs.
    """

    __array_ufunc__ = None  # so that NumPy leaves np.float32(2) * node to the node

    def __init__(self, call: Call | None, output: int, features: int | None) -> None:
        self.call = call
        self.output = output
        self.features = features

    def __add__(self, other: "Node") -> "Node":
        return _operate("Add", self, other)

    def __sub__(self, other: "Node") -> "Node":
        return _operate("Subtract", self, other)

    def __mul__(self, other: "Node | float") -> "Node":
        return _operate("Multiply", self, other)

    def __rmul__(self, other: float) -> "Node":
        return _operate("Multiply", self, other)

    def __repr__(self) -> str:
        return repr(self.call.module) if self.call else "Input()"


class Input(Node):
    """A value that comes into the graph.

    Parameters
    ----------
    features : int or None
        Its width, at least 1; None takes any.

    Raises
    ------
    ValueError
        The width is below 1.
    TypeError
        The width is not an integer.
    """

    def __init__(self, features: int | None = None) -> None:
        width = None if features is None else as_integer("Input", "features", features)
        if width is not None and width < 1:
            raise ValueError(f"Input({width}): the width must be at least 1")
        super().__init__(None, 0, width)

    def __repr__(self) -> str:
        return f"Input({'' if self.features is None else self.features})"


def call(module: Any, nodes: Sequence[Node]) -> Any:
    """Return what `module(*nodes)` returns; see `Module.__call__`."""
    for place, node in enumerate(nodes):
        if not isinstance(node, Node):
            raise TypeError(
                f"{module!r}: argument {place} is {what(node)}, expected a node such as Input(5)"
            )
    fewest, most = module._arity()
    if not fewest <= len(nodes) <= most:
        given = f" ({', '.join(map(repr, nodes))})" if nodes else ""
        expected = f"{fewest}" if len(nodes) < fewest else f"{most:.0f}"
        raise TypeError(f"{module!r}: called on {len(nodes)} nodes{given}, expected {expected}")
    widths = out_width(module, [node.features for node in nodes], nodes)
    many = isinstance(widths, tuple)
    made = Call(module, tuple(nodes), widths if isinstance(widths, tuple) else (widths,))
    outputs = tuple(Node(made, output, width) for output, width in enumerate(made.widths))
    return outputs if many else outputs[0]


def what(thing: object) -> str:
    """Return words for a thing of a wrong kind."""
    if isinstance(thing, type):
        return "a class"
    # Some take an estimator for its network.
    inner = ", whose network is its network_" if hasattr(thing, "network_") else ""
    return f"of type {type(thing).__name__}{inner}"


@cache
def takes(fprop: Callable[..., Any]) -> tuple[int, float]:
    """Return how many arrays an `fprop` takes, at least and at most."""
    parameters = list(inspect.signature(fprop).parameters.values())[1:]
    plain = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if any(p.kind == p.VAR_POSITIONAL for p in parameters):
        return max(1, len(plain)), float("inf")
    return sum(p.default is p.empty for p in plain), len(plain)


def out_width(module: Any, widths: Sequence[int | None], sources: Sequence[Any]) -> Any:
    """Return what `module.out_width` returns; None for each width that is not known."""
    unknown = None if module.outputs is None else (None,) * module.outputs
    told = getattr(module, "in_features", None)
    if len(widths) == 1 and isinstance(told, int):
        widths = [told if widths[0] is None else widths[0]]
    if None in widths:
        return unknown
    try:
        found = module.out_width(*widths)
    except ValueError as error:
        raise ValueError(comes_from(error, sources)) from None
    return unknown if found is None else found


def comes_from(error: ValueError, sources: Sequence[Any]) -> str:
    """Return the message of a module's error, with the sources of what the module takes."""
    if "comes from" in str(error):  # a graph within has said it
        return str(error)
    return f"{error}; it comes from {' and '.join(map(repr, sources))}"


def _operate(kind: str, a: Node, b: Any) -> Any:
    if isinstance(b, Node):
        return OPERATIONS[kind]()(a, b)
    if kind == "Multiply" and isinstance(b, Real) and not isinstance(b, bool):
        return OPERATIONS[kind](float(b))(a)
    return NotImplemented
