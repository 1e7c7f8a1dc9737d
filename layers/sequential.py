"""A chain of modules: `fprop` from the first to the last, `bprop` from the last to the first."""

from collections.abc import Iterator
from typing import overload

from layers.batch import Array, MaybeNone
from layers.module import Module, Parameter


class Sequential(Module):
    """Modules run one after another; a module itself, so chains nest.

    It has a length and can be iterated, indexed and sliced as a list can (a slice shares the
    modules): the slides' training loop takes it as it takes a list.

    Attributes:
        modules: the modules, a tuple, at least one. None may stand at two places, for a module
            remembers one `fprop` only.
    """

    def __init__(self, *modules: Module) -> None:
        if not modules:
            raise ValueError("Sequential() needs at least one module")
        for place, module in enumerate(modules):
            if not isinstance(module, Module):
                what = "a class" if isinstance(module, type) else f"of type {type(module).__name__}"
                raise TypeError(
                    f"Sequential: argument {place} is {what}, expected a module such as Tanh()"
                )
        self.modules = modules
        names: dict[Module, str] = {}
        for name, module in _named_modules(self):
            if module in names:
                raise ValueError(f"Sequential: one {module!r} stands at {names[module]} and {name}")
            names[module] = name

    def fprop(self, x: Array) -> Array:
        """Return the output of the last module."""
        for module in self.modules:
            x = module.fprop(x)
        return x

    def bprop(self, dy: Array, need_dx: bool = True) -> Array | MaybeNone:
        """Overwrite the gradients of all parameters; return `dx`, unless it is not needed."""
        for module in self.modules[:0:-1]:
            dy = module.bprop(dy)
        return self.modules[0].bprop(dy, need_dx)

    def update(self, rate: float) -> None:
        """Update every module."""
        for module in self.modules:
            module.update(rate)

    def parameters(self) -> list[Parameter]:
        """Return the parameters of all modules in order, named "0.w", "0.b", "2.w", ..."""
        return [
            Parameter(f"{place}.{parameter.name}", parameter.value, parameter.grad)
            for place, module in enumerate(self.modules)
            for parameter in module.parameters()
        ]

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


def _named_modules(chain: Sequential, prefix: str = "") -> Iterator[tuple[str, Module]]:
    """Yield every module of a chain and of the chains in it, named by its place as "0", "1.2"."""
    for place, module in enumerate(chain):
        yield f"{prefix}{place}", module
        if isinstance(module, Sequential):
            yield from _named_modules(module, f"{prefix}{place}.")
