"""Checkpoints: what comes back, whatever happens to the process, the disk or the file.

One file: what is damaged, and how it is told, starts from the same saved runs.
"""

import json
import os
import random
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from jitprop.layers import Dropout, Input, Linear, Module, Sequential, SoftmaxCrossEntropy, Tanh
from jitprop.layers.graph import Graph
from jitprop.training import (
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
from jitprop.training.loop import Training

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
        validation=(IMAGES[:20], LABELS[20:40]),  # which is not learned, so early stopping stops
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
        from jitprop.layers import Parameter

        return [Parameter("scale", self.scale, np.zeros(1))]


def test_own_modules_are_saved_but_not_built(tmp_path):
    net = Sequential(Linear(24, 4, 0, np.float64), Twice())
    net[1].scale[:] = 3
    save(tmp_path / "net", net)
    broken(tmp_path / "net", r"cannot build its network: .*Twice is a module of your own", load)
    again = Sequential(Linear(24, 4, 1, np.float64), Twice())
    read(tmp_path / "net").restore(again)
    assert again[1].scale == 3
    assert weights_sha256(again) == weights_sha256(net)


def test_restore_refuses_another_network(path):
    checkpoint = read(path)
    draw = np.random.default_rng(0)
    for net, message in (
        (mlp(24, [7], 4, 0), r"missing array 2\.w"),
        (Sequential(*network(), Linear(4, 4, draw)), r"missing array 4\.w"),
        (Sequential(*network()[:2], Dropout(0.2, 0)), r"surplus array 3\.b"),
        (Sequential(*network()[:3], Linear(7, 5, draw)), r"3\.b is float32 of shape \(4,\), "),
        (Sequential(Linear(24, 7, draw, np.float64), *network()[1:]), r"0\.b is .* float64 of"),
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


SETTINGS = [
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01, "schedule": "step", "step_size": 1},
    {"optimizer": "adam", "rate": 0.01},
    {"optimizer": "adamw", "rate": 0.01, "betas": (0.8, 0.99), "weight_decay": 0.1},
    {"batch_size": None, "epochs": 8},
    {"batch_size": 1},
    {"batch_size": 50, "epochs": 30, "early_stopping": True, "patience": 3},
]
OF_THE_WHOLE = {"schedule": "cosine", "warmup": 0.5, "optimizer": "adam", "rate": 0.01}


@pytest.mark.parametrize("settings", [*SETTINGS, OF_THE_WHOLE], ids=str)
@pytest.mark.parametrize("place", [1, 2, 5, 7])
def test_it_goes_on_to_the_same_bits(settings, place, tmp_path, monkeypatch):
    monkeypatch.setattr("jitprop.training.plan.CHUNK", 0)  # every batch is looked at
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

    epochs = settings.get("epochs", 3)
    longer = settings | {"epochs": epochs + (0 if "patience" in settings else 2)}
    whole = training(**longer)
    whole.run()
    first = training(**settings, on_epoch=on_epoch)
    first.run()
    for saved in (1, len(first.history)):
        again = training(load(tmp_path / f"{saved}"), **longer)
        resume(tmp_path / f"{saved}", again)
        again.run()
        assert weights_sha256(again.net) == weights_sha256(whole.net)
        assert len(again.history) == len(whole.history)


def test_early_stopping_that_is_resumed_stays_stopped(tmp_path):
    settings = SETTINGS[-1]
    one = training(**settings)
    one.run()
    assert len(one.history) < settings["epochs"]
    save(tmp_path / "run", one.net, one)
    again = training(network(5), **settings)
    resume(tmp_path / "run", again)
    again.run()
    assert len(again.history) == len(one.history)
    assert weights_sha256(again.net) == weights_sha256(one.net)


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
    broken(tmp_path / "run", r"missing array 2\.w", use(net=mlp(24, [7], 4, 0)))
    one = training(early_stopping=True)
    save(tmp_path / "run", one.net, one)
    broken(
        tmp_path / "run",
        "trained with epochs 3, not 4",
        lambda path: resume(path, training(epochs=4, early_stopping=True)),
    )


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
        broken(
            path, "its training does not fit: ", lambda path: resume(path, training(momentum=0.9))
        )


# Whatever happens while it is written

# One process imports and then forks those that are killed: to import fifty times takes too long.
KILLED = """
import os, random, signal, sys, time
import numpy as np
from jitprop.training import checkpoints

assert "numba" not in sys.modules  # which starts threads, that a fork would lose
path, last, hits = sys.argv[1], 0, 0
random.seed(4)

def save(number):
    arrays = {"w": np.full(2**18, number), "b": np.full(3, number)}
    checkpoints.write(path, arrays, {"number": str(number)})

start = time.perf_counter()
for _ in range(3):
    save(0)
most = max(0.05, time.perf_counter() - start)  # on a slow disk, too, some are saved before the kill
for _ in range(50):
    writer = os.fork()
    if not writer:
        for number in range(last + 1, sys.maxsize):
            save(number)
    time.sleep(random.uniform(0.001, most))
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    hits += len(os.listdir(os.path.dirname(path))) > 1
    arrays, metadata = checkpoints.read_arrays(path)
    number = int(metadata["number"])
    assert number >= last and (arrays["w"] == number).all() and (arrays["b"] == number).all()
    last = number
checkpoints.write(path, {}, {})
print(last, hits)
"""


@pytest.mark.slow
def test_killed_at_any_moment_while_it_saves(tmp_path):
    """The file always loads, and what the killed left beside goes with the next that saves."""
    path = tmp_path / "w.safetensors"
    command = [sys.executable, "-c", KILLED, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3000)
    assert done.stderr == ""
    saved, hits = map(int, done.stdout.split())
    assert saved > 5
    assert hits > 5  # kills that came while a file was being written
    assert os.listdir(tmp_path) == [path.name]


def test_on_the_disk_before_it_is_renamed(path, monkeypatch):
    calls, real = [], {name: getattr(os, name) for name in ("fsync", "replace", "rename")}
    for name in real:

        def spy(*args, name=name):
            calls.append(name)
            real[name](*args)

        monkeypatch.setattr(os, name, spy)
    save(path, network())
    assert calls[0] == calls[-1] == "fsync"
    assert len(calls) == 3


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_save_that_fails_leaves_the_old_file(error, path, monkeypatch):
    def fsync(descriptor):
        raise error

    monkeypatch.setattr(os, "fsync", fsync)
    before = path.read_bytes()
    if isinstance(error, OSError):
        broken(path, "not saved: No space left", lambda path: save(path, network(1)))
    else:
        with pytest.raises(KeyboardInterrupt):
            save(path, network(1))
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_not_saved(path, value):
    before, net = path.read_bytes(), network()
    net[0].w[3, 4] = value
    broken(path, r"0\.w has values that are NaN", lambda path: save(path, net))
    assert path.read_bytes() == before


def test_a_link_stays_a_link(path):
    link = path.with_name("link")
    link.symlink_to(path.name)
    save(link, network(1))
    assert link.is_symlink()
    assert weights_sha256(load(path)) == weights_sha256(network(1))


def test_the_file_of_another_program_that_is_saving_stays(path):
    other = path.with_name(f".{path.name}.{os.getppid()}.partial")
    other.touch()
    save(path, network())
    assert other.exists()


def test_who_may_read_it_is_for_the_umask_to_say(path):
    plain = path.with_name("plain")
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


def test_where_nothing_can_be_saved(tmp_path):
    tmp_path.joinpath("file").touch()
    broken(tmp_path, "not a file", check_savable)
    broken(tmp_path / "none" / "net", "No such file", check_savable)
    broken(tmp_path / "file" / "net", "Not a directory", check_savable)
    broken(tmp_path / ("n" * 300), "name too long", check_savable)
    check_savable(tmp_path / "net")
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    def touch(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", touch)  # nothing is denied to root, who may run this
    broken(tmp_path / "net", "Permission denied", check_savable)


# Files that are not as they were


def test_truncated(path):
    whole = path.read_bytes()
    for length in [*range(64), len(whole) // 2, *range(len(whole) - 64, len(whole))]:
        path.write_bytes(whole[:length])
        broken(path, "truncated, damaged or no safetensors")
    path.write_bytes(whole + b"\0")
    broken(path, "truncated, damaged or no safetensors")


def test_flipped_bits(path):
    """A thousand of them, half in the header, whose every byte counts, too."""
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    draw = random.Random(1)
    places = [*range(8), *range(8, header, 4), *draw.sample(range(header, len(whole)), 300)]
    for place in places:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << draw.randrange(8)
        path.write_bytes(flipped)
        broken(path, "damaged|no checkpoint|format")


@pytest.mark.parametrize("claim", [10 * 2**30, 2**63, 2**64 - 1])
def test_a_header_that_claims_gigabytes(path, claim):
    path.write_bytes(struct.pack("<Q", claim) + path.read_bytes()[8:])
    broken(path, f"claims a header of {claim} bytes")


def test_tensors_that_claim_gigabytes(path):
    shape = [10**5, 10**5]
    header = {"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, 4 * 10**10]}}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(100))
    broken(path, "truncated, damaged")


LIMITED = """
import resource, sys
from jitprop.training import CheckpointError, load, read

import jitprop.layers  # which needs memory itself
load(sys.argv[1])
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, used + 2**26))
for path in sys.argv[2:]:
    try:
        load(path)
    except CheckpointError as error:
        print(error)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_no_memory_is_taken_for_what_a_file_claims(path, tmp_path):
    """With 64 MB more than a small network needs, files that claim far more are still refused."""

    def wide(arrays, parts):
        parts["graph"][0]["arguments"].update(in_features=10**6, out_features=10**6)

    def doubled(arrays, parts):
        for number in range(len(parts["graph"]) - 1, len(parts["graph"]) + 40):
            parts["graph"].append({"kind": "Sequential", "modules": [number, number]})

    bad = [path.with_name(name) for name in ("header", "wide", "doubled")]
    for one in bad:
        one.write_bytes(path.read_bytes())
    bad[0].write_bytes(struct.pack("<Q", 10 * 2**30) + path.read_bytes()[8:])
    rewrite(bad[1], wide)
    rewrite(bad[2], doubled)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path), *map(str, bad)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert "header of 10737418240 bytes" in lines[0]
    assert "larger than its arrays" in lines[1]
    assert "more than 100000 modules" in lines[2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays, parts: arrays.pop("3.b"), r"missing array 3\.b"),
        (lambda arrays, parts: arrays.update(more=np.zeros(2)), "surplus array more"),
        (lambda arrays, parts: arrays.update({"3.b": np.zeros(5, "f")}), r"3\.b is .* \(5,\), exp"),
        (lambda arrays, parts: arrays.update({"3.b": np.zeros(4)}), r"3\.b is float64 .* float32"),
        (lambda arrays, parts: arrays.update({"3.b": np.full(4, np.nan, "f")}), r"3\.b has .*NaN"),
        (lambda arrays, parts: arrays.update({"3.b": -np.full(4, np.inf, "f")}), r"3\.b has .*inf"),
        (lambda arrays, parts: parts.pop("graph"), "broken metadata: graph"),
        (lambda arrays, parts: parts.update(graph={}), "broken metadata: graph"),
        (lambda arrays, parts: parts.update(graph=[]), "cannot build its network"),
        (lambda arrays, parts: parts.update(graph=[7]), "cannot build its network"),
        (lambda arrays, parts: parts.update(training={}), "broken metadata: settings"),
        (lambda arrays, parts: parts.update(training=1, settings={}), "broken metadata: training"),
    ],
)
def test_content_that_does_not_fit(change, message, path):
    rewrite(path, change)
    broken(path, message, load)


def test_metadata_that_are_no_json(path):
    arrays, metadata = checkpoints.read_arrays(path)
    for text in ("{", "[" * 10**5, "1" * 10**5):
        checkpoints.write(path, arrays, metadata | {"about": text})
        broken(path, "broken metadata")


def test_other_formats(path):
    arrays = {"w": np.ones(3, np.float32)}
    safetensors.numpy.save_file(arrays, path)
    broken(path, "a safetensors file, but no checkpoint of jitprop")
    safetensors.numpy.save_file(arrays, path, {"format": "pt"})
    broken(path, "a safetensors file, but no checkpoint of jitprop")
    safetensors.numpy.save_file(arrays, path, {"format": "jitprop 2"})
    broken(path, "of format 'jitprop 2', expected 'jitprop 1'")
    safetensors.numpy.save_file(arrays, path, {"format": "jitprop 1"})
    broken(path, "damaged, or edited by another program: its SHA-256")
    safetensors.numpy.save_file({"w": np.ones(3, np.float16)}, path, {"format": "jitprop 1"})
    broken(path, "w is F16")
    path.write_bytes(b"GIF89a" * 20)
    broken(path, "no safetensors")


def test_weights_that_another_program_has_edited(path):
    """Are refused, and come in as the message says."""
    with safetensors.safe_open(path, "numpy") as file:
        metadata = file.metadata()
    arrays = safetensors.numpy.load_file(path)
    arrays["0.w"] = 2 * arrays["0.w"]
    edited = path.with_name("edited")
    safetensors.numpy.save_file(arrays, edited, metadata)
    match = (
        r"edited by another program: .* copy safetensors\.numpy\.load_file\(path\)\[p\.name\] into"
    )
    broken(edited, match)
    net = network(1)
    for p in net.parameters():
        p.value[...] = safetensors.numpy.load_file(edited)[p.name]
    save(path, net)
    np.testing.assert_array_equal(load(path)[0].w, 2 * network()[0].w)


def test_nothing_in_a_file_commands_the_terminal(path):
    """Nor does it fill it."""
    evil = "\x1b]0;title\x07\x1b[2J\u202e\udc80"
    changes = {
        "own": lambda arrays, parts: parts.update(graph=[{"own": evil}]),
        "kind": lambda arrays, parts: parts["graph"][0].update(kind=evil),
        "array": lambda arrays, parts: arrays.update({evil[:-1]: np.zeros(2)}),
        "argument": lambda arrays, parts: parts["graph"][0]["arguments"].update({evil: 3}),
        "long": lambda arrays, parts: parts.update(graph=[{"own": "m" * 10**6}]),
    }
    for change in changes.values():
        save(path, network())
        rewrite(path, change)
        broken(path, r".", load)
        with pytest.raises(CheckpointError) as caught:
            load(path)
        assert len(str(caught.value)) < 1200 + len(str(path))
    other = path.with_name(evil[:-1])
    with pytest.raises(CheckpointError) as caught:
        read(other)
    assert str(caught.value).isprintable()


def test_what_is_no_file(tmp_path):
    broken(tmp_path, "not a file")
    broken(tmp_path / "none", "No such file")
    broken(Path("/dev/null"), "not a file")
    os.mkfifo(tmp_path / "pipe")
    broken(tmp_path / "pipe", "not a file")


def test_a_file_that_cannot_be_read(path, monkeypatch):
    def denied(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", denied)  # nothing is denied to root, who may run this
    broken(path, "Permission denied")


def test_a_name_with_a_line_break(tmp_path):
    with pytest.raises(CheckpointError) as caught:
        read(tmp_path / "a\nb")
    assert str(caught.value).isprintable()


def test_arrays_that_the_format_does_not_have(tmp_path):
    arrays = {"w": np.array(["text"])}
    broken(
        tmp_path / "net", "not saved: w is <U4", lambda path: checkpoints.write(path, arrays, {})
    )


def test_notes_of_numpy_are_plain(path):
    save(path, network(), score=np.float32(0.5), seed=np.int64(3), best=np.bool_(True))
    about = read(path).about
    assert about == {"score": 0.5, "seed": 3, "best": True}
    assert [type(value) for value in about.values()] == [float, int, bool]


@pytest.mark.parametrize("note", [object(), {1, 2}, np.ones(3), b"bytes", {"deep": [print]}])
def test_notes_that_cannot_be_kept_are_refused_before_training(path, note):
    """`check_savable` knows before training what `save` would say after it."""
    message = "the note what cannot be kept: "
    broken(path, message, lambda path: check_savable(path, seed=3, what=note))
    broken(path, message, lambda path: save(path, network(), seed=3, what=note))
    assert read(path).about == {}
