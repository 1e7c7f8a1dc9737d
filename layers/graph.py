"""Computational graphs: modules called on nodes, run forwards and then backwards.

    x = Input(784)
    h = Tanh()(Linear(784, 200)(x))
    y = Linear(200, 10)(h) + Linear(784, 10)(x)
    net = Graph(inputs=x, outputs=y)

`fprop` runs the modules in one topological order, `bprop` runs them in reverse. If a value is used
more than once, its gradients are added in the order of the backward pass, each to the sum of those
before. So the bits are always the same. Nothing recurses along a graph, only into graphs within it.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple, Self

import numpy as np

from jitprop import kernels
from jitprop.layers.batch import Array, Buffer, as_input, remembered
from jitprop.layers.module import Module, Parameter, State
from jitprop.layers.node import Call, Input, Node, Widths, comes_from, out_width
from jitprop.layers.order import as_nodes, in_order
from jitprop.layers.sharing import Shared, share
from jitprop.layers.summary import mermaid, table


class Step(NamedTuple):
    """A module at its place in a graph, and the numbers of the values that it takes and gives.

    If the module has run at an earlier step, `module` is a twin of it.
    """

    label: str
    module: Module
    takes: tuple[int, ...]
    gives: tuple[int, ...]

    def multiply_adds(self, widths: Widths) -> int | None:
        """Return the module's multiply-adds, for these widths of all values; None: not known."""
        if type(self.module).multiply_adds is Module.multiply_adds:
            return 0
        known = [width for value in self.takes if (width := widths[value]) is not None]
        return self.module.multiply_adds(*known) if len(known) == len(self.takes) else None


class Graph(Module):
    """Modules connected in any way without a cycle. A graph is a module itself, so graphs nest.

    You may call a module at several places. They share its parameters, and their gradients are
    summed. A module remembers only one `fprop`. So from its second place on, the graph runs a copy
    of it. All copies have the same arrays of parameters.

    The name of a parameter begins with the label of its module, which `print(net)` shows. The label
    is the kind of the module, and a count: "linear2.w" belongs to the second Linear of the table. A
    shared parameter is named after its first place.

    Parameters
    ----------
    inputs : Input, or list of Input
        For a list, `bprop` returns a tuple.
    outputs : Node, or list of Node
        For a list, `fprop` returns a tuple.

    Attributes
    ----------
    modules : tuple of Module
        In the order in which they run. A module at several places is there several times.
    in_widths : tuple of int or None
        Features of each input; None takes any.
    steps : list of Step
        How the modules are connected; `takes` and `gives` number the values, the inputs first.
    results : tuple of int
        The numbers of the outputs.

    Raises
    ------
    TypeError
        One of `inputs` is not an `Input`, or one of `outputs` is not a node.
    ValueError
        An input is given twice, is never used, or is missing; or there is a cycle.
    """

    _of_a_run = ("_values",)

    def __init__(self, inputs: Node | Sequence[Node], outputs: Node | Sequence[Node]) -> None:
        input_nodes, output_nodes = as_nodes("inputs", inputs), as_nodes("outputs", outputs)
        calls = in_order(input_nodes, output_nodes)
        self.modules: tuple[Module, ...] = tuple(made.module for made in calls)
        self.in_widths = tuple(node.features for node in input_nodes)
        self.outputs = None if isinstance(outputs, Node) else len(output_nodes)
        self._many = not isinstance(inputs, Node)

        first: dict[Node | Call | None, int] = {node: at for at, node in enumerate(input_nodes)}

        def number(node: Node) -> int:
            return first[node.call or node] + node.output

        self._size = len(input_nodes)
        self._sources: list[Any] = [Input(width) for width in self.in_widths]
        twins, self._new, self._shared = share(self.modules)
        self.steps: list[Step] = []
        for label, module, made in zip(self._labels(), twins, calls, strict=True):
            first[made] = self._size
            self._size += len(made.widths)
            takes = tuple(number(node) for node in made.inputs)
            self.steps.append(Step(label, module, takes, tuple(range(first[made], self._size))))
            self._sources += [module] * len(made.widths)
        self.results = tuple(number(node) for node in output_nodes)

        self._held: dict[int, list[tuple[int, Shared]]] = {}
        for shared in self._shared:
            for step, place in shared.holders:
                self._held.setdefault(step, []).append((place, shared))
        self._learns = any(module._can_learn() for module in twins)
        self._values: list[Array] | None = None
        self._buffers: dict[int, Buffer] = {}
        self._ways: dict[Any, list[Any]] = {}

    def fprop(self, *xs: Array) -> Any:
        """Return the output, (batch, features), or a tuple for a list of outputs.

        Takes one `x` for each input, all with the same batch.
        """
        if len(xs) != len(self.in_widths):
            raise TypeError(f"{self!r}: fprop of {len(xs)} arrays, expected {len(self.in_widths)}")
        self._check_shared()
        values: list[Any] = [None] * self._size
        for at, width in enumerate(self.in_widths):
            values[at] = xs[at]
            if width is not None:
                name = f"x{at}" if self._many else "x"
                values[at] = as_input(self, name, xs[at], width, sparse=True)
            if at and len(xs[at]) != len(xs[0]):
                raise ValueError(f"{self!r}: x{at} has {len(xs[at])} rows, x0 has {len(xs[0])}")
        takes: tuple[int, ...] = ()
        try:
            for _, module, takes, gives in self.steps:
                if len(takes) == 1:
                    y = module.fprop(values[takes[0]])
                else:
                    y = module.fprop(*[values[value] for value in takes])
                if len(gives) == 1 and type(y) is not tuple:
                    values[gives[0]] = y
                else:
                    values[gives[0] : gives[-1] + 1] = _several(module, "fprop", y, len(gives))
        except ValueError as error:
            sources = [self._sources[value] for value in takes if value >= len(xs)]
            if sources and type(error) is ValueError:
                raise ValueError(comes_from(error, sources)) from error
            raise
        self._values = values
        if self.outputs is None:
            return values[self.results[0]]
        return tuple([values[value] for value in self.results])

    def bprop(self, *dys: Array | None, need_dx: bool | tuple[bool, ...] = True) -> Any:
        """Overwrite all parameters' gradients, the last module first; return `dx`.

        For a list of inputs it is a tuple.
        Takes one `dy` for each output, of its shape and dtype. None stands for an output without a
        loss: modules that lead only there are not run. If no loss depends on a parameter, its
        gradient is zero; if none depends on an input, its gradient is None. `need_dx` may be a
        tuple with a bool for each input: `dx` is None where it is not needed.
        """
        if len(dys) != len(self.results):
            raise TypeError(f"{self!r}: bprop of {len(dys)} arrays, expected {len(self.results)}")
        gradients: list[Any] = [None] * self._size
        for value, dy in zip(self.results, dys, strict=True):
            if gradients[value] is None:
                gradients[value] = dy
            elif dy is not None:
                self._add(gradients, value, dy, self)
        started: set[int] = set()
        way = self._ways.get(need_dx) or self._way_back(need_dx)
        for number, targets, need in way:
            _, module, _, gives = self.steps[number]
            if len(gives) == 1:
                dy = gradients[gives[0]]
                if dy is None:
                    self._zero(number)
                    continue
                dx = module.bprop(dy) if need is True else module.bprop(dy, need_dx=need)
            else:
                given = [gradients[value] for value in gives]
                if all(dy is None for dy in given):
                    self._zero(number)
                    continue
                if not isinstance(module, Graph):
                    self._fill(given, gives)
                dx = module.bprop(*given) if need is True else module.bprop(*given, need_dx=need)
            if number in self._held:
                self._collect(number, started)
            if not targets:
                continue
            if len(targets) == 1 and type(dx) is not tuple:
                if dx is None and not isinstance(module, Graph):
                    raise ValueError(f"{module!r}: bprop returned None, expected dx")
                if gradients[targets[0]] is None:
                    gradients[targets[0]] = dx
                    continue
                dx = (dx,)
            dx = _several(module, "bprop", dx, len(targets))
            for value, part in zip(targets, dx, strict=True):
                if value is None:
                    continue
                if gradients[value] is None:
                    gradients[value] = part
                elif part is not None:
                    self._add(gradients, value, part, module)
        for shared in self._shared:
            self._settle(shared, started)
        if need_dx is False:
            return None
        return tuple(gradients[: len(self.in_widths)]) if self._many else gradients[0]

    def _check_shared(self) -> None:
        """Check that a shared parameter is still one array: `module.w = other` makes it two."""
        places = {step for shared in self._shared for step, _ in shared.holders}
        parameters = {step: self.steps[step].module.parameters() for step in places}
        for shared in self._shared:
            first, *others = (parameters[step][place] for step, place in shared.holders)
            if any(parameter.value is not first.value for parameter in others):
                label, module, *_ = self.steps[shared.holders[0][0]]
                raise ValueError(
                    f"{self!r}: {first.name} of {label}, {module!r}, is shared, and has become "
                    f"another array: write into the one it was, {first.name}[...] = values"
                )

    def _way_back(self, need_dx: bool | tuple[bool, ...]) -> list[Any]:
        """Return the steps of `bprop`, without those whose gradients nothing needs.

        Each is a tuple (number, targets, need). `targets` has an entry for each value that the step
        takes: its number, or None if nothing needs its gradient; it is empty if no gradient is
        needed. `need` is the `need_dx` of the module.
        """
        inputs = len(self.in_widths)
        needed = list(need_dx) if isinstance(need_dx, tuple) else [need_dx] * inputs
        if len(needed) != inputs:
            raise ValueError(f"{self!r}: need_dx is {need_dx}, expected {inputs} of them")
        needed += [False] * (self._size - inputs)
        way: list[Any] = []
        for number, (_, module, takes, gives) in enumerate(self.steps):
            wanted = tuple(needed[value] for value in takes)
            if not any(wanted) and not module._can_learn():
                continue
            for value in gives:
                needed[value] = True
            need: bool | tuple[bool, ...] = True
            if not any(wanted):
                need = not _has_flag(type(module).bprop)
            elif isinstance(module, Graph) and not all(wanted):
                need = wanted
            targets = tuple(value if needed[value] else None for value in takes)
            way.append((number, targets if any(wanted) else (), need))
        way.reverse()
        self._ways[need_dx] = way
        return way

    def _add(self, gradients: list[Any], value: int, dx: Any, module: Module) -> None:
        """Add what `module` returned to the gradient of a value."""
        before, dx = np.asarray(gradients[value], order="C"), np.asarray(dx, order="C")
        if dx.shape != before.shape or dx.dtype != before.dtype:
            raise ValueError(
                f"{module!r}: bprop returned {dx.dtype} of shape {dx.shape} for "
                f"{self._sources[value]!r}, whose other gradients are {before.dtype} of shape "
                f"{before.shape}"
            )
        total = self._buffer(value, before)
        kernels.add(before, dx, total)
        gradients[value] = total

    def _fill(self, given: list[Any], gives: tuple[int, ...]) -> None:
        """Put zeros for the outputs of a module that reach no loss, while others do."""
        values = remembered(self, self._values)
        for at, value in enumerate(gives):
            if given[at] is None:
                given[at] = self._buffer(value, values[value])
                kernels.zero(given[at].reshape(-1))

    def _buffer(self, value: int, like: Array) -> Array:
        if value not in self._buffers:
            self._buffers[value] = Buffer()
        return self._buffers[value].rows(like.shape, like.dtype)

    def _zero(self, number: int) -> None:
        """Zero the gradients of a module that reaches no loss, except those that it shares."""
        shared = {place for place, _ in self._held.get(number, ())}
        for place, parameter in enumerate(self.steps[number].module.parameters()):
            if place not in shared:
                kernels.zero(parameter.grad.reshape(-1))

    def _collect(self, number: int, started: set[int]) -> None:
        """Add to the totals of shared parameters the gradients that a `bprop` has just computed."""
        parameters = self.steps[number].module.parameters()
        for place, shared in self._held[number]:
            grad = parameters[place].grad.reshape(-1)
            total = shared.total.rows(grad.shape, grad.dtype)
            if id(shared) not in started:
                kernels.scale(grad, 1.0, total)
                started.add(id(shared))
            else:
                kernels.add(total, grad, total)

    def _settle(self, shared: Shared, started: set[int]) -> None:
        """Give a shared parameter its gradient."""
        number, place = shared.holders[0]
        grad = self.steps[number].module.parameters()[place].grad.reshape(-1)
        if id(shared) in started:
            kernels.scale(shared.total.rows(grad.shape, grad.dtype), 1.0, grad)
        else:
            kernels.zero(grad)

    def update(self, rate: float) -> None:
        """Update every module by gradient descent."""
        for step, new in zip(self.steps, self._new, strict=True):
            if new is None:
                step.module.update(rate)
                continue
            parameters = step.module.parameters()
            for place in new:
                kernels.sgd_update(parameters[place].value, parameters[place].grad, rate)

    def parameters(self) -> list[Parameter]:
        """Return the parameters of all modules in order, shared ones once; see the class."""
        return list(self._once(lambda module: module.parameters()))

    def states(self) -> list[State]:
        """Return the states of all modules in order, shared ones once, named as parameters are."""
        return list(self._once(lambda module: module.states()))

    def _once(self, named: Callable[[Module], Sequence[Any]]) -> Iterator[Any]:
        seen = set()
        for step in self.steps:
            for one in named(step.module):
                if id(one.value) not in seen:
                    seen.add(id(one.value))
                    yield replace(one, name=f"{step.label}.{one.name}")

    def _arity(self) -> tuple[int, float]:
        return len(self.in_widths), len(self.in_widths)

    def _within(self) -> Iterator[Module]:
        yield self
        for inner in self.modules:
            yield from inner._within()

    def _can_learn(self) -> bool:
        return self._learns

    def train(self, mode: bool = True) -> Self:
        """Switch this graph, and all within it, to training or to evaluation; return it."""
        everywhere = (*self.modules, *(step.module for step in self.steps))
        for module in {id(module): module for module in everywhere}.values():
            module.train(mode)
        self.training = mode
        return self

    def out_width(self, *in_features: int) -> Any:
        """Return the width of the output, a tuple of several; None if it is not known.

        Raises
        ------
        ValueError
            The widths do not fit.
        """
        for at, (given, expected) in enumerate(zip(in_features, self.in_widths, strict=True)):
            if expected not in (None, given):
                raise ValueError(f"{self!r}: x{at} has {given} features, expected {expected}")
        widths = self.widths(in_features)
        found = tuple(widths[value] for value in self.results)
        if None in found:
            return None
        return found[0] if self.outputs is None else found

    def multiply_adds(self, *in_features: int) -> int:
        """Return the sum over all modules whose widths are known."""
        widths = self.widths(in_features)
        return sum(filter(None, (step.multiply_adds(widths) for step in self.steps)))

    def widths(self, in_features: Widths) -> Widths:
        """Return the width of every value, for inputs of these widths; None: not known."""
        all_widths = list(in_features)
        for _, module, takes, gives in self.steps:
            sources = [self._sources[value] for value in takes]
            found = out_width(module, [all_widths[value] for value in takes], sources)
            all_widths += found if isinstance(found, tuple) else (found,) * len(gives)
        return tuple(all_widths)

    def known_widths(self) -> Widths:
        """Return the width of every value, from the last `fprop` or as far as modules tell."""
        if self._values is not None:
            return tuple(value.shape[-1] for value in self._values)
        in_widths = list(self.in_widths)
        for _, module, takes, _ in self.steps:
            told = getattr(module, "in_features", None)
            if isinstance(told, int) and takes[:1] < (len(in_widths),):
                in_widths[takes[0]] = in_widths[takes[0]] or told
        try:
            return self.widths(tuple(in_widths))
        except ValueError:  # fprop will raise it as well
            return (*in_widths, *[None] * (self._size - len(in_widths)))

    def to_mermaid(self) -> str:
        """Return a flowchart of the graph in the language of Mermaid, which GitHub draws."""
        return mermaid(self)

    def _labels(self) -> list[str]:
        """Return a unique name of every step."""
        counts: dict[str, int] = {}
        labels = []
        for module in self.modules:
            kind = type(module).__name__.lower()
            counts[kind] = counts.get(kind, 0) + 1
            labels.append(f"{kind}{counts[kind]}")
        return labels

    def __str__(self) -> str:
        return table(self)

    def __repr__(self) -> str:
        widths = self.known_widths()
        given = ", ".join(
            "?" if width is None else str(width) for width in widths[: len(self.in_widths)]
        )
        found = ", ".join("?" if widths[at] is None else str(widths[at]) for at in self.results)
        return f"{type(self).__name__}({given} -> {found}, {len(self.steps)} modules)"


def _several(module: Module, method: str, given: Any, count: int) -> tuple[Any, ...]:
    """Return what a method of a module returned; ValueError unless it is so many arrays."""
    if type(given) is not tuple or len(given) != count:
        many = type(given) is tuple
        returned = f"{len(given)} arrays" if many else f"a {type(given).__name__}"
        raise ValueError(f"{module!r}: {method} returned {returned}, expected {count} arrays")
    return given


@cache
def _has_flag(bprop: Callable[..., Any]) -> bool:
    """Whether a `bprop` takes `need_dx`."""
    return "need_dx" in inspect.signature(bprop).parameters
