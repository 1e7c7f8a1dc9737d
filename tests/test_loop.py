"""The training loop, against the loop of slide 12 typed out and against NumPy in float64.

One file: each way to train is compared with the same typed-out loop.
"""

import copy
import json
import math
import pickle

import numpy as np
import pytest

from jitprop import kernels
from jitprop.layers import (
    CrossEntropy,
    Graph,
    Input,
    Linear,
    Losses,
    MeanSquaredError,
    Module,
    Parameter,
    Sequential,
    Softmax,
    SoftmaxCrossEntropy,
    gradcheck,
)
from jitprop.training import (
    DivergedError,
    Settings,
    Training,
    confusion,
    evaluate,
    fit,
    mlp,
    save,
    warm_up,
    weights_sha256,
)

rng = np.random.default_rng(5)
LABELS = rng.integers(0, 4, 103).astype(np.uint8)
# A bright row for the class, over noise: 4 x 6 pixels.
IMAGES = rng.integers(0, 60, (103, 4, 6), np.uint8)
IMAGES[np.arange(103), LABELS] += 150
PIXELS = IMAGES.reshape(103, 24)


@pytest.fixture
def every_batch(monkeypatch):
    """Callbacks after every batch, not only several times a second."""
    monkeypatch.setattr("jitprop.training.plan.CHUNK", 0)


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


def test_seconds_are_those_of_the_clock(monkeypatch):
    monkeypatch.setattr("jitprop.training.loop.perf_counter", lambda: 7.0)
    net = mlp(IMAGES[0].size, (3,), 10, 0)
    for epoch in fit(net, SoftmaxCrossEntropy(), IMAGES, LABELS, epochs=2, batch_size=9, rate=0.1):
        assert epoch.train_seconds == 0
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


@pytest.mark.parametrize("name", ["epochs", "batch_size", "patience", "step_size"])
def test_settings_that_are_no_integers(name):
    with pytest.raises(
        TypeError, match=rf"^{name.replace('_', ' ')} must be an integer, not 1\.5$"
    ):
        train(**{name: 1.5})
    if name != "batch_size":  # which is then all there is
        with pytest.raises(TypeError, match="must be an integer, not None"):
            train(**{name: None})


TWO = Losses((SoftmaxCrossEntropy(), 1), (MeanSquaredError(), 1))


@pytest.mark.parametrize(
    ("outputs", "loss", "targets", "error", "message"),
    [
        (
            1,
            SoftmaxCrossEntropy(),
            (LABELS, LABELS),
            ValueError,
            "returns one array, t holds .* 2$",
        ),
        (1, TWO, LABELS, ValueError, r"returns one array, Losses\(.*\) takes a tuple of 2$"),
        (2, SoftmaxCrossEntropy(), LABELS, ValueError, "tuple of 2, .* takes one array$"),
        (2, TWO, LABELS, ValueError, "returns a tuple of 2, t holds one array$"),
        (2, TWO, [LABELS, np.zeros((2, 2))], ValueError, "neither an array nor a tuple"),
        (1, SoftmaxCrossEntropy, LABELS, TypeError, "loss is a class, expected a loss such as"),
        (0, SoftmaxCrossEntropy(), LABELS, TypeError, "net is of type list, expected a module"),
    ],
)
def test_outputs_losses_and_targets_that_do_not_fit(outputs, loss, targets, error, message):
    x = Input(24)
    y = Linear(24, 4, 0)(x)
    net = Graph(x, [y, y] if outputs == 2 else y) if outputs else [network()]
    with pytest.raises(error, match=message) as caught:
        fit(net, loss, IMAGES, targets, epochs=1, batch_size=10, rate=0.1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("settings", [{}, {"momentum": 0.9}, {"optimizer": "adam"}])
def test_a_gradient_may_be_bound_anew(settings, capfd):
    """By a person's own module: it learns what one learns that writes into its gradient."""

    class Gain(Module):
        def __init__(self):
            self.g, self.dg = np.ones(24, np.float32), np.zeros(24, np.float32)

        def fprop(self, x):
            self.x = x
            return x * self.g

        def bprop(self, dy):
            self.dg = (dy * self.x).sum(axis=0)
            return dy * self.g

        def parameters(self):
            return [Parameter("g", self.g, self.dg)]

    class Kept(Gain):
        def bprop(self, dy):
            self.dg[...] = (dy * self.x).sum(axis=0)
            return dy * self.g

    gains = []
    for kind in (Gain, Kept):
        module = kind()
        train(Sequential(module, Linear(24, 4, 0)), **settings)
        gains.append(module.g)
    assert (gains[0] != 1).all()
    np.testing.assert_array_equal(*gains)


def test_a_label_without_an_output():
    labels = LABELS.copy()
    labels[7] = 4
    with pytest.raises(ValueError, match="label"):
        fit(network(), SoftmaxCrossEntropy(), IMAGES, labels, epochs=1, batch_size=10, rate=0.1)


ADAMW = {"optimizer": "adamw", "weight_decay": 0.1, "schedule": "cosine", "warmup": 0.5}
RUNS = {  # settings, and of the network its dropout and noise
    "sgd": ({}, 0, 0),
    "sgd, step": ({"schedule": "step", "step_size": 2, "gamma": 0.5}, 0, 0),
    "momentum, linear, dropout, noise": (
        {"momentum": 0.9, "schedule": "linear", "warmup": 1},
        0.3,
        0.3,
    ),
    "nesterov": ({"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}, 0, 0),
    "adam, dropout": ({"optimizer": "adam", "rate": 0.01}, 0.3, 0),
    "adamw, cosine": ({**ADAMW, "rate": 0.01}, 0, 0),
    "adamw, cosine, dropout, early": ({**ADAMW, "early_stopping": True, "patience": 2}, 0.3, 0),
}
every_run = pytest.mark.parametrize("run", RUNS)


class Loss(SoftmaxCrossEntropy):
    """Not of the library: everything is done layer by layer."""

    def rows(self, z, t):
        return super().rows(z, t)


def begun(run, kind=SoftmaxCrossEntropy, rng=1, **more):
    """A training of 4 epochs of 11 batches; all labels but the last 40 are right."""
    given, dropout, noise = RUNS[run]
    net = mlp(24, [9, 5], 4, 0, dropout=dropout, input_noise=noise)
    settings = Settings(**{"epochs": 4, "batch_size": 10, "rate": 0.1, **given})
    held_out = IMAGES[:40], LABELS[:40]
    return Training(net, kind(0.1), IMAGES, LABELS, settings, rng=rng, validation=held_out, **more)


def state(training):
    net = training.net
    weights = {parameter.name: parameter.value for parameter in net.parameters()}
    return weights | {one.name: one.value for one in net.states()} | training.arrays()


def outcome(training):
    """All that a training leaves, but the time that it took."""
    history = [(e.epoch, e.train_loss, e.train_errors, e.validation_loss) for e in training.history]
    arrays = {name: array.tobytes() for name, array in state(training).items()}
    return history, training.record()["rng"], arrays


@every_run
def test_the_same_bits_layer_by_layer_and_on_any_threads(run):
    whole = begun(run)
    assert len(whole.run()) >= 3
    for threads in (1, 2, 3, 4):
        kernels.set_num_threads(threads)
        for kind in (SoftmaxCrossEntropy, Loss) if threads < 3 else (SoftmaxCrossEntropy,):
            again = begun(run, kind)
            again.run()
            assert outcome(again) == outcome(whole)


@every_run
@pytest.mark.parametrize("place", [(1, 1), (1, 11), (2, 4), (3, 10)])
def test_interrupted_and_restored_is_undisturbed(run, place, every_batch):
    undisturbed = begun(run)
    undisturbed.run()

    def stop(epoch, batch, loss):
        if (epoch, batch) == place:
            raise KeyboardInterrupt

    first = begun(run, on_batch=stop)
    with pytest.raises(KeyboardInterrupt):
        first.run()
    assert (first.epoch, first.batch) == place
    record = json.loads(json.dumps(first.record()))
    saved = {name: array.copy() for name, array in state(first).items()}
    first.run()  # the very same goes on, too
    assert outcome(first) == outcome(undisturbed)

    second = begun(run, rng=77)
    for name, array in state(second).items():
        array[...] = saved[name]
    second.restore({name: saved[name] for name in second.arrays()}, record)
    assert (second.epoch, second.batch) == place
    assert second.record() == record
    second.run()
    assert outcome(second) == outcome(undisturbed)


@every_run
def test_restored_between_two_epochs(run):
    undisturbed, saved = begun(run), {}

    def save(epoch):
        if epoch.epoch == 2:
            saved["record"] = json.loads(json.dumps(first.record()))
            saved["state"] = {name: array.copy() for name, array in state(first).items()}

    first = begun(run, on_epoch=save)
    first.run()
    undisturbed.run()
    second = begun(run, rng=77)
    for name, array in state(second).items():
        array[...] = saved["state"][name]
    second.restore({name: saved["state"][name] for name in second.arrays()}, saved["record"])
    assert (second.epoch, second.batch, len(second.history)) == (3, 0, 2)
    second.run()
    assert outcome(second) == outcome(undisturbed)


@pytest.mark.parametrize("kind", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_any_generator_is_restored(kind):
    def seeded(seed):
        return np.random.Generator(getattr(np.random, kind)(seed))

    first, second = begun("sgd", rng=seeded(1)), begun("sgd", rng=seeded(2))
    second.restore(first.arrays(), json.loads(json.dumps(first.record())))
    first.run()
    second.run()
    assert outcome(first) == outcome(second)


def test_restore_refuses_what_is_of_another_training():
    training = begun("adam, dropout")
    arrays, record, before = training.arrays(), training.record(), outcome(training)
    name = "optimiser.m.0.w"
    missing = {key: value for key, value in arrays.items() if key != name}
    for wrong, at, message in (
        (missing, {}, rf"{name} is missing, expected float32 of shape \(24, 9\)"),
        ({**arrays, name: np.zeros(3)}, {}, rf"{name} is float64 of shape \(3,\), expected"),
        ({**arrays, "x": np.zeros(3)}, {}, "x is float64 of shape .*, expected no such array"),
        (arrays, {"batch": 12}, "there is no batch 12 in epoch 1"),
        (arrays, {"batch": -1}, "there is no batch -1 in epoch 1"),
        (arrays, {"epoch": 2}, "there is no batch 0 in epoch 2"),
        (arrays, {"rng": np.random.MT19937(1).state}, "must be for a PCG64"),
    ):
        with pytest.raises(ValueError, match=message):
            training.restore(wrong, {**record, **at})
    assert outcome(training) == before


def test_it_trains_on_when_there_are_more_epochs():
    short = begun("nesterov")
    short.settings = Settings(2, 10, 0.1, 0.9, nesterov=True, weight_decay=0.01)
    short.run()
    assert short.run() == short.history  # nothing is left to do
    longer, whole = begun("nesterov"), begun("nesterov")
    for name, array in state(longer).items():
        array[...] = state(short)[name]
    longer.restore(short.arrays(), short.record())
    longer.run()
    whole.run()
    assert outcome(longer) == outcome(whole)


def early(patience, epochs=60, rate=1.0):
    """Labels without rhyme or reason: what is learned by heart helps nobody."""
    noise = np.random.default_rng(2).integers(0, 4, 103)
    digests = []
    net = network((20,))
    settings = Settings(epochs, 10, rate, early_stopping=True, patience=patience)
    training = Training(
        net,
        SoftmaxCrossEntropy(),
        IMAGES[:63],
        noise[:63],
        settings,
        rng=1,
        validation=(IMAGES[63:], noise[63:]),
        on_epoch=lambda epoch: digests.append(weights_sha256(net)),
    )
    return training, digests


@pytest.mark.parametrize("patience", [1, 3, 10])
def test_early_stopping(patience):
    training, digests = early(patience)
    history = training.run()
    scores = [(epoch.validation_errors, epoch.validation_loss) for epoch in history]
    best = scores.index(min(scores))
    assert len(history) == best + 1 + patience < 60
    assert training.best is history[best]
    assert weights_sha256(training.net) == digests[best] != digests[-1]
    for end in range(1, len(history)):  # and no epoch earlier
        assert end - 1 - scores.index(min(scores[:end])) < patience
    assert training.run() == history
    assert weights_sha256(training.net) == digests[best]


def test_the_best_weights_are_restored_at_the_last_epoch_as_well():
    training, digests = early(patience=50, epochs=12)
    history = training.run()
    assert len(history) == 12
    assert weights_sha256(training.net) == digests[training.best.epoch - 1] != digests[-1]


def test_early_stopping_needs_a_validation_set():
    with pytest.raises(ValueError, match="early stopping needs validation"):
        train(early_stopping=True)


def test_no_best_epoch_yet():
    training, _ = early(patience=1, epochs=0)
    assert training.best is None
    assert training.run() == []
    assert weights_sha256(training.net) == weights_sha256(network((20,)))


def looks(net, tmp_path):
    """Everything that a callback may do without changing what is learned."""
    x = PIXELS.astype(np.float32) / 255
    yield lambda: net.eval()
    yield lambda: net.eval().fprop(x)
    yield lambda: net.train().fprop(x[:7])
    yield lambda: (net.fprop(x[:3]), net.bprop(np.ones((3, 4), np.float32)))
    yield lambda: net[2].eval()
    yield lambda: evaluate(net, SoftmaxCrossEntropy(), IMAGES, LABELS)
    yield lambda: confusion(net, IMAGES, LABELS)
    yield lambda: save(tmp_path / "net", net)
    yield lambda: copy.deepcopy(net).fprop(x)
    yield lambda: pickle.loads(pickle.dumps(net)).fprop(x)
    yield lambda: gradcheck(net, x[:1], tolerance=1)
    yield lambda: train(network())
    yield lambda: train(copy.deepcopy(net))
    yield lambda: kernels.set_num_threads(1 + kernels.get_num_threads() % 3)


@pytest.mark.parametrize("kind", ["compiled", "layer by layer"])
@pytest.mark.parametrize("callback", ["on_batch", "on_epoch"])
def test_looking_changes_nothing(kind, callback, every_batch, tmp_path, capfd):
    def begin():
        """With a module that was in evaluation, and stays."""
        net = mlp(24, [9, 5], 4, 0, dropout=0.3).eval()
        net[5].train()
        return net, {"compiled": SoftmaxCrossEntropy, "layer by layer": Loss}[kind]()

    def run(net, loss, **more):
        fit(net, loss, IMAGES, LABELS, epochs=3, batch_size=10, rate=0.1, rng=1, **more)
        modes = [module.training for module in (net, *net)]
        return weights_sha256(net), [one.value.tolist() for one in net.states()], modes

    undisturbed = run(*begin())
    assert undisturbed[2] == [False] * 6 + [True, False]
    threads = kernels.get_num_threads()
    for at in range(len(list(looks(network(), tmp_path)))):
        net, loss = begin()
        look = list(looks(net, tmp_path))[at]
        calls = []

        def look_twice(*news, look=look, calls=calls):
            calls.append(news)
            if len(calls) < 3:
                look()

        assert run(net, loss, **{callback: look_twice}) == undisturbed, at
        assert len(calls) == (33 if callback == "on_batch" else 3)
        kernels.set_num_threads(threads)


def test_a_callback_that_raises_leaves_the_mode_as_it_was(every_batch):
    def fail(*news):
        net.train()
        raise KeyError

    for callback in ("on_batch", "on_epoch"):
        net = mlp(24, [9], 4, 0, dropout=0.3).eval()
        net[2].train()
        try:
            train(net, **{callback: fail})
        except KeyError:  # whose traceback still holds what was running
            assert [module.training for module in (net, *net)] == [False] * 3 + [True, False]
            assert net.states()[0].value[1] == (1 if callback == "on_batch" else 11)


def test_warm_up_compiles_what_the_settings_need():
    names = []
    kernels.on_compile(names.append)
    given = {"epochs": 1, "batch_size": 10, "rate": 0.01, "early_stopping": True, "patience": 2}
    given |= {"optimizer": "adamw", "weight_decay": 0.1, "schedule": "cosine"}
    net, loss = mlp(24, [5], 4, 0, np.float64, 0.2), SoftmaxCrossEntropy(0.1)
    warm_up(net, loss, IMAGES, LABELS, **given)
    names.clear()
    fit(net, loss, IMAGES, LABELS, validation=(IMAGES, LABELS), **given)
    assert names == []


def test_a_setting_that_there_is_not():
    with pytest.raises(TypeError, match="dampening"):
        train(dampening=0.1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"on_epoch": 3}, "on_epoch is of type int, expected a function or None"),
        ({"on_batch": "x"}, "on_batch is of type str"),
        ({"pixels": 0}, "pixels must be True or False, not 0"),
        ({"shuffle": True}, "there is no setting shuffle; settings are"),
    ],
)
def test_arguments_of_another_kind(given, message):
    with pytest.raises(TypeError, match=message):
        train(**given)


def test_numpys_false_says_that_bytes_are_numbers():
    net = network()
    train(net, pixels=np.False_)
    assert net.pixels is False


def test_no_settings_and_no_loss():
    with pytest.raises(TypeError, match="settings are of type dict"):
        Training(network(), SoftmaxCrossEntropy(), IMAGES, LABELS, {"epochs": 1})
    with pytest.raises(TypeError, match="loss is of type NoneType, expected a loss"):
        fit(network(), None, IMAGES, LABELS, epochs=1, batch_size=10, rate=0.1)


@pytest.mark.parametrize(
    ("x", "settings", "error", "message"),
    [
        (IMAGES[:0], {}, ValueError, "x holds no example"),
        (None, {}, TypeError, "x holds objects such as None"),
        (IMAGES, {"lr": 0.1}, TypeError, "no setting lr; you may mean rate"),
        (IMAGES, {"batch_size": "a"}, TypeError, "batch size must be an integer"),
        (IMAGES, {"batch_size": -3}, ValueError, "the batch size must be at least 1"),
        (IMAGES, {"rate": -1}, ValueError, "the learning rate must be above 0"),
    ],
)
def test_warm_up_refuses_what_fit_refuses(x, settings, error, message):
    with pytest.raises(error, match=message):
        warm_up(network(), SoftmaxCrossEntropy(), x, LABELS, **settings)
