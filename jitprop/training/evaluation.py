"""How well a network does on labelled images."""

from collections.abc import Sequence
from contextlib import closing
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jitprop.layers import Bias, CrossEntropy, Loss, Module, SoftmaxCrossEntropy
from jitprop.layers.copies import copied
from jitprop.layers.mode import one_at_a_time
from jitprop.training.asking import BATCH, check_endings, predict, probabilities, twin
from jitprop.training.batches import Batches
from jitprop.training.ensemble import members
from jitprop.training.examples import Array, Rows, check_loss, labels
from jitprop.training.plan import Plan, own_part

MOST_CLASSES = 1000


class NotFiniteError(ValueError):
    """The output of a network is not finite for `lost` examples: its weights are too large."""

    def __init__(self, lost: int, examples: int) -> None:
        super().__init__(f"what the network gives for {lost} of {examples} examples is not finite")
        self.lost = lost


class Evaluation(NamedTuple):
    """How well a network does on a set of examples.

    Attributes
    ----------
    errors : int or None
        Examples that the network takes for another class; None if targets are not classes.
    images : int
        All examples, except those with weight 0.
    loss : float
        The mean loss; if examples have weights, the weighted mean.
    """

    errors: int | None
    images: int
    loss: float


def evaluate(
    net: Module | Sequence[Module],
    loss: Loss,
    x: Rows,
    t: Rows,
    sample_weight: npt.ArrayLike | None = None,
) -> Evaluation:
    """Run `net` in evaluation over examples, and compare with their targets.

    Parameters
    ----------
    net : Module, or list or tuple of Modules
        Several answer together, by the mean of their `probabilities`.
    loss : Loss
        That of its output. For several networks it is `SoftmaxCrossEntropy()` or `CrossEntropy()`:
        both mean the cross-entropy of that mean, infinite if all give the right class 0.
    x, t : arrays
        Examples and targets, as `Batches` takes them.
    sample_weight : (n,) of any numbers, at least 0, or None
        How much each example counts in the mean loss. An example with weight 0 counts as absent,
        in the errors, too.

    Returns
    -------
    Evaluation
        Errors and mean loss.

    Raises
    ------
    ValueError, TypeError
        The arrays do not fit together, or not to the network; several networks do not go together,
        an output is not finite, or the loss is not for several networks.
    """
    check_loss(loss)
    one, *others = nets = members(net)
    batches = Batches(one, x, t, BATCH, loss=loss, weights=sample_weight)
    if others:
        smoothing = getattr(loss, "label_smoothing", 0)
        if type(loss) not in (CrossEntropy, SoftmaxCrossEntropy) or smoothing:
            raise ValueError(
                f"loss is {loss!r}, expected SoftmaxCrossEntropy() or CrossEntropy(): of several "
                "networks, the loss is the cross-entropy of their mean probabilities"
            )
        return evaluate_probabilities(probabilities(nets, x), t, sample_weight)
    check_endings(one, loss)
    if own_part(one) or own_part(loss):
        with one_at_a_time:
            return evaluate_plan(Plan(one, loss, batches))
    return evaluate_plan(Plan(twin(one), copied(loss), batches))


def evaluate_probabilities(
    p: Array, t: Rows, sample_weight: npt.ArrayLike | None = None
) -> Evaluation:
    """Return the errors and the cross-entropy of probabilities, (n, classes); see `evaluate`."""
    expect_finite(p)
    given = Bias(p.shape[1], p.dtype)  # a network that returns its input: it adds 0
    return evaluate(given, CrossEntropy(), p, t, sample_weight)


def outputs(net: Module | Sequence[Module], x: Rows) -> Array:
    """Return the output of `net` for examples; of several outputs, the first.

    Several networks give the mean of their probabilities.
    """
    one, *others = nets = members(net)
    y = probabilities(nets, x) if others else predict(one, x)
    return y[0] if isinstance(y, tuple) else y


def confusion(
    net: Module | Sequence[Module], x: npt.ArrayLike, t: npt.ArrayLike
) -> npt.NDArray[np.int64]:
    """Count how many images of each class the network takes for each class.

    Parameters
    ----------
    net : Module, or list or tuple of Modules
        If there are several outputs, the first counts. Several networks answer together, by the
        mean of their `probabilities`.
    x : arrays
        Examples, as `predict` takes them.
    t : (n,) of integers, or (n, classes)
        Their class labels, or one-hot targets.

    Returns
    -------
    (classes, outputs) int64
        A row for each true class, a column for each answer.

    Raises
    ------
    ValueError
        There are too many classes, or more than the network has outputs; or outputs are not finite;
        or several networks do not go together.
    """
    truth = labels("t", t)
    if not len(truth):
        raise ValueError(f"t has shape {np.shape(t)}, expected (n,), n at least 1")
    if (classes := int(truth.max()) + 1) > MOST_CLASSES:
        raise ValueError(f"{classes} classes, expected at most {MOST_CLASSES} to compare")
    return confusion_of(net, outputs(net, x), truth)


def confusion_of(net: object, z: Array, truth: Array) -> npt.NDArray[np.int64]:
    """Return the result of `confusion` for the outputs `z` of a network."""
    classes = int(truth.max()) + 1
    if len(truth) != len(z):
        raise ValueError(f"t has {len(truth)} rows, x {len(z)}")
    if z.shape[1] < classes:
        raise ValueError(f"{net!r} has no outputs for {classes} classes")
    expect_finite(z)
    counts = np.zeros((classes, z.shape[1]), np.int64)
    np.add.at(counts, (truth, z.argmax(axis=1)), 1)
    return counts


def expect_finite(z: Array) -> None:
    """Raise NotFiniteError if the outputs of a network are not finite for some examples."""
    if lost := int((~np.isfinite(z)).any(axis=1).sum()):
        raise NotFiniteError(lost, len(z))


def evaluate_plan(plan: Plan) -> Evaluation:
    """Run a plan without an optimiser over its examples."""
    with closing(plan.run(np.arange(len(plan.batches)))) as batches:
        for _ in batches:
            pass
    return summary(plan)


def summary(plan: Plan) -> Evaluation:
    """Return the results of a plan's last pass over all its examples."""
    total, errors = map(float, plan.history.sum(axis=0))
    counted = int(errors) if plan.batches.counts else None
    return Evaluation(counted, len(plan.batches), total / plan.batches.weight())
