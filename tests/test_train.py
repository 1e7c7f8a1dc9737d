"""The command line: what it prints, writes and refuses, and how it ends."""

import fcntl
import html
import json
import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import sys
import termios
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from jitprop import kernels, train
from jitprop.cli import arguments, interrupt
from jitprop.kernels.compiler import cache
from jitprop.training import load, read, weights_sha256
from jitprop.training.progress import Progress
from jitprop.training.settings import PRESETS

ROOT = Path(__file__).parents[1]
LAST_LINE = re.compile(r"test errors: (\d+) / (\d+) \((\d+\.\d\d)%\)\n")


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(header + array.tobytes())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """300 + 100 images of 4 x 6 pixels in 4 classes, each with a bright row, in noise."""
    path = tmp_path_factory.mktemp("rows")
    rng = np.random.default_rng(2)
    for split, count in (("train", 300), ("t10k", 100)):
        labels = rng.integers(0, 4, count).astype(np.uint8)
        images = rng.integers(0, 100, (count, 4, 6), np.uint8)
        images[np.arange(count), labels] += 100
        write_idx(path / f"{split}-images-idx3-ubyte", images)
        write_idx(path / f"{split}-labels-idx1-ubyte", labels)
    return path


@pytest.fixture(autouse=True)
def process():
    """`train.main` leaves the process as it was: signals, threads, who hears of kernels."""

    def state():
        handlers = [signal.getsignal(number) for number in (*interrupt.SIGNALS, signal.SIGPIPE)]
        return handlers, kernels.get_num_threads(), [*cache.compile_callbacks], sys.stdout

    before = state()
    yield
    assert state() == before


@pytest.fixture
def run(folder, tmp_path):
    """Run on the small data and return the metrics."""

    def run(args):
        path = tmp_path / "metrics.json"
        code = train.main([f"--data={folder}", f"--metrics={path}", *shlex.split(args)])
        assert code == 0
        return json.loads(path.read_text())

    return run


@contextmanager
def started(*args, **options):
    """Start `python train.py`, and leave nothing running."""
    command = [sys.executable, "train.py", *map(str, args)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def refused(capsys, *args, code=2):
    """Assert that the arguments are refused with one line, and return it."""
    with pytest.raises(SystemExit) as caught:
        train.main(list(map(str, args)))
    out, err = capsys.readouterr()
    assert caught.value.code == code
    assert re.fullmatch(r"train\.py: error: .+\n", err)
    return out, err


@pytest.mark.parametrize(
    "args",
    [
        "--arch foo",
        "--arch linear --hidden 3",
        "--hidden 0",
        "--hidden 3,,4",
        "--hidden abc",
        "--hidden 10000000000",
        "--batch-size 0",
        "--batch-size -1",
        "--batch-size all",
        "--epochs -1",
        "--epochs 1.5",
        "--lr nan",
        "--lr -1",
        "--lr 0",
        "--lr inf",
        "--lr x",
        "--momentum 1.5",
        "--momentum -0.1",
        "--momentum nan",
        "--optimizer sgdm",
        "--betas 0.9,1",
        "--betas 0.9",
        "--betas 0.9;0.99",
        "--optimizer adam --eps 0",
        "--weight-decay -1",
        "--schedule cos",
        "--warmup -1",
        "--warmup 1000",
        "--schedule step --step-size 0",
        "--schedule step --gamma 2",
        "--dropout 1",
        "--dropout x",
        "--label-smoothing 1.1",
        "--early-stopping --patience 0",
        "--seed -1",
        "--threads 0",
        "--threads 1000000",
        "--validation -1",
        "--metrics",
        "--batch 10",
        "surplus",
    ],
)
def test_refuses_arguments(args, capsys):
    out, err = refused(capsys, *args.split())
    assert out == ""
    *_, last = args.split()
    assert last in err or last.replace(",", ", ") in err or "not allowed with" in err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--optimizer adam --momentum 0.5", "momentum is for the optimizer sgd, not for adam"),
        ("--momentum 0 --nesterov", "nesterov needs a momentum above 0"),
        ("--betas 0.8,0.9", "betas is for the optimizer adam and adamw, not for sgd"),
        ("--gamma 0.5", "gamma is for the schedule step, not for constant"),
        ("--patience 3", "patience is for early stopping, which is off"),
        ("--early-stopping", "early stopping needs images to validate on: --validation N"),
        ("--arch linear --dropout 0.5", "--dropout: there is no hidden layer"),
    ],
)
def test_refuses_what_does_not_go_together(folder, args, message, capsys):
    assert message in refused(capsys, "--data", folder, *args.split())[1]


def test_refuses_data(folder, tmp_path, capsys):
    for name in os.listdir(folder):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(b"no idx")
    assert "t10k-labels" in refused(capsys, "--data", tmp_path)[1]
    assert "none" in refused(capsys, "--data", tmp_path / "none")[1]
    assert "300" in refused(capsys, "--data", folder, "--validation", 300)[1]


def test_refuses_a_network_beyond_memory(folder, capsys, monkeypatch):
    def mlp(*args, dropout):
        raise MemoryError("Unable to allocate 5.70 TiB")

    monkeypatch.setattr("jitprop.training.mlp", mlp)
    assert "memory: Unable" in refused(capsys, "--data", folder)[1]


def test_refuses_metrics_that_cannot_be_written_before_training(folder, tmp_path, capsys):
    path = tmp_path / "none" / "run.json"
    out, err = refused(capsys, "--data", folder, "--metrics", path)
    assert out == ""
    assert str(path) in err


def test_metrics_that_cannot_be_written_after_training(folder, tmp_path, capsys, monkeypatch):
    def full(path, record):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jitprop.training.write_json", full)
    path = tmp_path / "run.json"
    out, err = refused(capsys, "--data", folder, "--epochs", 1, "--metrics", path, code=1)
    assert LAST_LINE.fullmatch(out.splitlines(keepends=True)[-1])
    assert "No space" in err


def test_a_loss_that_diverges(folder, tmp_path, capsys):
    path = tmp_path / "run.json"
    args = ("--data", folder, "--lr", 1e38, "--metrics", path)
    _, err = refused(capsys, *args, code=1)
    assert re.search(r"became (nan|-?inf) in epoch \d+, batch \d+.*lower --lr", err)
    assert not path.exists()


def test_a_failed_gradient_check(folder, capsys, monkeypatch):
    from jitprop.layers import Tanh

    right = Tanh.bprop
    monkeypatch.setattr(Tanh, "bprop", lambda self, dy, need_dx=True: -right(self, dy))
    for more in ((), ("--epochs", 1)):
        out, err = refused(capsys, "--data", folder, "--gradcheck", *more, code=1)
        assert "gradient check failed: Tanh(): d y[" in err
        assert re.search(r"^  Tanh\(\) .* WRONG$", out, re.M)
        assert "test errors" not in out


def test_a_gradient_check_alone_trains_nothing(capsys):
    assert train.main(["--arch", "mlp200", "--gradcheck", "--threads", "1"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    *_, head, first, tanh, second, loss, whole, empty, last = out.splitlines()
    assert head.split() == ["layer", "by", "derivatives", "worst", "relative", "error"]
    assert first.split()[:-1] == ["Linear(6,", "5)", "x,", "w,", "b", "795"]
    assert tanh.split()[:-1] == ["Tanh()", "x", "225"]
    assert second.split()[:-1] == ["Linear(5,", "4)", "x,", "w,", "b", "468"]
    assert loss.split()[:-1] == ["SoftmaxCrossEntropy()", "x", "12"]
    assert whole.split()[-2] == "924"
    assert all(float(row.split()[-1]) < 1e-6 for row in (first, tanh, second, loss, whole))
    assert empty == ""
    assert re.fullmatch(r"gradient check passed: worst \S+, tolerance 1e-06", last)
    assert "epoch" not in out
    assert train.main(["--gradcheck", "--quiet", "--dropout", "0.5", "--lr", "0.2"]) == 0
    assert capsys.readouterr().out.startswith("gradient check passed: worst ")


@pytest.mark.parametrize("more", ["--epochs=0", "--preset=speedrun --epochs=1", "--metrics={}/m"])
def test_a_gradient_check_before_training(folder, tmp_path, more, capsys):
    args = f"--data {folder} --arch linear {more}".replace("{}", str(tmp_path)).split()
    if "--preset" in more:
        args = [f"--data={folder}", *more.split()]
    assert train.main(["--gradcheck", *args]) == 0
    out = capsys.readouterr().out
    assert "gradient check passed" in out
    assert LAST_LINE.fullmatch(out.splitlines(keepends=True)[-1])


def test_what_it_prints(run, capsys):
    run("--hidden 8,5 --epochs 3 --batch-size 64 --validation 44 --gradcheck --threads 1")
    out, err = capsys.readouterr()
    lines = out.splitlines(keepends=True)
    assert err == ""
    assert "256 train, 44 validation, 100 test" in lines[0]
    assert "24-8-5-4" in lines[1]
    assert f"{24 * 8 + 8 + 8 * 5 + 5 + 5 * 4 + 4} parameters" in lines[1]
    assert "epochs 3, batch size 64" in lines[2]
    assert lines[3] == "input     dense\n"
    assert "threads 1" in lines[4]
    assert any(line.startswith("gradient check passed: worst ") for line in lines[5:-5])
    table = lines[-5:-1]
    assert re.split(r" {2,}", table[0].strip()) == [
        *("epoch", "train loss", "train errors", "validation errors", "test errors", "seconds")
    ]
    assert [line.split()[0] for line in table[1:]] == ["1/3", "2/3", "3/3"]
    assert len({len(line) for line in table}) == 1
    errors, images, share = LAST_LINE.fullmatch(lines[-1]).groups()
    assert images == "100"
    assert float(share) == int(errors)


def test_metrics(run, capsys):
    metrics = run("--hidden 8 --epochs 3 --batch-size full --lr 0.5 --seed 4")
    out = capsys.readouterr().out
    assert int(LAST_LINE.search(out)[1]) == metrics["test_errors"]
    assert metrics["settings"] == {
        "arch": None,
        "hidden": [8],
        "data": metrics["settings"]["data"],
        "transposed": False,
        "dropout": 0,
        "label_smoothing": 0,
        "validation": 0,
        "epochs": 3,
        "batch_size": "full",
        "lr": 0.5,
        "momentum": 0.9,
        "nesterov": False,
        "optimizer": "sgd",
        "betas": [0.9, 0.999],
        "eps": 1e-8,
        "weight_decay": 0,
        "schedule": "constant",
        "warmup": 0,
        "step_size": 5,
        "gamma": 0.1,
        "early_stopping": False,
        "patience": 5,
        "seed": 4,
        "input": "dense",
    }
    assert [epoch["epoch"] for epoch in metrics["epochs"]] == [1, 2, 3]
    for epoch in metrics["epochs"]:
        assert epoch.keys() == {
            *("epoch", "train_loss", "train_errors", "train_seconds", "test_loss", "test_errors")
        }
    assert metrics["test_errors"] == metrics["epochs"][-1]["test_errors"]
    assert metrics["test_images"] == 100
    assert metrics["interrupted"] is False
    assert re.fullmatch("[0-9a-f]{64}", metrics["weights_sha256"])
    assert metrics["compile_seconds"] == 0
    assert metrics["threads"] == kernels.get_num_threads()
    assert metrics["cpu"]
    assert metrics["versions"].keys() == {"python", "numpy", "numba"}


def test_input(run, capsys):
    dense, sparse = (run(f"--hidden 8 --epochs 2 --input {kind}") for kind in ("dense", "sparse"))
    assert dense["weights_sha256"] == sparse["weights_sha256"]
    assert (dense["settings"]["input"], sparse["settings"]["input"]) == ("dense", "sparse")
    assert re.search(
        r"^input     sparse, \d+% of the pixels are not zero$", capsys.readouterr().out, re.M
    )


def test_the_input_is_that_of_the_images_trained_on(tmp_path, capsys):
    """Not of all there are: here the ones held out are much denser."""
    rng = np.random.default_rng(1)
    for split, count in (("train", 100), ("t10k", 10)):
        images = rng.integers(1, 256, (count, 4, 5), np.uint8)
        images[:50, :, 1:] = 0
        write_idx(tmp_path / f"{split}-images-idx3-ubyte", images)
        write_idx(tmp_path / f"{split}-labels-idx1-ubyte", np.arange(count, dtype=np.uint8) % 3)
    args = f"--data {tmp_path} --epochs 1 --hidden 3 --validation".split()
    for held_out, expected in (("50", "sparse, 20% of the pixels are not zero"), ("0", "dense")):
        assert train.main([*args, held_out]) == 0
        assert f"\ninput     {expected}\n" in capsys.readouterr().out


@pytest.mark.slow
def test_report(folder, tmp_path, capsys):
    path = tmp_path / "new" / "report"
    args = ["--data", str(folder), "--report", str(path), "--epochs", "2", "--validation", "50"]
    assert train.main(args) == 0
    out, err = capsys.readouterr()
    errors = LAST_LINE.search(out)[1]
    assert out.endswith(f"report: {path / 'index.html'}\n")
    assert err == ""
    page = (path / "index.html").read_text()
    assert f"{errors} of 100" in page
    assert "mlp200" in page
    assert html.escape(shlex.join(["python", "train.py", *args])) in page
    assert len((path / "history.csv").read_text().splitlines()) == 3
    assert train.main([*args, "--quiet"]) == 0
    assert LAST_LINE.fullmatch(capsys.readouterr().out)


def test_refuses_a_report_that_cannot_be_written_before_training(
    folder, tmp_path, capsys, monkeypatch
):
    path = tmp_path / "file"
    path.write_text("old")
    out, err = refused(capsys, "--data", folder, "--report", path)
    assert out == ""
    assert f"--report: {path}: " in err
    monkeypatch.delitem(sys.modules, "jitprop.reporting.pictures", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.axes", None)
    out, err = refused(capsys, "--data", folder, "--report", tmp_path)
    assert out == ""
    assert "jitprop[plots]" in err


def test_a_report_that_cannot_be_written_after_training(folder, tmp_path, capsys, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jitprop.reporting.write_report", full)
    _, err = refused(
        capsys, "--data", folder, "--epochs", 1, "--report", tmp_path / "report", code=1
    )
    assert "No space" in err


def test_one_seed_one_result(run):
    """Twice, by any number of threads, and whatever else is looked at meanwhile."""
    common = "--hidden 8 --epochs 2 "
    digest = run(common)["weights_sha256"]
    for more in ("", "--threads 1", "--threads 2", "--gradcheck --quiet", "--momentum 0.9"):
        assert run(common + more)["weights_sha256"] == digest
    assert run(common + "--seed 1")["weights_sha256"] != digest


def test_every_way_to_train(run, capsys):
    """Each option changes the network, and is told."""
    common = "--hidden 8 --epochs 3 "
    digests = [run(common)["weights_sha256"]]
    capsys.readouterr()
    for option, line in (
        ("--nesterov", "Nesterov momentum 0.9"),
        ("--optimizer adam", "learning rate 0.001, adam"),
        ("--optimizer adamw", "learning rate 0.001, adamw, weight decay 0.01"),
        ("--optimizer adam --lr 0.01 --betas 0.5,0.9 --eps 0.1", "learning rate 0.01, adam"),
        ("--weight-decay 0.1", "momentum 0.9, weight decay 0.1"),
        ("--schedule linear", "linear schedule"),
        ("--schedule cosine --warmup 0.5", "cosine schedule, warm-up 0.5"),
        ("--schedule step --step-size 1 --gamma 0.5", "step schedule"),
        ("--dropout 0.3", "dropout 0.3"),
        ("--label-smoothing 0.2", "label smoothing 0.2"),
        ("--label-smoothing 1", "label smoothing 1"),
    ):
        digests.append(run(common + option)["weights_sha256"])
        assert f" {line}, seed 0\n" in capsys.readouterr().out
    assert len(set(digests)) == 12


def test_early_stopping(run, capsys):
    given = "--hidden 8 --epochs 200 --validation 44 --early-stopping --patience 2 --dropout 0.8"
    metrics = run(given)
    out = capsys.readouterr().out
    assert "early stopping with patience 2" in out
    epochs = metrics["epochs"]
    scores = [(epoch["validation_errors"], epoch["validation_loss"]) for epoch in epochs]
    best = scores.index(min(scores))
    assert len(epochs) == best + 3 < 200
    assert metrics["test_errors"] == epochs[best]["test_errors"]
    assert int(LAST_LINE.search(out)[1]) == metrics["test_errors"]


def test_validation_images_are_not_trained_on(run):
    assert run("--validation 50")["epochs"][-1]["validation_errors"] <= 5
    assert run("--validation 50")["weights_sha256"] != run("")["weights_sha256"]


def test_no_epochs(run):
    metrics = run("--epochs 0")
    assert metrics["epochs"] == []
    assert metrics["test_errors"] > 25


@pytest.mark.parametrize("arch", ["linear", "mlp800"])
def test_architectures(run, arch):
    metrics = run(f"--arch {arch} --epochs 1 --lr 0.01")
    assert metrics["settings"]["arch"] == arch
    assert metrics["test_errors"] < 75


def test_quiet(folder, capsys):
    assert train.main(["--data", str(folder), "--quiet", "--gradcheck", "--epochs=2"]) == 0
    out, err = capsys.readouterr()
    assert LAST_LINE.fullmatch(out)
    assert err == ""


@pytest.mark.slow
def test_mnist(capsys):
    """The figures of the slides: about 250 errors with 200 hidden units."""
    assert train.main(["--arch", "mlp200", "--quiet"]) == 0
    errors, images, _ = LAST_LINE.fullmatch(capsys.readouterr().out).groups()
    assert images == "10000"
    assert int(errors) <= 250


@pytest.fixture
def saved(folder, tmp_path, capsys):
    """A run of three epochs that was saved."""
    path = tmp_path / "run.safetensors"
    args = ["--hidden=8", "--epochs=3", "--seed=2", f"--data={folder}", f"--save={path}"]
    assert train.main(args) == 0
    assert f"saved to {path}\n" in capsys.readouterr().out
    return path


def test_resume(run, saved, tmp_path):
    """What was given first is kept; the history is that of the whole run."""
    whole = run("--hidden 8 --epochs 5 --seed 2")
    again = run(f"--resume {saved} --epochs 5 --save {saved}")
    third = run(f"--resume {saved} --epochs 7 --threads 1 --quiet")
    assert again["weights_sha256"] == whole["weights_sha256"]
    assert third["weights_sha256"] == run("--hidden 8 --epochs 7 --seed 2")["weights_sha256"]
    for metrics in (again, whole, third):
        for epoch in metrics["epochs"]:
            del epoch["train_seconds"]
    assert again["epochs"] == whole["epochs"] == third["epochs"][:5]
    assert again["settings"] == whole["settings"]


def test_resume_with_fewer_epochs(run, folder, tmp_path, capsys):
    """The errors are those of the weights, which have gone on since the last whole epoch."""
    path = tmp_path / "run.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        epochs = [0]
        patch.setattr(Progress, "batch", lambda self, epoch, *_: epochs.append(epoch))
        asked = property(lambda self: epochs[-1] == 2, lambda *_: None)
        patch.setattr(interrupt.Interrupt, "asked", asked)
        given = f"--data {folder} --hidden 9 --batch-size 7 --epochs 3 --lr 0.005 --save {path}"
        assert train.main(given.split()) == 130
    assert "epoch 2, after batch" in capsys.readouterr().out
    metrics = run(f"--resume {path} --epochs 1")
    assert "\nnothing left to do: 1 of 1 epochs are done; " in capsys.readouterr().out
    (epoch,) = metrics["epochs"]
    assert train.main(["--evaluate", str(path), "--data", str(folder)]) == 0
    errors, *_ = LAST_LINE.search(capsys.readouterr().out).groups()
    assert metrics["test_errors"] == int(errors) != epoch["test_errors"]


def test_resume_where_all_is_done(run, saved, capsys):
    metrics = run(f"--resume {saved}")
    assert len(metrics["epochs"]) == 3
    out, err = capsys.readouterr()
    *_, line, last = out.splitlines()
    assert line == "nothing left to do: 3 of 3 epochs are done; --epochs N goes on"
    assert LAST_LINE.fullmatch(last + "\n")
    assert err == ""
    run(f"--resume {saved} --epochs 2 --save {saved}")
    assert "\nnothing left to do: 3 of 2 epochs are done; --epochs" in capsys.readouterr().out
    assert run(f"--resume {saved} --epochs 4")["epochs"][3]["epoch"] == 4


def test_checkpoint_every(folder, tmp_path, monkeypatch, capsys):
    from jitprop import training

    epochs, save = [], training.save

    def spy(path, net, session, **about):
        epochs.append(len(session.history))
        save(path, net, session, **about)

    monkeypatch.setattr("jitprop.training.save", spy)
    args = [f"--data={folder}", "--epochs=5", f"--save={tmp_path / 'run'}", "--checkpoint-every=2"]
    assert train.main(args) == 0
    assert epochs == [2, 4, 5]


def test_a_checkpoint_that_cannot_be_written(folder, tmp_path, monkeypatch, capsys):
    """A warning while training goes on, an error at the end."""

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    path = tmp_path / "run"
    args = ("--data", folder, "--epochs", 2, "--save", path, "--checkpoint-every", 2)
    assert train.main(list(map(str, args))) == 1
    message = f"{path}: not saved: No space left on device\n"
    out, err = capsys.readouterr()
    assert LAST_LINE.fullmatch(out.splitlines(keepends=True)[-1])
    assert err == f"train.py: warning: {message}train.py: error: {message}"
    assert "2/2" in out


def test_evaluate(folder, saved, tmp_path, capsys):
    errors = "test errors: {test_errors} / {test_images} ({share:.2%})\n"
    path = tmp_path / "evaluated.json"
    assert train.main(["--evaluate", str(saved), "--metrics", str(path)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    metrics = json.loads(path.read_text())
    confusion = np.array(metrics["confusion"])
    assert confusion.shape == (4, 4)
    assert confusion.sum() == metrics["test_images"] == 100
    assert metrics["test_errors"] == 100 - confusion.trace()
    assert out.endswith(errors.format(share=metrics["test_errors"] / 100, **metrics))
    *rows, empty, _ = out.splitlines()
    assert empty == ""
    for digit, row in enumerate(rows[-4:]):
        label, *counts, recall = row.split()
        assert int(label) == digit
        assert list(map(int, counts)) == metrics["confusion"][digit]
        assert recall == f"{confusion[digit, digit] / confusion[digit].sum():.2%}"
    assert train.main([f"--evaluate={saved}", "--quiet", f"--data={folder}", "--threads=1"]) == 0
    assert LAST_LINE.fullmatch(capsys.readouterr().out)


def test_evaluate_a_network_that_was_saved_without_train_py(folder, tmp_path, capsys):
    from jitprop import training

    training.save(tmp_path / "net", training.mlp(24, [], 4, 0))
    training.save(tmp_path / "wide", training.mlp(25, [], 4, 0))
    training.save(tmp_path / "narrow", training.mlp(24, [], 3, 0))
    training.save(tmp_path / "more", training.mlp(24, [], 6, 0))
    for name in ("net", "more"):
        assert train.main([f"--evaluate={tmp_path / name}", f"--data={folder}"]) == 0
        assert LAST_LINE.search(capsys.readouterr().out)
    for name, reason in (
        ("wide", "x has 24 features, the network takes 25"),
        ("narrow", "no outputs for 4 classes"),
    ):
        args = ("--evaluate", tmp_path / name, "--data", folder)
        assert re.search(f"{name}: does not take .*{reason}", refused(capsys, *args)[1])
    assert "not saved by train.py" in refused(capsys, "--resume", tmp_path / "net")[1]


@pytest.mark.slow
def test_checkpoints_that_are_refused(folder, saved, tmp_path, capsys):
    """In one line, before anything is printed."""
    other = tmp_path / "other"
    other.mkdir()
    for name in os.listdir(folder):
        (other / name).write_bytes((folder / name).read_bytes())
    images = bytearray((other / "train-images-idx3-ubyte").read_bytes())
    images[-1] ^= 1
    (other / "train-images-idx3-ubyte").write_bytes(images)
    damaged = tmp_path / "damaged"
    damaged.write_bytes(saved.read_bytes()[:-1])
    for args, reason in (
        (("--resume", saved, "--lr", 0.2), r"trained with rate 0\.1, not 0\.2"),
        (("--resume", saved, "--batch-size", 7), "trained with batch_size 100, not 7"),
        (("--resume", saved, "--seed", 1), "--seed: not what .* was trained with"),
        (("--resume", saved, "--hidden", 9), "--hidden: not what"),
        (("--resume", saved, "--arch", "linear"), "--arch: not what"),
        (("--resume", saved, "--validation", 3), "--validation: not what"),
        (("--resume", saved, "--data", other), "trained on other data than other"),
        (("--resume", saved, "--evaluate", saved), "not allowed with --resume"),
        (("--save", saved, "--evaluate", saved), "not allowed with --save"),
        (("--gradcheck", "--evaluate", saved), "not allowed with --gradcheck"),
        (("--evaluate", saved, "--lr", 0.2), "--lr: not what"),
        (("--evaluate", damaged), "damaged: truncated"),
        (("--resume", damaged), "damaged: truncated"),
        (("--resume", tmp_path / "none"), "none: No such file"),
        (("--resume", tmp_path), "not a file"),
        (("--save", tmp_path), "not a file"),
        (("--save", tmp_path / "none" / "run"), "No such file"),
        (("--checkpoint-every", 3), "needs --save"),
        (("--checkpoint-every", 0, "--save", saved), "of at least 1"),
    ):
        out, err = refused(capsys, *args)
        assert out == ""
        assert re.search(reason, err)


def test_the_command_line_in_a_checkpoint_may_be_anything(saved, capsys):
    from jitprop.training import read, save

    checkpoint = read(saved)
    for command, reason in (
        (["--arch", "foo"], "its command line: argument --arch: invalid choice"),
        (["--help"], "not saved by train.py"),
        (["--resume", "x", "surplus"], "its command line: unrecognized arguments: surplus"),
        ("--arch", "not saved by train.py"),
        ([3], "not saved by train.py"),
        (None, "not saved by train.py"),
    ):
        save(saved, checkpoint.net(), command=command)
        out, err = refused(capsys, "--resume", saved)
        assert out == ""
        assert reason in err


def test_help_needs_no_numba():
    code = (
        "import sys, train\ntry: train.main(['--help'])\nfinally: assert 'numpy' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr == ""
    for word in ("--batch-size N|full", "0.01 to 0.1", "100 to 1000", "mlp200", "--gradcheck"):
        assert word in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    headings = [line for line in done.stdout.splitlines() if re.fullmatch(r"[a-z ]+:", line)]
    assert len(headings) == 10
    assert done.stdout.count(":\n  python train.py ") == len(headings) - 1  # all but "options:"


def test_the_examples_of_the_page_of_help_are_good(capsys):
    with pytest.raises(SystemExit):
        train.main(["--help"])
    examples = re.findall(r"^  python train.py (.*?)(?:   .*)?$", capsys.readouterr().out, re.M)
    for example in examples:
        args = arguments.make_parser().parse_args(example.split())
        assert arguments.settings_of(args).epochs >= 1


@pytest.mark.slow
def test_ctrl_c(folder, tmp_path):
    path = tmp_path / "run.json"
    with started("--data", folder, "--epochs", 10**9, "--metrics", path) as process:
        for line in process.stdout:
            if line.split()[:1] == [f"3/{10**9}"]:
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, err) == (130, "")
    *_, interrupted, last = out.splitlines(keepends=True)
    assert re.fullmatch(r"interrupted in epoch \d+, after batch \d\n", interrupted)
    errors, images, _ = LAST_LINE.fullmatch(last).groups()
    metrics = json.loads(path.read_text())
    assert images == "100"
    assert int(errors) == metrics["test_errors"]
    assert len(metrics["epochs"]) >= 3
    assert metrics["interrupted"] is True


@pytest.mark.slow
def test_ctrl_c_with_save(folder, tmp_path, run):
    """Saved before it ends; the command line that it prints goes on, to the same bits."""
    path = tmp_path / "a run.safetensors"
    given = (
        "--hidden 8 --batch-size 7 --epochs 1000 --optimizer adam --schedule cosine --warmup 0.5"
    )
    given += " --dropout 0.2 --label-smoothing 0.1"
    args = ("--data", folder, *given.split(), "--save", path, "--threads", 1)
    with started(*args, "--checkpoint-every", 900) as process:
        for line in process.stdout:
            if line.split()[:1] == ["3/1000"]:
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, err) == (130, "")
    command = re.search(r"^to go on: python train\.py (.*)$", out, re.M)[1]
    ways = "--checkpoint-every 900 --threads 1"
    assert command == f"--resume '{path}' --save '{path}' {ways}"
    whole = run(given)
    assert run(command)["weights_sha256"] == whole["weights_sha256"]


INTERRUPT = """
import os, signal
from jitprop import cli
from jitprop.cli.interrupt import Interrupt
def main():
    cli.interrupted = "train.py: interrupted before training"
    if {training}:
        with Interrupt("train.py") as interrupt:
            os.kill(os.getpid(), signal.SIGINT)
            assert interrupt.asked
            assert interrupt.code == 130
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGHUP)  # the same request, said again
            interrupt._since -= 1
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("still here")
    os.kill(os.getpid(), signal.SIGINT)
cli.as_program(main)
"""


@pytest.mark.parametrize(
    ("training", "code", "message"),
    [(False, 130, "train.py: interrupted before training\n"), (True, -signal.SIGINT, "")],
)
def test_ctrl_c_before_training_and_twice_in_training(training, code, message):
    command = [sys.executable, "-c", INTERRUPT.format(training=training)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", message)


@pytest.mark.slow
def test_ctrl_c_in_a_long_batch():
    """It is answered, and the second one ends the process, though compiled code does not stop."""
    args = ("--hidden", 4000, "--batch-size", "full", "--threads", 1)  # seconds for a batch
    with started(*args) as process:
        for line in process.stdout:
            if "train loss" in line:
                break
        process.send_signal(signal.SIGINT)
        answer = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.wait()
    assert answer == "train.py: ends after this batch; Ctrl-C again ends at once\n"
    assert process.returncode == -signal.SIGINT  # by the second: it did not come to the end


@pytest.mark.slow
def test_a_closed_pipe(folder):
    with started("--data", folder, "--epochs", 10**9) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == -signal.SIGPIPE


@pytest.mark.slow
def test_a_terminal_shows_progress(folder):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 30, 100, 0, 0))
    shown = b""
    with started("--data", folder, "--epochs", 500, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        try:
            while chunk := os.read(ours, 4096):
                shown += chunk
        except OSError:  # what Linux says when the other end is closed
            pass
        os.close(ours)
        assert process.wait() == 0
    text = shown.decode()
    assert re.search(r"epoch \d+/500 +\d+% .* \d\d:\d\d left, loss \d", text)
    assert LAST_LINE.fullmatch(text.splitlines()[-1] + "\n")


@pytest.mark.parametrize("preset", PRESETS)
def test_presets(run, preset, capsys):
    """As if its arguments were typed; what is typed beside it wins."""
    typed = run(f"{PRESETS[preset]} --epochs 2")
    chosen = run(f"--preset {preset} --epochs 2")
    assert chosen["settings"] == typed["settings"]
    assert chosen["weights_sha256"] == typed["weights_sha256"]
    assert f"--lr {chosen['settings']['lr']} " in PRESETS[preset]


def test_a_preset_goes_on(folder, tmp_path, capsys):
    def train_to(epochs, *args):
        path = tmp_path / f"{epochs}.json"
        given = ["--data", str(folder), "--metrics", str(path), "--epochs", str(epochs), *args]
        assert train.main([*given, "--quiet"]) == 0
        return json.loads(path.read_text())

    whole = train_to(4, "--preset", "best", "--schedule", "constant")
    saved = str(tmp_path / "net.safetensors")
    train_to(2, "--preset", "best", "--schedule", "constant", "--save", saved)
    assert train_to(4, "--resume", saved)["weights_sha256"] == whole["weights_sha256"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--save same --metrics same", "argument --metrics: {}/same is what --save writes"),
        ("--save same --metrics ./x/../same", "argument --metrics: {}/./x/../same is what --save"),
        ("--save same --metrics link", "argument --metrics: {}/link is what --save writes"),
        ("--save new --metrics nowhere", "argument --metrics: {}/nowhere is what --save writes"),
        ("--resume saved --metrics saved", "argument --metrics: {}/saved is what --resume reads"),
        ("--resume saved --save s2 --metrics saved", "--metrics: {}/saved is what --resume reads"),
        ("--evaluate saved --metrics saved", "--metrics: {}/saved is what --evaluate reads"),
        ("--report x --metrics x/index.html", "--report: {}/x/index.html is what --metrics writes"),
        ("--report x --save x/weights.png", "--report: {}/x/weights.png is what --save writes"),
        ("--save r --report r", "argument --report: {}/r/learning_curves.png and {}/r cannot both"),
        ("--metrics r --report r/x", "/r/x/learning_curves.png and {}/r cannot both be there"),
        ("--save r/x --metrics r", "argument --metrics: {}/r and {}/r/x cannot both be there"),
        ("--metrics data", "argument --metrics: {}/data is what --data reads"),
        ("--save data", "argument --save: {}/data is what --data reads"),
    ],
)
def test_no_file_is_written_that_a_run_reads_or_writes(
    args, message, folder, saved, tmp_path, capsys
):
    (tmp_path / "x").mkdir()
    (tmp_path / "same").write_bytes(b"a person's")
    (tmp_path / "link").symlink_to("same")
    (tmp_path / "nowhere").symlink_to("new")
    (tmp_path / "saved").write_bytes(saved.read_bytes())
    (tmp_path / "data").symlink_to(folder / "train-labels-idx1-ubyte")
    before = {path: path.read_bytes() for path in (*tmp_path.glob("*a*"), *folder.iterdir())}
    words = [f"{tmp_path}/{word}" if word[0] != "-" else word for word in args.split()]
    out, err = refused(capsys, *words, "--data", folder)
    assert out == ""
    assert message.format(tmp_path, tmp_path) in err
    assert {path: path.read_bytes() for path in before} == before
    assert not list((tmp_path / "x").iterdir())


@pytest.mark.parametrize("flag", ["save", "resume", "evaluate", "metrics", "report", "data"])
def test_an_unset_variable_is_no_file(flag, capsys):
    assert f"argument --{flag}: expected a path, not ''" in refused(capsys, f"--{flag}", "")[1]


@pytest.mark.slow
def test_a_network_that_cannot_be_saved_is_saved_elsewhere(folder, tmp_path, monkeypatch, capsys):
    """And all else that was asked for is given."""
    (tmp_path / "gone").mkdir()
    (tmp_path / "run").mkdir()
    path = tmp_path / "gone" / "net"
    monkeypatch.setattr(Progress, "start", lambda self: (tmp_path / "gone").rmdir())
    args = ["--data", folder, "--epochs", 1, "--save", path]
    args += ["--metrics", tmp_path / "run" / "run.json", "--report", tmp_path / "run"]
    assert train.main(list(map(str, args))) == 1
    out, err = capsys.readouterr()
    assert LAST_LINE.search(out)
    metrics = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (tmp_path / "run" / "index.html").exists()
    (rescued,) = (tmp_path / "run").glob("rescued-*-net")
    reason = f"train.py: error: {path}: not saved: No such file or directory"
    assert err == f"{reason}; it is saved to {rescued} instead\n"
    assert weights_sha256(load(rescued)) == metrics["weights_sha256"]
    (tmp_path / "gone").mkdir()
    assert train.main(["--resume", str(rescued), "--data", str(folder), "--epochs", "2"]) == 0


def test_without_metrics_it_is_saved_in_the_temporary_folder(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "gone").mkdir()
    monkeypatch.setattr(Progress, "start", lambda self: (tmp_path / "gone").rmdir())
    args = ["--data", folder, "--epochs", 1, "--save", tmp_path / "gone" / "net"]
    assert train.main(list(map(str, args))) == 1
    (rescued,) = tmp_path.glob("rescued-*-net")
    assert capsys.readouterr().err.endswith(f"; it is saved to {rescued} instead\n")
    load(rescued)


def test_what_resume_does_not_keep_is_said(folder, saved, capsys):
    args = ["--data", str(folder), "--resume", str(saved), "--epochs", "4", "--quiet"]
    assert train.main(args) == 0
    warning = f"train.py: warning: nothing will be kept; --save {saved} goes on in that file\n"
    assert capsys.readouterr().err == warning
    assert train.main([*args, "--save", str(saved)]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant", "step"])
def test_a_schedule_of_other_epochs_is_said(schedule, folder, tmp_path, capsys):
    path = str(tmp_path / "net")
    args = ["--data", str(folder), "--save", path, "--quiet"]
    assert train.main([*args, "--schedule", schedule, "--epochs", "2"]) == 0
    assert train.main([*args, "--resume", path, "--epochs", "2"]) == 0
    assert capsys.readouterr().err == ""
    assert train.main([*args, "--resume", path, "--epochs", "4"]) == 0
    said = (
        f"train.py: warning: the {schedule} schedule was made for 2 epochs; "
        "the rate goes on as if there had been 4 from the beginning\n"
    )
    assert capsys.readouterr().err == (said if schedule in ("cosine", "linear") else "")


def long_run(folder, path):
    """A run that ends when it is asked to, and prints as it goes."""
    return "--data", folder, "--epochs", 10**8, "--save", path, "--hidden", 3


def assert_goes_on(path, folder, run):
    """What was saved is whole: it goes on to the bits of a run that nobody disturbed."""
    done = len(read(path).record["history"])
    whole = run(f"--hidden 3 --epochs {done + 1}")
    assert run(f"--resume {path} --epochs {done + 1}")["weights_sha256"] == whole["weights_sha256"]


@pytest.mark.slow
def test_a_full_disk_ends_training_as_ctrl_c_does(folder, tmp_path, run):
    path = tmp_path / "net"
    with (
        open("/dev/full", "w") as full,
        started(*long_run(folder, path), stdout=full, stderr=subprocess.PIPE) as process,
    ):
        assert process.stderr.read() == "jitprop: error: cannot print: No space left on device\n"
        assert process.wait() == 1
    assert_goes_on(path, folder, run)


@pytest.mark.slow
def test_a_closed_pipe_ends_training_as_ctrl_c_does(folder, tmp_path, run):
    path = tmp_path / "net"
    with started(*long_run(folder, path)) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == -signal.SIGPIPE
    assert_goes_on(path, folder, run)


@pytest.mark.slow
def test_a_closed_terminal_ends_training_as_ctrl_c_does(folder, tmp_path, run):
    path = tmp_path / "net"
    ours, theirs = pty.openpty()
    with started(*long_run(folder, path), stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        os.read(ours, 100)
        os.close(ours)
        assert process.wait() == 1
    assert_goes_on(path, folder, run)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_training_as_ctrl_c_does(number, folder, tmp_path, run):
    """Also if they come twice: the system and a shell each tell of a closed terminal."""
    path = tmp_path / "net"
    with started(*long_run(folder, path)) as process:
        while "train loss" not in process.stdout.readline():
            pass
        process.send_signal(number)
        process.send_signal(number)
        out, err = process.communicate()
    assert process.returncode == 128 + number
    assert f"\nto go on: python train.py --resume {path} --save {path}\n" in out
    assert err == ""
    assert_goes_on(path, folder, run)


@pytest.mark.slow
def test_what_is_ignored_stays_so(folder, tmp_path):
    """As with nohup, where a closed terminal ends nothing."""
    code = (
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from jitprop import train\n"
        "from jitprop.training.progress import Progress\n"
        "Progress.start = lambda self: os.kill(os.getpid(), signal.SIGHUP)\n"
        "sys.exit(train.main(sys.argv[1:]))"
    )
    args = ["--data", folder, "--epochs", "2", "--quiet"]
    done = subprocess.run([sys.executable, "-c", code, *args], cwd=ROOT, timeout=3000)
    assert done.returncode == 0


def test_it_trains_in_another_thread(folder, capsys):
    codes = []
    args = ["--data", str(folder), "--epochs", "1", "--quiet"]
    thread = threading.Thread(target=lambda: codes.append(train.main(args)))
    thread.start()
    thread.join()
    assert codes == [0]


def test_a_handler_is_back_however_it_ends(folder, capsys, monkeypatch):
    """Also after an error that nobody expected; the fixture `process` looks at all of them."""

    def fail(self):
        raise RuntimeError("unexpected")

    monkeypatch.setattr("jitprop.training.Training.run", fail)
    with pytest.raises(RuntimeError, match="unexpected"):
        train.main(["--data", str(folder), "--epochs", "1", "--threads", "1"])


@pytest.mark.slow
@pytest.mark.parametrize("number", [*"12"])
def test_a_stream_that_is_closed(number, folder, tmp_path):
    """What would be printed is not written to the file that is opened next."""
    path = tmp_path / "net"
    command = f'exec "$@" {number}>&-'
    args = ["train.py", "--data", folder, "--epochs", "1", "--save", path]
    shell = ["sh", "-c", command, "sh", sys.executable, *map(str, args)]
    done = subprocess.run(shell, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    assert (done.stdout == "") == (number == "1")
    assert done.stderr == ""
    load(path)


@pytest.mark.slow
def test_names_that_nothing_can_show(folder, tmp_path):
    """Bytes that are no UTF-8, letters that the terminal does not have: written as escapes."""
    data = os.fsencode(tmp_path) + b"/r\xff\xc3\xa9\x1b[31m"
    os.mkdir(data)
    for name in os.listdir(folder):
        os.symlink(os.fsencode(folder / name), data + b"/" + os.fsencode(name))
    out = os.fsencode(tmp_path) + b"/out\xff"
    args = [b"--data", data, b"--epochs", b"1", b"--report", out, b"--save", out + b".net"]
    args += [b"--metrics", out + b".json"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    command = [sys.executable, "train.py", *args]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\x1b" not in done.stdout
    assert os.path.getsize(out + b"/index.html") > 10_000
    assert json.loads(Path(os.fsdecode(out + b".json")).read_text())["test_images"] == 100


@pytest.mark.parametrize("epochs", ["1" + "0" * 400, "1" + "0" * 5000, "1000000001"])
def test_far_too_many_epochs(epochs, capsys):
    _, err = refused(capsys, "--epochs", epochs)
    assert "epochs" in err


@pytest.mark.parametrize(
    "args",
    [
        "--weight-decay 1e42",
        "--lr 1e42",
        "--optimizer adam --eps 1e42",
        "--lr 1e400",
        "--schedule cosine --warmup 1e42",
    ],
)
def test_numbers_beyond_float32(args, capsys):
    refused(capsys, *args.split())
