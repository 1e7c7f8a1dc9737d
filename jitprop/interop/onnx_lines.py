"""The lines of an ONNX file: those of each module, and how to write them.

Each module becomes one operator of ONNX's own domain: Linear is Gemm, Bias is Add, and so on. An
Add of more than two inputs is a chain of Add. Dropout, GaussianNoise and Identity do nothing in
evaluation, and are not in the file. Graphs within graphs become flat. Initializers have the names
of the parameters; shared parameters are stored once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop import layers
from jitprop.interop.onnx_file import (
    LONGEST,
    PRODUCER,
    OnnxError,
    the_package,
)
from jitprop.interop.own import expect_ours
from jitprop.layers import Graph, Module
from jitprop.training.examples import dtype_of
from jitprop.training.files import AnyPath, write_bytes
from jitprop.training.version import own_version

OPSET = 17
IR_VERSION = 8
LARGEST = LONGEST - 2**20  # bytes of weights: there has to be room for the rest
ABOUT = (
    "One example a row, as floats. Bytes that are pixels, which jitprop takes as they are, are to "
    "be divided by 255 before."
)
ABOUT_NUMBERS = "One example a row, as floats."

Array = npt.NDArray[Any]


@dataclass
class Lines:
    """The lines of an ONNX graph in the making.

    Attributes
    ----------
    names : dict of str
        Names of parameters; the key is the id of the array.
    dtype : dtype
        That of the network.
    nodes : list of NodeProto
        In the order in which they run.
    initializers : dict of arrays
        By name.
    """

    names: dict[int, str]
    dtype: np.dtype[Any]
    nodes: list[Any] = field(default_factory=list)
    initializers: dict[str, Array] = field(default_factory=dict)

    def add(self, operator: str, inputs: Sequence[str], outputs: Sequence[str], **how: Any) -> None:
        """Append a node, named after its first output."""
        make = the_package().helper.make_node
        self.nodes.append(make(operator, inputs, outputs, outputs[0], **how))

    def keep(self, array: Array, name: str | None = None) -> str:
        """Store an array; without a name it is one of the network; return its name."""
        name = name or self.names[id(array)]
        self.initializers[name] = array
        return name

    def maker(self, value: str) -> str:
        """Return the operator that gives a value; "" for an input."""
        return next((node.op_type for node in self.nodes if value in node.output), "")

    def rename(self, new: dict[str, str]) -> None:
        """Give values other names."""
        for node in self.nodes:
            for names in (node.input, node.output):
                names[:] = [new.get(name, name) for name in names]


def begin(net: Module, path: AnyPath) -> Lines:
    """Return empty lines for a network; `append` fills them.

    Raises
    ------
    OnnxError, TypeError
        The network cannot be written.
    """
    expect_ours(net, _OPERATORS, "ONNX")
    parameters, dtype = net.parameters(), dtype_of(net)
    for one in parameters:
        if one.value.dtype != dtype:
            kinds = f"{one.name} is {one.value.dtype} and {parameters[0].name} {dtype}"
            raise OnnxError(path, f"not written: {kinds}, expected one of them")
        if not np.isfinite(one.value).all():
            raise OnnxError(path, f"not written: {one.name} has values that are NaN or infinite")
    size = sum(one.value.nbytes for one in parameters)
    if size > LARGEST:
        raise OnnxError(path, f"not written: {size} bytes of weights, one file holds {LARGEST}")
    return Lines({id(one.value): one.name for one in parameters}, dtype)


def append(net: Module, inputs: Sequence[str], lines: Lines, prefix: str = "") -> list[str]:
    """Append the operators of a network to the lines; return the names of its outputs.

    Parameters
    ----------
    net : Module
        All its modules are from this package.
    inputs : sequence of str
        The names of the values that it takes.
    lines : Lines
    prefix : str
        The beginning of the names of values; without it they are the labels that `print(net)`
        shows.
    """
    if not isinstance(net, Graph):
        name = prefix or type(net).__name__.lower()
        return _OPERATORS[type(net)](lines, net, list(inputs), name)
    values = list(inputs)
    for module, step in zip(net.modules, net.steps, strict=True):
        label = f"{prefix}.{step.label}" if prefix else step.label
        values += append(module, [values[value] for value in step.takes], lines, label)
    return [values[value] for value in net.results]


def value(name: str, dtype: np.dtype[Any], features: int | None) -> Any:
    """Return the type of an input or output: (batch, features), any batch; None: any width."""
    helper = the_package().helper
    kind = helper.np_dtype_to_tensor_dtype(dtype)
    return helper.make_tensor_value_info(name, kind, ["batch", features])


def write(
    path: AnyPath,
    lines: Lines,
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    about: str,
    notes: dict[str, str],
) -> None:
    """Write lines to a file, which is replaced at once.

    Parameters
    ----------
    path : path
    lines : Lines
    inputs, outputs : sequences of ValueInfoProto
        As `value` returns them.
    about : str
        For people.
    notes : dict of str
        The file's metadata.

    Raises
    ------
    OnnxError
        The file cannot be written.
    """
    onnx = the_package()
    tensors = [onnx.numpy_helper.from_array(a, name) for name, a in lines.initializers.items()]
    model = onnx.helper.make_model(
        onnx.helper.make_graph(lines.nodes, "network", inputs, outputs, tensors),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name=PRODUCER,
        producer_version=own_version(),
        doc_string=about,
    )
    onnx.helper.set_model_props(model, notes)
    try:
        write_bytes(path, model.SerializeToString(deterministic=True))
    except OSError as error:
        raise OnnxError(path, f"not written: {error.strerror or error}") from None


def _plain(operator: str, **how: Any) -> Callable[..., list[str]]:
    """Return a function that appends a module as one operator."""

    def write(lines: Lines, module: Module, inputs: list[str], name: str) -> list[str]:
        lines.add(operator, inputs, [name], **how)
        return [name]

    return write


def _nothing(lines: Lines, module: Module, inputs: list[str], name: str) -> list[str]:
    return inputs


def _linear(lines: Lines, module: Any, inputs: list[str], name: str) -> list[str]:
    lines.add("Gemm", [*inputs, lines.keep(module.w), lines.keep(module.b)], [name])
    return [name]


def _bias(lines: Lines, module: Any, inputs: list[str], name: str) -> list[str]:
    lines.add("Add", [*inputs, lines.keep(module.b)], [name])
    return [name]


def _add(lines: Lines, module: Any, inputs: list[str], name: str) -> list[str]:
    total, *rest = inputs
    for at, value in enumerate(rest, start=1):
        result = name if at == len(rest) else f"{name}.{at}"
        lines.add("Add", [total, value], [result])
        total = result
    return [name]


def _multiply(lines: Lines, module: Any, inputs: list[str], name: str) -> list[str]:
    if module.constant is not None:
        with np.errstate(over="ignore"):  # beyond float32 it is infinite, as in a kernel
            constant = np.array(module.constant, lines.dtype)
        inputs = [*inputs, lines.keep(constant, f"{name}.constant")]
    lines.add("Mul", inputs, [name])
    return [name]


def _split(lines: Lines, module: Any, inputs: list[str], name: str) -> list[str]:
    names = [f"{name}.{at}" for at in range(len(module.widths))]
    widths = lines.keep(np.array(module.widths, np.int64), f"{name}.widths")
    lines.add("Split", [*inputs, widths], names, axis=1)
    return names


_OPERATORS: dict[type[Module], Callable[[Lines, Any, list[str], str], list[str]]] = {
    layers.Add: _add,
    layers.Bias: _bias,
    layers.Concatenate: _plain("Concat", axis=1),
    layers.Dropout: _nothing,
    layers.GaussianNoise: _nothing,
    layers.Identity: _nothing,
    layers.Linear: _linear,
    layers.LogSoftmax: _plain("LogSoftmax", axis=-1),
    layers.Multiply: _multiply,
    layers.ReLU: _plain("Relu"),
    layers.Sigmoid: _plain("Sigmoid"),
    layers.Softmax: _plain("Softmax", axis=-1),
    layers.Split: _split,
    layers.Subtract: _plain("Sub"),
    layers.Tanh: _plain("Tanh"),
}
