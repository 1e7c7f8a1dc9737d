"""An estimator as an ONNX file: its network, then the lines that turn outputs into answers.

    several classes    probabilities = softmax(z), label = classes[argmax(probabilities)]
    two classes        the same of (0, z), one output z
    several labels     probabilities = sigmoid(z), label = probabilities > 0.5
    regression         variable = z, or exp(z)

In- and outputs have the names that skl2onnx gives them: X, label, probabilities, variable.
"""

from typing import Any

import numpy as np

from jitprop.interop.onnx_file import DIGEST, the_package
from jitprop.interop.onnx_lines import ABOUT_NUMBERS, Lines, append, begin, value, write
from jitprop.layers import Module
from jitprop.layers.node import what
from jitprop.training.files import AnyPath
from jitprop.training.metrics import weights_sha256


def write_estimator(model: Any, path: AnyPath) -> None:
    """Write a fitted estimator to an ONNX file: see `jitprop.to_onnx`."""
    net = getattr(model, "network_", None)
    if not isinstance(net, Module):
        if not hasattr(type(model), "coefs_"):
            last = " (of a Pipeline, that is pipeline[-1])" if hasattr(model, "steps") else ""
            raise TypeError(
                f"net is {what(model)}, expected a module or an estimator of jitprop{last}"
            )
        raise ValueError(f"this {type(model).__name__} is not fitted yet: call fit before")
    lines = begin(net, path)
    (z,) = append(net, ["X"], lines)
    helper = the_package().helper
    if hasattr(model, "classes_"):
        label = _classifier(lines, z, model)
        width = len(model.classes_)
        several = [width] if model.out_activation_ == "logistic" and model.n_outputs_ > 1 else []
        outputs = [
            helper.make_tensor_value_info("label", label, ["batch", *several]),
            value("probabilities", lines.dtype, width),
        ]
    else:
        lines.add("Exp" if model.out_activation_ == "exp" else "Identity", [z], ["variable"])
        outputs = [value("variable", lines.dtype, model.n_outputs_)]
    inputs = [value("X", lines.dtype, model.n_features_in_)]
    write(path, lines, inputs, outputs, ABOUT_NUMBERS, {DIGEST: weights_sha256(net)})


def _classifier(lines: Lines, z: str, model: Any) -> int:
    """Append the lines for labels and probabilities; return ONNX's type of the labels."""
    tensor = the_package().TensorProto
    if model.out_activation_ == "logistic" and model.n_outputs_ > 1:
        lines.add("Sigmoid", [z], ["probabilities"])
        half = lines.keep(np.array(0.5, lines.dtype), "half")
        lines.add("Greater", ["probabilities", half], ["above"])
        lines.add("Cast", ["above"], ["label"], to=tensor.INT64)
        return int(tensor.INT64)
    if len(model.classes_) == 2:
        lines.add("Sub", [z, z], ["zero"])
        lines.add("Concat", ["zero", z], ["logits"], axis=1)
        z = "logits"
    lines.add("Softmax", [z], ["probabilities"], axis=-1)
    lines.add("ArgMax", ["probabilities"], ["place"], axis=1, keepdims=0)
    classes = _as_stored(model.classes_)
    lines.add("Gather", [lines.keep(classes, "classes"), "place"], ["label"])
    if classes.dtype == object:
        return int(tensor.STRING)
    return int(the_package().helper.np_dtype_to_tensor_dtype(classes.dtype))


def _as_stored(classes: Any) -> Any:
    """Return labels in a form that ONNX knows: whole numbers of 64 bits, text, or as they are."""
    if classes.dtype.kind in "iu":
        return classes.astype(np.int64)
    if classes.dtype.kind in "UO" and all(isinstance(label, str) for label in classes.tolist()):
        return classes.astype(object)
    if classes.dtype.kind in "bf":
        return classes
    raise TypeError(f"labels are {classes[0]!r} and the like, ONNX knows numbers and text")
