"""Errors and loss over a set, against NumPy in one piece."""

import numpy as np
import pytest

from jitprop.layers import Dropout, Graph, Input, Linear, Sequential, SoftmaxCrossEntropy
from jitprop.training import confusion, evaluate, mlp
from jitprop.training.evaluation import BATCH


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


def test_confusion():
    """Rows are what the images show, columns what they are taken for."""
    net = Sequential(Dropout(0.5, 0), Linear(3, 4, 0))
    net[1].w[...] = np.eye(3, 4)
    x = np.eye(3, dtype=np.float32)[[0, 0, 1, 2, 2, 2] * 200]
    counts = confusion(net, x, [0, 1, 1, 2, 0, 2] * 200)
    expected = np.array([[1, 0, 1, 0], [1, 1, 0, 0], [0, 0, 2, 0]])
    np.testing.assert_array_equal(counts, 200 * expected)
    assert net.training


def test_of_several_outputs_the_first_counts():
    x = Input(3)
    first, second = Linear(3, 4, 0), Linear(3, 4, 0)
    first.w[...], second.w[...] = np.eye(3, 4), -np.eye(3, 4)
    counts = confusion(Graph(x, [first(x), second(x)]), np.eye(3, dtype=np.float32), [0, 1, 2])
    np.testing.assert_array_equal(counts, np.eye(3, 4))


@pytest.mark.parametrize("labels", [[4], [2000]])
def test_confusion_of_classes_that_the_network_does_not_have(labels):
    with pytest.raises(ValueError, match="classes"):
        confusion(Linear(3, 4, 0), np.ones((1, 3), np.float32), labels)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (np.array([0, 2**64 - 1], np.uint64), ValueError, r"holds labels 0 \.\.\. 1\.84467e\+19"),
        ([0, 1e300], ValueError, r"holds labels 0 \.\.\. 1e\+300"),
        (([0, 1], [0, 1]), TypeError, "t is a tuple, expected one array"),
        ([0, 1, 2], ValueError, "t has 3 rows, x 2"),
    ],
)
def test_confusion_refuses_labels(labels, error, message):
    with pytest.raises(error, match=message):
        confusion(Linear(3, 4, 0), np.ones((2, 3), np.float32), labels)


def test_confusion_of_what_is_not_finite():
    net = Linear(3, 4, 0)
    net.w[0] = np.nan
    with pytest.raises(ValueError, match="for 2 of 2 examples is not finite"):
        confusion(net, np.ones((2, 3), np.float32), [0, 1])


def test_no_loss():
    with pytest.raises(TypeError, match="loss is of type NoneType, expected a loss"):
        evaluate(Linear(3, 4, 0), None, np.ones((2, 3), np.float32), [0, 1])
