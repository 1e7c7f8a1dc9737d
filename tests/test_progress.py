"""jitprop/training/progress.py: where there is a bar, and what is printed where there is nobody."""

import io
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from jitprop.layers import MeanSquaredError, SoftmaxCrossEntropy
from jitprop.training import Epoch, Settings, Training, mlp, progress
from jitprop.training.progress import Progress, kind_of_bar

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 6)).astype(np.float32)
LABELS = RNG.integers(0, 3, 40)
SETTINGS = Settings(epochs=2, batch_size=10, rate=0.1)
COUNTS = {"train": 40, "test": 10}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def train(t=LABELS, loss=None, **options):
    """As the docstring of Progress says."""
    with Progress(False, SETTINGS, COUNTS, **options) as shown:
        shown.start()
        Training(
            mlp(6, [], 3, 0),
            loss or SoftmaxCrossEntropy(),
            X,
            t,
            SETTINGS,
            test=(X[:10], t[:10]),
            on_epoch=shown.epoch,
            on_batch=shown.batch,
        ).run()
    return shown


def test_a_table_from_the_library(capsys, monkeypatch):
    train()  # whatever is compiled
    capsys.readouterr()
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert train().bar is None
    out = capsys.readouterr().out
    head, *epochs = out.strip().splitlines()
    assert re.split(r" {2,}", head) == [
        *("epoch", "train loss", "train errors", "test errors", "seconds")
    ]
    assert [line.split()[0] for line in epochs] == ["1/2", "2/2"]
    shown = sys.stderr.getvalue()
    assert " left" in shown
    assert shown.endswith("\r")  # nothing is left of it


def test_targets_that_are_no_labels_have_losses(capsys):
    targets = RNG.standard_normal((40, 3)).astype(np.float32)
    for _ in range(2):  # the first compiles
        capsys.readouterr()
        train(targets, MeanSquaredError(), errors=False)
    *_, head, first, second = out = capsys.readouterr().out.splitlines()
    assert "errors" not in "".join(out)
    assert re.split(r" {2,}", head.strip()) == ["epoch", "train loss", "test loss", "seconds"]
    assert len(first.split()) == len(second.split()) == 4
    assert len(head) == len(first) == len(second)


def test_without_streams(monkeypatch):
    """As programs without a console have it."""
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert train().lost is None


def test_a_stream_that_was_closed(monkeypatch):
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    monkeypatch.setattr(sys, "stderr", closed)
    asked = []
    assert isinstance(train(on_lost=lambda: asked.append(1)).lost, ValueError)
    assert asked == [1]


@pytest.mark.parametrize("stream", [None, io.StringIO(), SimpleNamespace(write=print)])
def test_there_is_no_bar_where_nobody_sees_it(stream, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream)
    assert kind_of_bar() is None


def test_the_bar_is_gone_whatever_happens(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    shown = Progress(False, SETTINGS, COUNTS)
    bars = []

    def interrupted():
        with shown:
            shown.start()
            bars.append(shown.bar)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [bar is None for bar in bars] == [False]
    assert shown.bar is None


def test_compiling_is_told_once(capsys):
    """By `compiled`, or with the first batch where nobody calls that."""
    shown = Progress(False, SETTINGS, COUNTS)
    for told in (shown.compiled, lambda: shown.batch(1, 1, 0.5)):
        shown.compiling("one")
        shown.compiling("another")
        told()
        shown.batch(1, 2, 0.5)
        assert shown.compiled() == 0
        assert re.fullmatch(r"compiling .*\ncompiled in .* s\n", capsys.readouterr().out)


def test_a_notebook_has_the_bar_of_notebooks(monkeypatch):
    shell = SimpleNamespace(config={"IPKernelApp": {}})
    ipython = SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "tqdm.auto", SimpleNamespace(tqdm="of notebooks"))
    assert kind_of_bar() == "of notebooks"
    shell.config = {}  # IPython in a terminal
    assert not progress.in_notebook()
    monkeypatch.setattr(ipython, "get_ipython", lambda: None)  # imported, and not running
    assert not progress.in_notebook()


@pytest.mark.slow
def test_a_notebook_without_widgets_has_text_and_no_warning():
    code = """
import sys
from types import ModuleType, SimpleNamespace
sys.modules["ipywidgets"] = None
sys.modules["IPython"] = ipython = ModuleType("IPython")
ipython.get_ipython = lambda: SimpleNamespace(config={"IPKernelApp": {}})
from jitprop.training.progress import Progress
from jitprop.training import Settings
with Progress(False, Settings(epochs=1, batch_size=1, rate=1), {"train": 5}) as shown:
    shown.start()
    shown.batch(1, 3, 0.5)
    assert shown.bar.n == 3
"""
    done = subprocess.run(
        [sys.executable, "-W", "error::tqdm.TqdmWarning", "-c", code],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, "Warning" in done.stderr) == (0, False)
    assert "0%" in done.stderr


OF_EACH = {"train": 200, "test": 100}


def table(capsys, *history, **more):
    settings = Settings(epochs=len(history), batch_size=10, rate=0.1)
    progress = Progress(False, settings, OF_EACH, **more)
    progress.start()
    for epoch in history:
        progress.epoch(epoch)
    progress.stop()
    lines = capsys.readouterr().out.splitlines()[1:]
    assert len({len(line) for line in lines}) == 1
    return [re.split(r" {2,}", line.strip()) for line in lines]


def test_the_table(capsys):
    assert table(capsys, Epoch(1, 0.25, 20, 0.5, test_loss=1.0, test_errors=25)) == [
        ["epoch", "train loss", "train errors", "test errors", "seconds"],
        ["1/1", "0.2500", "20 (10.00%)", "25 (25.00%)", "0.50"],
    ]


def test_errors_that_nobody_counted(capsys):
    lines = table(capsys, Epoch(1, 0.25, None, 0.5), Epoch(2, 0.125, 0, 0.5, None, None, 1.0, 3))
    assert lines[1:] == [
        ["1/2", "0.2500", "-", "-", "0.50"],
        ["2/2", "0.1250", "0 (0.00%)", "3 (3.00%)", "0.50"],
    ]


@pytest.mark.parametrize("smoothed", [True, False])
def test_a_loss_with_label_smoothing_is_called_so(capsys, smoothed):
    head, line = table(capsys, Epoch(1, 0.25, 20, 0.5, None, None, 1.0, 25), smoothed=smoothed)
    assert head[1] == ("train loss, smoothed" if smoothed else "train loss")
    assert line[1] == "0.2500"
