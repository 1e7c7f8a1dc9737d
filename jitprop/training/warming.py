"""Compile kernels before training begins: `warm_up`."""

from dataclasses import replace
from typing import Any

import numpy as np

from jitprop.layers import Loss, Module
from jitprop.layers.copies import copied
from jitprop.training.evaluation import BATCH
from jitprop.training.examples import Rows, row_weights
from jitprop.training.loop import Training
from jitprop.training.settings import Settings, settings_of


def warm_up(net: Module, loss: Loss, images: Rows, labels: Rows, **settings: Any) -> None:
    """Compile all kernels that `fit` and `evaluate` will run, or load them from the cache.

    A copy of the network takes one step with a batch of full size and, if the last batch is
    shorter, one with that size. The network and its loss stay as they are. Both batches have at
    most 500 images: kernels are compiled for types, not for sizes.

    Parameters
    ----------
    net : Module
    loss : Loss
    images, labels : arrays
    **settings
        As for `fit`, which raises the same errors.
    """
    weights = settings.pop("sample_weight", None)
    how: dict[str, Any] = {
        name: settings.pop(name) for name in ("input", "pixels", "distort") if name in settings
    }
    needed: dict[str, Any] = {"epochs": 1, "batch_size": None, "rate": 1e-3}
    chosen = settings_of({**needed, **settings}, ("input", "pixels", "distort", "sample_weight"))
    count = _length(images[0] if isinstance(images, tuple) and images else images)
    if weights is not None:
        used = row_weights("sample_weight", weights, count, np.dtype(np.float64))
        count = int(np.count_nonzero(used))
    size = min(chosen.batch_size or count, count)
    for name in ("warmup", "early_stopping", "patience"):
        needed[name] = getattr(Settings, name)
    chosen = replace(chosen, **needed)
    for rows in {size, count % size} - {0}:
        rows = min(rows, BATCH)
        x, t = _first(images, rows), _first(labels, rows)
        how["sample_weight"] = None if weights is None else np.ones(rows)
        Training(copied(net), copied(loss), x, t, chosen, rng=0, test=(x, t), **how)._run()


def _first(examples: Any, rows: int) -> Any:
    """Return the first rows of an array, or of each in a tuple; anything without rows as it is."""
    if isinstance(examples, tuple):
        return tuple(_first(one, rows) for one in examples)
    if hasattr(examples, "tocsr"):  # other formats have no rows
        examples = examples.tocsr()
    try:
        return examples[:rows]
    except (TypeError, IndexError, KeyError):
        return examples


def _length(array: Any) -> int:
    """Return how many rows there are; 1 if `Batches` will say what is wrong."""
    try:
        return max(1, array.shape[0] if hasattr(array, "tocsr") else len(array))
    except TypeError:
        return 1
