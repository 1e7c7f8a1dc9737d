"""The slides' training loop, batch by batch, with what one wants to know of every epoch."""

import copy
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np

from layers import Loss, Module
from training.batches import Array, Batches
from training.evaluation import BATCH, evaluate_plan, summary
from training.optimisers import SGD
from training.plan import Plan
from training.settings import Settings

Examples = tuple[Array, Array]


class DivergedError(ArithmeticError):
    """The loss is not a number any more; the message says since which epoch and batch."""


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training set gave.

    Attributes:
        epoch: its number, from 1.
        train_loss, train_errors: mean loss and errors on the training images, taken as each batch
            came by, just before the step that learned from it: no image is run twice for them,
            and they lag behind the weights at the end of the epoch.
        train_seconds: training alone, evaluation apart.
        validation_loss, validation_errors, test_loss, test_errors: with the weights at the end of
            the epoch; None without such a set.
    """

    epoch: int
    train_loss: float
    train_errors: int
    train_seconds: float
    validation_loss: float | None = None
    validation_errors: int | None = None
    test_loss: float | None = None
    test_errors: int | None = None


def fit(
    net: Module,
    loss: Loss,
    images: Array,
    labels: Array,
    *,
    epochs: int,
    batch_size: int | None,
    rate: float,
    momentum: float = 0.0,
    input: str = "auto",
    rng: np.random.Generator | int | None = None,
    validation: Examples | None = None,
    test: Examples | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    on_batch: Callable[[int, int, float], None] | None = None,
) -> list[Epoch]:
    """Train `net` by gradient descent on the mean of `loss` over one batch after the other.

    Args:
        net: from images to what `loss` takes; trained in place.
        images: uint8 (n, ...); the network gets them as (batch, pixels), divided by 255.
        labels: class indices, integers (n,).
        epochs, batch_size, rate, momentum: see `Settings`. A last short batch is trained, too,
            on the mean over its own images.
        input: "auto", "dense" or "sparse", see `Batches`; the results are the same bits.
        rng: a Generator, a seed or None; gives one permutation of the images for each epoch.
        validation, test: images and labels to evaluate after each epoch.
        on_epoch: called after each epoch.
        on_batch: called after a batch, several times a second, with the epoch, the batch (both
            from 1) and its mean loss. What it raises ends the training between two steps.

    Returns:
        The history, one `Epoch` for each.

    Raises:
        DivergedError: the loss became NaN or infinite; that step was not taken.
        ValueError, TypeError: arguments make no sense, or do not fit together.
    """
    settings = Settings(epochs, batch_size, rate, momentum)
    plan = Plan(
        net,
        loss,
        Batches(net, images, labels, settings.batch_size, input),
        SGD(net, settings.rate, settings.momentum),
    )
    if plan.own is not None:
        what = f"{plan.own!r} is not of the package layers"
        print(f"jitprop: {what}: training runs layer by layer, not compiled", file=sys.stderr)
    sets = {"validation": validation, "test": test}
    evaluations = {
        name: Plan(net, loss, Batches(net, *examples, BATCH, input))
        for name, examples in sets.items()
        if examples
    }
    rng = np.random.default_rng(rng)
    history = []
    for epoch in range(1, settings.epochs + 1):
        start = perf_counter()
        for _ in plan.run(rng.permutation(len(plan.batches))):
            if plan.diverged:
                place = f"in epoch {epoch}, batch {plan.done}"
                raise DivergedError(f"the loss became {plan.last_loss} {place}")
            if on_batch:
                on_batch(epoch, plan.done, plan.last_loss)
        seconds = perf_counter() - start
        found = summary(plan)
        result = Epoch(epoch, found.loss, found.errors, seconds)
        for name, evaluation in evaluations.items():
            found = evaluate_plan(evaluation)
            if math.isnan(found.loss):
                raise DivergedError(f"the loss became nan at the end of epoch {epoch}")
            values: dict[str, Any] = {f"{name}_loss": found.loss, f"{name}_errors": found.errors}
            result = replace(result, **values)
        history.append(result)
        if on_epoch:
            on_epoch(result)
    return history


def warm_up(
    net: Module,
    loss: Loss,
    images: Array,
    labels: Array,
    *,
    batch_size: int | None,
    momentum: float = 0.0,
    input: str = "auto",
) -> None:
    """Have all kernels compiled that `fit` and `evaluate` will run, or loaded from the cache.

    Takes a step on a copy of the network with the first images, and one with as many as the last
    batch has; the network and its loss stay as they are. At most 500 images: kernels are compiled
    for types, not for sizes.
    """
    size = min(batch_size or len(images), len(images))
    for rows in {size, len(images) % size} - {0}:
        rows = min(rows, BATCH)
        x, t = images[:rows], labels[:rows]
        fit(
            *copy.deepcopy((net, loss)),
            x,
            t,
            epochs=1,
            batch_size=None,
            rate=1e-3,
            momentum=momentum,
            input=input,
            rng=0,
            test=(x, t),
        )
