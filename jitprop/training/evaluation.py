"""How well a network does on labelled images."""

from contextlib import closing
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jitprop.layers import Loss, Module
from jitprop.layers.mode import in_mode
from jitprop.training.batches import Batches
from jitprop.training.examples import Array, Rows, labels
from jitprop.training.plan import Plan

BATCH = 500  # its activations stay in the cache, its matrix products keep two cores busy
MOST_CLASSES = 1000


class Evaluation(NamedTuple):
    """How well a network does on a set of examples.

    Attributes
    ----------
    errors : int or None
        Examples that the network takes for another class; None where targets are no classes.
    images : int
        All examples.
    loss : float
        The mean loss.
    """

    errors: int | None
    images: int
    loss: float


def evaluate(net: Module, loss: Loss, x: Rows, t: Rows) -> Evaluation:
    """Run `net` in evaluation over examples, and compare with their targets.

    Parameters
    ----------
    net : Module
    loss : Loss
        Of its output.
    x, t : arrays
        Examples and targets, as `Batches` takes them.

    Returns
    -------
    Evaluation
        Errors and mean loss.

    Raises
    ------
    ValueError, TypeError
        The arrays do not fit together or to the network.
    """
    return evaluate_plan(Plan(net, loss, Batches(net, x, t, BATCH, loss=loss)))


def outputs(net: Module, x: Rows, t: Rows) -> Array:
    """Return what `net`, in evaluation, makes of examples as `Batches` takes them: (n, features).

    Of several outputs, the first.
    """
    batches = Batches(net, x, t, BATCH)
    rows = []
    with in_mode(net, False):
        for start in range(0, len(batches), BATCH):
            index = np.arange(start, min(start + BATCH, len(batches)))
            z = net.fprop(*batches.take(index)[0])
            rows.append(np.array(z[0] if isinstance(z, tuple) else z))
    return np.concatenate(rows)


def confusion(net: Module, x: npt.ArrayLike, t: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Count how many images of each class the network takes for each class.

    Parameters
    ----------
    net : Module
        Of several outputs the first counts.
    x : (n, ...) uint8, or (n, features) of floats
        Examples, as `Batches` takes them.
    t : (n,) of integers, or (n, classes)
        Their class labels, or one-hot targets.

    Returns
    -------
    (classes, outputs) int64
        A row for each class, a column for each that it is taken for.

    Raises
    ------
    ValueError
        There are too many classes, or more than the network has outputs.
    """
    truth = labels("t", t)
    if not len(truth):
        raise ValueError(f"t has shape {np.shape(t)}, expected (n,), n at least 1")
    classes = int(truth.max()) + 1
    if classes > MOST_CLASSES:
        raise ValueError(f"{classes} classes, expected at most {MOST_CLASSES} to compare")
    z = outputs(net, x, truth)
    if z.shape[1] < classes:
        raise ValueError(f"{net!r} has no outputs for {classes} classes")
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
    examples = len(plan.batches)
    return Evaluation(int(errors) if plan.batches.counts else None, examples, total / examples)
