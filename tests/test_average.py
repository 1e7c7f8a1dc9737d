"""kernels/average.py, and the mean of the weights that a training ends with."""

import itertools

import numpy as np
import pytest
import reference
from plain import PLAIN
from reference import assert_same_bits, assert_within, eps

import jitprop
from jitprop import kernels
from jitprop.training import Settings, Training, evaluate, resume, save
from jitprop.training.average import keeps

FLOATS = (np.float32, np.float64)
every_dtype = pytest.mark.parametrize("dtype", FLOATS)


def draw(shape, dtype, count):
    return list(np.random.default_rng(1).standard_normal((count, *shape)).astype(dtype))


@every_dtype
@pytest.mark.parametrize("keep", [0.9, 0.5, 0.25, 1e-12, 1 - 2**-20])
@pytest.mark.parametrize("shape", [(1,), (16,), (17,), (5, 31), (97, 113), (0, 3)])
def test_one_step(shape, keep, dtype, guarded):
    w, mean = map(guarded, draw(shape, dtype, 2))
    before = mean.copy()
    kernels.average(w, mean, keep)
    # The difference, the share and the sum are rounded once each.
    size = np.abs(w.astype(np.float64)) + np.abs(before)
    assert_within(mean, reference.average(w, before, keep), eps(dtype) * size, 2)


@every_dtype
def test_the_ends_are_exact(dtype, guarded):
    w, mean = map(guarded, draw((5, 7), dtype, 2))
    before = mean.copy()
    kernels.average(w, mean, 1)
    assert_same_bits(mean, before)
    w[0, :3] = -0.0, np.nan, np.inf
    kernels.average(w, mean, 1)
    assert_same_bits(mean, before)
    w[0, 1:3] = 1
    kernels.average(w, mean, 0)
    assert_same_bits(mean + 0, w + 0)  # a zero may lose its sign


@every_dtype
def test_the_mean_of_many(dtype):
    """Each step rounds three times, and the next keeps nearly all of that: not more than sqrt(n)
    times eps of the largest, and 4 times that as a bound."""
    steps = draw((33,), dtype, 500)
    mean = np.zeros(33, dtype)
    for k, w in enumerate(steps):
        kernels.average(w, mean, k / (k + 1))
    bound = 4 * 500**0.5 * eps(dtype)
    np.testing.assert_allclose(mean, np.mean(steps, axis=0, dtype=np.float64), rtol=0, atol=bound)


@every_dtype
@pytest.mark.parametrize("before", [False, True])
def test_no_read_outside(before, dtype, fenced):
    for shape in [(3, 5), (17,), (33,), (1,)]:
        w, mean = (fenced(array, before) for array in draw(shape, dtype, 2))
        kernels.average(w, mean, 0.5)


# --- Which steps count --------------------------------------------------------------------------


def all_keeps(batches=4, **settings):
    chosen = Settings(batch_size=10, rate=0.1, **settings)
    return np.concatenate([keeps(chosen, e + 1, batches) for e in range(chosen.epochs)])


def shares(values):
    """How much each step has of the mean."""
    found = np.zeros(0)
    for keep in values:
        found = np.append(found * keep, 1 - keep)
    return found


@pytest.mark.parametrize(("average", "first"), [(1, 16), (2, 12), (1.5, 14), (5, 0), (9, 0)])
def test_over_the_last_epochs(average, first):
    found = shares(all_keeps(epochs=5, average=average))
    assert (found[:first] == 0).all()
    np.testing.assert_allclose(found[first:], 1 / (20 - first), rtol=1e-14)


@pytest.mark.parametrize("average", [0.5, 0.999, 1 - 2**-40])
def test_over_all_steps(average):
    found = shares(all_keeps(epochs=3, average=average))
    expected = average ** np.arange(11.0, -1, -1)
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-12)


# --- Training -----------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
X, T = RNG.standard_normal((60, 5)).astype(np.float32), RNG.integers(3, size=60)
MEANS = [1, 2, 1.5, 30, 0.9]


def training(epochs=4, net=None, **given):
    net = net or jitprop.mlp(5, [7], 3, rng=0)
    how = {name: given.pop(name) for name in ("on_batch", "on_epoch") if name in given}
    settings = Settings(epochs=epochs, batch_size=16, rate=0.1, momentum=0.9, **given)
    loss = jitprop.SoftmaxCrossEntropy()
    return Training(net, loss, X, T, settings, rng=1, test=(X, T), **how)


def weights(net):
    return [parameter.value.copy() for parameter in net.parameters()]


def steps_of(epochs=4):
    """The weights after each step, without an average."""
    found = []

    class Own(jitprop.Sequential):
        def fprop(self, x):
            if self.training:
                found.append(weights(self))
            return super().fprop(x)

    run = training(epochs, Own(*jitprop.mlp(5, [7], 3, rng=0)))
    run.run()
    return [*found[1:], weights(run.net)]


@pytest.mark.parametrize("average", MEANS)
def test_a_training_ends_with_the_mean_of_its_steps(average):
    run = training(average=average)
    told = run.run()
    steps = steps_of()
    given = shares(all_keeps(epochs=4, average=average))
    for place, found in enumerate(weights(run.net)):
        expected = np.tensordot(given, [step[place].astype(float) for step in steps], 1)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    # What was shown is what is there.
    assert told[-1].test_errors == evaluate(run.net, run.loss, X, T).errors


@pytest.mark.parametrize("average", MEANS)
def test_training_itself_does_not_change(average):
    plain, run = training(), training(average=average)
    plain.run()
    run.run()
    assert [e.train_loss for e in run.history] == [e.train_loss for e in plain.history]


@pytest.mark.parametrize("average", [2, 1.3, 0.9])
@pytest.mark.parametrize("place", [(1, 2), (2, 4), (3, 2), (3, 3), (4, 1), (4, 4)])
def test_going_on_is_as_if_it_had_not_stopped(place, average, tmp_path, monkeypatch):
    """From where it was stopped, and from what was saved while batches ran."""
    monkeypatch.setattr("jitprop.training.plan.CHUNK", 0)  # every batch is told
    stopped, saved = tmp_path / "stopped.safetensors", tmp_path / "saved.safetensors"
    whole = training(average=average)
    whole.run()

    def stop(epoch, batch, loss):
        if (epoch, batch) == place:
            save(saved, run.net, run)
            raise KeyboardInterrupt

    run = training(average=average, on_batch=stop)
    with pytest.raises(KeyboardInterrupt):
        run.run()
    save(stopped, run.net, run)
    again = [run, training(average=average), training(average=average)]
    resume(stopped, again[1])
    resume(saved, again[2])
    for one in again:
        one.run()
        assert one.history[-1].test_loss == whole.history[-1].test_loss
        for a, b in zip(weights(one.net), weights(whole.net), strict=True):
            assert_same_bits(a, b)


@pytest.mark.parametrize("average", [2, 1.3, 0.9])
def test_more_epochs_than_there_were_to_be(average, tmp_path):
    path = tmp_path / "net.safetensors"
    run, again, whole = (training(epochs, average=average) for epochs in (2, 5, 5))
    run.run()
    save(path, run.net, run)
    resume(path, again)
    again.run()
    whole.run()
    assert [e.test_loss for e in again.history[2:]] == [e.test_loss for e in whole.history[2:]]
    for a, b in zip(weights(again.net), weights(whole.net), strict=True):
        assert_same_bits(a, b)


def test_with_early_stopping_the_best_mean_is_kept():
    run = Training(
        net := jitprop.mlp(5, [7], 3, rng=0),
        loss := jitprop.SoftmaxCrossEntropy(),
        X,
        T,
        Settings(epochs=9, batch_size=16, rate=0.1, average=0.9, early_stopping=True, patience=2),
        rng=1,
        validation=(X[:20], T[:20]),
    )
    run.run()
    assert run.best.validation_errors == evaluate(net, loss, X[:20], T[:20]).errors
    with pytest.raises(ValueError, match=r"average 2 is over the last epochs, but with early"):
        Settings(epochs=9, batch_size=16, rate=0.1, average=2, early_stopping=True)


def test_what_makes_no_sense():
    for value in (-1, np.nan, np.inf, "2", 2e9):
        with pytest.raises((TypeError, ValueError), match=r"^average must be"):
            Settings(epochs=9, batch_size=16, rate=0.1, average=value)
    with pytest.raises(TypeError, match="you may mean average"):
        jitprop.fit(
            jitprop.mlp(5, [7], 3),
            jitprop.SoftmaxCrossEntropy(),
            X,
            T,
            epochs=1,
            batch_size=9,
            rate=0.1,
            ema=0.9,
        )


@pytest.mark.skipif(PLAIN, reason="threads")
def test_any_number_of_threads():
    found, threads = [], kernels.get_num_threads()
    try:
        for count, average in itertools.product((1, 2), (0.9, 2)):
            kernels.set_num_threads(count)
            run = training(average=average, max_norm=1)
            run.run()
            found.append(b"".join(w.tobytes() for w in weights(run.net)))
    finally:
        kernels.set_num_threads(threads)
    assert found[:2] == found[2:]
    assert found[0] != found[1]
