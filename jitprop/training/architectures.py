"""Networks of the exercise: linear layers with a tanh, or another function, between each two."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from jitprop.layers import (
    Dropout,
    GaussianNoise,
    GradCheckResult,
    Linear,
    Module,
    ReLU,
    Sequential,
    Sigmoid,
    SoftmaxCrossEntropy,
    Tanh,
    gradcheck,
)
from jitprop.layers.batch import as_generator, as_integer, as_number

# The functions of hidden layers, each with the way to draw the weights before it.
FUNCTIONS: dict[str, tuple[type[Module], str]] = {
    "tanh": (Tanh, "glorot"),
    "relu": (ReLU, "he"),
    "sigmoid": (Sigmoid, "glorot"),
}


def mlp(
    in_features: int,
    hidden: Sequence[int],
    classes: int,
    rng: np.random.Generator | int | None = None,
    dtype: npt.DTypeLike = np.float32,
    dropout: float = 0.0,
    *,
    activation: str = "tanh",
    input_dropout: float = 0.0,
    input_noise: float = 0.0,
) -> Sequential:
    """Return Linear, Tanh, ..., Linear: from images to logits, over layers of `hidden` widths.

    The weights are drawn layer by layer, and the seeds of Dropout and noise after all weights. So
    the weights are the same with them and without.

    Parameters
    ----------
    in_features : int
        Width of the input: pixels of an image.
    hidden : sequence of int
        Widths of the hidden layers; may be empty.
    classes : int
        Width of the output.
    rng : Generator, int or None
        Draws the weights: a NumPy Generator, a seed for one, or None for a fresh one.
    dtype : float32 or float64
        The dtype of the parameters.
    dropout : float
        The probability of a zero; if it is above 0, a Dropout follows each Tanh.
    activation : str
        The function between the layers: "tanh", "relu" or "sigmoid". Weights that lead to a ReLU
        are drawn after He and others, all others after Glorot and Bengio.
    input_dropout : float
        The probability of a zero in the input; if it is above 0, a Dropout comes before
        the first Linear.
    input_noise : float
        The standard deviation of what a GaussianNoise adds to the input, before that Dropout.

    Returns
    -------
    Sequential
        The network, on (batch, in_features); it returns (batch, classes).

    Raises
    ------
    ValueError
        A width is below 1, a dropout or noise is out of range, or there is no such activation.
    TypeError
        A width is not an integer, or `dtype` is neither float32 nor float64.
    """
    rng = as_generator("mlp", rng)
    widths = _widths(in_features, hidden, classes)
    dropout = _share("dropout", dropout)
    input_dropout = _share("input_dropout", input_dropout)
    noise = as_number("mlp", "input_noise", input_noise)
    if not (noise >= 0 and math.isfinite(noise)):
        raise ValueError(f"mlp: input_noise is {noise}, expected 0 or more, and finite")
    if activation not in FUNCTIONS:
        expected = ", ".join(FUNCTIONS)
        raise ValueError(f"mlp: activation is {activation!r}, expected one of {expected}")
    function, init = FUNCTIONS[activation]
    *inner, last = pairwise(widths)
    linears = [Linear(n, m, rng, dtype, init) for n, m in inner] + [Linear(*last, rng, dtype)]
    modules: list[Module] = [GaussianNoise(noise, rng)] if noise else []
    modules += [Dropout(input_dropout, rng)] if input_dropout else []
    for linear in linears[:-1]:
        modules += [linear, function(), *([Dropout(dropout, rng)] if dropout else [])]
    return Sequential(*modules, linears[-1])


def _share(name: str, value: Any) -> float:
    """Return a probability of dropout."""
    p = as_number("mlp", name, value)
    if not 0 <= p < 1:
        raise ValueError(f"mlp: {name} is {p}, expected at least 0 and below 1")
    return p


def _widths(in_features: Any, hidden: Any, classes: Any) -> list[int]:
    """Return the widths of all values from input to output, or say which one is wrong."""
    listed = isinstance(hidden, Iterable) and not isinstance(hidden, str | bytes | Mapping)
    if not listed or (isinstance(hidden, np.ndarray) and hidden.ndim == 0):
        raise TypeError(f"mlp: hidden is {hidden!r}, expected a list of widths such as [200]")
    given = {"in_features": in_features}
    given |= {f"hidden[{place}]": width for place, width in enumerate(hidden)}
    widths = []
    for name, width in {**given, "classes": classes}.items():
        widths.append(as_integer("mlp", name, width))
        if widths[-1] < 1:
            raise ValueError(f"mlp: {name} is {widths[-1]}, expected at least 1")
    return widths


class LayerCheck(NamedTuple):
    """The gradient check of one layer, of the loss, or of the whole network.

    Attributes
    ----------
    layer : str
        The layer in words, such as `Linear(6, 5)`.
    by : str
        The variables of the derivatives: the input x, and parameters by their last name.
    derivatives : int
        How many derivatives were compared: each output by each of those numbers.
    result : GradCheckResult
        The worst derivative.
    """

    layer: str
    by: str
    derivatives: int
    result: GradCheckResult


def gradcheck_mlp(hidden_layers: int) -> GradCheckResult:
    """Run the gradient check on a small `mlp` with this many hidden layers, and on its loss.

    Returns
    -------
    GradCheckResult
        The worst relative error of all layers, the network and the loss.
    """
    results = [row.result for row in gradcheck_layers(hidden_layers)]
    return max(results, key=lambda result: result.error)


def gradcheck_layers(
    hidden_layers: int, label_smoothing: float = 0.0, **how: Any
) -> list[LayerCheck]:
    """Run the gradient check on each layer of a small `mlp`, on its loss and on the whole.

    The widths differ from each other, so that a transposed product cannot pass.

    Parameters
    ----------
    hidden_layers : int
        How many there are.
    label_smoothing : float
        As for `SoftmaxCrossEntropy`.
    **how
        As for `mlp`: dropout, input_dropout, input_noise, activation.

    Returns
    -------
    list of LayerCheck
        The layers in their order, the loss, the network.
    """
    rng = np.random.default_rng(0)
    widths = [5 + layer % 2 for layer in range(hidden_layers)]
    net = mlp(6, widths, 4, rng, np.float64, **how)
    loss = SoftmaxCrossEntropy(label_smoothing)
    first = x = rng.standard_normal((3, 6))
    t = rng.integers(4, size=3)
    rows = []
    for module in net:
        y = module.fprop(x).copy()
        rows.append(_layer_check(repr(module), module, x, y.size))
        x = y
    rows.append(LayerCheck(repr(loss), "x", x.size, gradcheck(loss, x, t)))
    name = f"all of {'-'.join(map(str, (6, *widths, 4)))}"
    return [*rows, _layer_check(name, net, first, x.size)]


def _layer_check(name: str, module: Module, x: npt.NDArray[Any], outputs: int) -> LayerCheck:
    parameters = module.parameters()
    names = [parameter.name.rpartition(".")[2] for parameter in parameters]
    variables = x.size + sum(parameter.value.size for parameter in parameters)
    by = ", ".join(dict.fromkeys(["x", *names]))
    return LayerCheck(name, by, outputs * variables, gradcheck(module, x))
