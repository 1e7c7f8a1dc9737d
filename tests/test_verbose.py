"""What `fit` shows, and when it says that it compiles: training/loop.py and progress.py."""

from pathlib import Path

import numpy as np
import pytest

from jitprop.kernels.compiler import cache
from jitprop.layers import Graph, Input, Linear, SoftmaxCrossEntropy
from jitprop.training import Settings, Training, fit, mlp, progress, warm_up

ROOT = Path(__file__).parents[1]
LABELS = np.arange(103) % 4
IMAGES = np.random.default_rng(0).integers(0, 256, (103, 4, 6), np.uint8)


def test_verbose_shows_what_train_py_shows(capsys):
    net = mlp(24, [3], 4, 0)
    for loss, t in ((SoftmaxCrossEntropy(0.1), LABELS), (SoftmaxCrossEntropy(), LABELS)):
        sets = {"validation": (IMAGES, t), "test": (IMAGES, t)}
        fit(net, loss, IMAGES, t, epochs=2, batch_size=10, rate=0.1, rng=1, verbose=True, **sets)
        lines = capsys.readouterr().out.splitlines()
        head = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines[:5]}
        assert head["network"] == "24-3-4, tanh, 91 parameters"
        assert head["training"] == "epochs 2, batch size 10, learning rate 0.1, momentum 0"
        assert head["data"] == ", ".join(f"{len(t)} {name}" for name in ("train", *sets))
        table = [line for line in lines[5:] if line and "compil" not in line]
        name = "train loss, smoothed" if loss.label_smoothing else "train loss "
        assert name in table[0]
        assert [line.split()[0] for line in table[1:]] == ["1/2", "2/2"]
    fit(net, loss, IMAGES, t, epochs=1, batch_size=10, rate=0.1)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("slow", [True, False])
def test_compiling_that_takes_long_is_told_once(slow, monkeypatch, caplog):
    """And not where it is soon over, however long the training goes on."""
    monkeypatch.setattr(progress, "PATIENCE", 0.01 if slow else 10.0**6)
    before = [*cache.compile_callbacks]
    with progress.Silence() as silence:
        for kernel in ("a kernel", "another"):
            silence._begin(kernel)
        assert len(cache.compile_callbacks) == len(before) + 1
        timer = silence._timer
        if slow:
            timer.join()
        silence.end()
        assert silence._timer is None
    timer.join()
    assert caplog.messages == ["compiling kernels for this CPU, once ..."] * slow
    assert cache.compile_callbacks == before


def test_training_tells_it_where_the_first_batch_is_done(monkeypatch):
    ended = []
    monkeypatch.setattr(progress.Silence, "end", lambda silence: ended.append(silence))
    fit(mlp(24, [], 4, 0), SoftmaxCrossEntropy(), IMAGES, LABELS, epochs=1, batch_size=10, rate=0.1)
    assert len(ended) > 1


def test_a_training_that_runs_on_is_silent_again(capsys):
    training = Training(
        mlp(24, [], 4, 0), SoftmaxCrossEntropy(), IMAGES, LABELS,
        Settings(epochs=1, batch_size=10, rate=0.1),
    )  # fmt: skip
    training.run(verbose=True)
    assert "1/1" in capsys.readouterr().out
    training.settings = Settings(epochs=2, batch_size=10, rate=0.1)
    training.run()
    assert capsys.readouterr().out == ""


def test_warm_up_says_nothing_and_takes_several_inputs(capfd, caplog):
    a, b = Input(24), Input(3)
    net = Graph([a, b], Linear(24, 4, 0)(a) + Linear(3, 4, 1)(b))
    x = IMAGES, np.ones((len(IMAGES), 3))
    given = {"epochs": 3, "batch_size": 10, "rate": 0.1}
    warm_up(net, SoftmaxCrossEntropy(), x, LABELS, **given)
    assert capfd.readouterr() == ("", "")
    assert caplog.messages == []
