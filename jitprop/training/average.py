"""The mean of a network's weights over its steps: the setting `average`."""

import numpy as np

from jitprop import kernels
from jitprop.layers import Module
from jitprop.training.examples import Array
from jitprop.training.schedules import corrections
from jitprop.training.settings import Settings


class Average:
    """Keeps the mean of the weights, and puts it into the network whenever training pauses.

    During steps, the network has the weights that they move, and these arrays have the mean.
    Between, it is the reverse: then evaluating or saving the network uses the mean.

    Parameters
    ----------
    net : Module

    Attributes
    ----------
    begun : bool
        Whether there is a mean yet.
    inside : bool
        Whether the network has the mean.
    """

    def __init__(self, net: Module) -> None:
        self.net = net
        self.begun = self.inside = False
        self._kept = [kernels.aligned_zeros(p.value.shape, p.value.dtype) for p in net.parameters()]
        self._table = np.zeros((0, 1))
        self._place = np.zeros(1, np.int64)
        self._keep = np.zeros(1)

    def arrays(self) -> dict[str, Array]:
        """Return the arrays that are not in the network; part of a checkpoint."""
        names = (p.name for p in self.net.parameters())
        return {f"average.{name}": kept for name, kept in zip(names, self._kept, strict=True)}

    def begin(self, keeps: Array, done: int) -> None:
        """Get ready for the steps of an epoch, except the first `done`.

        Parameters
        ----------
        keeps : (steps,) float64
            How much of the mean each step keeps; always as many steps.
        done : int
        """
        if self.inside:
            self._exchange()
        if len(self._table) != len(keeps):
            self._table = np.zeros((len(keeps), 1))
        self._table[:, 0] = keeps
        self._place[0] = done
        self.begun = self.begun and bool(0 < keeps[0] < 1)

    def update(self) -> None:
        """Add the weights after a step to the mean."""
        kernels.next_numbers(self._table, self._place, self._keep)
        for parameter, mean in zip(self.net.parameters(), self._kept, strict=True):
            kernels.average(parameter.value.reshape(-1), mean.reshape(-1), self._keep.reshape(()))

    def end(self) -> None:
        """Put the mean into the network, if there is one."""
        self.begun = self.begun or bool((self._table[: self._place[0]] < 1).any())
        if self.begun:
            self._exchange()

    def _exchange(self) -> None:
        for parameter, kept in zip(self.net.parameters(), self._kept, strict=True):
            held = parameter.value.copy()
            parameter.value[...] = kept
            kept[...] = held
        self.inside = not self.inside


def keeps(settings: Settings, epoch: int, batches: int) -> Array:
    """Return how much of the mean of the weights each step of an epoch keeps: float64 (batches,).

    An exponential mean begins with the first step and, as in Adam, is divided by the sum of its
    factors. The mean over the last epochs keeps all, 1, before these.
    """
    average = settings.average
    if average < 1:
        return 1 - (1 - average) / corrections(average, (epoch - 1) * batches, batches)
    first = max(0, round((settings.epochs - average) * batches))
    step = np.arange((epoch - 1) * batches, epoch * batches) - first
    return np.where(step < 0, 1.0, step / np.maximum(step + 1.0, 1.0))
