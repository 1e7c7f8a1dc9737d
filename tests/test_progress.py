"""jitprop/training/progress.py: the table of epochs says what its numbers are."""

import re

import pytest

from jitprop.training import Epoch, Settings
from jitprop.training.progress import Progress

COUNTS = {"train": 200, "test": 100}


def table(capsys, *history, **more):
    settings = Settings(epochs=len(history), batch_size=10, rate=0.1)
    progress = Progress(False, settings, COUNTS, **more)
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
