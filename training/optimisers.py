"""Rules by which weights follow their gradients, under the names that they have in PyTorch.

    v = momentum * v + dw        w = w - rate * v

is SGD with momentum, as in PyTorch's without dampening (Sutskever et al. 2013 fold the rate into
v). The first v is dw. Without momentum this is the slides' rule, w = w - rate * dw.

Weight decay is for weights, not for biases: for arrays of two or more dimensions.
"""

from abc import ABC, abstractmethod

import numpy as np

import kernels
from layers import Module
from training.batches import Array

TABLE = 100  # steps to prepare at once where nobody else does


class Optimiser(ABC):
    """Updates the parameters of `net` from the gradients that its last `bprop` left.

    What differs from step to step, such as the rate, is read from a table by the kernels
    themselves: steps that are recorded on a tape are those of Python, to the bit.

    Args:
        net: what is trained, in place.
        rate: learning rate, of all steps that `prepare` does not know better.
        numbers: how many numbers a step reads.
        memories: names of the arrays that the rule keeps for each parameter.
    """

    def __init__(
        self, net: Module, rate: float, numbers: int = 1, memories: tuple[str, ...] = ()
    ) -> None:
        self.net = net
        self._rate = rate
        self._table = np.zeros((0, numbers))
        self._before = 0
        self._place = np.zeros(1, np.int64)
        self._now = np.zeros(numbers)
        self.now = [self._now[place : place + 1].reshape(()) for place in range(numbers)]
        self._parameters = net.parameters()
        # As vectors, matrices too: one kernel to compile instead of two.
        self._memories = [
            {name: np.zeros(p.value.size, p.value.dtype) for name in memories}
            for p in self._parameters
        ]

    def arrays(self) -> dict[str, Array]:
        """Return what the rule remembers of earlier steps, `velocity.0.w`; part of a checkpoint."""
        return {
            f"{name}.{parameter.name}": array.reshape(parameter.value.shape)
            for parameter, memory in zip(self._parameters, self._memories, strict=True)
            for name, array in memory.items()
        }

    def prepare(self, rates: Array, before: int = 0, done: int = 0) -> None:
        """Get ready for steps with these rates, float64 (steps,), that follow `before` others.

        The first `done` of them were taken already. A tape that was recorded stays good as long as
        the number of rates does.
        """
        table = self.table(np.asarray(rates, np.float64), before)
        if table.shape == self._table.shape:
            self._table[...] = table
        else:
            self._table = np.ascontiguousarray(table)
        self._before = before
        self._place[0] = done

    def table(self, rates: Array, before: int) -> Array:
        """Return for each step a row of the numbers that it reads: here the rate."""
        return rates[:, np.newaxis]

    def update(self) -> None:
        """Take one step."""
        if not kernels.Tape.recording() and self._place[0] == len(self._table):
            self.prepare(np.full(TABLE, self._rate), self._before + len(self._table))
        kernels.next_numbers(self._table, self._place, self._now)
        self.step()

    @abstractmethod
    def step(self) -> None:
        """Update all parameters with the numbers `now`."""


class SGD(Optimiser):
    """Gradient descent, with momentum if asked.

    Without momentum and weight decay, a module's own `update` does it.

    Args:
        net, rate: see `Optimiser`.
        momentum: share of the last step that the next one keeps, from 0 to below 1.
        weight_decay: `weight_decay * w` is added to the gradients of weights.
    """

    def __init__(
        self, net: Module, rate: float, momentum: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        self.momentum = momentum
        self.weight_decay = weight_decay
        self._plain = not momentum and not weight_decay
        super().__init__(net, rate, memories=() if self._plain else ("velocity",))

    def step(self) -> None:
        """Update all parameters."""
        (rate,) = self.now
        if self._plain:
            # A person's update gets a float; only kernels can be recorded, and they read arrays.
            self.net.update(rate if kernels.Tape.recording() else float(rate))
            return
        for p, memory in zip(self._parameters, self._memories, strict=True):
            decay = self.weight_decay if p.value.ndim > 1 else 0.0
            w, dw = p.value.reshape(-1), p.grad.reshape(-1)
            kernels.momentum_update(w, dw, memory["velocity"], rate, self.momentum, decay)
