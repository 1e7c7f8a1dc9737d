"""Networks as modules of PyTorch, and back: `to_torch`, `from_torch`.

PyTorch keeps the weights of a Linear as (out_features, in_features), this package keeps them as
(in_features, out_features). Numbers are copied, and no memory is shared.
"""

from importlib import import_module
from typing import Any

import numpy as np

from jitprop import layers
from jitprop.interop.own import expect_ours
from jitprop.layers import Graph, Linear, Module, Sequential
from jitprop.layers.batch import as_generator
from jitprop.layers.node import what

# Modules with the same name, and without parameters, in both packages.
FUNCTIONS = "Identity", "LogSoftmax", "ReLU", "Sigmoid", "Softmax", "Tanh"
KNOWN = {
    *("Add", "Bias", "Concatenate", "Dropout", "GaussianNoise"),
    *("Linear", "Multiply", "Split", "Subtract"),
}
TAKEN = "Linear, Dropout, Flatten at the entry, Sequential, " + ", ".join(FUNCTIONS)


def to_torch(net: Module) -> Any:
    """Return a `torch.nn.Module` that computes the same as a network.

    A chain becomes a `torch.nn.Sequential`, with PyTorch's own names in its state dict: "0.weight",
    "0.bias". Another graph becomes a module with the same inputs and with the labels of the graph:
    "linear1.weight". Shared parameters stay shared. Each part has the same mode, training or
    evaluation, as here. PyTorch's module takes only floats: divide pixels by 255 before.

    Parameters
    ----------
    net : Module

    Raises
    ------
    TypeError
        `net` is not a module, or holds a module of your own.
    ImportError
        PyTorch is not installed.
    """
    _torch("to_torch")
    known = [kind for name in KNOWN.union(FUNCTIONS) if (kind := getattr(layers, name, None))]
    expect_ours(net, known, "PyTorch")
    return _ToTorch().module(net)


def from_torch(module: Any, rng: np.random.Generator | int | None = None) -> Module:
    """Return a network that computes the same as a `torch.nn.Sequential`, or one of its modules.

    It may hold Linear, Tanh, Sigmoid, ReLU, Softmax and LogSoftmax of the last dimension, Dropout,
    Identity, other Sequentials, and a Flatten at its entry. A Linear without bias gets a bias of
    zeros, which learns.

    Parameters
    ----------
    module : torch.nn.Module
        On any device, of float32 or float64.
    rng : Generator, int or None
        For Dropout: a NumPy Generator, a seed for one, or None for a fresh one.

    Raises
    ------
    TypeError
        `module` is or holds something else; the message says where.
    ValueError
        The widths of two neighbours do not fit.
    ImportError
        PyTorch is not installed.
    """
    torch = _torch("from_torch")
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"from_torch: module is {what(module)}, expected a torch.nn.Module")
    return _FromTorch(torch, as_generator("from_torch", rng)).module(module, "module", True)


def _torch(name: str) -> Any:
    try:
        return import_module("torch")
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{name} needs {error.name}: https://pytorch.org/get-started says how to install it"
        ) from None


class _ToTorch:
    """Makes modules of PyTorch: one for each of ours, even if that stands at several places."""

    def __init__(self) -> None:
        self.torch = _torch("to_torch")
        self.graphs = import_module("jitprop.interop.torch_graph")
        self.modules: dict[int, Any] = {}
        self.parameters: dict[int, Any] = {}

    def module(self, ours: Module) -> Any:
        """Return the counterpart of a module, in the same mode."""
        if id(ours) not in self.modules:
            made = self.graph(ours) if isinstance(ours, Graph) else self.leaf(ours)
            made.training = ours.training
            self.modules[id(ours)] = made
        return self.modules[id(ours)]

    def graph(self, ours: Graph) -> Any:
        """Return a Sequential for a chain, else a graph."""
        made = [self.module(part) for part in ours.modules]
        single = all(len(step.takes) == len(step.gives) == 1 for step in ours.steps)
        if isinstance(ours, Sequential) and single:
            return self.torch.nn.Sequential(*made)
        steps = [(s.label, part, s.takes) for s, part in zip(ours.steps, made, strict=True)]
        return self.graphs.Graph(steps, ours.results, ours.outputs is not None)

    def leaf(self, ours: Any) -> Any:
        """Return the counterpart of a module that is not a graph."""
        nn, name = self.torch.nn, type(ours).__name__
        if name == "Linear":
            dtype = getattr(self.torch, str(ours.w.dtype))
            # Without initial numbers: they would come from PyTorch's global generator.
            made = nn.utils.skip_init(nn.Linear, ours.in_features, ours.out_features, dtype=dtype)
            made.weight, made.bias = self.parameter(ours.w), self.parameter(ours.b)
            return made
        if name in ("Softmax", "LogSoftmax"):
            return getattr(nn, name)(dim=1)
        if name == "Dropout":
            return nn.Dropout(ours.p)
        if name == "GaussianNoise":
            return self.graphs.GaussianNoise(ours.std)
        if name == "Bias":
            return self.graphs.Bias(self.parameter(ours.b))
        if name == "Multiply":
            return self.graphs.Multiply(ours.constant)
        if name == "Split":
            return self.graphs.Split(ours.widths)
        return (getattr(self.graphs, name, None) or getattr(nn, name))()

    def parameter(self, array: Any) -> Any:
        """Return a copy of parameters; the same array gives the same copy."""
        if id(array) not in self.parameters:
            self.parameters[id(array)] = self.torch.nn.Parameter(self.torch.tensor(array.T))
        return self.parameters[id(array)]


class _FromTorch:
    """Makes modules of ours: one for each of PyTorch's, even if that stands at several places."""

    def __init__(self, torch: Any, rng: np.random.Generator) -> None:
        self.torch, self.rng = torch, rng
        self.modules: dict[int, Module] = {}
        self.arrays: dict[int, tuple[Any, Any]] = {}

    def module(self, given: Any, place: str, entry: bool) -> Module:
        """Return the counterpart of a module, in the same mode.

        `place` says where it stands, and `entry` whether nothing stands before it.
        """
        if id(given) not in self.modules:
            nn, kind = self.torch.nn, type(given)
            where = f"from_torch: {place} is a {kind.__name__}"
            if given._forward_hooks or given._forward_pre_hooks:
                raise TypeError(f"{where} with hooks, which would be lost")
            made: Module
            if isinstance(given, nn.Sequential) and kind.forward is nn.Sequential.forward:
                made = self.chain(given, place, entry)
            elif kind is nn.Flatten:
                if not entry or (given.start_dim, given.end_dim) != (1, -1):
                    raise TypeError(f"{where}, expected one at the entry, from dimension 1 on")
                made = layers.Identity()
            else:
                made = self.leaf(given, kind.__name__, where)
            made.training = given.training
            self.modules[id(given)] = made
        return self.modules[id(given)]

    def chain(self, given: Any, place: str, entry: bool) -> Module:
        """Return a Sequential; without modules, one that does nothing."""
        made: list[Module] = []
        for at, part in enumerate(given):
            made.append(self.module(part, f"{place}[{at}]", entry))
            entry = entry and type(part) in (self.torch.nn.Identity, self.torch.nn.Flatten)
        return Sequential(*made) if made else layers.Identity()

    def leaf(self, given: Any, name: str, where: str) -> Module:
        """Return the counterpart of a module that holds no others."""
        if getattr(self.torch.nn, name, None) is not type(given):
            raise TypeError(f"{where} of a person's own, expected one of {TAKEN}")
        if name == "Linear":
            return self.linear(given, where)
        if name == "Dropout":
            try:
                return layers.Dropout(given.p, self.rng)
            except ValueError as error:
                raise TypeError(f"{where}: {error}") from None
        if name not in FUNCTIONS:
            raise TypeError(f"{where}, expected one of {TAKEN}")
        if getattr(given, "dim", 1) not in (1, -1):
            raise TypeError(f"{where} of dimension {given.dim}, expected 1, that of the features")
        return getattr(layers, name)()

    def linear(self, given: Any, where: str) -> Linear:
        """Return a Linear with copies of the weights; shared weights stay shared."""
        dtype = str(given.weight.dtype).removeprefix("torch.")
        if dtype not in ("float32", "float64") or given.weight.is_meta:
            kind = "without numbers" if given.weight.is_meta else f"of {dtype}"
            raise TypeError(f"{where} {kind}, expected float32 or float64")
        made = Linear(given.in_features, given.out_features, 0, dtype)
        made.w, made.dw = self.copied(given.weight, made.w, made.dw)
        if given.bias is not None:
            made.b, made.db = self.copied(given.bias, made.b, made.db)
        return made

    def copied(self, given: Any, value: Any, grad: Any) -> tuple[Any, Any]:
        """Write parameters into an array, or return the arrays that have them already."""
        if id(given) not in self.arrays:
            value[...] = given.detach().cpu().numpy().T
            self.arrays[id(given)] = value, grad
        return self.arrays[id(given)]
