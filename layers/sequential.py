"""A chain of modules: `fprop` from the first to the last, `bprop` from the last to the first."""

from collections.abc import Iterator
from typing import Any, overload

from jitprop.layers.graph import Graph
from jitprop.layers.module import Module
from jitprop.layers.node import Input, call, what


class Sequential(Graph):
    """Modules that run one after another: a graph that is a chain, for any width that they take.

    Like a list, it has a length and can be iterated, indexed and sliced (a slice shares the
    modules). So the training loop of slide 12 takes it as it takes a list.

    Parameters are named by the place of their module: "0.w", "0.b", "2.w", ...

    Parameters
    ----------
    *modules : Module
        At least one, in the order in which they run.

    Attributes
    ----------
    modules : tuple of Module
        These modules.

    Raises
    ------
    ValueError
        There is no module, or the widths of two neighbours do not fit.
    TypeError
        An argument is not a module.
    """

    def __init__(self, *modules: Module) -> None:
        if not modules:
            raise ValueError("Sequential() needs at least one module")
        for place, module in enumerate(modules):
            if not isinstance(module, Module):
                raise TypeError(
                    f"Sequential: argument {place} is {what(module)}, "
                    "expected a module such as Tanh()"
                )
        x: Any = Input()
        y = x
        for module in modules:
            y = call(module, y if isinstance(y, tuple) else (y,))
        super().__init__(x, y)

    def _labels(self) -> list[str]:
        return [str(place) for place in range(len(self.modules))]

    def __len__(self) -> int:
        return len(self.modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.modules)

    @overload
    def __getitem__(self, index: int) -> Module: ...

    @overload
    def __getitem__(self, index: slice) -> "Sequential": ...

    def __getitem__(self, index: int | slice) -> Module:
        if isinstance(index, slice):
            return Sequential(*self.modules[index])
        return self.modules[index]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.modules))})"
