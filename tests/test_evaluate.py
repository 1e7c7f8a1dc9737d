"""jitprop/cli/evaluate.py: the table of --evaluate for networks and sets of any kind."""

import json
import math

import numpy as np
import pytest

from jitprop import train
from jitprop.cli.evaluate import MOST_COLUMNS, table
from jitprop.layers import Add, Graph, Input, Linear
from jitprop.training import mlp, save


@pytest.fixture
def folder(tmp_path):
    """30 + 20 images of 4 x 6 pixels in 4 classes."""
    path = tmp_path / "small"
    path.mkdir()
    rng = np.random.default_rng(5)
    for split, count in (("train", 30), ("t10k", 20)):
        for kind, code, array in (
            ("images", "idx3", rng.integers(0, 256, (count, 4, 6), np.uint8)),
            ("labels", "idx1", np.arange(count, dtype=np.uint8) % 4),
        ):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            (path / f"{split}-{kind}-{code}-ubyte").write_bytes(header + array.tobytes())
    return path


@pytest.fixture
def evaluate(folder, tmp_path, capsys):
    """Save a network, evaluate it, and return the exit code, the metrics, and stderr."""

    def evaluate(net):
        save(tmp_path / "net", net)
        metrics = tmp_path / "metrics.json"
        metrics.unlink(missing_ok=True)
        args = [f"--evaluate={tmp_path / 'net'}", f"--data={folder}", f"--metrics={metrics}"]
        try:
            code = train.main(args)
        except SystemExit as end:
            code = end.code
        _, err = capsys.readouterr()
        return code, json.loads(metrics.read_text()) if metrics.exists() else None, err

    return evaluate


def test_of_float64_and_of_several_outputs(evaluate):
    x = Input(24)
    nets = mlp(24, [], 4, 0), mlp(24, [], 4, 0, np.float64)
    two = Graph(x, [Linear(24, 4, 0)(x), Linear(24, 2, 1)(x)])
    confusions = []
    for net in (*nets, two):
        code, metrics, err = evaluate(net)
        assert (code, err) == (0, "")
        confusions.append(metrics["confusion"])
    assert confusions[0] == confusions[1] == confusions[2]


def test_what_it_cannot_take_is_one_line(evaluate):
    a, b = Input(24), Input(24)
    for net, reason in (
        (Graph([a, b], Linear(24, 4, 0)(Add()(a, b))), "x is one array, the network takes 2"),
        (mlp(25, [], 4, 0), "x has 24 features, the network takes 25"),
        (mlp(24, [], 3, 0), "no outputs for 4 classes"),
    ):
        code, metrics, err = evaluate(net)
        assert (code, metrics, err.count("\n")) == (2, None, 1)
        assert "net: does not take small: " in err
        assert reason in err


def test_a_network_that_overflows(evaluate):
    net = mlp(24, [], 4, 0)
    net[0].w[...] = 3e38
    code, metrics, err = evaluate(net)
    assert (code, metrics) == (1, None)
    assert err.endswith("net: its output for 20 of 20 images is not finite\n")


def test_many_classes_are_a_list():
    """A table of them would be wider than a terminal."""
    counts = np.zeros((MOST_COLUMNS + 1, MOST_COLUMNS + 1), np.int64)
    counts[1, [1, 7, 3, 20, 5]] = 90, 2, 5, 1, 2
    counts[20, 20] = 4
    recall = [math.nan, 0.9, *[math.nan] * 18, 1.0]
    head, empty, names, one, other, end = table(counts, recall).split("\n")
    assert "class" in head
    assert empty == end == ""
    assert names.split() == ["class", "images", "recall", "taken", "for"]
    assert one.split()[:3] == ["1", "100", "90.00%"]
    assert one.split(maxsplit=3)[3] == "3 (5), 5 (2), 7 (2)"
    assert other.split() == ["20", "4", "100.00%"]
    assert max(map(len, (head, names, one, other))) < 80


def test_a_report_is_of_a_training(tmp_path, capsys):
    path = tmp_path / "net"
    save(path, mlp(784, (), 10, 0))
    with pytest.raises(SystemExit) as end:
        train.main(["--evaluate", str(path), "--report", str(tmp_path / "report")])
    assert end.value.code == 2
    assert capsys.readouterr().err.endswith("argument --evaluate: not allowed with --report\n")
