"""The training loop, against the slides' loop typed out and against NumPy in float64."""

import math

import numpy as np
import pytest

import training.plan
from layers import CrossEntropy, Linear, Sequential, Softmax, SoftmaxCrossEntropy
from training import DivergedError, evaluate, fit, mlp, warm_up, weights_sha256

rng = np.random.default_rng(5)
LABELS = rng.integers(0, 4, 103).astype(np.uint8)
# A bright row for the class, over noise: 4 x 6 pixels.
IMAGES = rng.integers(0, 60, (103, 4, 6), np.uint8)
IMAGES[np.arange(103), LABELS] += 150
PIXELS = IMAGES.reshape(103, 24)


@pytest.fixture
def every_batch(monkeypatch):
    """Callbacks after every batch, not only several times a second."""
    monkeypatch.setattr(training.plan, "CHUNK", 0)


def network(hidden=(5,), dtype=np.float32):
    return mlp(24, hidden, 4, 0, dtype)


def train(net=None, **settings):
    net = net or network()
    given = {"epochs": 2, "batch_size": 10, "rate": 0.1, "rng": 1, **settings}
    return fit(net, SoftmaxCrossEntropy(), IMAGES, LABELS, **given), net


@pytest.mark.parametrize("batch_size", [1, 10, 102, 103])
def test_it_is_the_loop_of_the_slides(batch_size):
    """To the bit; 103 images leave a short last batch of 3 or 1."""
    net, loss, rng = network(), SoftmaxCrossEntropy(), np.random.default_rng(1)
    for _ in range(2):
        order = rng.permutation(103)
        for first in range(0, 103, batch_size):
            index = order[first : first + batch_size]
            z = (PIXELS[index] / 255).astype(np.float32)
            for module in net:
                z = module.fprop(z)
            loss.fprop(z, LABELS[index])
            dz = loss.bprop(1 / len(index))
            for module in reversed(net):
                dz = module.bprop(dz)
            for module in net:
                module.update(0.1)
    _, ours = train(batch_size=batch_size)
    assert weights_sha256(ours) == weights_sha256(net)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_against_numpy(momentum):
    net = network((), np.float64)
    w, b = (parameter.value.copy() for parameter in net.parameters())
    vw, vb = np.zeros_like(w), np.zeros_like(b)
    losses, errors, rng = 0.0, 0, np.random.default_rng(1)
    order = rng.permutation(103)
    for first in range(0, 103, 10):
        index = order[first : first + 10]
        x, t = PIXELS[index] / 255, LABELS[index]
        logits = x @ w + b
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        losses -= np.log(p[np.arange(len(t)), t]).sum()
        errors += np.sum(logits.argmax(1) != t)
        dz = (p - np.eye(4)[t]) / len(t)
        vw, vb = momentum * vw + x.T @ dz, momentum * vb + dz.sum(0)
        w, b = w - 0.1 * vw, b - 0.1 * vb
    (epoch,), _ = train(net, epochs=1, momentum=momentum)
    # Eleven steps, each of a few dozen roundings of numbers below 1.
    np.testing.assert_allclose(net[0].w, w, rtol=0, atol=1e-13)
    np.testing.assert_allclose(net[0].b, b, rtol=0, atol=1e-13)
    assert epoch.train_loss == pytest.approx(losses / 103, rel=1e-13)
    assert epoch.train_errors == errors


def test_it_learns():
    history, net = train(epochs=30, rate=0.5, test=(IMAGES, LABELS))
    assert [epoch.epoch for epoch in history] == list(range(1, 31))
    assert history[-1].test_errors == 0
    assert history[-1].train_loss < 0.1 * history[0].train_loss
    assert evaluate(net, SoftmaxCrossEntropy(), IMAGES, LABELS).errors == 0


def test_probabilities_with_their_loss_learn_too():
    net = Sequential(Linear(24, 4, 0), Softmax())
    fit(net, CrossEntropy(), IMAGES, LABELS, epochs=30, batch_size=10, rate=0.5, rng=1)
    assert evaluate(net, CrossEntropy(), IMAGES, LABELS).errors == 0


def test_history():
    held_out = IMAGES[:20], LABELS[:20]
    history, net = train(validation=held_out, test=(IMAGES[20:], LABELS[20:]))
    last = evaluate(net, SoftmaxCrossEntropy(), *held_out)
    assert history[-1].validation_errors == last.errors
    assert history[-1].validation_loss == last.loss
    assert history[-1].test_errors >= 0
    assert history[-1].train_seconds > 0
    bare, _ = train()
    assert bare[0].test_errors is bare[0].test_loss is None
    assert bare[0].validation_errors is bare[0].validation_loss is None


def test_evaluation_does_not_change_what_is_learned():
    _, net = train()
    _, evaluated = train(validation=(IMAGES, LABELS), test=(IMAGES[:7], LABELS[:7]))
    assert weights_sha256(net) == weights_sha256(evaluated)


def test_the_whole_set_as_one_batch():
    digests = {weights_sha256(train(batch_size=size)[1]) for size in (None, 103, 104, 10**9)}
    assert len(digests) == 1


def test_one_seed_one_result():
    assert weights_sha256(train(rng=3)[1]) == weights_sha256(train(rng=3)[1])
    assert weights_sha256(train(rng=3)[1]) != weights_sha256(train(rng=4)[1])


def test_a_generator_goes_on_where_it_stands():
    rng = np.random.default_rng(1)
    net = network()
    train(net, epochs=1, rng=rng)
    train(net, epochs=1, rng=rng)
    assert weights_sha256(net) == weights_sha256(train(epochs=2)[1])


def test_no_epochs():
    history, net = train(epochs=0)
    assert history == []
    assert weights_sha256(net) == weights_sha256(network())


def test_callbacks(every_batch):
    batches, epochs = [], []
    history, _ = train(on_batch=lambda *batch: batches.append(batch), on_epoch=epochs.append)
    assert epochs == history
    assert [batch[:2] for batch in batches] == [(e, b) for e in (1, 2) for b in range(1, 12)]
    sizes = [10] * 10 + [3]
    total = sum(loss * size for (*_, loss), size in zip(batches[:11], sizes, strict=True))
    assert total / 103 == pytest.approx(history[0].train_loss, rel=1e-13)


def test_a_callback_can_end_training_between_two_steps(every_batch):
    digests = []

    def on_batch(epoch, batch, loss):
        digests.append(weights_sha256(net))
        if len(digests) == 15:
            raise KeyboardInterrupt

    net = network()
    with pytest.raises(KeyboardInterrupt):
        train(net, on_batch=on_batch)
    assert weights_sha256(net) == digests[-1]
    assert len(set(digests)) == 15


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_training_before_the_step(value, every_batch):
    calls = []

    def on_batch(epoch, batch, loss):
        calls.append(batch)
        if len(calls) == 13:
            net[-1].b[0] = value

    net = network()
    with pytest.raises(DivergedError, match=r"became (nan|inf) in epoch 2, batch 3$"):
        train(net, on_batch=on_batch)
    assert len(calls) == 13
    assert np.isfinite(net[0].w).all()


def test_weights_lost_in_the_last_step_are_noticed():
    net = network()

    def on_batch(epoch, batch, loss):
        net[0].w[0, 0] = math.nan

    with pytest.raises(DivergedError, match="nan at the end of epoch 1"):
        train(net, batch_size=None, on_batch=on_batch, test=(IMAGES, LABELS))


def test_warm_up_leaves_everything_as_it_is():
    net, loss = network(), SoftmaxCrossEntropy()
    warm_up(net, loss, IMAGES, LABELS, batch_size=10, momentum=0.9)
    assert weights_sha256(net) == weights_sha256(network())
    fit(net, loss, IMAGES, LABELS, epochs=2, batch_size=10, rate=0.1, rng=1)
    assert weights_sha256(net) == weights_sha256(train()[1])


@pytest.mark.parametrize(
    "wrong", [{"epochs": -1}, {"batch_size": 0}, {"rate": math.nan}, {"momentum": 1.0}]
)
def test_settings_that_make_no_sense(wrong):
    with pytest.raises(ValueError, match=r"epochs|batch size|rate|momentum"):
        train(**wrong)


def test_a_label_without_an_output():
    labels = LABELS.copy()
    labels[7] = 4
    with pytest.raises(ValueError, match="label"):
        fit(network(), SoftmaxCrossEntropy(), IMAGES, labels, epochs=1, batch_size=10, rate=0.1)
