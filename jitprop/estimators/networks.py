"""Networks of estimators, with the first weights that scikit-learn draws for the same seed."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop.layers import Dropout, Linear, Module, ReLU, Sequential, Sigmoid, Softmax, Tanh
from jitprop.layers.copies import copied
from jitprop.layers.node import what
from jitprop.training.asking import last_module
from jitprop.training.examples import given_off

ACTIVATIONS: dict[str, type[Module] | None] = {
    "identity": None,
    "logistic": Sigmoid,
    "tanh": Tanh,
    "relu": ReLU,
}


def multilayer(
    widths: Sequence[int],
    activation: str,
    random_state: np.random.RandomState,
    dtype: npt.DTypeLike,
    dropout: float,
) -> Sequential:
    """Return Linear, activation, ..., Linear over layers of these widths.

    Weights and intercepts are uniform, within sqrt(6 / (fan_in + fan_out)) of 0, or for the
    logistic function sqrt(2 / (fan_in + fan_out)): Glorot and Bengio 2010. The seeds of Dropout
    are drawn after all of them.
    """
    factor = 2.0 if activation == "logistic" else 6.0
    layers: list[Module] = []
    for place, (fan_in, fan_out) in enumerate(pairwise(widths)):
        if place:
            kind = ACTIVATIONS[activation]
            layers += [kind()] if kind else []
            layers += [Dropout(dropout, 0)] if dropout else []
        linear = Linear(fan_in, fan_out, 0, dtype)
        bound = sqrt(factor / (fan_in + fan_out))
        linear.w[...] = random_state.uniform(-bound, bound, linear.w.shape)
        linear.b[...] = random_state.uniform(-bound, bound, linear.b.shape)
        layers.append(linear)
    for layer in layers:
        if isinstance(layer, Dropout):
            layer.state[0] = random_state.randint(2**31)
    return Sequential(*layers)


def own(
    function: Callable[..., Any],
    n_features: int,
    n_outputs: int,
    random_state: np.random.RandomState,
    classes: bool,
) -> Module:
    """Return the network that a person's function makes, if it fits the table."""
    if isinstance(function, Module | type):
        raise TypeError(
            f"network is {what(function)}, expected a function network(n_features, n_outputs, rng) "
            "that makes a module"
        )
    net = function(n_features, n_outputs, np.random.default_rng(random_state.randint(2**31)))
    if not isinstance(net, Module):
        raise TypeError(
            f"what network(n_features, n_outputs, rng) returned is {what(net)}, expected a module "
            "such as jitprop.Sequential(...)"
        )
    if not net.parameters():
        raise ValueError(
            f"network(n_features, n_outputs, rng) returned {net!r}, which has nothing to learn"
        )
    widths = given_off(net, [n_features])
    if net.outputs is not None or widths[0] not in (None, n_outputs):
        given = f"{net.outputs} outputs" if net.outputs else f"{widths[0]} outputs"
        raise ValueError(
            f"network(n_features, n_outputs, rng) returned {net!r} with {given}, expected "
            f"{n_outputs}"
        )
    if isinstance(last_module(net), Softmax | Sigmoid) and classes:
        raise ValueError(
            f"network(n_features, n_outputs, rng) returned {net!r}, which gives probabilities, "
            "expected logits: the loss has the softmax in it"
        )
    return copied(net)  # the function may return the same network again


def rounded(net: Module, dtype: npt.DTypeLike) -> Module:
    """Return a copy of a chain that computes with another dtype."""
    assert isinstance(net, Sequential)
    layers: list[Module] = []
    for layer in net:
        if isinstance(layer, Linear):
            other = Linear(layer.in_features, layer.out_features, 0, dtype)
            other.w[...], other.b[...] = layer.w, layer.b
            layers.append(other)
        else:
            layers.append(copied(layer))
    return Sequential(*layers)


def weights(net: Module) -> list[npt.NDArray[Any]]:
    """Return the weights of a network, the arrays themselves."""
    return [p.value for p in net.parameters() if p.value.ndim > 1]


def intercepts(net: Module) -> list[npt.NDArray[Any]]:
    """Return the biases of a network, the arrays themselves."""
    return [p.value for p in net.parameters() if p.value.ndim == 1]


def put(name: str, arrays: list[npt.NDArray[Any]], values: Any) -> None:
    """Write into the network what a person assigns to `coefs_` or `intercepts_`."""
    given = [np.asarray(value) for value in values]
    shapes, expected = [v.shape for v in given], [a.shape for a in arrays]
    if shapes != expected:
        raise ValueError(f"{name} has shapes {shapes}, expected {expected}")
    for array, value in zip(arrays, given, strict=True):
        array[...] = value
