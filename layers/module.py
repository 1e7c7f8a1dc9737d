"""What all building blocks of a network have in common: `Module`, `Loss` and `Parameter`."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy.typing as npt

from jitprop import kernels
from jitprop.layers.batch import EVERYTHING, Array
from jitprop.layers.copies import Copied
from jitprop.layers.node import Node, call, takes


@dataclass(frozen=True, eq=False)
class Parameter:
    """A parameter of a module: the module's own arrays, not copies of them.

    Attributes
    ----------
    name : str
        "w", "b". Within a `Sequential` or a `Graph` it begins with the module: "0.w", "linear1.w".
    value : array of float32 or float64
        The numbers that training changes, C-contiguous.
    grad : array of the shape and dtype of `value`
        Its gradient from the last `bprop`.
    """

    name: str
    value: Array
    grad: Array


@dataclass(frozen=True, eq=False)
class State:
    """What a module keeps from batch to batch but does not learn; part of a checkpoint.

    Attributes
    ----------
    name : str
        Like that of a parameter.
    value : array
        The module's own array.
    """

    name: str
    value: Array


class Module(Copied, ABC):
    """A differentiable function with parameters, run on a batch with one sample a row.

    `fprop` and `bprop` return a buffer of the module, which is valid until the next call of the
    same method. If there is nothing to compute, they return the argument itself. A module
    remembers its last `fprop` by reference, so leave `x` and `y` as they are until `bprop` is done.
    You may call `bprop` several times after one `fprop`.

    A copy, by `copy.deepcopy` or `pickle`, has parameters, states and settings, and remembers no
    `fprop`. Attributes that you add are copied as they are.

    Called on nodes, a module becomes a part of a graph: see `Graph`.

    Your own module defines `fprop` and `bprop`, and `parameters` if it has any. If it defines
    `out_width`, widths are checked before anything runs. If its `fprop` returns a tuple, `outputs`
    says how long that is.

    Attributes
    ----------
    training : bool
        False in evaluation, when Dropout and GaussianNoise are off.
    pixels : bool or None
        Whether bytes that a network gets are pixels, which are divided by 255. None: nobody has set
        it, and they are. `jitprop.fit(..., pixels=...)` sets it.
    outputs : int or None
        How many values `fprop` returns in a tuple; None if it returns one array.

    Notes
    -----
    `fprop` and `bprop` of this package's modules and losses raise ValueError for a wrong shape,
    TypeError for a wrong dtype or number of arrays, and RuntimeError for `bprop` before `fprop`.
    float32 in gives float32 out, and float64 gives float64.
    """

    training: bool = True
    pixels: bool | None = None
    outputs: int | None = None

    @abstractmethod
    def fprop(self, *xs: Any, **unused: Any) -> Any:
        """Return `y`, (batch, features), or a tuple of several.

        Takes one `x`, (batch, features), for each input: `fprop(x)`, `fprop(a, b)`.
        """

    @abstractmethod
    def bprop(self, *dys: Any, **need_dx: Any) -> Any:
        """Overwrite the parameters' gradients; return `dx`, a tuple of them for several inputs.

        `bprop(dy, need_dx=True)` takes dE/dy of the shape of `y`, one for each output; gradients
        are summed over the batch. With `need_dx=False`, for a module that comes first, it computes
        no `dx` and returns None.
        """

    def __call__(self, *nodes: Node) -> Any:
        """Return the node for this module's output at these inputs; a tuple for several outputs.

        Raises
        ------
        TypeError
            An argument is not a node, or they are not as many as `fprop` takes.
        ValueError
            Their widths do not fit.
        """
        return call(self, nodes)

    def _arity(self) -> tuple[int, float]:
        """Return how many arrays `fprop` takes, at least and at most."""
        return takes(type(self).fprop)

    def _within(self) -> "Iterator[Module]":
        """Yield this module and, of a graph, all modules in it."""
        yield self

    def _can_learn(self) -> bool:
        """Whether it can learn: any module with an `update` of its own counts as one that can."""
        return type(self).update is not Module.update or bool(self.parameters())

    def out_width(self, *in_features: int) -> int | tuple[int, ...] | None:
        """Return the width of the output, for inputs of these widths; None: not known.

        Raises
        ------
        ValueError
            The widths do not fit.
        """
        return None

    def multiply_adds(self, *in_features: int) -> int:
        """Return how many multiply-adds of matrix products `fprop` does for one sample."""
        return 0

    def update(self, rate: float) -> None:
        """Gradient descent, slide 7: `value -= rate * grad` for every parameter."""
        for parameter in self.parameters():
            kernels.sgd_update(parameter.value, parameter.grad, rate)

    def parameters(self) -> list[Parameter]:
        """Return the parameters, always in the same order."""
        return []

    def states(self) -> list[State]:
        """Return what a checkpoint needs beside the parameters, always in the same order."""
        return []

    def train(self, mode: bool = True) -> Self:
        """Switch this module, and all within it, to training or to evaluation; return it."""
        self.training = mode
        return self

    def eval(self) -> Self:
        """Switch this module, and all within it, to evaluation; return it."""
        return self.train(False)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Loss(Copied, ABC):
    """A criterion at the end of a network: how far the output is from the targets.

    Your own loss defines `bprop` and `rows`; or, if single rows have no loss, `bprop` and `fprop`.

    Attributes
    ----------
    classification : bool
        Whether targets are classes: labels, or a number for each class, with the largest at the
        right one.
    target_range : tuple of float
        The smallest and the largest number that targets may be; `fit` and this package's losses
        refuse others.
    """

    classification: bool = False
    target_range: tuple[float, float] = EVERYTHING

    def fprop(self, z: Array, t: npt.ArrayLike) -> float:
        """Return the sum of the losses of all rows of the output `z`, (batch, features), for `t`.

        Each loss says which targets it takes; `fprop` and `rows` both prepare `bprop`.
        """
        return float(kernels.total(self.rows(z, t)))

    def rows(self, z: Array, t: npt.ArrayLike) -> Array:
        """Return the loss of each row, (batch,), in a buffer of the loss; arguments as in `fprop`.

        Raises
        ------
        NotImplementedError
            Your own loss defines only `fprop`.
        """
        raise NotImplementedError(f"{self!r} has no rows(z, t), the loss of each row")

    @abstractmethod
    def bprop(self, scale: float) -> Array:
        """Return the gradient of `scale * loss` by `z`, of the shape and dtype of `z`.

        With `scale` 1 / batch it is the gradient of the mean (slide 12). It lies in a buffer of the
        loss, which is valid until the next `bprop`. As `scale`, this package's losses also take a
        float64 array of no dimensions, which a tape reads whenever it runs.
        """

    def _within(self) -> "Iterator[Loss]":
        """Yield this loss and all losses in it."""
        yield self

    def hint(self, value: float) -> str:
        """Return why the loss may have become a `value` that is not finite, and what helps.

        The text is "", or begins with a colon: it follows a message such as "the loss became inf".
        """
        return ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
