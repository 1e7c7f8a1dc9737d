"""A network, or an estimator, as an ONNX file: `to_onnx`."""

from typing import Any

from jitprop.interop.onnx_estimators import write_estimator
from jitprop.interop.onnx_file import DIGEST, PIXELS, SEED
from jitprop.interop.onnx_lines import ABOUT, ABOUT_NUMBERS, Lines, append, begin, value, write
from jitprop.layers import Graph
from jitprop.training.examples import given_off, taken
from jitprop.training.files import AnyPath
from jitprop.training.metrics import weights_sha256
from jitprop.training.settings import switch


def to_onnx(net: Any, path: AnyPath, softmax: bool = False, seed: int | None = None) -> None:
    """Write a network, or an estimator, to an ONNX file, which is replaced at once.

    The file takes batches of any size: `x`, or `x0`, `x1`, ... for a list of inputs. It gives `y`,
    or `y0`, `y1`, ..., as `predict` does. It takes only floats: divide pixels by 255 before. It has
    opset 17 and IR version 8, and float64 if the network has.

    The file of an estimator takes `X` and gives the same as that of skl2onnx: `label` and
    `probabilities`, with a column for each of `classes_`; for a regression, `variable`.

    Parameters
    ----------
    net : Module, MLPClassifier or MLPRegressor
    path : path
        The file.
    softmax : bool
        Whether outputs that are logits become probabilities: by a softmax, or by a sigmoid if there
        is a single logit. What Softmax or Sigmoid gives stays as it is. Not for an estimator, which
        always gives probabilities.
    seed : int or None
        The seed of the network and its training, for the file's metadata. The SHA-256 of the
        weights is there in any case.

    Raises
    ------
    OnnxError
        The file cannot be written, or weights are not finite; an old file then stays as it is.
    ImportError
        The package onnx is not installed.
    ValueError
        The estimator is not fitted.
    TypeError
        `net` is not a module, or holds a module of your own, or an argument has a wrong type.
    """
    if hasattr(net, "get_params"):
        write_estimator(net, path)
        return
    lines = begin(net, path)
    softmax = switch("softmax", softmax)
    widths = taken(net)
    inputs = _numbered("x", len(widths), isinstance(net, Graph) and net._many)
    results = append(net, inputs, lines)
    known = [width for width in widths if width is not None]
    gives = given_off(net, known) if len(known) == len(widths) else (None,) * len(results)
    if softmax:
        results = [
            _probabilities(lines, name, gives[at] if at < len(gives) else None)
            for at, name in enumerate(results)
        ]
    outputs = _numbered("y", len(results), isinstance(net, Graph) and net.outputs is not None)
    _finish(lines, results, outputs, inputs)
    notes = {DIGEST: weights_sha256(net)}
    if seed is not None:
        notes[SEED] = str(seed)
    if net.pixels is not None:
        notes[PIXELS] = str(net.pixels).lower()
    write(
        path,
        lines,
        [value(name, lines.dtype, width) for name, width in zip(inputs, widths, strict=True)],
        [value(name, lines.dtype, width) for name, width in zip(outputs, gives, strict=True)],
        ABOUT_NUMBERS if net.pixels is False else ABOUT,
        notes,
    )


def _numbered(letter: str, count: int, several: bool) -> list[str]:
    return [f"{letter}{at}" for at in range(count)] if several or count > 1 else [letter]


def _probabilities(lines: Lines, result: str, width: int | None) -> str:
    """Append a softmax unless the result is probabilities already; return their name."""
    if lines.maker(result) in ("Softmax", "Sigmoid"):
        return result
    name = f"{result}.probabilities"
    if lines.maker(name):  # the result is an output twice
        return name
    if width == 1:
        lines.add("Sigmoid", [result], [name])
    else:
        lines.add("Softmax", [result], [name], axis=-1)
    return name


def _finish(lines: Lines, results: list[str], outputs: list[str], inputs: list[str]) -> None:
    """Make each result an output; copy one that is an input, or an output twice."""
    new: dict[str, str] = {}
    copies = []
    for result, output in zip(results, outputs, strict=True):
        if result in inputs or result in new:
            copies.append((new.get(result, result), output))
        else:
            new[result] = output
    lines.rename(new)
    for source, output in copies:
        lines.add("Identity", [source], [output])
