"""jitprop/web/runs.py: trainings in threads are those of the library."""

import base64
from threading import Thread

import numpy as np
import pytest
from asking import mnist, page

import jitprop
from jitprop import SoftmaxCrossEntropy
from jitprop.web import runs
from jitprop.web.runs import Curve, Run

ASKED = {"hidden": [8], "images": 500, "batch_size": 20, "rate": 0.1, "momentum": 0.5, "epochs": 3}


def finished(run):
    """The run, when its thread has ended."""
    run._thread.join()
    return run


def as_library(mnist):
    rng = np.random.default_rng(4)
    net = jitprop.mlp(784, [8], 10, rng)
    history = jitprop.fit(
        net, SoftmaxCrossEntropy(), mnist.train_images[:500], mnist.train_labels[:500],
        rng=rng, test=(mnist.test_images, mnist.test_labels),
        epochs=3, batch_size=20, rate=0.1, momentum=0.5,
    )  # fmt: skip
    return jitprop.weights_sha256(net), history


def test_a_run_is_the_training_to_the_bit(page, mnist):
    digest, history = as_library(mnist)
    assert page.post("runs/A/start", **ASKED, seed=4)[0] == 200
    run = finished(page.room.runs.find("A"))
    assert jitprop.weights_sha256(run.training.net) == digest
    told = page.get("api/runs/A")[1]
    assert told["state"] == "done"
    assert [e["test_errors"] for e in told["epochs"]] == [e.test_errors for e in history]
    curve = told["curve"]
    assert (curve["width"], len(curve["loss"])) == (1, 75)
    for epoch, one in enumerate(history):
        part = slice(25 * epoch, 25 * epoch + 25)
        assert np.mean(curve["loss"][part]) == pytest.approx(one.train_loss)
        assert np.mean(curve["errors"][part]) == pytest.approx(one.train_errors / 500)
    weights = base64.b64decode(told["weights"]["levels"])
    assert (told["weights"]["units"], len(weights)) == (8, 8 * 784)


def test_stopped_and_gone_on_it_is_the_same(mnist):
    digest, _ = as_library(mnist)
    run = Run({**ASKED, "seed": 4, "pause": 2}, mnist)
    stops = []

    def look(epoch, batch, loss, really=run.training._on_batch):
        if not stops or (len(stops) < 3 and (epoch, batch) != stops[-1]):
            stops.append((epoch, batch))
            run._stop.set()
        run.pause = 0
        really(epoch, batch, loss)

    run.training._on_batch = look
    for _ in range(4):
        run.go()
        state = finished(run).told()["state"]
    assert (state, len(stops)) == ("done", 3)
    assert jitprop.weights_sha256(run.training.net) == digest
    assert sum(len(run.told()["curve"][name]) for name in ("loss", "errors")) == 150
    run.go()
    assert run.state == "done"


def test_one_run_stops_the_other_goes_on(page):
    slow = {**ASKED, "pause": 2, "epochs": 1000}
    for name in "AB":
        assert page.post(f"runs/{name}/start", **slow)[0] == 200
    status, said = page.post("runs/A/start", **slow)
    assert (status, said) == (409, {"error": "run A is still running: stop it first"})
    assert page.post("runs/A/stop")[1]["state"] == "stopped"
    assert page.get("api/runs/B")[1]["state"] == "running"
    assert page.post("runs/A/go", pause=1)[1]["state"] == "running"
    for name in "AB":
        assert page.post(f"runs/{name}/stop")[1]["state"] == "stopped"
    assert page.get("api/models")[1]["runs"] == ["A", "B"]


def test_who_stops_a_run_that_another_starts_waits_for_it(mnist, monkeypatch):
    """Two tabs at once: a thread that has not started yet cannot be waited for."""
    run = Run({**ASKED, "pause": 2, "epochs": 1000}, mnist)
    answers = []
    other = Thread(target=lambda: answers.append(run.stop()))

    class Late(Thread):
        def start(self):
            other.start()
            other.join(0.1)
            super().start()

    monkeypatch.setattr(runs.threading, "Thread", Late)
    run.go()
    monkeypatch.undo()
    other.join()
    assert (answers, run.state) == ([None], "stopped")


def test_a_network_that_memory_cannot_hold_is_told(page, monkeypatch):
    def full(*args, **options):
        raise MemoryError

    monkeypatch.setattr(runs, "mlp", full)
    found = page.post("runs/A/start", **ASKED)
    assert found == (503, {"error": "there is not enough memory for that"})


def test_after_a_mistake_a_run_is_not_left_running(mnist, monkeypatch):
    run = Run(ASKED, mnist)
    monkeypatch.setattr(run.training, "run", {}.popitem)
    run.state = "running"
    with pytest.raises(KeyError):
        run._train()
    assert (run.state, "made a mistake" in run.told()["why"]) == ("failed", True)


def test_a_rate_too_high_is_told(mnist):
    run = Run({**ASKED, "rate": 1e30, "hidden": [8, 8], "activation": "relu"}, mnist)
    run.go()
    told = finished(run).told()
    assert told["state"] == "failed"
    assert "the loss became" in told["why"]
    run.go()
    assert run.state == "failed"


def test_nobody_watches(mnist, monkeypatch):
    """A closed tab: the run stops by itself, and can go on."""
    monkeypatch.setattr(runs, "UNWATCHED", -1.0)
    run = Run(ASKED, mnist)
    run.go()
    assert (finished(run).told()["state"], run.told()["why"]) == ("stopped", "nobody was watching")


@pytest.mark.parametrize("parts", [[1] * 10, [7, 1300, 2, 5000], [599, 1, 600, 1], [20_000]])
def test_a_curve_keeps_the_mean_the_lowest_and_the_highest(parts):
    rng = np.random.default_rng(0)
    batches = rng.exponential(size=(sum(parts), 2))
    curve = Curve()
    for part in np.split(batches, np.cumsum(parts)[:-1]):
        curve.add(part)
    told = curve.told()
    width = told["width"]
    whole = batches[: len(batches) // width * width].reshape(-1, width, 2)
    assert len(told["loss"]) == len(whole) < runs.MOST_POINTS
    np.testing.assert_allclose(told["loss"], whole[..., 0].mean(axis=1))
    np.testing.assert_array_equal(told["low"], whole[..., 0].min(axis=1))
    np.testing.assert_array_equal(told["high"], whole[..., 0].max(axis=1))
    np.testing.assert_allclose(told["errors"], whole[..., 1].mean(axis=1))
