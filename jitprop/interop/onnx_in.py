"""A network from an ONNX file: `from_onnx`.

It takes the operators that the outputs need in the order of the file: in this order they can run.
"""

from math import prod
from typing import Any

import numpy as np

from jitprop.interop.onnx_file import DIGEST, FLOATS, PIXELS, OnnxError, read_model
from jitprop.interop.onnx_operators import OPERATORS, Operator, Unflat
from jitprop.interop.onnx_parts import Parts
from jitprop.layers import Graph, Input, Module, Node, Sequential
from jitprop.layers.batch import as_generator
from jitprop.training.files import AnyPath
from jitprop.training.metrics import weights_sha256

LABELS = 4, 5, 6, 7, 8, 12, 13, 2, 3, 9  # the types of integers, texts and bool


def from_onnx(path: AnyPath, rng: np.random.Generator | int | None = None) -> Module:
    """Return the network in an ONNX file, a `Sequential` if it is a chain, else a `Graph`.

    It is new, in training, and you can go on training it. An error lists the operators that it may
    have. Gemm becomes Linear, and so does MatMul, alone or with the Add that follows. Add and Sub
    of a constant become Bias, which learns. Outputs that are labels (integers or texts) are left
    out if there are others. A Dropout drops again in training.

    Parameters
    ----------
    path : path
        The file. It must hold its weights itself: other files are not opened.
    rng : Generator, int or None
        For Dropout: a NumPy Generator, a seed for one, or None for a fresh one.

    Raises
    ------
    OnnxError
        The file is damaged, or has an operator for which there is no module.
    ImportError
        The package onnx is not installed.
    """
    generator = as_generator("from_onnx", rng)
    model, size = read_model(path)
    try:
        parts = Parts(path, model, size, generator)
        net = _net(parts)
    except OnnxError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise OnnxError(path, error) from None
    if parts.ours:
        notes = {note.key: note.value for note in model.metadata_props}
        net.pixels = {"true": True, "false": False}.get(notes.get(PIXELS, ""))
        if notes.get(DIGEST) != weights_sha256(net):
            parts.say("its weights are not those that were written: edited, or damaged")
    return net


def _net(parts: Parts) -> Module:
    """Return the network."""
    inputs = _inputs(parts)
    outputs = _outputs(parts)
    for at in _needed(parts, outputs):
        operator = Operator(parts, parts.graph.node[at])
        if operator.kind == "Constant":  # read by the operators that take it
            continue
        take = OPERATORS.get(operator.kind)
        if take is None:
            listed = ", ".join(sorted([*OPERATORS, "Constant"]))
            raise operator.error(f"no module does this, expected one of {listed}")
        try:
            values = take(operator)
        except (TypeError, ValueError) as error:
            raise error if isinstance(error, OnnxError) else operator.error(error) from None
        for name, value in zip(operator.outputs, values, strict=False):
            parts.values[name] = value
    found = []
    for name in outputs:
        value = parts.values.get(name)
        if not isinstance(value, Node):
            raise OnnxError(parts.path, f"nothing computes the output {name!r}")
        found.append(value)
    # By the names that to_onnx gives, a list of one stays a list.
    lists = [parts.ours and parts.graph.input[0].name == "x0", parts.ours and outputs[0] == "y0"]
    net = Graph(
        inputs if lists[0] or len(inputs) > 1 else inputs[0],
        found if lists[1] or len(found) > 1 else found[0],
    )
    if not net.parameters() and parts.dtype != "float32":
        raise OnnxError(parts.path, f"takes {parts.dtype}, and has no parameters of that")
    return Sequential(*net.modules) if net.modules and _is_chain(net) else net


def _inputs(parts: Parts) -> list[Node]:
    """Return a node for each input; from now on the node stands for it."""
    inputs: list[Node] = []
    kinds = {}
    for one in parts.graph.input:
        if one.name in parts.tensors:  # old files list constants, too
            continue
        where, tensor = f"input {one.name!r}", one.type.tensor_type
        if one.type.WhichOneof("value") != "tensor_type" or tensor.elem_type not in FLOATS:
            raise OnnxError(parts.path, f"{where} is not of float or double")
        if one.name in parts.values or one.name in parts.makers:
            raise OnnxError(parts.path, f"{one.name!r} is given twice")
        sizes = [_size(dim) for dim in tensor.shape.dim]
        if len(sizes) < 2:
            raise OnnxError(parts.path, f"{where} has {len(sizes)} dimensions, expected 2 or more")
        parts.batch, *each = sizes
        known = [size for size in each if size is not None]
        if len(each) > 1 and len(known) < len(each):
            raise OnnxError(parts.path, f"{where}: only its batch may be of any size")
        node = Input(prod(known) if known else None)
        parts.values[one.name] = Unflat(node, len(sizes)) if len(each) > 1 else node
        inputs.append(node)
        kinds[FLOATS[tensor.elem_type]] = one.name
    if len(kinds) != 1:
        given = f"inputs of {' and '.join(kinds)}" if kinds else "no inputs"
        raise OnnxError(parts.path, f"has {given}, expected one type")
    (parts.dtype,) = kinds
    return inputs


def _size(dim: Any) -> int | None:
    """Return the size of a dimension; None if it is any."""
    return dim.dim_value if dim.WhichOneof("value") == "dim_value" and dim.dim_value >= 0 else None


def _outputs(parts: Parts) -> list[str]:
    """Return the names of the outputs, without labels."""
    kept: list[str] = []
    left_out: list[str] = []
    for one in parts.graph.output:
        kind = one.type
        labels = kind.WhichOneof("value") == "tensor_type" and kind.tensor_type.elem_type in LABELS
        (left_out if labels else kept).append(one.name)
    if not kept:
        raise OnnxError(parts.path, "has no output of float or double")
    for name in left_out:
        parts.say(f"output {name!r}, labels, is left out")
    return kept


def _needed(parts: Parts, outputs: list[str]) -> list[int]:
    """Return the numbers of the nodes that the outputs need, in the order of the file."""
    needed: set[int] = set()
    left = list(outputs)
    while left:
        at = parts.makers.get(left.pop())
        if at is not None and at not in needed:
            needed.add(at)
            left += parts.graph.node[at].input
    return sorted(needed)


def _is_chain(net: Graph) -> bool:
    """Whether each module takes what the one before it gives, and nothing else."""
    alone = all(
        step.takes == (at,) and step.gives == (at + 1,) for at, step in enumerate(net.steps)
    )
    return alone and not net._many and net.outputs is None and net.results == (len(net.steps),)
