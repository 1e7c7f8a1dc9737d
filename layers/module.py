"""What every building block of a network has in common: `Module`, `Loss` and `Parameter`."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import kernels
from layers.batch import Array, MaybeNone


@dataclass(frozen=True, eq=False)
class Parameter:
    """A parameter of a module: the module's own arrays, not copies of them.

    Attributes:
        name: "w", "b"; inside a `Sequential` with the module's place in front, "0.w".
        value: what is learned; float32 or float64, C-contiguous.
        grad: its gradient from the last `bprop`, of the same shape and dtype.
    """

    name: str
    value: Array
    grad: Array


class Module(ABC):
    """A differentiable function with parameters, run on a batch with one sample a row.

    What `fprop` and `bprop` return lies in a buffer of the module and is valid until the next call
    of the same method. A module remembers its last `fprop` by reference, so leave `x` and `y` as
    they are until `bprop` is done. `bprop` may be called several times after one `fprop`.

    A module of one's own defines `fprop` and `bprop`, and `parameters` if it has any.
    """

    @abstractmethod
    def fprop(self, x: Array) -> Array:
        """Return `y`, of shape (batch, out_features), for `x` of shape (batch, in_features)."""

    @abstractmethod
    def bprop(self, dy: Array, need_dx: bool = True) -> Array | MaybeNone:
        """Overwrite the parameters' gradients and return `dx`, of the shape of `x`.

        `dy` is dE/dy, of the shape of `y`: gradients are summed over the batch. With
        `need_dx=False`, for the module that comes first, `dx` is not computed and None returned.
        """

    def update(self, rate: float) -> None:
        """Gradient descent: `value -= rate * grad` for every parameter."""
        for parameter in self.parameters():
            kernels.sgd_update(parameter.value, parameter.grad, rate)

    def parameters(self) -> list[Parameter]:
        """Return the parameters, always in the same order."""
        return []

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Loss(ABC):
    """A criterion at the end of a network: how far the output is from the targets."""

    @abstractmethod
    def fprop(self, z: Array, t: Array) -> float:
        """Return the loss of the output `z`, (batch, classes), for the targets `t`, summed."""

    @abstractmethod
    def bprop(self, scale: float) -> Array:
        """Return the gradient of `scale * loss` by `z`; `scale` 1/batch makes it the mean's.

        The gradient lies in a buffer of the loss, valid until the next `bprop`.
        """

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
