"""The parts that an ONNX file gives a network: constants, and modules made from them."""

import os
from typing import Any

import numpy as np

from jitprop.interop.onnx_file import PRODUCER, Array, OnnxError, array_of
from jitprop.kernels.compiler.messages import say_once
from jitprop.layers import Bias, Linear, Node
from jitprop.training.files import AnyPath
from jitprop.training.text import printable

OLDEST = 7  # since this opset, shapes are broadcast as in NumPy
SPARE = 2**27  # bytes that modules may take besides those for the numbers in the file
LARGEST = 10**5  # operators
OURS = "", "ai.onnx"  # names of ONNX's own domain


class Parts:
    """The constants of a file by their names, and the modules made so far.

    Attributes
    ----------
    path : path
    graph : GraphProto
    rng : Generator
        For Dropout.
    ours : bool
        Whether `to_onnx` wrote the file.
    opset : int
    dtype : str
        That of the network.
    batch : int or None
        How many examples the inputs have; None: any number.
    results : set of str
        The names of the outputs.
    values : dict
        The known value of each name: an array, a node or an Unflat.
    makers : dict of int
        The number of the node that gives a value.
    takers : dict of lists of int
        The numbers of the nodes that take a value.
    fused : dict of Node
        The result of the Add after a MatMul; the key is the name of the product.
    """

    def __init__(self, path: AnyPath, model: Any, size: int, rng: np.random.Generator) -> None:
        self.path, self.graph, self.rng = path, model.graph, rng
        self.ours = model.producer_name == PRODUCER
        opsets = [one.version for one in model.opset_import if one.domain in OURS]
        self.opset = max(opsets, default=0)
        if self.opset < OLDEST:
            raise OnnxError(path, f"is of opset {self.opset}, expected {OLDEST} or more")
        if model.functions:
            names = ", ".join(one.name for one in model.functions)
            raise OnnxError(path, f"has operators of its own, {names}, expected ONNX's")
        if len(self.graph.node) > LARGEST:
            raise OnnxError(path, f"has more than {LARGEST} operators")
        self.dtype = ""
        self.batch: int | None = None
        self.results = {one.name for one in self.graph.output}
        self.tensors = {one.name: one for one in self.graph.initializer}
        self.values: dict[str, Any] = {}
        self.makers: dict[str, int] = {}
        self.takers: dict[str, list[int]] = {}
        self.fused: dict[str, Node] = {}
        for at, node in enumerate(self.graph.node):
            for name in filter(None, node.output):
                if name in self.makers or name in self.tensors:
                    raise OnnxError(path, f"{name!r} is given twice")
                self.makers[name] = at
            for name in filter(None, node.input):
                self.takers.setdefault(name, []).append(at)
        self._spare = SPARE + 8 * size  # four times as many as its float32 take
        self._linears: dict[Any, Linear] = {}
        self._biases: dict[int, Bias] = {}
        self._tied: dict[Any, tuple[Array, Array]] = {}
        self._forms: dict[int, Any] = {}

    def constant(self, name: str) -> Array | None:
        """Return an initializer or the value of a Constant; None if the name is something else."""
        value = self.values.get(name)
        if value is None and name in self.tensors:
            value = self.values[name] = array_of(self.tensors[name])
        elif value is None and name in self.makers:
            node = self.graph.node[self.makers[name]]
            if node.op_type == "Constant" and node.domain in OURS:
                value = self.values[name] = _held(node)
        return value if isinstance(value, np.ndarray) else None

    def say(self, line: str) -> None:
        """Say what a person may not expect of the file."""
        say_once(f"{printable(os.fspath(self.path))}: {line}")

    def take(self, numbers: int) -> None:
        """Refuse a module that would take far more memory than the file, before it is made."""
        self._spare -= 8 * numbers
        if self._spare < 0:
            raise OnnxError(self.path, "would take far more memory than the file has")

    def linear(self, w: Array, b: Array | None, form: tuple[bool, float, float]) -> Linear:
        """Return a Linear made of constants; the same constants give the same Linear.

        `form` says whether `w` is transposed, and the factors of `w` and `b`.
        """
        transposed, alpha, beta = form
        known = self._linears.get(key := (id(w), id(b), form))
        if known is not None:
            return known
        rows, columns = w.shape[::-1] if transposed else w.shape
        self.take(w.size + columns)
        made = Linear(rows, columns, 0, w.dtype)
        with np.errstate(over="ignore"):
            made.w[...] = (w.T if transposed else w) * w.dtype.type(alpha)
            if b is not None:
                made.b[...] = b.reshape(-1) * w.dtype.type(beta)
        if not (np.isfinite(made.w).all() and np.isfinite(made.b).all()):
            raise ValueError(f"alpha {alpha:g} and beta {beta:g} make infinite weights")
        self._linears[key] = made
        if self._forms.setdefault(id(w), (transposed, alpha)) != (transposed, alpha):
            self.say("some weights are there in two forms, which learn apart")
        made.w, made.dw = self._tied.setdefault((id(w), transposed, alpha), (made.w, made.dw))
        # Other programs store equal vectors, such as zeros, only once.
        if b is not None and self.ours and b.size == columns:
            made.b, made.db = self._tied.setdefault((id(b), beta), (made.b, made.db))
        return made

    def bias(self, b: Array, of: Array | None = None) -> Bias:
        """Return a Bias of the vector `b`; in our files, the same `of` gives the same Bias."""
        shared = self.ours and of is not None and of.size == b.size
        known = self._biases.get(id(of)) if shared else None
        if known is not None:
            return known
        made = Bias(b.size, b.dtype)
        made.b[...] = b
        if shared:
            self._biases[id(of)] = made
            made.b, made.db = self._tied.setdefault((id(of), 1.0), (made.b, made.db))
        return made


def _held(node: Any) -> Array:
    """Return the value of a Constant."""
    for one in node.attribute:
        if one.name == "value":
            return array_of(one.t)
        if one.name in ("value_float", "value_floats"):
            return np.array(one.f if one.name == "value_float" else [*one.floats], np.float32)
        if one.name in ("value_int", "value_ints"):
            return np.array(one.i if one.name == "value_int" else [*one.ints], np.int64)
    raise ValueError(f"the constant {node.output[0]!r} holds no numbers")
