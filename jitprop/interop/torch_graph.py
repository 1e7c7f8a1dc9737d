"""Modules for PyTorch, as it has no counterparts of its own: `to_torch` makes them."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch


class Add(torch.nn.Module):
    """The sum of inputs, from left to right."""

    def forward(self, *xs: Any) -> Any:
        """Return `x0 + x1 + ...`."""
        return reduce(torch.add, xs)


class Subtract(torch.nn.Module):
    """The difference of two inputs."""

    def forward(self, x0: Any, x1: Any) -> Any:
        """Return `x0 - x1`."""
        return x0 - x1


class Multiply(torch.nn.Module):
    """The product of two inputs, or of an input and a constant."""

    def __init__(self, constant: float | None) -> None:
        super().__init__()
        self.constant = constant

    def forward(self, x: Any, *other: Any) -> Any:
        """Return `x0 * x1`, or `x * constant`."""
        return x * other[0] if self.constant is None else x * self.constant


class Bias(torch.nn.Module):
    """A vector that is added to each row."""

    def __init__(self, bias: Any) -> None:
        super().__init__()
        self.bias = bias

    def forward(self, x: Any) -> Any:
        """Return `x + bias`."""
        return x + self.bias


class GaussianNoise(torch.nn.Module):
    """Adds normal random numbers to its input in training, of PyTorch's own generator."""

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def forward(self, x: Any) -> Any:
        """Return `x + std * normal`; in evaluation `x` itself."""
        return x + self.std * torch.randn_like(x) if self.training else x


class Concatenate(torch.nn.Module):
    """Features side by side."""

    def forward(self, *xs: Any) -> Any:
        """Return `[x0 x1 ...]`."""
        return torch.cat(xs, dim=1)


class Split(torch.nn.Module):
    """Features apart."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.widths = list(widths)

    def forward(self, x: Any) -> Any:
        """Return a tuple of the parts."""
        return torch.split(x, self.widths, dim=1)


class Graph(torch.nn.Module):
    """Modules connected as in a `jitprop.Graph`, with the same labels.

    Parameters
    ----------
    steps : sequence of tuples
        The label and the module of each step, and the numbers of the values that it takes. Values
        are numbered in their order, the inputs first.
    results : sequence of int
        The numbers of the outputs.
    several : bool
        Whether outputs are a tuple.
    """

    def __init__(
        self,
        steps: Sequence[tuple[str, Any, tuple[int, ...]]],
        results: Sequence[int],
        several: bool,
    ) -> None:
        super().__init__()
        self._steps = [(label, takes) for label, _, takes in steps]
        self._results, self._several = tuple(results), several
        for label, module, _ in steps:
            self.add_module(label, module)

    def forward(self, *xs: Any) -> Any:
        """Return the output of these inputs, or a tuple of outputs."""
        values = list(xs)
        for label, takes in self._steps:
            y = self.get_submodule(label)(*[values[value] for value in takes])
            values += y if isinstance(y, tuple) else (y,)
        found = tuple(values[value] for value in self._results)
        return found if self._several else found[0]
