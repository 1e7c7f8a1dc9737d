"""Errors and loss over a set, against NumPy in one piece."""

import numpy as np
import pytest

from layers import SoftmaxCrossEntropy
from training import evaluate, mlp
from training.evaluation import BATCH


@pytest.mark.parametrize("count", [1, BATCH, BATCH + 1, 2 * BATCH + 3])
def test_evaluate(count):
    rng = np.random.default_rng(count)
    images = rng.integers(0, 256, (count, 5, 2), np.uint8)
    labels = rng.integers(0, 4, count)
    net = mlp(10, (), 4, 0, np.float64)
    w, b = (parameter.value for parameter in net.parameters())
    logits = images.reshape(count, 10) / 255 @ w + b
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(count), labels]

    result = evaluate(net, SoftmaxCrossEntropy(), images, labels)
    assert result.images == count
    assert result.errors == np.sum(logits.argmax(1) != labels)
    assert result.loss == pytest.approx(losses.mean(), rel=1e-12)  # a few thousand roundings
