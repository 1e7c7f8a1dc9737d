"""The operators of an ONNX file become modules, each by a function of the table `OPERATORS`.

A function takes an `Operator` and returns values for its outputs: nodes of a graph, or arrays if
there are only constants. It lets the errors of modules pass.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jitprop import layers
from jitprop.interop.onnx_file import FLOATS, Array, OnnxError
from jitprop.interop.onnx_parts import OURS, Parts
from jitprop.layers import Module, Multiply, Node


class Unflat(NamedTuple):
    """An input of more than two dimensions; the next operator has to flatten it.

    Attributes
    ----------
    node : Node
        Its rows, flat.
    rank : int
        The number of its dimensions.
    """

    node: Node
    rank: int


class Operator:
    """A node of the file, for a function that turns it into modules."""

    def __init__(self, parts: Parts, node: Any) -> None:
        self.parts = parts
        self.inputs = list(node.input)
        self.outputs = list(node.output)
        domain = "" if node.domain in OURS else f"{node.domain}."
        self.kind = f"{domain}{node.op_type}"
        self.label = f"node {node.name or ', '.join(self.outputs)!r}, {self.kind}"
        self._attributes = {one.name: one for one in node.attribute}

    def attribute(self, name: str, kind: str, default: Any) -> Any:
        """Return an attribute, whose field in the file is `kind`."""
        if name not in self._attributes:
            return default
        value = getattr(self._attributes[name], kind)
        return list(value) if kind.endswith("s") else value

    def has(self, name: str) -> bool:
        """Whether there is an attribute."""
        return name in self._attributes

    def given(self, at: int) -> bool:
        """Whether there is an input."""
        return at < len(self.inputs) and self.inputs[at] != ""

    def value(self, at: int) -> Any:
        """Return the value of an input: a node, an array or an Unflat."""
        if not self.given(at):
            raise self.error(f"input {at} is missing")
        name, parts = self.inputs[at], self.parts
        if parts.constant(name) is None and name not in parts.values:
            later = "only a later node gives" if name in parts.makers else "nothing gives"
            raise self.error(f"takes {name!r}, which {later}")
        return parts.values[name]

    def array(self, at: int) -> Array:
        """Return an input that is a constant."""
        value = self.value(at)
        if not isinstance(value, np.ndarray):
            raise self.error(f"{self.inputs[at]!r} is computed, expected a constant")
        return value

    def node(self, at: int) -> Node:
        """Return an input that is computed."""
        value = self.value(at)
        if isinstance(value, Unflat):
            raise self.error(f"takes {value.rank} dimensions, expected Flatten before it")
        if not isinstance(value, Node):
            raise self.error(f"{self.inputs[at]!r} is a constant, expected what is computed")
        return value

    def nodes(self) -> list[Node]:
        """Return all inputs, which are computed."""
        return [self.node(at) for at in range(len(self.inputs))]

    def expect_axis(self, default: int) -> None:
        """Refuse an axis that is not that of the features."""
        axis = self.attribute("axis", "i", default)
        if axis not in (1, -1):
            raise self.error(f"axis {axis}, expected 1, that of the features")

    def error(self, message: object) -> OnnxError:
        """Return an error that names this node."""
        return OnnxError(self.parts.path, f"{self.label}: {message}")


def _parameters(op: Operator, at: int, shape: str) -> Array:
    """Return a constant that becomes parameters or a factor."""
    array = op.array(at)
    if array.dtype != op.parts.dtype:
        raise op.error(f"{op.inputs[at]!r} is {array.dtype}, the network {op.parts.dtype}")
    if array.ndim > 2 or (shape == "matrix" and array.ndim != 2) or not array.size:
        raise op.error(f"{op.inputs[at]!r} is of shape {array.shape}, expected a {shape}")
    if not np.isfinite(array).all():
        raise op.error(f"{op.inputs[at]!r} has values that are NaN or infinite")
    return array


def _vector(op: Operator, at: int, width: int | None) -> Array:
    """Return a constant that is added to rows of a width: a vector, or a number for all."""
    array = _parameters(op, at, "vector")
    wide = array.shape[-1] if array.ndim else 1
    if wide != array.size or (width is not None and wide not in (1, width)):
        expected = "(features,)" if width is None else f"({width},)"
        raise op.error(f"{op.inputs[at]!r} is of shape {array.shape}, expected {expected}")
    if wide == 1 and width is None:
        raise op.error("adds a number to what may be of any width")
    op.parts.take(width or wide)
    return np.broadcast_to(array.reshape(-1), (width or wide,))


def _gemm(op: Operator) -> Sequence[Any]:
    x, w = op.node(0), _parameters(op, 1, "matrix")
    if op.attribute("transA", "i", 0):
        raise op.error("transA is 1, expected 0")
    alpha, beta = op.attribute("alpha", "f", 1.0), op.attribute("beta", "f", 1.0)
    transposed = bool(op.attribute("transB", "i", 0))
    b = None
    if op.given(2):
        _vector(op, 2, w.shape[0] if transposed else w.shape[1])
        b = op.array(2)
    return [op.parts.linear(w, b, (transposed, alpha, beta))(x)]


def _matmul(op: Operator) -> Sequence[Any]:
    """A product with a constant, and a constant added to it, if nothing else takes the product."""
    x, w = op.node(0), _parameters(op, 1, "matrix")
    (name,) = op.outputs
    parts, b, takers = op.parts, None, op.parts.takers.get(name, [])
    if len(takers) == 1 and name not in parts.results:
        add = Operator(parts, parts.graph.node[takers[0]])
        if add.kind == "Add" and len(add.inputs) == 2 and name in add.inputs:
            at = 1 - add.inputs.index(name)
            found = parts.constant(add.inputs[at])
            if found is not None and found.size == w.shape[1]:
                _vector(add, at, w.shape[1])
                b = found
    y = parts.linear(w, b, (False, 1.0, 1.0))(x)
    if b is not None:
        parts.fused[name] = y
    return [y]


def _add(op: Operator) -> Sequence[Any]:
    if len(op.inputs) == 2:
        for at in (0, 1):
            if op.inputs[at] in op.parts.fused:
                return [op.parts.fused[op.inputs[at]]]
        for at in (0, 1):
            if isinstance(op.value(at), np.ndarray):
                x = op.node(1 - at)
                module = op.parts.bias(_vector(op, at, x.features), op.array(at))
                return [module(x)]
    return [layers.Add()(*op.nodes())]


def _sub(op: Operator) -> Sequence[Any]:
    """`x - c` is `x + (-c)`, and `c - x` is `-x + c`, to the bit."""
    if isinstance(op.value(1), np.ndarray):
        x = op.node(0)
        b = -_vector(op, 1, x.features)
        return [op.parts.bias(b)(x)]
    if isinstance(op.value(0), np.ndarray):
        x = op.node(1)
        b = _vector(op, 0, x.features)
        return [op.parts.bias(b)(Multiply(-1.0)(x))]
    return [layers.Subtract()(*op.nodes())]


def _mul(op: Operator) -> Sequence[Any]:
    for at in (0, 1):
        if isinstance(op.value(at), np.ndarray):
            factor = _parameters(op, at, "number")
            if factor.size != 1:
                raise op.error(f"{op.inputs[at]!r} is of shape {factor.shape}, expected a number")
            return [Multiply(float(factor.reshape(())[()]))(op.node(1 - at))]
    return [Multiply()(*op.nodes())]


def _concat(op: Operator) -> Sequence[Any]:
    op.expect_axis(0)
    nodes = op.nodes()
    op.parts.take(sum(node.features or 0 for node in nodes))
    return [layers.Concatenate()(*nodes)]


def _split(op: Operator) -> Sequence[Any]:
    op.expect_axis(0)
    x, parts = op.node(0), len(op.outputs)
    if op.parts.opset < 13 and op.has("split"):
        widths = op.attribute("split", "ints", [])
    elif op.given(1):
        widths = op.array(1).tolist()
    elif x.features is None:
        raise op.error("splits what may be of any width")
    else:  # all are as wide as the first; the last has the rest
        wide = -(-x.features // parts)
        widths = [wide] * (parts - 1)
        widths.append(x.features - sum(widths))
    if op.attribute("num_outputs", "i", parts) != parts or len(widths) != parts:
        raise op.error(f"gives {parts} outputs, its widths are {len(widths)}")
    op.parts.take(sum(widths))
    return list(layers.Split(widths)(x))


def _dropout(op: Operator) -> Sequence[Any]:
    p = op.attribute("ratio", "f", 0.5)
    if op.given(1):
        p = op.array(1).reshape(()).item()
    return [layers.Dropout(p, op.parts.rng)(op.node(0))]


def _flatten(op: Operator) -> Sequence[Any]:
    """Rows of more dimensions become flat; flat rows stay as they are."""
    x = op.value(0)
    rank = x.rank if isinstance(x, Unflat) else 2
    axis = op.attribute("axis", "i", 1)
    if axis not in (1, 1 - rank):
        raise op.error(f"axis {axis}, expected 1: one example a row")
    return [x.node if isinstance(x, Unflat) else op.node(0)]


def _reshape(op: Operator) -> Sequence[Any]:
    """Take a Reshape that only flattens."""
    x = op.value(0)
    node = x.node if isinstance(x, Unflat) else op.node(0)
    shape = op.array(1).tolist()
    rows = [-1, *([] if op.attribute("allowzero", "i", 0) else [0])]
    rows += [] if op.parts.batch is None else [op.parts.batch]
    flattens = len(shape) == 2 and shape[0] in rows and shape[1] in (-1, node.features)
    if not flattens or shape == [-1, -1]:
        raise op.error(f"makes {shape}, expected a flatten: [-1, {node.features or 'features'}]")
    return [node]


def _cast(op: Operator) -> Sequence[Any]:
    x, to = op.value(0), op.attribute("to", "i", 0)
    dtype = x.dtype if isinstance(x, np.ndarray) else op.parts.dtype
    if FLOATS.get(to) != dtype:
        raise op.error(f"makes another type of {dtype}, expected one that changes nothing")
    return [x]


def _same(op: Operator) -> Sequence[Any]:
    return [op.value(0)]


def _function(module: type[Module]) -> Callable[[Operator], Sequence[Any]]:
    """Return a function for an operator that computes each element, or each row."""
    of_rows = issubclass(module, layers.Softmax | layers.LogSoftmax)

    def take(op: Operator) -> Sequence[Any]:
        if of_rows:
            op.expect_axis(-1)
        return [module()(op.node(0))]

    return take


OPERATORS: dict[str, Callable[[Operator], Sequence[Any]]] = {
    "Add": _add,
    "Cast": _cast,
    "Concat": _concat,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "Identity": _same,
    "LogSoftmax": _function(layers.LogSoftmax),
    "MatMul": _matmul,
    "Mul": _mul,
    "Relu": _function(layers.ReLU),
    "Reshape": _reshape,
    "Sigmoid": _function(layers.Sigmoid),
    "Softmax": _function(layers.Softmax),
    "Split": _split,
    "Sub": _sub,
    "Tanh": _function(layers.Tanh),
    "ai.onnx.ml.ZipMap": _same,  # probabilities by the names of the classes
}
