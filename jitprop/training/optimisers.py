"""Rules by which weights follow their gradients, with the names that they have in PyTorch.

`kernels/update.py` has the formulas and their sources. Weight decay is only for weights (arrays of
two or more dimensions), not for biases.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from jitprop import kernels
from jitprop.layers import Module
from jitprop.training.average import Average
from jitprop.training.examples import Array
from jitprop.training.schedules import corrections
from jitprop.training.settings import Settings

STEPS = 100  # in a table that an optimiser makes by itself


class Optimiser(ABC):
    """Updates the parameters of `net` from the gradients of its last `bprop`.

    Kernels read the numbers that differ from step to step, such as the rate, from a table. So steps
    on a tape are the same as steps in Python, to the bit.

    Parameters
    ----------
    net : Module
        The network, trained in place.
    rate : float
        Learning rate of all steps to which `prepare` gave none.
    weight_decay : float
        How much weights are drawn to 0.
    numbers : int
        How many numbers a step reads.
    memories : tuple of str
        Names of the arrays that the rule keeps for each parameter.

    Attributes
    ----------
    max_norm : float
        How long the weights of a unit may be after a step; 0 for any length.
    average : Average or None
        It adds the weights after each step to their mean.
    """

    def __init__(
        self,
        net: Module,
        rate: float,
        weight_decay: float = 0.0,
        *,
        numbers: int = 1,
        memories: tuple[str, ...] = (),
    ) -> None:
        self.net = net
        self.rate = rate
        self.weight_decay = weight_decay
        self.max_norm = 0.0
        self.average: Average | None = None
        self._table = np.zeros((0, numbers))
        self._before = 0
        self._place = np.zeros(1, np.int64)
        self._now = np.zeros(numbers)
        self._tie()
        self._memories = [
            {name: kernels.aligned_zeros(p.value.shape, p.value.dtype) for name in memories}
            for p in self._parameters
        ]

    def _tie(self) -> None:
        """Bind arrays of this optimiser and its network together; a copy does so anew."""
        self._numbers: Any = [self._now[at : at + 1].reshape(()) for at in range(len(self._now))]
        self._parameters = self.net.parameters()

    def __getstate__(self) -> dict[str, Any]:
        tied = ("_numbers", "_parameters")
        return {name: value for name, value in vars(self).items() if name not in tied}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._tie()

    def arrays(self) -> dict[str, Array]:
        """Return the rule's memory of earlier steps, as "velocity.0.w"; part of a checkpoint."""
        return {
            f"{name}.{parameter.name}": array
            for parameter, memory in zip(self._parameters, self._memories, strict=True)
            for name, array in memory.items()
        }

    def prepare(self, rates: Array, before: int, done: int = 0) -> None:
        """Get ready for steps with these rates, after `before` others.

        A tape of a step stays valid while the number of rates is the same.

        Parameters
        ----------
        rates : (steps,) float64
            Learning rate of each step.
        before : int
            How many steps there were before these.
        done : int
            How many of these were taken already.
        """
        table = self._rows(rates, before)
        if table.shape == self._table.shape:
            self._table[...] = table
        else:
            self._table = table
        self._before = before
        self._place[0] = done

    def update(self) -> None:
        """Take one step."""
        if not kernels.Tape.recording() and self._place[0] == len(self._table):
            self.prepare(np.full(STEPS, self.rate), self._before + len(self._table))
        kernels.next_numbers(self._table, self._place, self._now)
        self._step()
        if self.max_norm:
            for parameter in self.net.parameters():
                if parameter.value.ndim == 2:
                    kernels.max_norm(parameter.value, self.max_norm)
        if self.average:
            self.average.update()

    def _rows(self, rates: Array, before: int) -> Array:
        """Return the numbers that each step reads: here its rate."""
        return rates.reshape(-1, 1).copy()

    def _step(self) -> None:
        """Call the rule for each parameter, as a vector: this saves a kernel for matrices."""
        # Ask for parameters anew: a person's own module may have replaced the array of a gradient.
        for p, memory in zip(self.net.parameters(), self._memories, strict=True):
            flat = [array.reshape(-1) for array in (p.value, p.grad, *memory.values())]
            self._rule(*flat, weight=p.value.ndim > 1)

    @abstractmethod
    def _rule(self, *arrays: Array, weight: bool) -> None:
        """Update a parameter from its value, its gradient and the rule's memory."""


class SGD(Optimiser):
    """Stochastic gradient descent (slides 8 and 9), with momentum if `momentum` is above 0.

    Without momentum and weight decay it is the same as the `update` of the modules.

    Parameters
    ----------
    net : Module
        The network, trained in place.
    rate : float
        Learning rate.
    momentum : float
        Share of the last step that the next one keeps, from 0 to below 1.
    weight_decay : float
        How much weights are drawn to 0.
    nesterov : bool
        Whether momentum is Nesterov's.

    References
    ----------
    Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013.
    """

    def __init__(
        self,
        net: Module,
        rate: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        self.momentum = momentum
        self._kernel: Callable[..., None] = (
            kernels.nesterov_update if nesterov else kernels.momentum_update
        )
        self._plain = not momentum and not weight_decay
        super().__init__(net, rate, weight_decay, memories=() if self._plain else ("velocity",))

    def _step(self) -> None:
        if not self._plain:
            super()._step()
        elif kernels.Tape.recording():
            self.net.update(self._numbers[0])
        else:  # perhaps a person's own, which expects a float
            self.net.update(float(self._numbers[0]))

    def _rule(self, *arrays: Array, weight: bool) -> None:
        decay = self.weight_decay if weight else 0.0
        self._kernel(*arrays, *self._numbers, self.momentum, decay)


class Adam(Optimiser):
    """Adam; weight decay is part of the gradient.

    Parameters
    ----------
    net : Module
        The network, trained in place.
    rate : float
        Learning rate.
    betas : tuple of float
        How much a step keeps of the mean of the gradient, and of the mean of its square.
    eps : float
        Added to the root of the mean square.
    weight_decay : float
        How much weights are drawn to 0.
    numbers : int
        How many numbers a step reads; for subclasses.

    References
    ----------
    Kingma and Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1.
    """

    def __init__(
        self,
        net: Module,
        rate: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        numbers: int = 2,
    ) -> None:
        self.betas = betas
        self.eps = eps
        super().__init__(net, rate, weight_decay, numbers=numbers, memories=("m", "v"))

    def _rows(self, rates: Array, before: int) -> Array:
        first, second = (corrections(beta, before, len(rates)) for beta in self.betas)
        return np.stack([rates / first, 1 / np.sqrt(second)], axis=1)

    def _rule(self, *arrays: Array, weight: bool) -> None:
        decay = self.weight_decay if weight else 0.0
        kernels.adam_update(*arrays, *self._numbers, *self.betas, self.eps, decay)


class AdamW(Adam):
    """Adam with weight decay beside the gradient: `w -= rate * weight_decay * w` first.

    Parameters
    ----------
    net : Module
    rate : float
    betas : tuple of float
    eps : float
    weight_decay : float
        As for `Adam`.

    References
    ----------
    Loshchilov and Hutter, "Decoupled weight decay regularization", 2019, algorithm 2.
    """

    def __init__(
        self,
        net: Module,
        rate: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(net, rate, betas, eps, weight_decay, numbers=3)

    def _rows(self, rates: Array, before: int) -> Array:
        return np.column_stack([super()._rows(rates, before), rates * self.weight_decay])

    def _rule(self, *arrays: Array, weight: bool) -> None:
        step, root, decay = self._numbers
        kernels.adamw_update(*arrays, step, root, decay if weight else 0.0, *self.betas, self.eps)


def optimiser(net: Module, settings: Settings) -> Optimiser:
    """Return the optimiser of `net` for these settings."""
    rate, decay = settings.rate, settings.weight_decay
    made: Optimiser
    if settings.optimizer == "sgd":
        made = SGD(net, rate, settings.momentum, decay, settings.nesterov)
    else:
        kind = {"adam": Adam, "adamw": AdamW}[settings.optimizer]
        made = kind(net, rate, settings.betas, settings.eps, decay)
    made.max_norm = settings.max_norm
    made.average = Average(net) if settings.average else None
    return made
