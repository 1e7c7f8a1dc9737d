"""How well a network does on labelled images."""

from contextlib import closing
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jitprop.layers import Loss, Module
from jitprop.layers.copies import copied
from jitprop.layers.mode import one_at_a_time
from jitprop.training.asking import BATCH, predict, twin
from jitprop.training.batches import Batches
from jitprop.training.examples import Array, Rows, check_loss, labels
from jitprop.training.plan import Plan, own_part

MOST_CLASSES = 1000


class NotFiniteError(ValueError):
    """The output of a network is not finite for `lost` examples: weights too large overflow."""

    def __init__(self, lost: int, examples: int) -> None:
        super().__init__(f"what the network gives for {lost} of {examples} examples is not finite")
        self.lost = lost


class Evaluation(NamedTuple):
    """How well a network does on a set of examples.

    Attributes
    ----------
    errors : int or None
        Examples that the network takes for another class; None where targets are no classes.
    images : int
        All examples, but for those of weight 0.
    loss : float
        The mean loss; the weighted mean, where examples have weights.
    """

    errors: int | None
    images: int
    loss: float


def evaluate(
    net: Module, loss: Loss, x: Rows, t: Rows, sample_weight: npt.ArrayLike | None = None
) -> Evaluation:
    """Run `net` in evaluation over examples, and compare with their targets.

    Parameters
    ----------
    net : Module
    loss : Loss
        Of its output.
    x, t : arrays
        Examples and targets, as `Batches` takes them.
    sample_weight : (n,) of any numbers, at least 0, or None
        How much each example counts in the mean loss. One of weight 0 counts as absent, in the
        errors, too.

    Returns
    -------
    Evaluation
        Errors and mean loss.

    Raises
    ------
    ValueError, TypeError
        The arrays do not fit together or to the network.
    """
    check_loss(loss)
    batches = Batches(net, x, t, BATCH, loss=loss, weights=sample_weight)
    if own_part(net) or own_part(loss):
        with one_at_a_time:
            return evaluate_plan(Plan(net, loss, batches))
    return evaluate_plan(Plan(twin(net), copied(loss), batches))


def outputs(net: Module, x: Rows) -> Array:
    """Return what `net` gives for examples; of several outputs, the first."""
    y = predict(net, x)
    return y[0] if isinstance(y, tuple) else y


def confusion(net: Module, x: npt.ArrayLike, t: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Count how many images of each class the network takes for each class.

    Parameters
    ----------
    net : Module
        Of several outputs the first counts.
    x : arrays
        Examples, as `predict` takes them.
    t : (n,) of integers, or (n, classes)
        Their class labels, or one-hot targets.

    Returns
    -------
    (classes, outputs) int64
        A row for each class, a column for each that it is taken for.

    Raises
    ------
    ValueError
        There are too many classes, or more than the network has outputs; or these are not finite.
    """
    truth = labels("t", t)
    if not len(truth):
        raise ValueError(f"t has shape {np.shape(t)}, expected (n,), n at least 1")
    classes = int(truth.max()) + 1
    if classes > MOST_CLASSES:
        raise ValueError(f"{classes} classes, expected at most {MOST_CLASSES} to compare")
    z = outputs(net, x)
    if len(truth) != len(z):
        raise ValueError(f"t has {len(truth)} rows, x {len(z)}")
    if z.shape[1] < classes:
        raise ValueError(f"{net!r} has no outputs for {classes} classes")
    if lost := int((~np.isfinite(z)).any(axis=1).sum()):
        raise NotFiniteError(lost, len(z))
    counts = np.zeros((classes, z.shape[1]), np.int64)
    np.add.at(counts, (truth, z.argmax(axis=1)), 1)
    return counts


def evaluate_plan(plan: Plan) -> Evaluation:
    """Run a plan without an optimiser over its examples."""
    with closing(plan.run(np.arange(len(plan.batches)))) as batches:
        for _ in batches:
            pass
    return summary(plan)


def summary(plan: Plan) -> Evaluation:
    """What the last pass of a plan over all its examples found."""
    total, errors = map(float, plan.history.sum(axis=0))
    counted = int(errors) if plan.batches.counts else None
    return Evaluation(counted, len(plan.batches), total / plan.batches.weight())
