"""How well a network does on labelled images."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from layers import Loss, Module
from training.batches import Batches
from training.plan import Plan

BATCH = 500  # its activations stay in the cache, its matrix products keep two cores busy


class Evaluation(NamedTuple):
    """How many of `images` images the network takes for another class, and the mean loss."""

    errors: int
    images: int
    loss: float


def evaluate(net: Module, loss: Loss, x: npt.ArrayLike, t: npt.ArrayLike) -> Evaluation:
    """Run `net` over examples as `Batches` takes them, and compare with their targets."""
    return evaluate_plan(Plan(net, loss, Batches(net, x, t, BATCH)))


def evaluate_plan(plan: Plan) -> Evaluation:
    """Run a plan without an optimiser over its examples."""
    for _ in plan.run(np.arange(len(plan.batches))):
        pass
    return summary(plan)


def summary(plan: Plan) -> Evaluation:
    """What the last pass of a plan over all its examples found."""
    total, errors = plan.history.sum(axis=0)
    examples = len(plan.batches)
    return Evaluation(int(errors), examples, total / examples)
