"""layers/__init__.py: the public names, and the training loop of slide 12 with them."""

import numpy as np
import pytest

from jitprop import layers
from jitprop.layers import (
    CrossEntropy,
    Linear,
    Module,
    Sequential,
    Softmax,
    SoftmaxCrossEntropy,
    Tanh,
)


def test_public_names_are_all_there():
    assert sorted(layers.__all__) == layers.__all__
    for name in layers.__all__:
        assert getattr(layers, name).__module__.startswith("jitprop.layers.")


def quadrants(count, rng):
    """Points of the plane; the class says whether their coordinates have the same sign."""
    points = rng.uniform(-1, 1, (count, 2))
    return points.astype(np.float32), (points[:, 0] * points[:, 1] > 0).astype(np.uint8)


def batched(inputs, labels, size):
    for start in range(0, len(inputs), size):
        yield inputs[start : start + size], labels[start : start + size]


def softmax_and_cross_entropy(rng):
    return [Linear(2, 16, rng), Tanh(), Linear(16, 2, rng), Softmax()], CrossEntropy()


def logits(rng):
    return [Linear(2, 16, rng), Tanh(), Linear(16, 2, rng)], SoftmaxCrossEntropy()


def sequential(rng):
    return Sequential(Linear(2, 16, rng), Tanh(), Linear(16, 2, rng)), SoftmaxCrossEntropy()


@pytest.mark.parametrize("network", [softmax_and_cross_entropy, logits, sequential])
def test_the_slides_training_loop(network):
    net, loss = network(np.random.default_rng(1))
    inputs, labels = quadrants(500, np.random.default_rng(2))
    batchSize, rate = 20, 0.5
    losses = []
    for _epoch in range(40):
        total = 0.0
        for X, T in batched(inputs, labels, batchSize):
            z = X
            for module in net:
                z = module.fprop(z)
            E = loss.fprop(z, T)
            dz = loss.bprop(1 / batchSize)
            for module in reversed(net):
                dz = module.bprop(dz)
            for module in net:
                module.update(rate)
            total += E
        losses.append(total / len(inputs))
    # A guess costs log 2 = 0.69, and no network without the hidden layer gets far below that.
    assert 0.6 < losses[0] < 0.9
    assert losses[-1] < 0.15

    inputs, labels = quadrants(500, np.random.default_rng(3))
    z = inputs
    for module in net:
        z = module.fprop(z)
    assert np.count_nonzero(z.argmax(axis=1) != labels) < 50


def test_one_step_of_training_against_numpy():
    rng = np.random.default_rng(4)
    net = Sequential(
        Linear(6, 5, rng, np.float64), Tanh(), Linear(5, 3, rng, np.float64), Softmax()
    )
    loss = CrossEntropy()
    x = rng.standard_normal((4, 6))
    labels = np.array([2, 0, 1, 1])
    w1, b1, w2, b2 = (p.value.copy() for p in net.parameters())

    h = np.tanh(x @ w1 + b1)
    e = np.exp(h @ w2 + b2)
    p = e / e.sum(axis=1, keepdims=True)
    dlogits = (p - np.eye(3)[labels]) / 4
    dh = dlogits @ w2.T * (1 - h * h)
    expected = [
        w1 - 0.1 * x.T @ dh,
        b1 - 0.1 * dh.sum(axis=0),
        w2 - 0.1 * h.T @ dlogits,
        b2 - 0.1 * dlogits.sum(axis=0),
    ]

    value = loss.fprop(net.fprop(x), labels)
    net.bprop(loss.bprop(1 / 4), need_dx=False)
    net.update(0.1)
    # Some tens of roundings of numbers of size one, far below any error of a formula.
    assert value == pytest.approx(-np.log(p[range(4), labels]).sum(), rel=1e-13)
    for parameter, value in zip(net.parameters(), expected, strict=True):
        np.testing.assert_allclose(parameter.value, value, rtol=0, atol=1e-14)


def test_training_is_deterministic():
    def train():
        rng = np.random.default_rng(5)
        net, loss = Sequential(Linear(2, 8, rng), Tanh(), Linear(8, 2, rng)), SoftmaxCrossEntropy()
        for x, t in batched(*quadrants(70, rng), 32):  # the last batch is a short one
            loss.fprop(net.fprop(x), t)
            net.bprop(loss.bprop(1 / len(x)), need_dx=False)
            net.update(0.1)
        return b"".join(p.value.tobytes() for p in net.parameters())

    assert train() == train()


def test_a_module_must_have_fprop_and_bprop():
    class Half(Module):
        def fprop(self, x):
            return x

    with pytest.raises(TypeError, match="bprop"):
        Half()
