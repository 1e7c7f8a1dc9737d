"""L-BFGS: SciPy's, on the loss and the gradient that the kernels compute, in float64.

Byrd, Lu, Nocedal and Zhu, "A limited memory algorithm for bound constrained optimization", 1995.
"""

import warnings
from contextlib import closing
from typing import Any

import numpy as np
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning

from jitprop import kernels
from jitprop.estimators.descent import NOT_FINITE, shown
from jitprop.estimators.task import Task
from jitprop.layers import Module
from jitprop.training.asking import BATCH
from jitprop.training.epoch import Epoch
from jitprop.training.examples import Array
from jitprop.training.optimisers import Optimiser
from jitprop.training.plan import Plan

FAR = 1e300  # stands for a loss that is not finite: the search comes back from there


class Gradients(Optimiser):
    """Adds up the gradients of all batches of an epoch; other optimisers take steps instead."""

    def __init__(self, net: Module) -> None:
        super().__init__(net, 0.0, memories=("sum",))

    def _rule(self, *arrays: Array, weight: bool) -> None:
        _, gradient, total = arrays
        kernels.sgd_update(total, gradient, *self._numbers)


class Objective:
    """The mean loss of all examples, with the penalty, as a function of one vector of parameters.

    Parameters
    ----------
    task : Task
    alpha : float
        Strength of the penalty.
    """

    def __init__(self, task: Task, alpha: float) -> None:
        self.task, self.alpha = task, alpha
        size = min(BATCH, len(task))
        batches = task.batches(size)
        self.gradients = Gradients(task.net)
        self.plan = Plan(task.net, task.loss, batches, self.gradients)
        self.factor = task.factor / task.unit(batches)
        self.order = np.arange(len(task))
        amounts = task.amounts(self.order, size)
        self.amount = float(amounts.sum())
        # The kernel subtracts the rate times the gradient of the mean over a batch.
        self.shares = -amounts * (task.gain / self.amount)
        self.parameters = task.net.parameters()

    def start(self) -> Array:
        """Return the present parameters, one after another."""
        return np.concatenate([p.value.reshape(-1) for p in self.parameters])

    def put(self, values: Array) -> None:
        """Write parameters into the network."""
        at = 0
        for p in self.parameters:
            p.value[...] = values[at : at + p.value.size].reshape(p.value.shape)
            at += p.value.size

    def __call__(self, values: Array) -> tuple[float, Array]:
        """Return the loss and its gradient."""
        self.put(values)
        sums = list(self.gradients.arrays().values())
        for total in sums:
            total[...] = 0
        self.gradients.prepare(self.shares, 0)
        with closing(self.plan.run(self.order)) as chunks:
            for _ in chunks:
                pass
        loss = float(self.plan.history[:, 0].sum()) * self.factor / self.amount
        if self.plan.diverged:
            return FAR, np.zeros(len(values))
        found = []
        for p, total in zip(self.parameters, sums, strict=True):
            if p.value.ndim > 1:
                loss += self.alpha / 2 * float(np.vdot(p.value, p.value)) / self.amount
                total = total + self.alpha / self.amount * p.value
            found.append(total.reshape(-1))
        return loss, np.concatenate(found)


def approach(mlp: Any, task: Task, hooks: Any) -> None:
    """Train an estimator by L-BFGS.

    Parameters
    ----------
    mlp : MultilayerPerceptron
        The estimator; its parameters say how far to go.
    task : Task
        What it learns, in float64.
    hooks : Hooks
        They hear of each iteration.
    """
    objective = Objective(task, mlp.alpha)
    mlp.n_iter_, mlp.loss_curve_ = 0, []
    with shown(mlp, mlp.max_iter) as show:

        def tell(intermediate_result: Any) -> None:
            mlp.n_iter_ += 1
            mlp.loss_ = float(intermediate_result.fun)
            mlp.loss_curve_.append(mlp.loss_)
            objective.put(intermediate_result.x)
            result = Epoch(mlp.n_iter_, mlp.loss_, None, 0.0)
            show(result)
            hooks.begin()  # only SciPy knows in advance whether another iteration comes
            if hooks.end(result):
                raise StopIteration

        found = minimize(
            objective,
            objective.start(),
            method="L-BFGS-B",
            jac=True,
            callback=tell,
            options={"maxfun": mlp.max_fun, "maxiter": mlp.max_iter, "gtol": mlp.tol},
        )
    mlp.n_iter_ = min(int(found.nit), mlp.max_iter)
    mlp.loss_ = mlp.best_loss_ = float(found.fun)
    if not np.isfinite(found.x).all() or mlp.loss_ >= FAR:
        raise ValueError(NOT_FINITE)
    objective.put(found.x)
    if found.status in (1, 2):
        warnings.warn(
            f"lbfgs failed to converge after {found.nit} iteration(s) (status={found.status}): "
            f"{found.message}. Increase the number of iterations (max_iter={mlp.max_iter}) or "
            "scale the data: sklearn.preprocessing.StandardScaler() does it.",
            ConvergenceWarning,
            stacklevel=3,
        )
