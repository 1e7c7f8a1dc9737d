"""Checkpoints: what comes back, whatever happens to the process, the disk or the file."""

import json
import os
import random
import resource
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from layers import Dropout, Input, Linear, Module, Sequential, SoftmaxCrossEntropy, Tanh
from layers.graph import Graph
from training import (
    Checkpoint,
    CheckpointError,
    Settings,
    check_savable,
    checkpoints,
    load,
    mlp,
    read,
    resume,
    save,
    weights_sha256,
)
from training.loop import Training

safetensors = pytest.importorskip("safetensors.numpy")

ROOT = Path(__file__).parents[1]
rng = np.random.default_rng(6)
LABELS = rng.integers(0, 4, 103).astype(np.uint8)
IMAGES = rng.integers(0, 60, (103, 4, 6), np.uint8)
IMAGES[np.arange(103), LABELS] += 100


def network(seed=0):
    draw = np.random.default_rng(seed)
    return Sequential(Linear(24, 7, draw), Tanh(), Dropout(0.2, draw), Linear(7, 4, draw))


def training(net=None, rng=1, input="auto", on_epoch=None, on_batch=None, **settings):
    settings = Settings(**{"epochs": 3, "batch_size": 10, "rate": 0.1} | settings)
    return Training(
        net or network(),
        SoftmaxCrossEntropy(),
        IMAGES,
        LABELS,
        settings,
        rng=rng,
        validation=(IMAGES[:20], LABELS[:20]),
        input=input,
        on_epoch=on_epoch,
        on_batch=on_batch,
    )


@pytest.fixture
def path(tmp_path):
    """A file that is there."""
    path = tmp_path / "net.safetensors"
    save(path, network())
    return path


def broken(path, match, use=read):
    """Assert that a file is refused in one line that names it."""
    with pytest.raises(CheckpointError, match=match) as caught:
        use(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable()


def rewrite(path, change):
    """Change arrays and metadata of a file, and let it be as if they had been written so."""
    arrays, metadata = checkpoints.read_arrays(path)
    parts = {name: json.loads(text) for name, text in metadata.items()}
    change(arrays, parts)
    checkpoints.write(path, arrays, {name: json.dumps(part) for name, part in parts.items()})


# What comes back


def test_a_network_comes_back(path):
    net, loaded = network().eval(), load(path).eval()
    assert repr(loaded) == repr(net)
    x = (IMAGES.reshape(103, -1) / 255).astype(np.float32)
    np.testing.assert_array_equal(loaded.fprop(x), net.fprop(x))
    assert weights_sha256(loaded) == weights_sha256(net)


def test_states_come_back(path):
    net = network()
    net.fprop(np.zeros((3, 24), np.float32))
    save(path, net)
    (state,) = load(path).states()
    np.testing.assert_array_equal(state.value, net.states()[0].value)
    assert state.value[1] == 1


def test_a_graph_comes_back(tmp_path):
    a, b = Input(24), Input(4)
    linear = Linear(4, 4, 0)
    net = Graph([a, b], [linear(Sequential(network(), linear)(a)) + b, b * 0.5])
    save(tmp_path / "graph", net)
    assert str(load(tmp_path / "graph")) == str(net)
    assert weights_sha256(load(tmp_path / "graph")) == weights_sha256(net)


def test_a_network_without_parameters(tmp_path):
    save(tmp_path / "net", Sequential(Tanh()))
    assert repr(load(tmp_path / "net")) == "Sequential(Tanh())"


def test_what_else_it_says(tmp_path):
    one = training()
    one.run()
    save(tmp_path / "net", one.net, one, seed=3, data="MNIST")
    checkpoint = read(tmp_path / "net")
    assert isinstance(checkpoint, Checkpoint)
    assert checkpoint.about == {"seed": 3, "data": "MNIST"}
    assert checkpoint.settings["rate"] == 0.1
    assert [epoch["epoch"] for epoch in checkpoint.record["history"]] == [1, 2, 3]
    assert checkpoint.versions.keys() == {"python", "numpy", "numba"}


def test_other_programs_read_it(path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    tensors = load_file(path)
    assert sorted(tensors) == ["0.b", "0.w", "2.state", "3.b", "3.w"]
    assert tensors["0.w"].dtype == torch.float32
    np.testing.assert_array_equal(tensors["0.w"].numpy(), network()[0].w)


class Twice(Module):
    def __init__(self):
        self.scale = np.array([2.0])

    def fprop(self, x):
        return self.scale * x

    def bprop(self, dy, need_dx=True):
        return self.scale * dy

    def parameters(self):
        from layers import Parameter

        return [Parameter("scale", self.scale, np.zeros(1))]


def test_own_modules_are_saved_but_not_built(tmp_path):
    net = Sequential(Linear(24, 4, 0, np.float64), Twice())
    net[1].scale[:] = 3
    save(tmp_path / "net", net)
    broken(tmp_path / "net", r"Twice is a module of your own: build the network and restore", load)
    again = Sequential(Linear(24, 4, 1, np.float64), Twice())
    read(tmp_path / "net").restore(again)
    assert again[1].scale == 3
    assert weights_sha256(again) == weights_sha256(net)


def test_restore_refuses_another_network(path):
    checkpoint = read(path)
    draw = np.random.default_rng(0)
    for net, message in (
        (mlp(24, [7], 4, 0), r"missing array 2\.b"),
        (Sequential(*network(), Linear(4, 4, draw)), r"missing array 4\.w"),
        (Sequential(*network()[:2], Dropout(0.2, 0)), r"surplus array 3\.w"),
        (Sequential(*network()[:3], Linear(7, 5, draw)), r"3\.w is float32 of shape \(7, 4\), "),
        (Sequential(Linear(24, 7, draw, np.float64), *network()[1:]), r"0\.w is .* float64 of"),
    ):
        before = weights_sha256(net)
        broken(path, message, lambda _, net=net: checkpoint.restore(net))
        assert weights_sha256(net) == before


def test_two_arrays_of_one_name(tmp_path):
    class Confused(Twice):
        def parameters(self):
            return [*super().parameters(), *Twice().parameters()]

    broken(tmp_path / "net", "second array named scale", lambda path: save(path, Confused()))


# Going on


def stop_at(place):
    """Return a callback that stops a run as Ctrl-C does, when as many batches are done."""
    seen = []

    def on_batch(epoch, batch, loss):
        seen.append(batch)
        if len(seen) == place:
            raise KeyboardInterrupt

    return on_batch


SETTINGS = [{}, {"momentum": 0.9}, {"batch_size": None}, {"batch_size": 1}]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("place", [1, 2, 5, 7])
def test_it_goes_on_to_the_same_bits(settings, place, tmp_path, monkeypatch):
    monkeypatch.setattr("training.plan.CHUNK", 0)  # every batch is looked at
    settings |= {"epochs": 8} if settings.get("batch_size", 1) is None else {}
    whole = training(**settings)
    whole.run()
    first = training(**settings, on_batch=stop_at(place))
    with pytest.raises(KeyboardInterrupt):
        first.run()
    save(tmp_path / "run", first.net, first)
    second = training(network(5), rng=7, **settings)
    resume(tmp_path / "run", second)
    assert (second.epoch, second.batch) == (first.epoch, first.batch)
    second.run()
    assert weights_sha256(second.net) == weights_sha256(whole.net)
    assert [e.train_loss for e in second.history] == [e.train_loss for e in whole.history]
    assert [e.validation_errors for e in second.history] == [
        e.validation_errors for e in whole.history
    ]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_saved_after_every_epoch_and_trained_for_longer(settings, tmp_path):
    def on_epoch(epoch):
        save(tmp_path / f"{epoch.epoch}", first.net, first)

    whole = training(**settings, epochs=4)
    whole.run()
    first = training(**settings, on_epoch=on_epoch)
    first.run()
    for saved in ("1", "3"):
        again = training(load(tmp_path / saved), **settings, epochs=4)
        resume(tmp_path / saved, again)
        again.run()
        assert weights_sha256(again.net) == weights_sha256(whole.net)
        assert len(again.history) == 4


def test_it_does_not_go_on_otherwise(tmp_path):
    one = training(momentum=0.9)
    one.run()
    save(tmp_path / "run", one.net, one)
    save(tmp_path / "net", one.net)

    def use(**other):
        return lambda path: resume(path, training(**{"momentum": 0.9} | other))

    broken(tmp_path / "net", "holds a network, but no training", use())
    broken(tmp_path / "run", r"trained with momentum 0\.9, not 0\.5", use(momentum=0.5))
    broken(tmp_path / "run", r"trained with rate 0\.1, not 0\.2", use(rate=0.2))
    broken(tmp_path / "run", "trained with batch_size 10, not None", use(batch_size=None))
    broken(tmp_path / "run", r"missing array 2\.b", use(net=mlp(24, [7], 4, 0)))


def test_a_broken_training(tmp_path):
    one = training(momentum=0.9)
    one.run()
    path = tmp_path / "run"

    def no_velocity(arrays, parts):
        for name in [name for name in arrays if "velocity" in name]:
            del arrays[name]

    for change in (
        no_velocity,
        lambda arrays, parts: arrays.update({"training.more": np.zeros(3)}),
        lambda arrays, parts: parts["training"].update(epoch="x"),
        lambda arrays, parts: parts["training"].update(batch=10**9),
        lambda arrays, parts: parts["training"].update(history=[{"epoch": 1, "colour": 3}] * 3),
        lambda arrays, parts: parts["training"].update(rng={}),
        lambda arrays, parts: parts["training"].clear(),
    ):
        save(path, one.net, one)
        rewrite(path, change)
        broken(path, "its training does not fit: ", lambda path: resume(path, training(momentum=0.9)))


# Whatever happens while it is written

# One process imports and then forks those that are killed: fifty times NumPy takes too long.
KILLED = """
import os, random, signal, sys, time
import numpy as np
from training import checkpoints

assert "numba" not in sys.modules  # which would not like to be forked
path, last, hit = sys.argv[1], 0, 0
random.seed(4)
while True:
    writer = os.fork()
    if not writer:
        for number in range(last + 1, sys.maxsize):
            arrays = {"w": np.full(2**18, number), "b": np.full(3, number)}
            checkpoints.write(path, arrays, {"number": str(number)})
    if not last:
        while not os.path.exists(path):
            time.sleep(0.001)
    time.sleep(random.uniform(0.001, 0.05))
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    hit += len(os.listdir(os.path.dirname(path))) > 1
    arrays, metadata = checkpoints.read_arrays(path)
    number = int(metadata["number"])
    assert number >= last and (arrays["w"] == number).all() and (arrays["b"] == number).all()
    last = number
    print(hit, flush=True)
"""


def test_killed_at_any_moment_while_it_saves(tmp_path):
    """The file always loads, and what the killed left beside goes with the next to save."""
    path = tmp_path / "w.safetensors"
    command = [sys.executable, "-c", KILLED, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        hits = [int(process.stdout.readline()) for _ in range(50)]
        process.kill()
    assert hits[-1] > 5  # kills that came while a file was being written
    process.wait()
    children = [name for name in os.listdir(tmp_path) if name != path.name]
    assert len(children) <= 1 + 1
