"""Steps of gradient descent, as scikit-learn's networks take them.

    adam   m, v as in kernels/update.py
           w = w - rate sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps)
    sgd    v = momentum v + rate dw
           w = w - v                              nesterov: w = w - (momentum v + rate dw)

Here `dw` is the gradient of the mean loss of a batch. For weights, but not for intercepts, it also
has the gradient of a penalty, alpha / 2 * sum(w^2) / n, where n is the number of rows, or the sum
of their weights.

A loss may be smaller by a `gain` than the one that scikit-learn minimises. Then the rate of sgd is
larger by it, and alpha and eps are smaller by it: the steps are the same.

Sources: Kingma and Ba, "Adam", 2015, the end of section 2, for adam; Sutskever et al., 2013, for
sgd. Here the velocity includes the rate, so it stays the same when the rate changes.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from jitprop import kernels
from jitprop.layers import Module
from jitprop.layers.module import Parameter
from jitprop.training.examples import Array
from jitprop.training.optimisers import AdamW, Optimiser
from jitprop.training.schedules import corrections

BLOCK = 4096  # steps whose factors are computed together
UNSEEN = 2.0**-40  # times eps: a smaller gradient moves no weight
PART = 2048  # weights whose squares one chain of sums adds up


class Penalty:
    """The sum of the squares of all weights, at each step of an epoch.

    Parameters
    ----------
    parameters : list of Parameter
        Those of a network; the ones of two dimensions are weights.
    steps : int
        How many steps an epoch has.
    """

    def __init__(self, parameters: list[Parameter], steps: int) -> None:
        self._weights = [p.value.reshape(-1) for p in parameters if p.value.ndim > 1]
        counts = [-(-len(w) // PART) for w in self._weights]
        dtype = parameters[0].value.dtype
        self._parts = kernels.aligned_zeros((sum(counts),), dtype)
        self._pieces = np.split(self._parts, np.cumsum(counts)[:-1])
        self._missed = np.zeros(0, dtype)
        self._place = np.zeros(2, np.int64)
        self._sums = np.zeros((steps, 2))

    def __len__(self) -> int:
        return len(self._sums)

    def begin(self) -> None:
        """Go back before the first step."""
        self._place[:] = 0

    def take(self) -> None:
        """Note the sum for this step."""
        for weights, piece in zip(self._weights, self._pieces, strict=True):
            kernels.squares(weights, piece)
        kernels.tally(self._parts, self._missed, self._place, self._sums)

    @property
    def sums(self) -> Array:
        """The sums, (steps,) float64."""
        return self._sums[:, 0]


class Penalised(Optimiser):
    """What both rules share: the penalty, and numbers that differ from step to step.

    Parameters
    ----------
    net : Module
        The network, trained in place.
    alpha : float
        Strength of the penalty.
    gain : float
        How much smaller the loss is than that of scikit-learn.
    memories : tuple of str
        Names of the arrays that the rule keeps for each parameter.
    """

    def __init__(self, net: Module, alpha: float, gain: float, memories: tuple[str, ...]) -> None:
        self.alpha, self.gain = alpha, gain
        self.penalty: Penalty | None = None
        self._decays = np.zeros(0)
        super().__init__(net, 0.0, numbers=2, memories=memories)

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"penalty": None}  # it is bound to the network's arrays

    def begin(self, rates: Array, amounts: Array, before: int) -> None:
        """Get ready for an epoch.

        Parameters
        ----------
        rates : (steps,) float64
            Learning rate of each step.
        amounts : (steps,) float64
            Rows of each batch, or the sum of their weights.
        before : int
            How many steps there were before.
        """
        self._decays = self.alpha / (amounts * self.gain)
        if self.alpha:
            if self.penalty is None or len(self.penalty) != len(rates):
                self.penalty = Penalty(self._parameters, len(rates))
            self.penalty.begin()
        else:
            self.penalty = None
        self.prepare(rates, before)

    def penalties(self) -> Array | float:
        """Return what the penalty added to the loss of each batch, times the rows."""
        return 0.0 if self.penalty is None else self.alpha / 2 * self.penalty.sums

    def _step(self) -> None:
        if self.penalty is not None:
            self.penalty.take()
        super()._step()


@lru_cache(maxsize=8)
def _factors(block: int, betas: tuple[float, float]) -> Array:
    """Return sqrt(1 - beta2^t) / (1 - beta1^t) for one block: t = block * BLOCK + 1, ...."""
    first, second = (corrections(beta, block * BLOCK, BLOCK) for beta in betas)
    return np.sqrt(second) / first


class AdamSteps(Penalised):
    """Adam in the form at the end of section 2 of its paper, as in scikit-learn.

    Parameters
    ----------
    net, alpha, gain : Module, float, float
        As for `Penalised`.
    betas : tuple of float
        How much a step keeps of the mean of the gradient, and of the mean of its square.
    eps : float
        Added to the root of the mean square.
    """

    def __init__(
        self, net: Module, alpha: float, gain: float, betas: tuple[float, float], eps: float
    ) -> None:
        self.betas, self.eps = betas, eps
        super().__init__(net, alpha, gain, ("m", "v"))

    def _rows(self, rates: Array, before: int) -> Array:
        stop = before + len(rates)
        factors = [
            _factors(block, self.betas) for block in range(before // BLOCK, stop // BLOCK + 1)
        ]
        first = before % BLOCK
        whole = factors[0] if len(factors) == 1 else np.concatenate(factors)
        return np.column_stack([rates * whole[first : first + len(rates)], self._decays])

    def _rule(self, *arrays: Array, weight: bool) -> None:
        step, decay = self._numbers
        eps = self.eps / self.gain
        # Only in float32, whose range is small; float64 must give scikit-learn's numbers.
        least = UNSEEN * eps if arrays[0].dtype == np.float32 else 0.0
        decay = decay if weight else 0.0
        kernels.adam_update_above(*arrays, step, 1.0, *self.betas, eps, decay, least)


class SGDSteps(Penalised):
    """Gradient descent with a velocity that includes the rate.

    Parameters
    ----------
    net, alpha, gain : Module, float, float
        As for `Penalised`.
    momentum : float
        Share of the velocity that the next step keeps.
    nesterov : bool
        Whether momentum is Nesterov's.
    """

    def __init__(
        self, net: Module, alpha: float, gain: float, momentum: float, nesterov: bool
    ) -> None:
        self.momentum = momentum
        self._kernel = kernels.nesterov_update if nesterov else kernels.momentum_update
        super().__init__(net, alpha, gain, ("velocity",))

    def change_rate(self, before: float, now: float) -> None:
        """Keep the velocities when the rate changes: those of the kernels do not include it."""
        for array in self.arrays().values():
            array *= before / now

    def _rows(self, rates: Array, before: int) -> Array:
        return np.stack([rates * self.gain, self._decays], axis=1)

    def _rule(self, *arrays: Array, weight: bool) -> None:
        rate, decay = self._numbers
        self._kernel(*arrays, rate, self.momentum, decay if weight else 0.0)


class AdamWSteps(AdamW):
    """AdamW as elsewhere in this package: weight decay takes the place of a penalty."""

    def begin(self, rates: Array, amounts: Array, before: int) -> None:
        """Get ready for an epoch, as `Penalised` does."""
        self.prepare(rates, before)

    def penalties(self) -> float:
        """Return 0: there is no penalty."""
        return 0.0
